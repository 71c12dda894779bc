"""A class made by hand: two exercises and a written answer."""

import datetime as dt

import pytest

from yolotrt_lab.grading.course.report.records import ClassRecords, Part, SubmissionRecord
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult

PARTS = (
    Part("a-check", "First", 6.0, "lab0.first", "def first(): ...", 20),
    Part("b-check", "Second", 4.0, "lab0.second", "def second(): ...", 10),
    Part("written", "Written answer", 10.0),
)


def _verdict(name: str, passed: tuple[bool, ...], *, says: str = "Is it 3 or 4?", state: State | None = None):
    """Return a result whose tests are worth the points of the part."""
    worth = {"first": (4, 2), "second": (4,)}[name]
    tests = tuple(
        TestResult(f"test_{number}", f"Test {number}", points, right, misconception="" if right else says)
        for number, (points, right) in enumerate(zip(worth, passed, strict=True))
    )
    state = state or (State.PASSED if all(passed) else State.FAILED)
    return ExerciseResult(f"lab0.{name}", name.title(), state, tests)


@pytest.fixture
def verdict():
    """Make the verdict on "first" or "second" from which of its tests passed."""
    return _verdict


@pytest.fixture
def submission():
    """Make a submission from the verdicts on both exercises and the points of the written answer."""

    def make(student, first=(True, True), second=(True,), written=8.0, *, says="Is it 3 or 4?", **more):
        results = {"lab0.first": _verdict("first", first, says=says), "lab0.second": _verdict("second", second)}
        results |= more.pop("results", {})
        scores = {"a-check": float(results["lab0.first"].score), "b-check": float(results["lab0.second"].score),
                  "written": written, **more.pop("scores", {})}  # fmt: skip
        settings = {
            "waiting": {name: "" for name, score in scores.items() if score is None},
            "submitted": dt.datetime(2026, 1, 9, 12),
            "answers": {"a-check": f"def first():\n    return '{student}'"},
        }
        return SubmissionRecord(student, scores, results=results, **{**settings, **more})

    return make


@pytest.fixture
def class_of():
    """Make the records of a class."""

    def make(*submissions, **more):
        return ClassRecords("lab0_sample", PARTS, tuple(submissions), **more)

    return make
