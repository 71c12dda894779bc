"""What a kernel gets of the suite records what the whole suite would, and holds nothing that judges."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.digests import exercise_digest
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.recording_part import recording_digest, recording_sources, write_recording_suite
from yolotrt_lab.grading.seeds import case_seeds
from yolotrt_lab.grading.suite import exercise_ids, load_exercise

COURSE = Path(__file__).parents[2] / "grading"

USER = '''\
"""lab0.user: uses what lies beside it."""
from __future__ import annotations
import json, math
from collections import Counter as Count, OrderedDict
from yolotrt_lab.grading import Exercise, expect, points, sibling, scratch

beside = sibling(__file__, "beside")
whole = sibling(__file__, "whole")
SIZE = 3
WORDS = {"a": 1}
WORDS |= {"b": SIZE}
WORDS["c"] = math.pi
ANSWERS = {"secret": 42}
if SIZE > 2:
    LIMIT = 5
else:
    LIMIT = 6

EXERCISE = Exercise(
    id="lab0.user", title="t", objective="o", answer="user", difficulty=1, minutes=1, cases=("one",), hidden=("two",)
)


def traced(function):
    return function


@traced
def inputs(case, rng):
    """Never say that the answer is secret."""
    return {"values": beside.made(rng, SIZE), "words": WORDS, "limit": LIMIT, "more": len(vars(whole))}


class Box:
    """Secret."""


def run(answer, **case):
    # secret
    from string import digits

    late = sibling(__file__, "late")
    return [answer(**case), late.VALUE, Count(digits)["1"], Box.__name__]


def reference(values):
    return ANSWERS["secret"] + OrderedDict()


@points(1)
def test_it(answer):
    """Title."""
    expect(reference(answer.inputs["values"]) == 1, expected="secret", seen=json.dumps(1))
'''

BESIDE = '''\
"""Networks."""
from pathlib import Path

SCALE = 2.0
UNUSED = "secret"


def made(rng, size):
    return scaled(rng.random(size)) + float(Path(__file__).with_name("data.txt").read_text())


def scaled(values):
    return SCALE * values


def reference(values):
    return "secret"
'''


@pytest.fixture
def root(tmp_path):
    lab = tmp_path / "suite" / "lab0"
    lab.mkdir(parents=True)
    (lab / "test_user.py").write_text(USER)
    (lab / "beside.py").write_text(BESIDE)
    (lab / "whole.py").write_text("KEPT = 1\n\n\ndef also(): return KEPT\n")
    (lab / "late.py").write_text("VALUE = 9\nOTHER = 'secret'\n")
    (lab / "data.txt").write_text("1.5")
    (lab / "other.txt").write_text("secret")
    return lab.parent


def records(exercise_id, root, folder, answer):
    loaded = load_exercise(exercise_id, root=root)
    record(loaded, answer, folder=folder, seeds=case_seeds([exercise_id], 5, root=root)[exercise_id])
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestPart:
    def test_only_what_is_used_is_there(self, root, tmp_path):
        write_recording_suite("lab0", tmp_path / "part", root=root)
        found = {path.name: path.read_text() for path in (tmp_path / "part" / "lab0").iterdir()}
        assert sorted(found) == ["beside.py", "data.txt", "late.py", "test_user.py", "whole.py"]
        assert not [name for name, text in found.items() if "secret" in text]
        user = found["test_user.py"]
        assert not [word for word in ("def reference", "def test_it", "json", "OrderedDict") if word in user]
        assert "def also" in found["whole.py"]

    def test_it_records_the_same(self, root, tmp_path):
        write_recording_suite("lab0", tmp_path / "part", root=root)
        answer = lambda values, **_: values.sum()  # noqa: E731
        whole = records("lab0.user", root, tmp_path / "a", answer)
        assert whole == records("lab0.user", tmp_path / "part", tmp_path / "b", answer)
        assert len(whole) == 2

    def test_the_sample_suite(self, suite, tmp_path):
        write_recording_suite("lab0", tmp_path / "part")
        loaded = load_exercise("lab0.clip", root=tmp_path / "part")
        assert loaded.tests == ()
        assert loaded.exercise == load_exercise("lab0.clip").exercise
        answer = lambda values, limit: np.clip(values, -limit, limit)  # noqa: E731
        whole = records("lab0.clip", suite, tmp_path / "a", answer)
        assert whole == records("lab0.clip", tmp_path / "part", tmp_path / "b", answer)


class TestDigest:
    @pytest.mark.parametrize(
        ("file", "old", "new", "runs_again"),
        [
            ("test_user.py", '["secret"] +', '["secret"] -', False),
            ("test_user.py", "points(1)", "points(2)", False),
            ("test_user.py", "Never say", "Say", False),
            ("test_user.py", "# secret", "# more", False),
            ("test_user.py", "SIZE = 3", "SIZE = 4", True),
            ("test_user.py", '"b": SIZE', '"d": SIZE', True),
            ("test_user.py", "math.pi", "math.e", True),
            ("beside.py", "SCALE = 2.0", "SCALE = 3.0", True),
            ("beside.py", 'return "secret"', "return 3", False),
            ("late.py", "9", "8", True),
            ("data.txt", "1.5", "1.6", True),
            ("whole.py", "return KEPT", "return 7", True),
        ],
    )
    def test_a_changed_test_runs_nothing_again(self, root, tmp_path, file, old, new, runs_again):
        before, judged = recording_digest("lab0", root=root), exercise_digest("lab0.user", root=root)
        path = root / "lab0" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        assert (recording_digest("lab0", root=root) != before) is runs_again
        assert exercise_digest("lab0.user", root=root) != judged
        assert write_recording_suite("lab0", tmp_path / "x", root=root) == recording_digest("lab0", root=root)

    def test_what_cannot_be_followed_is_refused(self, root):
        with pytest.raises(InputError, match="no lab 'lab7'"):
            recording_digest("lab7", root=root)
        (root / "lab0" / "late.py").write_text("from math import *\nVALUE = pi")
        with pytest.raises(InputError, match="imports \\*"):
            recording_digest("lab0", root=root)
        (root / "lab0" / "late.py").write_text("(")
        with pytest.raises(InputError, match="cannot be read"):
            recording_digest("lab0", root=root)


@pytest.mark.parametrize("lab", ["lab1", "lab2", "lab3", "lab4", "lab5"])
def test_the_course(lab, tmp_path):
    """Every exercise loads from its part, with its declaration and without a test."""
    write_recording_suite(lab, tmp_path, root=COURSE)
    assert exercise_ids(lab, root=tmp_path) == exercise_ids(lab, root=COURSE)
    for exercise_id in exercise_ids(lab, root=COURSE):
        loaded = load_exercise(exercise_id, root=tmp_path)
        assert loaded.exercise.id == exercise_id
        assert loaded.tests == ()
    for source in recording_sources(lab, root=COURSE).values():
        assert "def test_" not in source
        assert "Mismatch(" not in source
    shutil.rmtree(tmp_path)
