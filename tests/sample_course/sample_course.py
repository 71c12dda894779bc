"""A course in a folder of its own: one small lab, its suite, and students who hand in all sorts of things."""

import copy
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
LAB = "lab0_sample"
WRITTEN = "lab0-written"
HIDDEN_MARK = 7919  # a number that only hidden inputs hold

_META = '"schema_version": 3, "task": false'
_UNLOCKED = f'"locked": false, {_META}'


def _answer(name: str) -> str:
    return f'nbgrader={{"grade": false, "grade_id": "lab0-{name}", "locked": false, "solution": true, {_META}}}'


def _check(name: str, points: int) -> str:
    return (
        f'nbgrader={{"grade": true, "grade_id": "lab0-{name}-check", "locked": true, "points": {points}, '
        f'"solution": false, {_META}}}'
    )


SCRIPT = f'''\
# %% [markdown]
# # Lab 0: a sample
#
# <details><summary>Answer</summary>The lab's own HTML stays.</details>

# %%
import sys

from yolotrt_lab.grading import check, using

# %% [markdown]
# ## Doubling

# %% {_answer("double")}
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% {_check("double", 6)}
check("lab0.double")

# %% tags=["demonstration"]
raise RuntimeError("a demonstration was run by the grader")

# %% {_answer("smallest")}
def smallest(values):
    """The smallest value and its place."""
    ### BEGIN SOLUTION
    place = min(range(len(values)), key=values.__getitem__)
    return values[place], place
    ### END SOLUTION

# %% {_check("smallest", 4)}
check("lab0.smallest")

# %% [markdown] nbgrader={{"grade": false, "grade_id": "lab0-question", "locked": true, "solution": false, {_META}}}
# ## Why double?
#
# In a sentence or two. One point for each reason.

# %% [markdown] nbgrader={{"grade": true, "grade_id": "{WRITTEN}", "points": 10, "solution": true, {_UNLOCKED}}}
# Because twice is more than once.
'''

DOUBLE = f'''\
"""lab0.double: twice a number."""
from yolotrt_lab.grading import Exercise, Mismatch, points

EXERCISE = Exercise(
    id="lab0.double", title="Doubling", objective="Double a number.", answer="double", difficulty=1, minutes=1,
    cases=("small", "large"), hidden=("negative",), seconds=2.0,
)


def inputs(case, rng):
    if case == "negative":
        return {{"x": -{HIDDEN_MARK}000 - int(rng.integers(1, 1000))}}
    return {{"x": int(rng.integers(1, 10)) * (1 if case == "small" else 1000)}}


@points(2)
def test_is_a_number(answer):
    """The result is a number."""
    answer.number()


@points(4)
def test_is_twice_the_number(answer):
    """The result is twice the number."""
    x = answer.inputs["x"]
    if answer.number() != 2 * x:
        raise Mismatch(expected=f"{{2 * x}}", seen=f"{{answer.number():g}}", misconception="Is the sign lost?")
'''

SMALLEST = '''\
"""lab0.smallest: the smallest value and where it is."""
from yolotrt_lab.grading import Exercise, expect, points

EXERCISE = Exercise(
    id="lab0.smallest", title="Smallest value", objective="Find the smallest value.", answer="smallest", difficulty=1,
    minutes=1, cases=("a few",), hidden=("many",), seconds=2.0,
)


def inputs(case, rng):
    return {"values": [int(v) for v in rng.integers(0, 1000, 5 if case == "a few" else 50)]}


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

ANSWERS = {
    "lab0-double": "def double(x):\n    return x + x",
    "lab0-smallest": "def smallest(values):\n    return min(values), values.index(min(values))",
    WRITTEN: "Because two is *company*.",
}


def build_notebooks():
    """Return the module of scripts/build_notebooks.py."""
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "scripts" / "build_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_course(root: Path) -> Path:
    """Make the course: configuration, suite, solution and release."""
    shutil.copy(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    (root / "course" / "notebooks").mkdir(parents=True)
    (root / "course" / "notebooks" / f"{LAB}.py").write_text(SCRIPT)
    suite = root / "suite" / "lab0"
    suite.mkdir(parents=True)
    (suite / "test_double.py").write_text(DOUBLE)
    (suite / "test_smallest.py").write_text(SMALLEST)
    for path, text in build_notebooks().built_notebooks(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which programs see the course's suite."""
    return {
        **os.environ,
        "YOLOTRT_GRADING_SUITE": str(root / "suite"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def released(root: Path) -> dict:
    """Return the released notebook as plain JSON."""
    notebook = nbformat.read(root / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
    return json.loads(json.dumps(notebook))


def cell(notebook: dict, grade_id: str) -> dict:
    """Return the cell of a notebook with a grade id."""
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def answered(root: Path, **changes: str | None) -> dict:
    """Return a notebook with right answers; give others by grade id with _ for -, None for the released text."""
    notebook = copy.deepcopy(released(root))
    for grade_id, text in {**ANSWERS, **{name.replace("_", "-"): text for name, text in changes.items()}}.items():
        if text is not None:
            cell(notebook, grade_id)["source"] = text
    return notebook


def hand_in(root: Path, student: str, notebook: dict | str | bytes | None, *, name: str = LAB) -> Path:
    """Put a submission into course/submitted, as an instructor does who got it by mail; return its folder."""
    folder = root / "course" / "submitted" / student / LAB
    folder.mkdir(parents=True)
    if notebook is not None:
        content = json.dumps(notebook) if isinstance(notebook, dict) else notebook
        content = content.encode() if isinstance(content, str) else content
        (folder / f"{name}.ipynb").write_bytes(content)
    return folder
