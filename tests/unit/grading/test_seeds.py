"""The secret stays with the grader: a kernel gets seeds of its cases, and they give the same inputs."""

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.notebook import check
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.seeds import case_seeds, read_case_seeds, seeds_from_environment, write_case_seeds

SECRET = 987_654_321


def test_the_seeds_give_the_inputs_that_the_secret_gives(clip):
    seeds = case_seeds(["lab0.clip"], SECRET)["lab0.clip"]
    for case in clip.exercise.all_cases(with_hidden=True):
        one, other = clip.inputs(case, hidden_seed=SECRET), clip.inputs(case, seed=seeds[case.key])
        assert np.array_equal(one["values"], other["values"])


def test_they_tell_of_no_other_secret():
    one, other = (case_seeds(["lab0.clip"], secret)["lab0.clip"] for secret in (SECRET, SECRET + 1))
    assert one["public-0"] == other["public-0"]
    assert one["hidden-0"] != other["hidden-0"]
    assert case_seeds(["lab0.clip"], None)["lab0.clip"].keys() == {"public-0", "public-1"}


def test_a_kernel_records_by_them(clip, tmp_path, monkeypatch):
    write_case_seeds(tmp_path / "seeds.json", case_seeds(["lab0.clip"], SECRET))
    monkeypatch.setenv("YOLOTRT_CASE_SEEDS", str(tmp_path / "seeds.json"))
    monkeypatch.setenv("YOLOTRT_RECORD", str(tmp_path / "kernel"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "clip", lambda values, limit: np.clip(values, -limit, limit))
        assert check("lab0.clip") is None
        record(clip, globals()["clip"], folder=tmp_path / "here", hidden_seed=SECRET)
    for key in ("public-0", "public-1", "hidden-0"):
        one, other = (tmp_path / name / "lab0.clip" / key / "001.npy" for name in ("kernel", "here"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("seed", ["", "00", "g" * 64, "0" * 66])
def test_nonsense_is_no_seed(clip, seed):
    with pytest.raises(InputError, match="seed"):
        clip.inputs(clip.exercise.all_cases(with_hidden=True)[-1], seed=seed)


def test_files_of_seeds(tmp_path, monkeypatch):
    assert seeds_from_environment() is None
    path = tmp_path / "seeds.json"
    seeds = case_seeds(["lab0.clip"], SECRET)
    write_case_seeds(path, seeds)
    assert read_case_seeds(path) == seeds
    assert str(SECRET) not in path.read_text()
    for content in ("[]", '{"lab0.clip": 1}', "{"):
        path.write_text(content)
        with pytest.raises(InputError):
            read_case_seeds(path)
