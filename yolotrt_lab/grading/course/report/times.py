"""When submissions came, and how long their runs took: what is known about time, and no more."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from yolotrt_lab.grading.course.report.records import ClassRecords

__all__ = ["Times", "times_of"]

_BEFORE_DUE = (
    ("more than two days before", 48.0),
    ("one to two days before", 24.0),
    ("6 to 24 hours before", 6.0),
    ("1 to 6 hours before", 1.0),
    ("in the last hour", 0.0),
)
_LATE = (("up to a day late", -24.0), ("more than a day late", float("-inf")))


@dataclass(frozen=True)
class Times:
    """What is known about time.

    Attributes:
        arrivals: When submissions came, in words relative to the due date (or by day without one), to their number.
        unknown: Submissions whose time nobody wrote down.
        versions: How many versions students handed in through the exchange, to the number of students.
        span_hours: Median time from a student's first version to the last, of those with several; None for none.
        run_seconds: Median and longest time that a submission's run took on the grader; None if not written down.
        planned_minutes: What the exercises say they should take in all.
    """

    arrivals: Mapping[str, int]
    unknown: int
    versions: Mapping[int, int]
    span_hours: float | None
    run_seconds: tuple[float, float] | None
    planned_minutes: int


def times_of(records: ClassRecords) -> Times:
    """Return what is known about time."""
    moments = [item.submitted for item in records.submissions if item.submitted is not None]
    versions: dict[int, int] = {}
    spans = []
    for item in records.submissions:
        if item.handed_in:
            versions[len(item.handed_in)] = versions.get(len(item.handed_in), 0) + 1
        if len(item.handed_in) > 1:
            spans.append((item.handed_in[-1] - item.handed_in[0]).total_seconds() / 3600)
    seconds = [item.seconds for item in records.submissions if item.seconds is not None]
    return Times(
        arrivals=_by_due(moments, records.due) if records.due else _by_day(moments),
        unknown=len(records.submissions) - len(moments),
        versions=dict(sorted(versions.items())),
        span_hours=statistics.median(spans) if spans else None,
        run_seconds=(statistics.median(seconds), max(seconds)) if seconds else None,
        planned_minutes=sum(part.minutes for part in records.parts),
    )


def _by_due(moments: list[dt.datetime], due: dt.datetime) -> dict[str, int]:
    found = {name: 0 for name, _ in (*_BEFORE_DUE, *_LATE)}
    for moment in moments:
        hours = (due - moment).total_seconds() / 3600
        found[next(name for name, least in (*_BEFORE_DUE, *_LATE) if hours >= least)] += 1
    return found


def _by_day(moments: list[dt.datetime]) -> dict[str, int]:
    days = sorted(f"{moment:%Y-%m-%d}" for moment in moments)
    return {day: days.count(day) for day in dict.fromkeys(days)}
