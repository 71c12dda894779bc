"""Fetch what students handed in."""

from __future__ import annotations

from dataclasses import dataclass

from yolotrt_lab.grading.course.session import Course

__all__ = ["Collected", "collect_lab"]


@dataclass(frozen=True)
class Collected:
    """What was fetched from the exchange.

    Attributes:
        lab: The lab.
        collected: Students whose submission is new.
        refused: Submissions that were not taken, each with the reason.
        submissions: How many students' submissions are here now.
    """

    lab: str
    collected: tuple[str, ...]
    refused: tuple[str, ...]
    submissions: int


def collect_lab(course: Course, lab: str) -> Collected:
    """Fetch each student's newest submission of a lab from the exchange.

    Args:
        course: The course.
        lab: The lab's full name.

    Raises:
        CourseError: There is no exchange, or the lab was not released.
    """
    step = course.exchange_step("Collect", lab=lab)
    step.update = True
    course.run(step, doing=f"Collecting {lab}")
    return Collected(
        lab,
        collected=tuple(sorted(getattr(step, "collected", ()))),
        refused=tuple(sorted(getattr(step, "refused", ()))),
        submissions=len(course.submitted(lab)),
    )
