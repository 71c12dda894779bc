"""How submissions came out: what grading returns, and what the gradebook and the records say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.private_folder import StudentFolder

__all__ = ["ClassGrades", "StudentGrade", "grade_from"]


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
        counts: How many exercises were run, judged, and taken from what was kept; see `batch.Counts`.
    """

    lab: str
    students: tuple[StudentGrade, ...]
    counts: dict[str, int] | None = None


def grade_from(submission: Any, kept: StudentFolder, **more: Any) -> StudentGrade:
    """Return what the gradebook and the record of grading say.

    Args:
        submission: The gradebook's SubmittedAssignment.
        kept: The records about it.
        more: Further fields of the grade.
    """
    record = kept.read("grading")
    reasons = dict(record.get("trouble", {}))
    penalty = float(submission.late_submission_penalty or 0.0)
    return StudentGrade(
        student=submission.student.id,
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
