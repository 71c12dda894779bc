"""How the labs stand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from yolotrt_lab.grading.course.session import Course

__all__ = ["LabStatus", "StudentStatus", "course_status"]


@dataclass(frozen=True)
class StudentStatus:
    """How one student's submission stands.

    Attributes:
        student: Whose it is.
        submitted: When it came, UTC; None if nobody wrote it down.
        score: Points given so far, the penalty taken off; None where nothing was graded.
        penalty: Points taken for lateness.
        state: "submitted", "graded", "needs grading by hand", "set aside" or "grading failed".
        has_feedback: Whether the page is made.
        flags: What an instructor should look at.
    """

    student: str
    submitted: dt.datetime | None
    score: float | None
    penalty: float
    state: str
    has_feedback: bool
    flags: tuple[str, ...]


@dataclass(frozen=True)
class LabStatus:
    """How a lab stands.

    Attributes:
        lab: Its name.
        points: What it is worth; 0 before it is released.
        due: When it is due, UTC.
        is_released: Whether students can fetch it.
        students: The submissions.
    """

    lab: str
    points: float
    due: dt.datetime | None
    is_released: bool
    students: tuple[StudentStatus, ...]

    def count(self, state: str) -> int:
        """Return how many submissions are in a state."""
        return sum(student.state == state for student in self.students)


def course_status(course: Course, labs: Sequence[str] = ()) -> tuple[LabStatus, ...]:
    """Return how the labs stand, all of them if none are named."""
    return tuple(_lab_status(course, lab) for lab in labs or course.labs())


def _lab_status(course: Course, lab: str) -> LabStatus:
    from nbgrader.api import MissingEntry  # type: ignore[import-untyped]

    outbound = course.exchange / course.coursedir().course_id / "outbound" / lab
    points, due = 0.0, None
    with course.gradebook() as gradebook:
        try:
            assignment = gradebook.find_assignment(lab)
            points, due = float(assignment.max_score or 0.0), assignment.duedate
        except MissingEntry:
            pass
        students = tuple(_student_status(course, gradebook, lab, student) for student in course.submitted(lab))
    return LabStatus(lab, points, due, outbound.is_dir(), students)


def _student_status(course: Course, gradebook: object, lab: str, student: str) -> StudentStatus:
    from nbgrader.api import MissingEntry

    record = course.private.student(lab, student).read("grading")
    flags = tuple(str(item["text"]) for item in record.get("findings", ()) if item.get("suspicious"))
    flags += tuple(sorted({str(reason) for reason in record.get("trouble", {}).values()}))
    has_feedback = any(course.folder("feedback", lab, student).glob("*.html"))
    try:
        submission = gradebook.find_submission(lab, student)  # type: ignore[attr-defined]
    except MissingEntry:
        submission = None
    if submission is None or not course.folder("autograded", lab, student).is_dir():
        failed = str(record.get("failed", ""))
        state = "grading failed" if failed else "submitted"
        moment = submission.timestamp if submission else None
        return StudentStatus(student, moment, None, 0.0, state, has_feedback, (failed,) if failed else ())
    penalty = float(submission.late_submission_penalty or 0.0)
    score: float | None = max(0.0, float(submission.score or 0.0) - penalty)
    state = "needs grading by hand" if submission.needs_manual_grade else "graded"
    if record.get("unreadable") and submission.needs_manual_grade:
        state, score = "set aside", score or None  # points given by hand count, and no points are none
    return StudentStatus(student, submission.timestamp, score, penalty, state, has_feedback, flags)
