"""Write the grades to a file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.files import write_json, write_text
from yolotrt_lab.grading.course.feedback import apply_late_policy
from yolotrt_lab.grading.course.session import Course
from yolotrt_lab.grading.nbgrader.export_grades import grade_rows, grades_csv

__all__ = ["export_grades"]


def export_grades(course: Course, output: Path | None = None, *, labs: Sequence[str] = ()) -> tuple[Path, list[Any]]:
    """Write a row per lab and student as CSV, or as JSON if the file is called so, and return file and rows.

    Args:
        course: The course.
        output: The file; `course/grading/grades.csv` if not given.
        labs: Only these labs; all if none are named.

    Raises:
        OutputError: The file cannot be written.
    """
    path = output or course.private.path / "grades.csv"
    with course.gradebook() as gradebook:
        known = [assignment.name for assignment in gradebook.assignments]
    for lab in known:
        apply_late_policy(course, lab)
    with course.gradebook() as gradebook:
        rows = list(grade_rows(gradebook, assignments=list(labs) or None))
    if path.suffix.lower() == ".json":
        write_json(path, [_plain(course, row) for row in rows])
    else:
        write_text(path, grades_csv(rows))
    return path, [_plain(course, row) for row in rows]


def _plain(course: Course, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in JSON's types, with the points of each exercise."""
    record = course.private.student(row["assignment"], row["student_id"]).read("grading")
    exercises = {
        name: {
            "state": result.get("state"),
            "tests": {test["name"]: test["passed"] for test in result.get("tests", ())},
        }
        for name, result in record.get("results", {}).items()
    }
    plain = {key: value.isoformat() if isinstance(value, dt.datetime) else value for key, value in row.items()}
    return {**plain, "exercises": exercises}
