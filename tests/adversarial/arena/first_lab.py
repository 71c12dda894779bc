"""The lab that most adversaries attack: three small functions and a question."""

from __future__ import annotations

from arena.target import TargetLab

__all__ = ["DOUBLE", "FIRST_LAB", "SCALE", "SMALLEST", "SOLUTION_CANARY", "SUITE_CANARY", "WRITTEN"]

DOUBLE, SMALLEST, SCALE, WRITTEN = "lab0-double", "lab0-smallest", "lab0-scale", "lab0-written"
SOLUTION_CANARY = "solution-canary-81c2"
SUITE_CANARY = "suite-canary-3fd0"

_META = '"schema_version": 3, "task": false'


def _answer(name: str) -> str:
    return f'nbgrader={{"grade": false, "grade_id": "lab0-{name}", "locked": false, "solution": true, {_META}}}'


def _check(name: str, points: int) -> str:
    marks = f'"grade": true, "grade_id": "lab0-{name}-check", "locked": true, "points": {points}, "solution": false'
    return f"nbgrader={{{marks}, {_META}}}"


_SCRIPT = f'''\
# %% [markdown]
# # Lab 0: a target

# %%
import sys

from yolotrt_lab.grading import check

# %% {_answer("double")}
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x  # {SOLUTION_CANARY}
    ### END SOLUTION

# %% {_check("double", 6)}
check("lab0.double")

# %% {_answer("smallest")}
def smallest(values):
    """The smallest value and its place."""
    ### BEGIN SOLUTION
    place = min(range(len(values)), key=values.__getitem__)
    return values[place], place
    ### END SOLUTION

# %% {_check("smallest", 4)}
check("lab0.smallest")

# %% {_answer("scale")}
def scale(values, factor):
    """The values times the factor."""
    ### BEGIN SOLUTION
    return values * factor
    ### END SOLUTION

# %% {_check("scale", 4)}
check("lab0.scale")

# %% [markdown] nbgrader={{"grade": false, "grade_id": "lab0-question", "locked": true, "solution": false, {_META}}}
# ## Why double?

# %% [markdown] nbgrader={{"grade": true, "grade_id": "{WRITTEN}", "locked": false, "points": 10, "solution": true, {_META}}}
# Because twice is more than once.
'''  # noqa: E501 -- a marker stands in one line


def _head(name: str, *, seconds: float) -> str:
    """Return the beginning of an exercise's file; loops that never end are in `double`, so it has little time."""
    return f'''\
"""lab0.{name}: a small function."""
import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points

EXERCISE = Exercise(
    id="lab0.{name}", title="{name}", objective="A small function.", answer="{name}", difficulty=1, minutes=1,
    cases=("few",), hidden=("many",), seconds={seconds},
)
'''


_DOUBLE = f'''{_head("double", seconds=2.0)}

def inputs(case, rng):
    return {{"x": int(rng.integers(1, 10)) if case == "few" else -int(rng.integers(10**6, 10**9))}}


@points(2)
def test_is_a_number(answer):
    """The result is a number."""
    answer.number()


@points(4)
def test_is_twice_the_number(answer):
    """The result is twice the number."""
    expected = 2 * answer.inputs["x"]  # {SUITE_CANARY}
    if answer.number() != expected:
        raise Mismatch(expected=f"{{expected}}", seen=f"{{answer.number():g}}", misconception="Is the sign lost?")
'''

_SMALLEST = (
    _head("smallest", seconds=6.0)
    + '''

def inputs(case, rng):
    return {"values": [int(v) for v in rng.integers(0, 1000, 5 if case == "few" else 50)]}


@points(2)
def test_value(answer):
    """The value is the smallest."""
    expect(answer.item(0).number() == min(answer.inputs["values"]), expected="the smallest value", seen="another one")


@points(2)
def test_place(answer):
    """The place is the first with that value."""
    values = answer.inputs["values"]
    expect(answer.item(1).number() == values.index(min(values)), expected="its first place", seen="another one")
'''
)

_SCALE = (
    _head("scale", seconds=6.0)
    + '''

def inputs(case, rng):
    return {"values": rng.normal(size=4 if case == "few" else 1000), "factor": float(rng.uniform(2, 3))}


@points(4)
def test_every_value_is_scaled(answer):
    """Every value is scaled."""
    values = answer.inputs["values"]
    seen = answer.array(shape=values.shape)
    expect(bool(np.isfinite(seen).all()), expected="finite values", seen="others")
    expect_close(seen, values * answer.inputs["factor"], what="the values")
'''
)

# As a course with plain nbgrader would check the same: an assert, and points by what the last line evaluates to.
_STOCK = {
    "lab0-double-check": """\
assert double(3) == 6
### BEGIN HIDDEN TESTS
assert double(-7919000) == -15838000
### END HIDDEN TESTS
""",
    "lab0-smallest-check": """\
_points = 0
_found = smallest([8, 3, 5, 3])
_points += 2 * (_found[0] == 3)
_points += 2 * (_found[1] == 1)
_points
""",
    "lab0-scale-check": """\
import numpy as np

np.testing.assert_allclose(scale(np.array([1.0, -2.0]), 2.5), [2.5, -5.0])
### BEGIN HIDDEN TESTS
np.testing.assert_allclose(scale(np.arange(6.0), 3.5), [0.0, 3.5, 7.0, 10.5, 14.0, 17.5])
### END HIDDEN TESTS
""",
}

FIRST_LAB = TargetLab(
    name="lab0_target",
    script=_SCRIPT,
    suite={
        "lab0/test_double.py": _DOUBLE,
        "lab0/test_smallest.py": _SMALLEST,
        "lab0/test_scale.py": _SCALE,
    },
    answers={
        DOUBLE: "def double(x):\n    return x + x",
        SMALLEST: "def smallest(values):\n    return min(values), values.index(min(values))",
        SCALE: "def scale(values, factor):\n    return factor * values",
        WRITTEN: "Because two is *company*.",
    },
    stock=_STOCK,
    canaries={"the solution": SOLUTION_CANARY, "the tests": SUITE_CANARY},
    settings="""\
c.RecordExercises.timeout = 12
c.RecordExercises.check_margin = 1
c.RecordExercises.memory_gib = 0.375
""",
)
