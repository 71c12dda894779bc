"""Counts, statistics and words of a class report, on classes small enough to count by hand."""

import datetime as dt

import pytest

from yolotrt_lab.grading.course.report.class_report import summarize
from yolotrt_lab.grading.course.report.summary import item_rows, misconceptions, shares_of, test_rows
from yolotrt_lab.grading.course.report.times import times_of
from yolotrt_lab.grading.results import State

WEAK = {"first": (False, False), "second": (False,), "written": 3.0}


def outcomes(row):
    return {name: count for name, count in row.outcomes.items() if count}


def test_each_part_comes_out_in_one_way_for_each_submission(class_of, submission, verdict):
    unwritten = verdict("second", (False,), state=State.UNFINISHED)
    records = class_of(
        submission("ada"),
        submission("ben", first=(True, False), written=None),
        submission("cleo", first=(False, True), results={"lab0.second": unwritten}),
        submission("dan", first=(False, False), scores={"b-check": None}, waiting={"b-check": "The kernel died."}),
        submission("eve", unreadable="It was cut off."),
    )
    first, second, written = item_rows(records)
    assert outcomes(first) == {"all points": 1, "half or more": 1, "less than half": 1, "no points": 1,
                               "waits for a grade": 1}  # fmt: skip
    assert outcomes(second) == {"all points": 2, "not written": 1, "waits for a grade": 2}
    assert outcomes(written) == {"half or more": 3, "waits for a grade": 2}
    assert first.difficulty == pytest.approx((6 + 4 + 2 + 0) / 24)
    assert second.graded == 3
    assert (first.correlation, first.discrimination, first.remark) == (None, None, "")  # four are too few


def test_what_waits_or_could_not_be_read_counts_neither_way(class_of, submission):
    records = class_of(
        submission("ada", written=None), submission("ben", **WEAK), submission("eve", unreadable="It was cut off.")
    )
    assert shares_of(records) == {"ada": 1.0, "ben": pytest.approx(3 / 20)}
    report = summarize(records)
    assert [(item.student, item.part, item.reason) for item in report.waiting] == [("ada", "Written answer", "")]
    assert report.unreadable == {"eve": "It was cut off."}


def test_points_given_by_hand_count(class_of, submission):
    (first, _, _) = item_rows(class_of(submission("ada", first=(False, False), scores={"a-check": 6.0})))
    assert outcomes(first) == {"all points": 1}


def test_an_item_that_the_strong_have_and_the_weak_have_not(class_of, submission):
    strong = [submission(f"s{number}", written=8.0 + number % 3) for number in range(6)]
    weak = [submission(f"w{number}", **WEAK | {"written": 1.0 + number % 3}) for number in range(6)]
    first, _, _ = item_rows(class_of(*strong, *weak))
    assert first.correlation > 0.9
    assert first.discrimination == 1.0
    assert first.remark == ""


def test_an_item_that_the_strong_lose_is_pointed_out(class_of, submission):
    strong = [submission(f"s{number}", second=(False,), written=9.0) for number in range(6)]
    weak = [submission(f"w{number}", first=(False, False), written=2.0) for number in range(6)]
    _, second, _ = item_rows(class_of(*strong, *weak))
    assert second.correlation < -0.9
    assert "strong otherwise lose points here" in second.remark


def test_chance_is_not_pointed_out(class_of, submission):
    """With r = -0.2 and twelve submissions nothing is known."""
    mixed = [submission(f"s{n}", second=(n % 2 == 0,), written=5.0 + n % 3 + 0.3 * (n % 2)) for n in range(12)]
    _, second, _ = item_rows(class_of(*mixed))
    assert -0.5 < second.correlation < 0
    assert second.remark == ""


def test_misconceptions_that_differ_in_numbers_are_one(class_of, submission):
    says = ["Is it 3 or 4?", "Is it 3 or 4?", "Is it 3.5 or 40?", "Something else."]
    records = class_of(*(submission(f"s{n}", first=(False, False), says=text) for n, text in enumerate(says)))
    first, second = misconceptions(records)
    assert (first.text, first.students, first.tests) == ("Is it 3 or 4?", ("s0", "s1", "s2"), ("Test 0", "Test 1"))
    assert (second.text, second.students) == ("Something else.", ("s3",))


def test_tests_are_sorted_by_who_failed_them(class_of, submission, verdict):
    unwritten = verdict("first", (False, False), state=State.UNFINISHED)
    trouble = verdict("first", (False, False), state=State.TROUBLE)
    records = class_of(
        submission("ada", first=(False, True)),
        submission("ben", first=(False, True), second=(False,)),
        submission("cleo", results={"lab0.first": unwritten}),
        submission("dan", results={"lab0.first": trouble}),
    )
    rows = test_rows(records)
    assert [(row.exercise_id, row.test, row.failed, row.judged) for row in rows] == [
        ("lab0.first", "Test 0", ("ada", "ben"), 2),
        ("lab0.second", "Test 0", ("ben",), 4),
    ]
    assert rows[0].correlation is None


def test_time_is_told_as_far_as_it_is_known(class_of, submission):
    due = dt.datetime(2026, 1, 10)
    moments = [due - dt.timedelta(hours=hours) for hours in (60, 30, 7, 2, 0, -1, -30)]
    records = class_of(*(submission(f"s{n}", submitted=moment) for n, moment in enumerate(moments)),
                       submission("lost", submitted=None), due=due)  # fmt: skip
    times = times_of(records)
    assert list(times.arrivals.values()) == [1] * 7
    assert (times.unknown, times.versions, times.span_hours, times.run_seconds) == (1, {}, None, None)
    assert times.planned_minutes == 30
    twice = submission("ada", handed_in=(moments[0], moments[1]), seconds=4.0)
    times = times_of(class_of(twice, submission("ben", handed_in=(due,), seconds=8.0)))
    assert times.arrivals == {"2026-01-09": 2}
    assert (times.versions, times.span_hours, times.run_seconds) == ({1: 1, 2: 1}, 30.0, (6.0, 8.0))


def test_an_empty_class_is_no_error(class_of):
    report = summarize(class_of())
    assert (report.median, report.is_small, report.tests, report.items[0].difficulty) == (None, True, (), None)
