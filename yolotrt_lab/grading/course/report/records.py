"""What is known about a lab's submissions, gathered from the gradebook, the records of grading and the notebooks."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.grading.course.session import Course
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.instructor_note import is_instructor_note
from yolotrt_lab.grading.nbgrader.rebuilding import is_answer, marks_of
from yolotrt_lab.grading.nbgrader.release import exercise_of, read_notebook, released_notebook
from yolotrt_lab.grading.nbgrader.untrusted_files import latest_change
from yolotrt_lab.grading.results import ExerciseResult

__all__ = ["ClassRecords", "Part", "SubmissionRecord", "gather"]


@dataclass(frozen=True)
class Part:
    """A graded part of a lab.

    Attributes:
        grade_id: nbgrader's id.
        title: What it is called.
        points: What it is worth.
        exercise_id: The exercise; "" for a written answer.
        stub: The text that the release has in its answer cells.
        minutes: How long it should take; 0 where nobody said.
    """

    grade_id: str
    title: str
    points: float
    exercise_id: str = ""
    stub: str = ""
    minutes: int = 0


@dataclass(frozen=True)
class SubmissionRecord:
    """One student's submission, graded.

    Attributes:
        student: Whose it is.
        scores: Points by grade id, given by tests or by hand; None for what waits for a grade.
        waiting: Grade id to the reason why it waits ("" for a written answer).
        results: Verdicts of the tests by exercise id.
        answers: Text of the answer cells by the grade id they belong to.
        findings: What was noticed.
        submitted: When it came, UTC.
        unreadable: Why nothing could be graded; "" otherwise.
        seconds: How long its run took on the grader; None where nobody wrote it down.
        handed_in: When versions of it were handed in through the exchange, in order.
    """

    student: str
    scores: Mapping[str, float | None]
    waiting: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, ExerciseResult] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    submitted: dt.datetime | None = None
    unreadable: str = ""
    seconds: float | None = None
    handed_in: tuple[dt.datetime, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every part has its points."""
        return all(score is not None for score in self.scores.values())


@dataclass(frozen=True)
class ClassRecords:
    """A lab's submissions.

    Attributes:
        lab: The lab.
        parts: Its graded parts in the notebook's order.
        submissions: The graded ones, by student.
        ungraded: Students whose submission is here and not graded.
        due: When it was due, UTC.
    """

    lab: str
    parts: tuple[Part, ...]
    submissions: tuple[SubmissionRecord, ...]
    ungraded: tuple[str, ...] = ()
    due: dt.datetime | None = None


def gather(course: Course, lab: str) -> ClassRecords:
    """Return what is known about a lab's submissions.

    Args:
        course: The course.
        lab: The lab's full name.

    Raises:
        InputError: Nothing has been graded, or the solution is gone.
    """
    release = released_notebook(course.coursedir(lab=lab), lab, lab)
    here = course.submitted(lab)
    graded = [student for student in here if course.folder("autograded", lab, student).is_dir()]
    if not graded:
        raise InputError(f"Nothing of {lab} has been graded.", expected="graded submissions",
                         fix=f"yolotrt course grade {lab}")  # fmt: skip
    times = _times_handed_in(course, lab)
    with course.gradebook() as gradebook:
        due = gradebook.find_assignment(lab).duedate
        submissions = tuple(
            _submission(course, lab, student, gradebook.find_submission(lab, student), times.get(student, ()))
            for student in graded
        )
    return ClassRecords(lab, tuple(_parts(release)), submissions, tuple(sorted(set(here) - set(graded))), due)


def _submission(
    course: Course, lab: str, student: str, submission: Any, handed_in: Iterable[dt.datetime]
) -> SubmissionRecord:
    record = course.private.student(lab, student).read("grading")
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    reasons: Mapping[str, Any] = record.get("trouble", {})
    results = {}
    for name, content in record.get("results", {}).items():
        try:
            results[name] = ExerciseResult.from_json(content)
        except InputError:
            continue  # written by another version: the score is in the gradebook all the same
    path = course.folder("autograded", lab, student) / f"{lab}.ipynb"
    seconds = record.get("seconds")
    return SubmissionRecord(
        student,
        scores={grade.name: None if grade.needs_manual_grade else float(grade.score or 0.0) for grade in grades},
        waiting={grade.name: str(reasons.get(grade.name, "")) for grade in grades if grade.needs_manual_grade},
        results=results,
        answers=dict(_answers(read_notebook(path))) if path.is_file() else {},
        findings=tuple(Finding.from_json(item) for item in record.get("findings", ())),
        submitted=submission.timestamp,
        unreadable=str(record.get("unreadable", "")),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        handed_in=tuple(handed_in),
    )


def _answers(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """Yield (grade id, text of the answer cells that it grades)."""
    texts: list[str] = []
    for cell in notebook.cells:
        if is_instructor_note(cell):
            continue
        marks = marks_of(cell)
        if is_answer(cell):
            texts.append(str(cell.source))
        if marks.get("grade"):
            yield str(marks["grade_id"]), "\n\n".join(texts)
            texts = []


def _parts(release: NotebookNode) -> Iterator[Part]:
    from yolotrt_lab.grading.suite import load_exercise

    stubs = dict(_answers(release))
    for cell in release.cells:
        marks = marks_of(cell)
        if not marks.get("grade"):
            continue
        grade_id, points = str(marks["grade_id"]), float(str(marks["points"]))
        exercise_id = "" if is_answer(cell) else exercise_of(cell.source) or ""
        title, minutes = "Written answer" if is_answer(cell) else grade_id, 0
        if exercise_id:
            try:
                exercise = load_exercise(exercise_id).exercise
                title, minutes = exercise.title, exercise.minutes
            except InputError:
                title = exercise_id  # taken out of the suite since the lab was released
        yield Part(grade_id, title, points, exercise_id, stubs.get(grade_id, ""), minutes)


def _times_handed_in(course: Course, lab: str) -> dict[str, tuple[dt.datetime, ...]]:
    """Return when each student handed in: by the file system, because the folders' names are the students' own."""
    folder = course.exchange / course.coursedir().course_id / "inbound"
    found: dict[str, list[dt.datetime]] = {}
    for path in folder.glob("*") if folder.is_dir() else ():
        student, mark, _ = path.name.partition(f"+{lab}+")
        if mark:
            with contextlib.suppress(OSError, LabError):
                moment = dt.datetime.fromtimestamp(latest_change(path), dt.UTC).replace(tzinfo=None)
                found.setdefault(student, []).append(moment)
    return {student: tuple(sorted(times)) for student, times in found.items()}
