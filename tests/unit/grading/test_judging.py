"""Verdicts come from pytest, outside of the student's code, and nothing an answer returns can break them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.results import ExerciseResult, State


def right(values, limit):
    return np.clip(values, -limit, limit)


def one_sided(values, limit):
    return np.minimum(values, limit)


def verdict(clip, answer, folder, seed=None):
    record(clip, answer, folder=folder, hidden_seed=seed)
    return judge(folder, exercises=["lab0.clip"], hidden_seed=seed)["lab0.clip"]


def test_a_right_answer(clip, tmp_path, capfd):
    result = verdict(clip, right, tmp_path, seed=7)
    assert (result.state, result.score, result.points) == (State.PASSED, 5, 5)
    assert capfd.readouterr() == ("", "")


def test_options_for_other_test_runs_do_not_matter(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-v --no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    assert verdict(clip, right, tmp_path).state is State.PASSED
    assert os.environ["PYTEST_ADDOPTS"] == "-v --no-such-option"


def test_a_wrong_answer_loses_the_points_of_the_test_and_hears_why(clip, tmp_path):
    result = verdict(clip, one_sided, tmp_path)
    failed = [test for test in result.tests if not test.passed]
    assert [test.name for test in failed] == ["test_clips_both_ends"]
    assert (result.state, result.score) == (State.FAILED, 3)
    assert failed[0].case == "outside"
    assert failed[0].misconception == "Only large values count."


def test_an_unseen_case_tells_neither_input_nor_output(clip, tmp_path):
    def knows_the_public_ones(values, limit):
        cases = clip.exercise.all_cases(with_hidden=False)
        public = {clip.inputs(case, hidden_seed=None)["values"].tobytes() for case in cases}
        return right(values, limit) if values.tobytes() in public else one_sided(values, limit)

    assert verdict(clip, knows_the_public_ones, tmp_path / "a").state is State.PASSED
    result = verdict(clip, knows_the_public_ones, tmp_path / "b", seed=7)
    (failed,) = [test for test in result.tests if not test.passed]
    assert failed.hidden
    assert (failed.expected, failed.seen) == ("", "")
    assert failed.misconception


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        "8",
        [],
        [[1], [2, 3]],
        object(),
        np.zeros((8, 8)),
        np.full(8, np.nan),
        {"a": 1},
        np.array("x"),
        b"8",
    ],
)
def test_no_output_breaks_the_judge(clip, tmp_path, value):
    result = verdict(clip, lambda values, limit: value, tmp_path)
    assert result.state is State.FAILED
    assert result.score < 5
    assert not any(test.trouble for test in result.tests)


def test_unfinished_and_missing_are_told_kindly(clip, tmp_path):
    def unfinished(values, limit):
        raise NotImplementedError

    for number, (answer, state) in enumerate(((unfinished, State.UNFINISHED), (MISSING, State.MISSING))):
        result = verdict(clip, answer, tmp_path / str(number), seed=7)
        assert (result.state, result.score, result.points) == (state, 0, 5)
        assert "clip" in result.note
    assert judge(tmp_path / "nothing", exercises=["lab0.clip"])["lab0.clip"].state is State.MISSING


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"status": "returned", "output": {"$": "array", "file": "../x"}}'])
def test_a_damaged_record_scores_nothing(clip, tmp_path, damage):
    verdict(clip, right, tmp_path)
    (tmp_path / "lab0.clip" / "public-1" / "record.json").write_text(damage)
    result = judge(tmp_path, exercises=["lab0.clip"])["lab0.clip"]
    assert result.state is State.FAILED
    assert not result.tests[1].passed


def test_a_broken_test_is_the_graders_trouble(suite, tmp_path, monkeypatch):
    from yolotrt_lab.grading.suite import load_exercise

    other = tmp_path / "suite" / "lab0"
    other.mkdir(parents=True)
    text = (suite / "lab0" / "test_clip.py").read_text()
    (other / "test_clip.py").write_text(text.replace('answer.inputs["values"]', 'answer.inputs["no such"]'))
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(other.parent))
    result = verdict(load_exercise("lab0.clip"), right, tmp_path / "record")
    assert result.state is State.TROUBLE
    assert "KeyError" in result.tests[1].trouble
    assert "not your fault" in result.note


def test_in_a_process_of_its_own(clip, suite, tmp_path):
    record(clip, right, folder=tmp_path)
    command = [sys.executable, "-m", "yolotrt_lab.grading.judging", "--recorded", str(tmp_path)]
    done = subprocess.run(
        [*command, "--exercise", "lab0.clip", "--out", str(tmp_path / "out.json")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert ExerciseResult.from_json(content["lab0.clip"]).state is State.PASSED
    done = subprocess.run([*command, "--exercise", "lab0.no", "--out", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no exercise" in done.stderr
    assert "Traceback" not in done.stderr


def test_results_survive_json(clip, tmp_path):
    result = verdict(clip, one_sided, tmp_path, seed=3)
    assert ExerciseResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    for nonsense in (None, [], {}, {"state": "x"}):
        with pytest.raises(InputError):
            ExerciseResult.from_json(nonsense)


def test_the_judge_is_deterministic(clip, tmp_path):
    results = [verdict(clip, one_sided, tmp_path / str(number), seed=3) for number in range(3)]
    assert results[0] == results[1] == results[2]
