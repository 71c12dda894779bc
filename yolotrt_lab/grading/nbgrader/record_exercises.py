"""Run a rebuilt notebook so that its check cells write down what the answers return."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbclient.client import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute  # type: ignore[import-untyped]
from traitlets import Enum, Integer

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.judging import HIDDEN_SEED_VARIABLE
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.rebuilding import is_answer, is_check, runs_when_grading
from yolotrt_lab.grading.nbgrader.release import coursedir_of, exercise_of
from yolotrt_lab.grading.nbgrader.stand_ins import has_records, write_stand_ins
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular
from yolotrt_lab.grading.notebook import RECORD_VARIABLE, WORKSPACE_VARIABLE
from yolotrt_lab.grading.suite import load_exercise

__all__ = ["RUN_KEY", "RecordExercises", "Run"]

RUN_KEY = "yolotrt_run"
"""Where the run's outcome is in nbconvert's resources."""

_MARGIN_S = 30
_MODEL_BYTES = 50_000_000
_LONGEST_SOCKET = 100  # of the 107 bytes that the system allows; a number is appended


@dataclass
class Run:
    """What became of running a notebook.

    Attributes:
        recorded: The folder of the records.
        ended: Why a cell did not come to its end, by its index: "hung", "died", "raised".
        trouble: What went wrong that is not the student's doing; "" if nothing.
    """

    recorded: Path
    ended: dict[int, str] = field(default_factory=dict)
    trouble: str = ""


class RecordExercises(Execute):  # type: ignore[misc]
    """Runs the notebook's cells, the demonstrations left out, with checks that record instead of judging.

    A cell that hangs beyond interrupting or ends the kernel costs its own exercise only: the kernel is started again
    and the run repeated without it. Trouble before any answer has run is not the student's: the run is tried again, and
    then left to the instructor.
    """

    shutdown_kernel = Enum(["graceful", "immediate"], default_value="immediate").tag(config=True)
    notebook_seconds = Integer(1800, help="How long one submission may take in all.").tag(config=True)
    kernel_restarts = Integer(5, help="How often the kernel is started anew after an answer ended it.").tag(config=True)
    retries = Integer(1, help="How often a run is repeated after trouble that is not the student's.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any, km: Any = None) -> tuple[NotebookNode, Any]:
        """Run the notebook. Called by nbgrader's Autograde on the rebuilt notebook."""
        place, root = resources["nbgrader"], Path(coursedir_of(self).root)
        private = PrivateFolder(root)
        recorded = private.student(place["assignment"], place["student"]).recorded
        run = resources[RUN_KEY] = Run(recorded)
        if Marks.read(nb).unreadable:
            return nb, resources
        for _ in range(1 + self.retries):
            shutil.rmtree(recorded, ignore_errors=True)
            recorded.mkdir(parents=True)
            run.ended, run.trouble = {}, ""
            environment = {
                WORKSPACE_VARIABLE: str(root / "runs" / "labs"),
                **os.environ,
                RECORD_VARIABLE: str(recorded),
                HIDDEN_SEED_VARIABLE: str(private.hidden_seed(place["assignment"])),
                # A file of the student's must not shadow a module.
                "PYTHONSAFEPATH": "1",
            }
            try:
                self._run_until_done(nb, resources, run, environment)
            except Exception as error:  # whatever it is, it must not cost the student points, nor the others their turn
                run.trouble = f"The kernel could not run the notebook: {type(error).__name__}: {error}"
            if not run.trouble:
                break
            self.log.error("%s of %s: %s", place["notebook"], place["student"], run.trouble)
        return nb, resources

    def _run_until_done(self, nb: NotebookNode, resources: Any, run: Run, environment: dict[str, str]) -> None:
        """Run all cells, again without the culprit each time one ends the kernel."""
        deadline = time.monotonic() + self.notebook_seconds
        for _ in range(1 + self.kernel_restarts):
            culprit = self._run_once(nb, resources, run, environment, deadline)
            if culprit is None:
                reason = "hung" if time.monotonic() > deadline else ""
                break
            if not _student_code_ran(nb, culprit):
                run.trouble = "The lab's own first cells do not run in the grader."
                return
            self.log.warning("Cell %d %s; running the others without it.", culprit, run.ended[culprit])
            self._stand_in(nb, run, culprit)
        else:
            reason = "died"
        for index in _checks(nb) if reason else ():
            if index not in run.ended and not _is_recorded(nb.cells[index], run):
                run.ended[index] = reason
                self._stand_in(nb, run, index)

    def _run_once(
        self, nb: NotebookNode, resources: Any, run: Run, environment: dict[str, str], deadline: float
    ) -> int | None:
        """Run all cells in a new kernel, and return the index of the one that made an end of it, if one did."""
        # As ExecutePreprocessor.preprocess does: this is the client's own way to begin with another notebook.
        NotebookClient.__init__(self, nb, None)
        self.reset_execution_trackers()
        self._check_assign_resources(resources)
        with _working_folder(_folder_of(resources)) as folder:
            environment = {**environment, "IPYTHONDIR": str(folder / ".ipython")}
            self.km = self._kernel_manager(folder)
            with self.setup_kernel(env=environment, cwd=str(folder / "work")):
                self.wait_for_reply(self.kc.kernel_info())
                for index, cell in enumerate(nb.cells):
                    if not runs_when_grading(cell) or index in run.ended or _is_recorded(cell, run):
                        continue
                    if time.monotonic() > deadline:
                        return None
                    try:
                        self.execute_cell(cell, index, store_history=True)
                    except DeadKernelError:
                        run.ended[index] = "died"
                        return index
                    except CellTimeoutError:
                        run.ended[index] = "hung"
                        return index
                    self._note_error(nb, run, index)
                    if run.trouble:
                        return None
        return None

    def _kernel_manager(self, folder: Path) -> Any:
        """Return a manager that talks to its kernel through sockets in a folder of ours, not through the network."""
        manager = self.create_kernel_manager()
        manager.connection_file = str(folder / "kernel.json")
        sockets = str(folder / "k")
        if len(os.fsencode(sockets)) <= _LONGEST_SOCKET:
            manager.transport, manager.ip = "ipc", sockets
        return manager

    def _note_error(self, nb: NotebookNode, run: Run, index: int) -> None:
        """Note a cell that raised: a check that was interrupted, or a cell of the lab before any answer."""
        cell = nb.cells[index]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if not errors:
            return
        if not _student_code_ran(nb, index):
            run.trouble = f"The lab's own first cells fail in the grader: {errors[0].ename}: {errors[0].evalue}"
        elif errors[-1].ename == "CellTimeoutError":
            run.ended[index] = "hung"
        elif _is_recorded(cell, run):
            run.ended[index] = "raised"
        # A check that raised before it recorded anything says nothing about the answer: that is left to the scoring.
        if index in run.ended:
            self._stand_in(nb, run, index)

    def _stand_in(self, nb: NotebookNode, run: Run, index: int) -> None:
        """Write records for a check cell that did not come to its end."""
        exercise_id = exercise_of(nb.cells[index].source) if is_check(nb.cells[index]) else None
        if exercise_id is not None:
            write_stand_ins(run.recorded, load_exercise(exercise_id).exercise, reason=run.ended[index])

    def _get_timeout(self, cell: NotebookNode | None) -> int | None:
        """Return the seconds that a cell may take: a check, those of all its calls. Called by nbclient."""
        exercise_id = exercise_of(cell.source) if cell is not None and is_check(cell) else None
        if exercise_id is None:
            return int(self.timeout) if self.timeout else None
        exercise = load_exercise(exercise_id).exercise
        calls = len(exercise.all_cases(with_hidden=True))
        return int(exercise.seconds * calls) + _MARGIN_S


def _checks(nb: NotebookNode) -> list[int]:
    return [index for index, cell in enumerate(nb.cells) if is_check(cell) and exercise_of(cell.source)]


def _is_recorded(cell: NotebookNode, run: Run) -> bool:
    exercise_id = exercise_of(cell.source) if is_check(cell) else None
    return exercise_id is not None and has_records(run.recorded, exercise_id)


def _student_code_ran(nb: NotebookNode, index: int) -> bool:
    """Whether a cell, or one before it, holds code of the student's."""
    return any(is_answer(cell) and cell.cell_type == "code" for cell in nb.cells[: index + 1])


def _folder_of(resources: Any) -> Path | None:
    """Return the folder of the submission that is graded, where nbgrader tells."""
    path = resources.get("metadata", {}).get("path") if resources else None
    return Path(path) if path else None


@contextmanager
def _working_folder(submission: Path | None) -> Iterator[Path]:
    """Make a folder for one kernel, gone afterwards.

    The kernel works in `work`, where nothing of the course lies but the models that the student handed in beside the
    notebook: regular files, not through a link.
    """
    with tempfile.TemporaryDirectory(prefix="yolotrt-grade-", ignore_cleanup_errors=True) as name:
        work = Path(name) / "work"
        work.mkdir()
        for path in sorted(submission.glob("*.onnx")) if submission is not None else ():
            with suppress(InputError, OSError):
                (work / path.name).write_bytes(read_regular(path, max_bytes=_MODEL_BYTES))
        yield Path(name)
