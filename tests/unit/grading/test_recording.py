"""Recording calls the answer on every case and writes down whatever happens."""

import json
import sys

import numpy as np
import pytest

from yolotrt_lab.detection import boxes
from yolotrt_lab.grading.recording import MISSING, record


def recorded(clip, answer, folder, key="public-0", **options):
    record(clip, answer, folder=folder, **options)
    return json.loads((folder / "lab0.clip" / key / "record.json").read_text())


def test_a_returned_array(clip, tmp_path):
    content = recorded(clip, lambda values, limit: np.clip(values, -limit, limit), tmp_path)
    assert content["status"] == "returned"
    assert content["changed_inputs"] == []
    assert {path.name for path in (tmp_path / "lab0.clip").iterdir()} == {"public-0", "public-1"}


def test_hidden_cases_need_the_seed(clip, tmp_path):
    def answer(values, limit):
        return float(values.sum())

    one = recorded(clip, answer, tmp_path / "a", "hidden-0", hidden_seed=1)["output"]
    again = recorded(clip, answer, tmp_path / "b", "hidden-0", hidden_seed=1)["output"]
    other = recorded(clip, answer, tmp_path / "c", "hidden-0", hidden_seed=2)["output"]
    assert one == again != other


def test_what_is_changed_in_place_is_noted(clip, tmp_path):
    def answer(values, limit):
        values.clip(-limit, limit, out=values)
        return values

    assert recorded(clip, answer, tmp_path, "public-1")["changed_inputs"] == ["values"]


def test_an_exception_with_the_students_line(clip, tmp_path):
    source = "def answer(values, limit):\n    ratio = 1 / 0\n    return ratio\n"
    namespace: dict = {}
    exec(compile(source, "<notebook cell>", "exec"), namespace)
    content = recorded(clip, namespace["answer"], tmp_path)
    assert (content["status"], content["type"], content["where"]["line"]) == ("raised", "ZeroDivisionError", 2)


def test_nothing_is_printed_and_all_is_kept(clip, tmp_path, capfd):
    def answer(values, limit):
        print("thinking")
        print("worrying", file=sys.stderr)
        return values

    content = recorded(clip, answer, tmp_path)
    assert "thinking" in content["printed"]
    assert "worrying" in content["printed"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [SystemExit(3), ValueError("no"), MemoryError()])
def test_what_is_raised_does_not_escape(clip, tmp_path, error):
    def answer(values, limit):
        raise error

    assert recorded(clip, answer, tmp_path)["type"] == type(error).__name__


def test_unfinished_stops_at_the_first_case(clip, tmp_path):
    def answer(values, limit):
        raise NotImplementedError

    assert recorded(clip, answer, tmp_path)["status"] == "unfinished"
    assert not (tmp_path / "lab0.clip" / "public-1").exists()


def test_a_refusal_with_words_is_an_error(clip, tmp_path):
    def answer(values, limit):
        raise NotImplementedError("negative limits")

    assert recorded(clip, answer, tmp_path)["status"] == "raised"


def test_an_endless_loop_ends_even_if_it_catches_all(clip, tmp_path):
    def answer(values, limit):
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    assert recorded(clip, answer, tmp_path)["status"] == "timeout"


def test_missing_and_no_function(clip, tmp_path):
    assert recorded(clip, MISSING, tmp_path / "a")["status"] == "missing"
    assert "not a function" in recorded(clip, 5, tmp_path / "b")["message"]


def test_the_forbidden_function_is_not_there(clip, tmp_path):
    clip_boxes = boxes.clip_boxes
    namespace = {"clip_boxes": clip_boxes}
    exec("def bound(values, limit):\n    return clip_boxes(values, (1, 1))", namespace)

    def by_module(values, limit):
        return boxes.clip_boxes(values, (1, 1))

    for number, answer in enumerate((namespace["bound"], by_module)):
        content = recorded(clip, answer, tmp_path / str(number))
        assert content["status"] == "shortcut"
        assert content["name"] == "yolotrt_lab.detection.boxes.clip_boxes"
    assert boxes.clip_boxes is clip_boxes
    assert namespace["clip_boxes"] is clip_boxes
