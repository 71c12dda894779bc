"""Tests fail a student with what was expected, what was seen and why; typed access never breaks."""

import json

import numpy as np
import pytest

from yolotrt_lab.grading.answers import Answer
from yolotrt_lab.grading.codec import encode
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.expectations import Mismatch, expect, expect_close, expect_equal

CASE = Case("c", False, 0)


@pytest.fixture
def answer(tmp_path):
    def make(value=None, **record):
        content = record or {"status": "returned", "output": encode(value, tmp_path), "changed_inputs": []}
        (tmp_path / "record.json").write_text(json.dumps(content))
        return Answer(CASE, tmp_path, inputs=dict)

    return make


def failure(action) -> Mismatch:
    with pytest.raises(Mismatch) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("right", [True, 1, np.True_, "text"])
def test_expect_passes(right):
    expect(right, expected="e", seen="s")


def test_expect_fails_with_all_three():
    error = failure(lambda: expect(0, expected="e", seen="s", misconception="m"))
    assert (error.expected, error.seen, error.misconception) == ("e", "s", "m")


@pytest.mark.parametrize(
    ("seen", "expected"), [(1, 1.0), ([1], [1]), ("a", "a"), ((1, 2), (1, 2)), (np.float32(0.5), 0.5), (None, None)]
)
def test_equal(seen, expected):
    expect_equal(seen, expected, what="it")


@pytest.mark.parametrize(
    ("seen", "expected"), [(1, 2), ([1], (1,)), (np.ones(2), [1, 1]), (None, 0), (float("nan"), 1)]
)
def test_unequal(seen, expected):
    assert "it" in failure(lambda: expect_equal(seen, expected, what="it")).expected


@pytest.mark.parametrize(
    ("seen", "expected", "says"),
    [
        ([1.0, 2.0], [1.0, 2.5], "2 there; 1 of 2"),
        ([1.0], [1.0, 2.0], "shape (1,)"),
        ("x", [1.0], "x"),
        ([np.nan, 1], [0.0, 1], "nan there"),
        (None, 1.0, "nan"),
        ([[1], [1, 2]], [1.0], "[[1], [1, 2]]"),
        (3.0, 4.0, "3"),
        (np.inf, 4.0, "inf"),
    ],
)
def test_not_close(seen, expected, says):
    assert says in failure(lambda: expect_close(seen, expected, what="it")).seen


def test_close():
    expect_close([1.0, np.nan], np.array([1.0 + 1e-9, np.nan]), what="it")
    expect_close([], np.zeros(0), what="it")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([1, 2], lambda a: a.array(shape=(2,))),
        (np.ones((2, 3), np.float32), lambda a: a.array(dtype="float32", ndim=2)),
        (np.array([2.5]), lambda a: a.number()),
        (3.0, lambda a: a.integer()),
        (np.True_, lambda a: a.boolean()),
        ("x", lambda a: a.text()),
        ({2, 1}, lambda a: a.list(length=2)),
        (np.arange(3), lambda a: a.list()),
        ({"a": [1]}, lambda a: a.item("a").item(0).integer()),
    ],
)
def test_typed_access(answer, value, read):
    read(answer(value))


@pytest.mark.parametrize(
    ("value", "read", "says"),
    [
        (None, lambda a: a.array(), "None"),
        ("x", lambda a: a.array(), "str"),
        ([[1], [2, 3]], lambda a: a.array(), "list"),
        (np.ones(3), lambda a: a.array(shape=(4,)), "shape (3,)"),
        (np.ones(3), lambda a: a.array(ndim=2), "1 axes"),
        (np.ones(3), lambda a: a.array(dtype="float32"), "float64"),
        (np.array(["a"]), lambda a: a.array(), "ndarray"),
        (True, lambda a: a.number(), "True"),
        (float("nan"), lambda a: a.number(), "nan"),
        (2.5, lambda a: a.integer(), "2.5"),
        (1, lambda a: a.boolean(), "1"),
        (1, lambda a: a.text(), "1"),
        ("ab", lambda a: a.list(), "ab"),
        ([1], lambda a: a.list(length=2), "list of 1"),
        ([1], lambda a: a.mapping(), "list"),
        ({"a": 1}, lambda a: a.mapping(keys=("a", "b")), "no b"),
        ({"a": 1}, lambda a: a.item("b"), "no b"),
        ([1], lambda a: a.item(1), "1 entries"),
        (None, lambda a: a.item("a"), "None"),
        ("x.onnx", lambda a: a.file(), "no file"),
        (object(), lambda a: a.number(), "object"),
    ],
)
def test_typed_access_says_what_is_wrong(answer, value, read, says):
    assert says in failure(lambda: read(answer(value))).seen


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"status": "raised", "type": "ValueError", "message": "no", "where": {"text": "x = 1", "line": 3}}, "`x = 1`"),
        ({"status": "timeout", "seconds": 5}, "5 seconds"),
        ({"status": "shortcut", "name": "torchvision.ops.nms"}, "torchvision.ops.nms"),
        ({"status": "unfinished"}, "not written"),
        ({"status": "nonsense"}, "none"),
        ({"status": "returned", "output": {"$": "riddle"}}, "damaged"),
    ],
)
def test_no_result(answer, record, says):
    assert says in failure(lambda: answer(**record).number()).seen
    if record["status"] != "returned":
        assert says in failure(lambda: answer(**record).changed_inputs).seen


def test_errors_can_be_what_a_test_wants(answer):
    assert answer(status="raised", type="ValueError", message="no").error() == ("ValueError", "no")
    assert answer(1).error() is None
