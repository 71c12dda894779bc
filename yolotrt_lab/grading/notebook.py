"""What the labs use: `check` an exercise, show something `using` an answer, and the `workspace` for data and models."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.display import html_table, text_table
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.grading.seeds import hidden_seed_from_environment, seeds_from_environment
from yolotrt_lab.grading.suite import LoadedExercise, load_exercise

__all__ = ["RECORD_VARIABLE", "WORKSPACE_VARIABLE", "CheckResult", "check", "using", "workspace"]

RECORD_VARIABLE = "YOLOTRT_RECORD"
WORKSPACE_VARIABLE = "YOLOTRT_WORKSPACE"


class CheckResult:
    """The verdict of `check`; shows itself as a table.

    Attributes:
        result: The verdict in full.
    """

    def __init__(self, result: ExerciseResult) -> None:
        self.result = result

    @property
    def score(self) -> int:
        """The points earned."""
        return self.result.score

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return self.result.state is State.PASSED

    def __repr__(self) -> str:
        return text_table(self.result)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return the table for Jupyter. nbgrader reads the score from the plain text."""
        plain = str(float(self.score)) if _in_jupyter() else repr(self)
        return {"text/html": html_table(self.result), "text/plain": plain}


def check(exercise_id: str) -> CheckResult | None:
    """Run the public tests of an exercise on what the notebook defines, and return a table.

    When a class is graded the answers are written down instead, and judged elsewhere; then it returns None.

    Example:
        >>> check("lab4.kl_threshold")  # doctest: +SKIP
    """
    from yolotrt_lab.grading.judging import judge  # brings pytest: only when needed

    namespace = sys._getframe(1).f_globals
    try:
        loaded = load_exercise(exercise_id)
        answer = namespace.get(loaded.exercise.answer, MISSING)
        if os.environ.get(RECORD_VARIABLE):
            if not _is_proctored():
                _record_for_grading(loaded, answer, Path(os.environ[RECORD_VARIABLE]))
            return None
        with tempfile.TemporaryDirectory(prefix="yolotrt-check-", ignore_cleanup_errors=True) as name:
            record(loaded, answer, folder=Path(name))
            return CheckResult(judge(Path(name), exercises=[exercise_id])[exercise_id])
    except LabError as error:
        return CheckResult(ExerciseResult(exercise_id, "No verdict", State.TROUBLE, (), error.one_line))


def _is_proctored() -> bool:
    """Whether answers are taken down by the proctor; a kernel without one has not imported it either."""
    proctor = sys.modules.get("yolotrt_lab.grading.proctor")
    return proctor is not None and bool(proctor.is_installed())


def _record_for_grading(loaded: LoadedExercise, answer: object, folder: Path) -> None:
    """Record all cases that the grader handed seeds for."""
    seeds = seeds_from_environment()
    if seeds is not None:
        record(loaded, answer, folder=folder, seeds=seeds.get(loaded.exercise.id, {}))
    else:
        record(loaded, answer, folder=folder, hidden_seed=hidden_seed_from_environment())


@contextlib.contextmanager
def using(*exercise_ids: str) -> Iterator[None]:
    """Run a block that calls the student's answers; where one is not written yet, say so kindly and go on.

    Example:
        >>> with using("lab4.kl_threshold"):
        ...     raise NotImplementedError
        This appears once lab4.kl_threshold is written.
    """
    try:
        yield
    except NotImplementedError as error:
        if str(error):
            raise
        print(f"This appears once {' and '.join(exercise_ids)} {'is' if len(exercise_ids) == 1 else 'are'} written.")


def workspace() -> Path:
    """Return the folder for the datasets and models of all labs, made if it is not there.

    `YOLOTRT_WORKSPACE` if set, else `runs/labs` of the course's repository, else of the current folder.
    """
    chosen = os.environ.get(WORKSPACE_VARIABLE)
    folder = Path(chosen) if chosen else _course_root(Path.cwd()) / "runs" / "labs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _course_root(folder: Path) -> Path:
    for candidate in (folder, *folder.parents):
        if (candidate / "nbgrader_config.py").is_file() and (candidate / "labs").is_dir():
            return candidate
    return folder


def _in_jupyter() -> bool:
    """Return whether a kernel shows the results, rather than a terminal."""
    shell = sys.modules.get("IPython")
    current = shell.get_ipython() if shell is not None else None
    return current is not None and hasattr(current, "kernel")
