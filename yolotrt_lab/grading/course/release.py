"""Give a lab to the students."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course.session import Course
from yolotrt_lab.grading.nbgrader.rebuilding import is_check, marks_of
from yolotrt_lab.grading.nbgrader.release import exercise_of, read_notebook
from yolotrt_lab.grading.suite import load_exercise

__all__ = ["Released", "parse_due", "release_lab"]


@dataclass(frozen=True)
class Released:
    """A lab that was released.

    Attributes:
        lab: Its name.
        notebooks: The students' notebooks.
        exercises: How many are graded by tests.
        points: What the lab is worth.
        due: When it is due, UTC; None if no date is set.
        exchange: Where students fetch it.
        notes: What the instructor should know.
    """

    lab: str
    notebooks: tuple[Path, ...]
    exercises: int
    points: float
    due: dt.datetime | None
    exchange: Path
    notes: tuple[str, ...] = ()


def release_lab(course: Course, lab: str, *, due: dt.datetime | None = None) -> Released:
    """Make the students' notebooks, enter the lab into the gradebook, and put it into the exchange.

    May be repeated: the due date stays unless another is given, and work in `labs/` is kept aside.

    Args:
        course: The course.
        lab: The lab's full name.
        due: When it is due; times without a zone are UTC.

    Raises:
        InputError: The notebook and the grading suite do not fit together.
        CourseError: nbgrader refused.
    """
    from nbgrader.converters import GenerateAssignment  # type: ignore[import-untyped]

    solutions = sorted(course.folder("source", lab).glob("*.ipynb"))
    exercises = sum(_checked_exercises(path) for path in solutions)
    coursedir = course.coursedir(lab=lab)
    (course.root / "course").mkdir(exist_ok=True)
    converter = GenerateAssignment(coursedir=coursedir, config=course.config)
    notes = course.run(converter, doing=f"Making the release of {lab}")
    course.run(course.exchange_step("ReleaseAssignment", lab=lab), doing=f"Putting {lab} into the exchange")
    with course.gradebook() as gradebook:
        if due is not None:
            gradebook.update_or_create_assignment(lab, duedate=_as_utc(due))
        assignment = gradebook.find_assignment(lab)
        return Released(
            lab=lab,
            notebooks=tuple(course.folder("release", lab) / path.name for path in solutions),
            exercises=exercises,
            points=float(assignment.max_score),
            due=assignment.duedate,
            exchange=course.exchange / coursedir.course_id / "outbound" / lab,
            notes=tuple(text for text in notes if not text.startswith("Removing existing")),
        )


def parse_due(text: str) -> dt.datetime:
    """Return a due date from text such as "2026-12-01 23:59" (UTC) or "2026-12-01T23:59+01:00".

    Raises:
        InputError: It is no date.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "The due date is no date.", expected='"2026-12-01 23:59", or with a zone "2026-12-01T23:59+01:00"', got=text
        ) from error
    if len(text.strip()) <= len("2026-12-01"):
        moment = moment.replace(hour=23, minute=59, second=59)
    return _as_utc(moment)


def _as_utc(moment: dt.datetime) -> dt.datetime:
    """Return a naive time in UTC, as the gradebook keeps it."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _checked_exercises(path: Path) -> int:
    """Return how many exercises a notebook has, all of them in the suite with the same points.

    Raises:
        InputError: One is not, or a graded cell checks nothing.
    """
    count = 0
    for cell in read_notebook(path).cells:
        if not is_check(cell):
            continue
        exercise_id, points = exercise_of(cell.source), float(str(marks_of(cell)["points"]))
        if exercise_id is None:
            raise InputError(
                f"{path.name}: the graded cell {marks_of(cell)['grade_id']} checks no exercise.",
                expected='check("lab.name") and nothing else',
                got=cell.source[:80],
            )
        given = load_exercise(exercise_id).points
        if given != points:
            raise InputError(
                f"{path.name}: {exercise_id} has other points in the notebook than in the suite.",
                expected=f"{given} points, the sum of its tests",
                got=f"{points:g}",
                fix="Change the check cell's points in course/notebooks, then make notebooks.",
            )
        count += 1
    return count
