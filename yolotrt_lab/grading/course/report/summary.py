"""What a class report says, computed from the records: plain numbers and words, without a page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from yolotrt_lab.grading.course.report.items import (
    FEWEST,
    difficulty,
    item_rest_correlation,
    point_biserial,
    upper_lower_discrimination,
)
from yolotrt_lab.grading.course.report.records import ClassRecords, Part, SubmissionRecord
from yolotrt_lab.grading.results import ExerciseResult, State

__all__ = ["OUTCOMES", "ItemRow", "Misconception", "TestRow", "item_rows", "misconceptions", "shares_of", "test_rows"]

OUTCOMES = ("all points", "half or more", "less than half", "no points", "not written", "waits for a grade")
"""How a part can come out, in the order in which they are drawn."""

_JUDGED = (State.PASSED, State.FAILED)


@dataclass(frozen=True)
class ItemRow:
    """One part of the lab over the class.

    Attributes:
        part: The part.
        outcomes: Number of submissions by outcome.
        graded: Number of submissions that have points for it.
        difficulty: Mean share of its points; None if nobody has any.
        correlation: With the rest of the points; None where it means nothing.
        discrimination: The best 27 % less the weakest 27 %; None where it means nothing.
        remark: What an instructor may want to look at; "" for nothing.
    """

    part: Part
    outcomes: Mapping[str, int]
    graded: int
    difficulty: float | None
    correlation: float | None
    discrimination: float | None
    remark: str


@dataclass(frozen=True)
class TestRow:
    """One test of an exercise over the class.

    Attributes:
        exercise_id: The exercise.
        exercise: Its title.
        test: The test's title.
        points: What it is worth.
        failed: Who failed it, having written an answer.
        judged: How many answers were judged.
        correlation: Point-biserial, with the points of the other parts; None where it means nothing.
    """

    __test__ = False  # a name pytest would collect

    exercise_id: str
    exercise: str
    test: str
    points: int
    failed: tuple[str, ...]
    judged: int
    correlation: float | None


@dataclass(frozen=True)
class Misconception:
    """Something that several students seem to have thought.

    Attributes:
        exercise_id: The exercise.
        exercise: Its title.
        text: What the tests said, in its most frequent wording.
        students: Who heard it.
        tests: Titles of the tests that said so.
    """

    exercise_id: str
    exercise: str
    text: str
    students: tuple[str, ...]
    tests: tuple[str, ...]


def shares_of(records: ClassRecords) -> dict[str, float]:
    """Return each student's share of the points that are given already; unreadable submissions are left out."""
    return {
        item.student: share
        for item in records.submissions
        if not item.unreadable and (share := _share(item, records.parts)) is not None
    }


def _share(item: SubmissionRecord, parts: Sequence[Part], *, without: str = "") -> float | None:
    known = [(item.scores.get(part.grade_id), part.points) for part in parts if part.grade_id != without]
    given = [(score, points) for score, points in known if score is not None]
    possible = sum(points for _, points in given)
    return sum(score for score, _ in given) / possible if possible else None


def item_rows(records: ClassRecords) -> tuple[ItemRow, ...]:
    """Return a row per part of the lab, in its order."""
    return tuple(_item_row(records, part) for part in records.parts)


def _item_row(records: ClassRecords, part: Part) -> ItemRow:
    outcomes = dict.fromkeys(OUTCOMES, 0)
    shares, totals, with_rest = [], [], []
    for item in records.submissions:
        outcomes[_outcome(item, part)] += 1
        score, total = item.scores.get(part.grade_id), _share(item, records.parts)
        if score is None or item.unreadable or total is None or not part.points:
            continue
        share = score / part.points
        rest = _share(item, records.parts, without=part.grade_id)
        shares.append(share)
        totals.append(total)
        with_rest.append(share + (rest or 0.0))
    enough = len(shares) >= FEWEST
    p = difficulty(shares) if shares else None
    r = item_rest_correlation(shares, with_rest) if enough and len(records.parts) > 1 else None
    d = upper_lower_discrimination(shares, totals) if enough else None
    return ItemRow(part, outcomes, len(shares), p, r, d, _remark(p, r, len(shares)) if enough else "")


def _outcome(item: SubmissionRecord, part: Part) -> str:
    score = item.scores.get(part.grade_id)
    if score is None or item.unreadable:
        return "waits for a grade"
    result = item.results.get(part.exercise_id)
    if not score and result is not None and result.state in (State.UNFINISHED, State.MISSING):
        return "not written"
    if score >= part.points:
        return "all points"
    return "half or more" if score >= part.points / 2 else "less than half" if score > 0 else "no points"


def _remark(p: float | None, r: float | None, count: int) -> str:
    """Return what the numbers suggest to look at, if it is more than chance: r is uncertain by about 2 / sqrt(n).

    An item that correlates less than 0.2 is a poor one by Ebel and Frisbie.
    """
    uncertain = 2 / math.sqrt(count)
    if r is not None and r < -uncertain:
        return "Those who are strong otherwise lose points here: is a test or the text wrong?"
    if p is not None and p >= 0.95:
        return "Nearly everybody has it: it says little about anybody."
    if p is not None and p <= 0.25:
        return "Few have it: is something missing before it?"
    if r is not None and r + uncertain < 0.2:
        return "It hardly tells strong from weak submissions."
    return ""


def test_rows(records: ClassRecords) -> tuple[TestRow, ...]:
    """Return a row per test that somebody failed, the most often failed first."""
    rows = []
    for part in records.parts:
        judged = [(item, item.results[part.exercise_id]) for item in _readable(records)
                  if part.exercise_id in item.results and item.results[part.exercise_id].state in _JUDGED]  # fmt: skip
        names = {test.name: test for _, result in judged for test in result.tests}
        for name, test in names.items():
            passed = {item.student: _passed(result, name) for item, result in judged}
            failed = tuple(student for student, right in passed.items() if not right)
            if not failed:
                continue
            rest = [_share(item, records.parts, without=part.grade_id) or 0.0 for item, _ in judged]
            r = point_biserial(list(passed.values()), rest) if len(judged) >= FEWEST else None
            rows.append(TestRow(part.exercise_id, part.title, test.title, test.points, failed, len(judged), r))
    return tuple(sorted(rows, key=lambda row: (-len(row.failed), row.exercise_id, row.test)))


test_rows.__test__ = False  # type: ignore[attr-defined]  # a name pytest would collect


def _passed(result: ExerciseResult, name: str) -> bool:
    return any(test.passed for test in result.tests if test.name == name)


def _readable(records: ClassRecords) -> Iterator[SubmissionRecord]:
    return (item for item in records.submissions if not item.unreadable)


def misconceptions(records: ClassRecords) -> tuple[Misconception, ...]:
    """Return what students may have thought, the most frequent first; texts that differ in numbers only are one."""
    titles = {part.exercise_id: part.title for part in records.parts if part.exercise_id}
    heard: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for item in _readable(records):
        for exercise_id, result in item.results.items():
            for test in result.tests:
                if exercise_id in titles and not test.passed and test.misconception:
                    key = exercise_id, re.sub(r"\d+(\.\d+)?", "#", test.misconception)
                    heard.setdefault(key, []).append((test.misconception, item.student, test.title))
    found = []
    for (exercise_id, _), said in heard.items():
        texts, students, tests = ([entry[place] for entry in said] for place in range(3))
        wording = max(dict.fromkeys(texts), key=texts.count)
        found.append(Misconception(exercise_id, titles[exercise_id], wording, tuple(dict.fromkeys(students)),
                                   tuple(dict.fromkeys(tests))))  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-len(one.students), one.exercise_id, one.text)))
