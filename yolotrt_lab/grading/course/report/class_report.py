"""The report on a class: everything computed, ready to be shown or written as JSON."""

from __future__ import annotations

import datetime as dt
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.files import write_text
from yolotrt_lab.grading.course.report.items import FEWEST
from yolotrt_lab.grading.course.report.records import ClassRecords, gather
from yolotrt_lab.grading.course.report.similarity import Similarity, find_similar
from yolotrt_lab.grading.course.report.summary import (
    ItemRow,
    Misconception,
    TestRow,
    item_rows,
    misconceptions,
    shares_of,
    test_rows,
)
from yolotrt_lab.grading.course.report.times import Times, times_of
from yolotrt_lab.grading.course.session import Course
from yolotrt_lab.grading.nbgrader.findings import Finding

__all__ = ["SIMILAR", "ClassReport", "Waiting", "report_lab", "summarize", "write_class_report"]

SIMILAR = 0.6
"""Share of the smaller submission from which on a pair is listed."""


@dataclass(frozen=True)
class Waiting:
    """A part of a submission that waits for a grade by hand.

    Attributes:
        student: Whose it is.
        part: The part's title.
        reason: Why; "" for a written answer, which always does.
    """

    student: str
    part: str
    reason: str


@dataclass(frozen=True)
class ClassReport:
    """What is known about a lab in a class.

    Attributes:
        records: What it was computed from.
        shares: Share of the points given already, by student.
        items: A row per part.
        tests: A row per test that somebody failed.
        misconceptions: What students may have thought.
        times: What is known about time.
        flags: Findings by student, those to look at first.
        waiting: What waits for a grade by hand.
        similarity: How alike submissions are.
        made: When the report was made, UTC.
    """

    records: ClassRecords
    shares: Mapping[str, float]
    items: tuple[ItemRow, ...]
    tests: tuple[TestRow, ...]
    misconceptions: tuple[Misconception, ...]
    times: Times
    flags: Mapping[str, tuple[Finding, ...]]
    waiting: tuple[Waiting, ...]
    similarity: Similarity
    made: dt.datetime

    @property
    def is_small(self) -> bool:
        """Whether there are too few submissions for statistics."""
        return len(self.shares) < FEWEST

    @property
    def unreadable(self) -> dict[str, str]:
        """Students whose submission could not be graded at all, with the reason."""
        return {item.student: item.unreadable for item in self.records.submissions if item.unreadable}

    @property
    def median(self) -> float | None:
        """Of the shares of the points; None without submissions."""
        return statistics.median(self.shares.values()) if self.shares else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; answers stay out, shared passages are named by their parts."""
        content = {
            "lab": self.records.lab,
            "made": self.made.isoformat(timespec="seconds"),
            "submissions": len(self.records.submissions),
            "too_few_for_statistics": self.is_small,
            "ungraded": list(self.records.ungraded),
            "unreadable": self.unreadable,
            "share_of_points": dict(self.shares),
            "items": [_item_json(row) for row in self.items],
            "tests": [asdict(row) for row in self.tests],
            "misconceptions": [asdict(row) for row in self.misconceptions],
            "times": asdict(self.times),
            "flags": {student: [finding.to_json() for finding in found] for student, found in self.flags.items()},
            "waiting": [asdict(item) for item in self.waiting],
            "similar": {
                "threshold": self.similarity.threshold,
                "compared": self.similarity.compared,
                "median": self.similarity.median,
                "high": self.similarity.high,
                "too_short": list(self.similarity.too_short),
                "pairs": [
                    {
                        "students": list(pair.students),
                        "share": pair.share,
                        "parts": {part.grade_id: part.share for part in pair.parts},
                    }
                    for pair in self.similarity.pairs
                ],
            },
        }
        return content


def _item_json(row: ItemRow) -> dict[str, Any]:
    content = asdict(row)
    part = content.pop("part")
    return {key: part[key] for key in ("grade_id", "title", "points", "exercise_id")} | content


def report_lab(course: Course, lab: str, *, similar: float = SIMILAR) -> ClassReport:
    """Return the report on a lab's submissions.

    Args:
        course: The course.
        lab: The lab's full name.
        similar: Share of the smaller submission from which on a pair is listed.

    Raises:
        InputError: Nothing has been graded.
        MissingDependencyError: copydetect is not installed.
    """
    return summarize(gather(course, lab), similar=similar)


def summarize(records: ClassRecords, *, similar: float = SIMILAR) -> ClassReport:
    """Return the report on records that were gathered."""
    titles = {part.grade_id: part.title for part in records.parts}
    flags = {
        item.student: tuple(sorted(item.findings, key=lambda finding: not finding.suspicious))
        for item in records.submissions
        if item.findings
    }
    by_worry = sorted(flags, key=lambda student: (not any(item.suspicious for item in flags[student]), student))
    return ClassReport(
        records,
        shares=shares_of(records),
        items=item_rows(records),
        tests=test_rows(records),
        misconceptions=misconceptions(records),
        times=times_of(records),
        flags={student: flags[student] for student in by_worry},
        waiting=tuple(
            Waiting(item.student, titles.get(name, name), reason)
            for item in records.submissions
            if not item.unreadable
            for name, reason in item.waiting.items()
        ),
        similarity=find_similar(
            {item.student: item.answers for item in records.submissions if not item.unreadable},
            stubs={part.grade_id: part.stub for part in records.parts},
            prose=[part.grade_id for part in records.parts if not part.exercise_id],
            threshold=similar,
        ),
        made=dt.datetime.now(dt.UTC),
    )


def write_class_report(report: ClassReport, path: Path) -> Path:
    """Write the report as one HTML file that only its owner may read, and return its path.

    Raises:
        OutputError: The file cannot be written.
    """
    from yolotrt_lab.grading.course.report.page import render_class_report

    before = os.umask(0o077)
    try:
        write_text(path, render_class_report(report))
    finally:
        os.umask(before)
    return path
