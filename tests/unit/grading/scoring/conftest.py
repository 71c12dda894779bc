"""Two small exercises whose tests believe what they get, and records to judge."""

import json
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.suite import load_exercise

SEED = 11

# Tests as instructors write them on a bad day: they stumble over what they did not think of.
TRUSTING = '''\
import os, signal, time
import numpy as np
from yolotrt_lab.grading import Exercise, expect, points

EXERCISE = Exercise(
    id="lab0.trusting", title="Trusting", objective="o", answer="trusting", difficulty=1, minutes=1,
    cases=("one", "two"), hidden=("three",),
)
MADE, PREPARED = [], []


def inputs(case, rng):
    MADE.append(case)
    return {"values": rng.random(4)}


def prepare(values):
    PREPARED.append(len(values))


@points(3)
def test_sums(answer):
    """The sum is right."""
    expect(abs(answer.output - answer.inputs["values"].sum()) < 1e-9, expected="the sum", seen="another number")
    answer.inputs["values"][:] = 0  # must not be seen by anybody else


@points(2)
def test_does_as_told(answer):
    """Does as told."""
    value = answer.output
    if value == "hang":
        time.sleep(600)
    if value == "spin":
        while True:
            pass
    if value == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if value == "vanish":
        os._exit(3)
    if value == "grow":
        np.zeros(1 << 40)
    if value == "fill":
        raise OSError(28, "No space left on device")
    value + 1


@points(1)
def test_is_there(answers):
    """There is a result for each case."""
    for answer in answers:
        answer.output
'''


@pytest.fixture
def root(tmp_path, suite, monkeypatch) -> Path:
    """A suite with lab0.clip and lab0.trusting."""
    folder = tmp_path / "suite" / "lab0"
    folder.mkdir(parents=True)
    (folder / "test_clip.py").write_text((suite / "lab0" / "test_clip.py").read_text())
    (folder / "test_trusting.py").write_text(TRUSTING)
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(folder.parent))
    return folder.parent


@pytest.fixture
def recorded(root, tmp_path):
    """Record answers to both exercises, and return the folder."""

    def make(name: str, *, trusting=lambda values: values.sum(), clip=lambda values, limit: np.clip(values, -2, 2)):
        folder = tmp_path / name
        for exercise_id, answer in (("lab0.trusting", trusting), ("lab0.clip", clip)):
            record(load_exercise(exercise_id, root=root), answer, folder=folder, hidden_seed=SEED)
        return folder

    return make


@pytest.fixture
def rewrite():
    """Put something else in the place of the output that was recorded for every case."""

    def change(folder: Path, exercise_id: str, output: object) -> Path:
        for path in (folder / exercise_id).glob("*/record.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps({**content, "output": output}))
        return folder

    return change
