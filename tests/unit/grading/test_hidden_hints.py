"""Of a hidden case the student hears the hint's words, and none of the numbers that came from its input or result."""

import numpy as np
import pytest

from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.pytest_plugin import _OF_ALL
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.suite import load_exercise


@pytest.fixture
def clip(suite, tmp_path, monkeypatch):
    """lab0.clip with a hint that tells values."""
    folder = tmp_path / "suite" / "lab0"
    folder.mkdir(parents=True)
    text = (suite / "lab0" / "test_clip.py").read_text()
    hint = 'f"Only 1 of 2 ends counts: {seen.min():.6f} and {int(seen[0] * 1e6)}, not 128."'
    assert '"Only large values count."' in text
    (folder / "test_clip.py").write_text(text.replace('"Only large values count."', hint))
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(folder.parent))
    return load_exercise("lab0.clip")


@pytest.mark.parametrize("public", [True, False])
def test_hints_tell_no_values_of_hidden_cases(clip, tmp_path, public):
    known = {clip.inputs(case)["values"].tobytes() for case in clip.exercise.all_cases(with_hidden=False)}

    def answer(values, limit):
        right = np.clip(values, -limit, limit)
        return right if not public and values.tobytes() in known else np.minimum(values, limit)

    record(clip, answer, folder=tmp_path / "recorded", hidden_seed=7)
    result = judge(tmp_path / "recorded", exercises=["lab0.clip"], hidden_seed=7)["lab0.clip"]
    (failed,) = [test for test in result.tests if not test.passed]
    assert failed.hidden is not public
    shown = "Only 1 of 2 ends counts: … and …, not 128."
    assert (failed.misconception == shown) is not public
    assert failed.misconception.startswith("Only 1 of 2 ends counts: ")


def test_a_test_of_all_cases_tells_nothing_but_its_hint_once_hidden_ones_are_among_them(clip, tmp_path):
    def answer(values, limit):
        return np.clip(values, -limit, limit).astype(np.float32 if np.abs(values).max() > 2 else np.float64)

    for seed in (None, 7):
        record(clip, answer, folder=tmp_path / str(seed), hidden_seed=seed)
        result = judge(tmp_path / str(seed), exercises=["lab0.clip"], hidden_seed=seed)["lab0.clip"]
        (failed,) = [test for test in result.tests if not test.passed]
        assert failed.name == "test_all_cases_together"
        assert (failed.expected, failed.seen) == (("one dtype", "several") if seed is None else ("", _OF_ALL))
        assert not failed.hidden
