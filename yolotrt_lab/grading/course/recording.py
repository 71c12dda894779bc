"""The one writer: enters what grading found out into gradebook, autograded notebooks and records.

Each submission is entered as a whole: its files are laid ready under another name, then moved into place, then the
gradebook's transaction ends, and last of all the record names the digest that was graded. Whatever is interrupted is
entered again from the beginning, with the same outcome.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nbformat
from nbformat import NotebookNode
from traitlets.utils.importstring import import_item

from yolotrt_lab.errors import OutputError
from yolotrt_lab.grading.course.grades import StudentGrade, grade_from
from yolotrt_lab.grading.course.session import Course, without_foreign_warnings
from yolotrt_lab.grading.course.submissions import LabMaterial, Prepared
from yolotrt_lab.grading.nbgrader.clear_old_scores import clear_scores
from yolotrt_lab.grading.nbgrader.given import GIVEN_KEY, Given
from yolotrt_lab.grading.nbgrader.rebuild_from_release import require_same_cells, settle
from yolotrt_lab.grading.nbgrader.save_grades import SaveGrades, save_scores
from yolotrt_lab.grading.nbgrader.score_exercises import UNSCORED_KEY

__all__ = ["Recorder"]

_LOCKED_RETRIES = 5
_PENALTIES = "AssignLatePenalties"


class Recorder:
    """One session with the gradebook for a whole batch; nobody else writes.

    Args:
        course: The course.
        lab: The lab's full name.
        staging: A folder for submissions that are being graded.
        batch_id: The batch, noted in every record.
    """

    def __init__(self, course: Course, lab: str, staging: Path, batch_id: str) -> None:
        from nbgrader.converters import Autograde  # type: ignore[import-untyped]

        self.course, self.lab, self._batch_id = course, lab, batch_id
        # Never started: it gives the course's configuration to the steps.
        self.converter = Autograde(coursedir=course.coursedir(lab=lab), config=course.config)
        self.material = LabMaterial(course, lab, self.converter, staging)
        self._session = contextlib.ExitStack()
        self._gradebook: Any = None

    def __enter__(self) -> Self:
        self._session.enter_context(without_foreign_warnings())
        self._gradebook = self._session.enter_context(self.course.gradebook())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def require_current(self) -> None:
        """Raise unless the gradebook was made from the lab as it is.

        Raises:
            InputError: It was not.
        """
        for name in self.material.names:
            require_same_cells(self.material.release(name), self._gradebook, lab=self.lab, name=name)

    def record(self, prepared: Prepared, given: Given, *, digest: str) -> StudentGrade:
        """Enter one submission.

        Args:
            prepared: The submission.
            given: What was computed for it.
            digest: Of what the grade depends on, to know later whether it is up to date.

        Raises:
            OutputError: A file cannot be written.
        """
        started = time.monotonic()
        for attempt in range(_LOCKED_RETRIES):
            try:
                submission = self._enter(prepared, given)
                break
            except Exception as error:
                self._gradebook.db.rollback()
                if not _is_locked(error) or attempt + 1 == _LOCKED_RETRIES:
                    raise
                time.sleep(0.5 * 2**attempt)
        more: dict[str, Any] = {"execution": "", "batch": self._batch_id, "digest": digest}
        if given.execution:
            more |= {"execution": given.execution.key, "seconds": round(given.execution.usage.wall_s, 3)}
        prepared.kept.write("grading", {**given.record, **more})
        return grade_from(submission, prepared.kept, seconds=time.monotonic() - started)

    def fail(self, student: str, reason: str) -> StudentGrade:
        """Enter that a submission could not be graded: old scores never stand in for new ones."""
        self._gradebook.db.rollback()
        with contextlib.suppress(Exception):
            for submitted in self._gradebook.find_submission(self.lab, student).notebooks:
                clear_scores(submitted)
            self._gradebook.db.commit()
        shutil.rmtree(self.course.folder("autograded", self.lab, student), ignore_errors=True)
        kept = self.course.private.student(self.lab, student)
        record = {name: value for name, value in kept.read("grading").items() if name != "digest"}
        kept.write("grading", {**record, "failed": reason})
        return StudentGrade(student, failed=reason)

    def grade_of(self, student: str, **more: Any) -> StudentGrade:
        """Return how a submission stands that was graded before."""
        submission = self._gradebook.find_submission(self.lab, student)
        return grade_from(submission, self.course.private.student(self.lab, student), **more)

    def _enter(self, prepared: Prepared, given: Given) -> Any:
        submission = self._submission_of(prepared)
        notebooks = {submitted.name: submitted for submitted in submission.notebooks}
        for name, rebuilt in prepared.notebooks.items():
            submitted = notebooks[name]
            final = clear_scores(submitted)
            notebook = nbformat.from_dict(rebuilt)  # type: ignore[no-untyped-call]
            settle(notebook, final, prepared.kept)
            resources = self._resources(prepared, name, given)
            for step in self._steps(submission, submitted):
                notebook, resources = step(notebook, resources)
            _write_notebook(prepared.folder / f"{name}.ipynb", notebook)
        self._set_permissions(prepared.folder)
        _replace_folder(prepared.folder, self.course.folder("autograded", self.lab, prepared.student))
        self._gradebook.db.commit()
        return submission

    def _submission_of(self, prepared: Prepared) -> Any:
        """Return the gradebook's record of a submission, made if there is none; as nbgrader's Autograde does."""
        self._gradebook.update_or_create_student(prepared.student)
        more = {"timestamp": prepared.timestamp} if prepared.timestamp else {}
        return self._gradebook.update_or_create_submission(self.lab, prepared.student, **more)

    def _resources(self, prepared: Prepared, name: str, given: Given) -> dict[str, Any]:
        place = {
            "notebook": name,
            "assignment": self.lab,
            "student": prepared.student,
            "db_url": self.converter.coursedir.db_url,
        }
        return {
            "unique_key": name,
            "metadata": {"name": name, "path": str(prepared.folder)},
            "nbgrader": place,
            GIVEN_KEY: given,
        }

    def _steps(
        self, submission: Any, submitted: Any
    ) -> Iterator[Callable[[NotebookNode, Any], tuple[NotebookNode, Any]]]:
        """Yield the configured steps of autograding; those that write to the gradebook do so in our session."""

        def save(notebook: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
            save_scores(submitted, notebook, resources.get(UNSCORED_KEY) or {})
            self._gradebook.db.flush()
            return notebook, resources

        def penalize(notebook: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
            self._penalize(submission, submitted)
            return notebook, resources

        for step in self._configured:
            if isinstance(step, SaveGrades):
                yield save
            elif type(step).__name__ == _PENALTIES:
                yield penalize
            else:
                yield step

    @cached_property
    def _configured(self) -> list[Any]:
        names = self.converter.autograde_preprocessors
        classes = [import_item(name) if isinstance(name, str) else name for name in names]
        return [made(parent=self.converter) for made in classes]

    def _penalize(self, submission: Any, submitted: Any) -> None:
        """Set the penalty for lateness, as nbgrader's AssignLatePenalties does."""
        self._gradebook.db.refresh(submitted)
        step = next(step for step in self._configured if type(step).__name__ == _PENALTIES)
        step.init_plugin()
        seconds, penalty = submission.total_seconds_late, None
        if seconds > 0:
            penalty = step.plugin_inst.late_submission_penalty(submission.student.id, submitted.score, seconds)
        submitted.late_submission_penalty = None if penalty is None else min(max(penalty, 0.0), submitted.score)

    def _set_permissions(self, folder: Path) -> None:
        mode = int(str(self.converter.permissions), 8)
        for place, _, files in os.walk(folder):
            for name in files:
                Path(place, name).chmod(mode)
            if self.converter.coursedir.groupshared:
                Path(place).chmod(Path(place).stat().st_mode & 0o2777 | 0o2770)


def _write_notebook(path: Path, notebook: NotebookNode) -> None:
    text = nbformat.writes(notebook, version=nbformat.current_nbformat)  # type: ignore[no-untyped-call]
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


def _replace_folder(new: Path, place: Path) -> None:
    """Put a folder in the place of another.

    Raises:
        OutputError: It cannot be moved.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        new.rename(place)
    except OSError as error:
        raise OutputError(f"Cannot write {place}.", expected="a writable folder", got=error.strerror) from error


def _is_locked(error: Exception) -> bool:
    """Whether another process was writing to the gradebook."""
    return "database is locked" in str(error)
