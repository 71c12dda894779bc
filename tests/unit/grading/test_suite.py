"""Exercises are found by id, loaded once, declared sensibly, and give the same inputs everywhere."""

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.exercise import Case, Exercise, points
from yolotrt_lab.grading.generators import generator_of
from yolotrt_lab.grading.scratch import scratch, scratch_folder
from yolotrt_lab.grading.suite import exercise_ids, load_exercise, sibling

GOOD = {
    "id": "lab0.x",
    "title": "t",
    "objective": "o",
    "answer": "x",
    "difficulty": 1,
    "minutes": 1,
    "cases": ("a",),
}


def test_ids_and_points(clip):
    assert exercise_ids() == ("lab0.clip",) == exercise_ids("lab0")
    assert exercise_ids("lab1") == ()
    assert clip.points == 5
    assert [test.title for test in clip.tests][:2] == ["One value for each value", "Both ends are clipped"]


def test_a_file_is_loaded_once_until_it_changes(tmp_path):
    (tmp_path / "lab0").mkdir()
    path = tmp_path / "lab0" / "shared.py"
    path.write_text("value = 1")
    first = sibling(str(tmp_path / "lab0" / "test_x.py"), "shared")
    assert sibling(str(tmp_path / "lab0" / "test_x.py"), "shared") is first
    path.write_text("value = 22")
    assert sibling(str(tmp_path / "lab0" / "test_x.py"), "shared").value == 22


@pytest.mark.parametrize("name", ["lab0.clap", "lab0", "", "../lab0.clip", "lab0.clip.x", "lab0./clip"])
def test_an_unknown_exercise_is_named(name):
    with pytest.raises(InputError, match=r"lab0\.clip"):
        load_exercise(name)


def test_a_file_of_another_exercise_is_refused(tmp_path, suite):
    (tmp_path / "lab0").mkdir()
    (tmp_path / "lab0" / "test_clap.py").write_text((suite / "lab0" / "test_clip.py").read_text())
    with pytest.raises(InputError, match=r"does not declare the exercise lab0\.clap"):
        load_exercise("lab0.clap", root=tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "Lab 0"},
        {"answer": "not a name"},
        {"difficulty": 6},
        {"minutes": 0},
        {"cases": ()},
        {"cases": ("a", "a")},
        {"tier": "easy"},
        {"seconds": 0},
    ],
)
def test_a_senseless_declaration_is_refused(change):
    (field,) = change
    with pytest.raises(InputError, match=f"`{field}` makes no sense"):
        Exercise(**{**GOOD, **change})


def test_points_need_a_title_and_a_value():
    def test_x():
        pass

    with pytest.raises(InputError, match="docstring"):
        points(1)(test_x)
    test_x.__doc__ = "Title."
    with pytest.raises(InputError, match="at least one point"):
        points(0)(test_x)


def test_seeds_differ_by_exercise_case_and_secret():
    def draw(name, case, seed=None):
        return generator_of(name, case, hidden_seed=seed).integers(2**60)

    public, hidden = Case("a", False, 0), Case("a", True, 0)
    drawn = [draw("l.x", public), draw("l.y", public), draw("l.x", Case("b", False, 1))]
    drawn += [draw("l.x", hidden, 1), draw("l.x", hidden, 2)]
    assert len(set(drawn)) == len(drawn)
    assert draw("l.x", public, 1) == draw("l.x", public, 2) == draw("l.x", public)
    assert draw("l.x", public) == 314466335572019344
    with pytest.raises(InputError, match="instructor's seed"):
        draw("l.x", hidden)


def test_inputs_are_the_same_each_time(clip):
    case = clip.exercise.all_cases(with_hidden=True)[-1]
    one, again = (clip.inputs(case, hidden_seed=9)["values"] for _ in range(2))
    assert np.array_equal(one, again)


def test_scratch_lives_as_long_as_the_case():
    with scratch_folder() as folder:
        assert scratch() == folder
        (folder / "file").touch()
    assert not folder.exists()
    with pytest.raises(InputError, match="no case"):
        scratch()
