"""Grade a class: each submission by itself, so that one of them cannot stop or change another."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.grading.course.session import Course, CourseError
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.suite import suite_root
from yolotrt_lab.types import ProgressCallback

__all__ = ["ClassGrades", "StudentGrade", "grade_lab"]


@dataclass(frozen=True)
class StudentGrade:
    """How one submission came out.

    Attributes:
        student: Whose it is.
        score: Points, the penalty taken off; what is still open counts nothing.
        points: The most that can be earned.
        penalty: Points taken for lateness.
        open_parts: Grade ids that wait for a grade by hand, with the reason if it is not a written answer.
        findings: What was noticed.
        unreadable: Why nothing could be graded; "" otherwise.
        failed: Why the grader itself stopped at it; "" otherwise. Old scores are gone then.
        up_to_date: Whether it was graded before and nothing has changed.
        seconds: How long grading took.
    """

    student: str
    score: float = 0.0
    points: float = 0.0
    penalty: float = 0.0
    open_parts: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    unreadable: str = ""
    failed: str = ""
    up_to_date: bool = False
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """How it stands, in a few words."""
        if self.failed:
            return "grading failed"
        if self.unreadable:
            return "set aside"
        return "needs grading by hand" if self.open_parts else "graded"


@dataclass(frozen=True)
class ClassGrades:
    """How a lab's submissions came out.

    Attributes:
        lab: The lab.
        students: One grade per submission, by student.
    """

    lab: str
    students: tuple[StudentGrade, ...]


def grade_lab(
    course: Course,
    lab: str,
    *,
    students: Sequence[str] = (),
    again: bool = False,
    on_progress: ProgressCallback | None = None,
) -> ClassGrades:
    """Grade the submissions of a lab that are new, changed, or were graded by other tests.

    Args:
        course: The course.
        lab: The lab's full name.
        students: Only these; all whose submission is here if none are named.
        again: Grade also what is up to date.
        on_progress: Called with (submissions done, submissions in all).

    Raises:
        InputError: There is nothing to grade, or the lab was not released.
    """
    here = course.submitted(lab)
    chosen = tuple(students) or here
    unknown = sorted(set(chosen) - set(here))
    if unknown or not here:
        raise InputError(
            f"There is no submission of {lab} by {', '.join(unknown)}." if unknown else f"Nobody's {lab} is here.",
            expected=f"course/submitted/<student>/{lab}",
            got=", ".join(here[:10]) or "no such folder",
            fix=f"yolotrt course collect {lab}",
        )
    _require_release(course, lab)
    grades = []
    for number, student in enumerate(chosen):
        if on_progress:
            on_progress(number, len(chosen))
        grades.append(_grade_student(course, lab, student, again=again))
    if on_progress:
        on_progress(len(chosen), len(chosen))
    return ClassGrades(lab, tuple(grades))


def _grade_student(course: Course, lab: str, student: str, *, again: bool) -> StudentGrade:
    kept, started = course.private.student(lab, student), time.monotonic()
    before = kept.read("grading")
    known = before.get("digest") == _digest(course, lab, student) and not before.get("trouble")
    if known and not again and course.folder("autograded", lab, student).is_dir():
        return _grade_from(course, lab, student, up_to_date=True)
    converter = _autograde(course, lab, student)
    try:
        said = course.run(converter, doing=f"Grading {lab} of {student}")
    except CourseError as error:
        return StudentGrade(student, failed=str(error.got), seconds=time.monotonic() - started)
    if not converter.assignments:  # its folder was refused, so nothing ran
        return StudentGrade(student, failed=said[-1] if said else "Its folder cannot be graded.")
    kept.write("grading", {**kept.read("grading"), "digest": _digest(course, lab, student)})
    return _grade_from(course, lab, student, seconds=time.monotonic() - started)


def _autograde(course: Course, lab: str, student: str) -> Any:
    """Return nbgrader's Autograde for one submission, ready to run."""
    from nbgrader.converters import Autograde, NbGraderException  # type: ignore[import-untyped]

    class AutogradeOne(Autograde):  # type: ignore[misc]
        """Goes on where nbgrader finds no notebook: the submission is entered as unreadable."""

        def init_notebooks(self) -> None:
            with contextlib.suppress(NbGraderException):
                super().init_notebooks()

    converter = AutogradeOne(coursedir=course.coursedir(lab=lab, student=glob.escape(student)), config=course.config)
    converter.force = True
    return converter


def _grade_from(course: Course, lab: str, student: str, **more: Any) -> StudentGrade:
    """Return what the gradebook and the record of grading say."""
    record = course.private.student(lab, student).read("grading")
    reasons = dict(record.get("trouble", {}))
    with course.gradebook() as gradebook:
        submission = gradebook.find_submission(lab, student)
        penalty = float(submission.late_submission_penalty or 0.0)
        return StudentGrade(
            student=student,
            score=max(0.0, float(submission.score or 0.0) - penalty),
            points=float(submission.max_score or 0.0),
            penalty=penalty,
            open_parts=tuple(
                (grade.name, str(reasons.get(grade.name, "")))
                for notebook in submission.notebooks
                for grade in notebook.grades
                if grade.needs_manual_grade
            ),
            findings=tuple(Finding.from_json(item) for item in record.get("findings", ())),
            unreadable=str(record.get("unreadable", "")),
            **more,
        )


def _require_release(course: Course, lab: str) -> None:
    from nbgrader.api import MissingEntry  # type: ignore[import-untyped]

    with course.gradebook() as gradebook:
        try:
            gradebook.find_assignment(lab)
        except MissingEntry:
            raise InputError(
                f"{lab} is not in the gradebook.",
                expected="a lab that was released",
                got="no such lab",
                fix=f"yolotrt course release {lab}",
            ) from None


def _digest(course: Course, lab: str, student: str) -> str:
    """Return a digest of all that a grade depends on: submission, solution, suite and secret."""
    digest = hashlib.sha256(str(course.private.hidden_seed(lab)).encode())
    with contextlib.suppress(LabError):
        suite = suite_root() / lab.split("_")[0]
        folders = (course.folder("submitted", lab, student), course.folder("source", lab), suite)
        for folder in folders:
            for path in _plain_files(folder):
                digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode(errors="replace"))
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _plain_files(folder: Path) -> Iterable[Path]:
    """Yield the regular files of a folder, sorted; links are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            yield path
