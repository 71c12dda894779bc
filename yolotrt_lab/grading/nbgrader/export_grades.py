"""Write the gradebook as CSV that a spreadsheet reads safely."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry  # type: ignore[import-untyped]
from nbgrader.plugins import ExportPlugin  # type: ignore[import-untyped]
from traitlets import default

from yolotrt_lab.files import write_text
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.release import coursedir_of

__all__ = ["COLUMNS", "ExportGrades", "grade_rows", "grades_csv"]

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
    "needs_manual_grade",
    "state",
)
"""nbgrader's columns, and two more."""

_NOTHING = "nothing graded yet"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportGrades(ExportPlugin):  # type: ignore[misc]
    """Exports as nbgrader's CsvExportPlugin does, with quoting, without formulas, and into the instructor's folder.

    The gradebook's text comes from students in part: a name that begins with "=" would be a formula in a spreadsheet.
    """

    @default("to")
    def _to_default(self) -> str:
        return str(PrivateFolder(Path(coursedir_of(self).root)).path / "grades.csv")

    def export(self, gradebook: Gradebook) -> None:
        """Write the file. Called by `nbgrader export`."""
        rows = grade_rows(
            gradebook,
            assignments=[str(item) for item in self.assignment],
            students=[str(item) for item in self.student],
        )
        write_text(Path(self.to), grades_csv(rows))
        self.log.info("Wrote %s", self.to)


def grade_rows(
    gradebook: Gradebook, *, assignments: list[str] | None = None, students: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row per lab and student, those without a submission included.

    A submission of which nothing was graded has no score: an empty field, not a zero that somebody might import.

    Args:
        gradebook: nbgrader's gradebook.
        assignments: Only these labs; all if none are named.
        students: Only these students; all if none are named.
    """
    for assignment in gradebook.assignments:
        for student in gradebook.students:
            if (assignments and assignment.name not in assignments) or (students and student.id not in students):
                continue
            try:
                submission = gradebook.find_submission(assignment.name, student.id)
            except MissingEntry:
                submission = None
            state = _state_of(submission)
            score = float(submission.score or 0.0) if submission else 0.0
            penalty = float(submission.late_submission_penalty or 0.0) if submission else 0.0
            yield {
                "assignment": assignment.name,
                "duedate": assignment.duedate,
                "timestamp": submission.timestamp if submission else None,
                "student_id": student.id,
                "last_name": student.last_name,
                "first_name": student.first_name,
                "email": student.email,
                "raw_score": None if state == _NOTHING else score,
                "late_submission_penalty": penalty,
                "score": None if state == _NOTHING else max(0.0, score - penalty),
                "max_score": float(assignment.max_score or 0.0),
                "needs_manual_grade": bool(submission.needs_manual_grade) if submission else False,
                "state": state,
            }


def _state_of(submission: Any) -> str:
    if submission is None:
        return "not submitted"
    waits = [bool(grade.needs_manual_grade) for notebook in submission.notebooks for grade in notebook.grades]
    if waits and all(waits) and not submission.score:
        return _NOTHING
    return "needs grading by hand" if any(waits) else "graded"


def grades_csv(rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> str:
    """Return rows as CSV with a header."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(_safe(row))
    return stream.getvalue()


def _safe(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for name, value in row.items()
    }
