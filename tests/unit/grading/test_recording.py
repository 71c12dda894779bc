"""Recording calls the answer on every case and writes down whatever happens."""

import collections.abc
import json
import sys
import types

import numpy as np
import pytest

from yolotrt_lab.detection import boxes
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.shortcuts import ShortcutError, Shortcuts


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


def test_exceptions_with_classes_of_their_own(clip, tmp_path):
    class Mine(BaseException):
        def __str__(self):
            raise RuntimeError

    def answer(values, limit):
        raise Mine

    content = recorded(clip, answer, tmp_path)
    assert (content["status"], content["type"], content["message"]) == ("raised", "Mine", "")


def test_a_result_without_an_end_is_no_result_in_time(clip, tmp_path):
    class Endless(collections.abc.Mapping):
        def __getitem__(self, key):
            return key

        def __len__(self):
            return 1

        def __iter__(self):
            while True:
                pass

    assert recorded(clip, lambda values, limit: Endless(), tmp_path)["status"] == "timeout"


def test_floods_on_stdout_are_cut_while_they_come(clip, tmp_path):
    def answer(values, limit):
        for _ in range(300):
            print("x" * 1_000_000)
        return values

    assert len(recorded(clip, answer, tmp_path)["printed"]) == 2_000


def test_inputs_that_lie_about_themselves_count_as_changed(clip, tmp_path):
    class Liar(float):
        def __repr__(self):
            raise RuntimeError

    def change(values, limit):
        frame = sys._getframe()
        while "inputs" not in frame.f_locals:
            frame = frame.f_back
        frame.f_locals["inputs"]["limit"] = Liar(2.0)
        return values

    assert recorded(clip, change, tmp_path)["changed_inputs"] == ["limit"]


class TestWaysRound:
    """The forbidden function, reached by other ways than its name."""

    CLIP = "yolotrt_lab.detection.boxes.clip_boxes"

    @pytest.mark.parametrize(
        "source",
        [
            "import functools\nclip_values = functools.partial(boxes.clip_boxes, image_hw=(1, 1))\n"
            "def clip(values, limit):\n    return clip_values(values)",
            "import types\ncopied = types.FunctionType(boxes.clip_boxes.__code__, vars(boxes))\n"
            "def clip(values, limit):\n    return copied(values, (1, 1))",
            "def clip(values, limit):\n    import importlib\n"
            "    return importlib.reload(boxes).clip_boxes(values, (1, 1))",
            "from yolotrt_lab.detection.boxes import clip_boxes as kept\nimport importlib\nimportlib.reload(boxes)\n"
            "def clip(values, limit):\n    return kept(values, (1, 1))",
            "import pickle\ncontent = pickle.dumps(boxes.clip_boxes)\n"
            "def clip(values, limit):\n    return pickle.loads(content)(values, (1, 1))",
            "def clip(values, limit):\n    return getattr(__import__('sys').modules['yolotrt_lab.detection.boxes'],"
            " 'clip' + '_boxes')(values, (1, 1))",
            "table = {'clip': boxes.clip_boxes}\ndef clip(values, limit):\n    return table['clip'](values, (1, 1))",
        ],
        ids=["partial", "FunctionType", "reload", "loaded before", "pickle", "getattr", "in a dict"],
    )
    def test_they_lead_nowhere(self, clip, tmp_path, source):
        namespace = {"boxes": boxes}
        exec(compile(source, "<cell>", "exec"), namespace)
        before = boxes.clip_boxes.__code__
        content = recorded(clip, namespace["clip"], tmp_path)
        assert (content["status"], content["name"]) == ("shortcut", self.CLIP)
        assert boxes.clip_boxes.__code__ == before

    def test_methods_builtins_closures_and_late_modules(self):
        import pycocotools.mask

        iou = pycocotools.mask.iou

        def closed_over():
            return iou([[0, 0, 1, 1]], [[0, 0, 1, 1]], [0])

        for name in ("fractions", "fractions.Fraction"):
            sys.modules.pop(name, None)
        forbidden = ("fractions.Fraction.limit_denominator", "pycocotools.mask.iou", "decimal.Decimal.missing")
        shortcuts = Shortcuts(closed_over, forbidden)
        with shortcuts.refused():
            import fractions

            for call in (closed_over, lambda: fractions.Fraction(1, 3).limit_denominator(2)):
                with pytest.raises(ShortcutError):
                    call()
            loader = fractions.__spec__.loader
        assert shortcuts.called == ["pycocotools.mask.iou", "fractions.Fraction.limit_denominator"]
        assert type(loader).__name__ == "SourceFileLoader"
        assert fractions.Fraction(1, 3).limit_denominator(2) == fractions.Fraction(1, 2)
        assert closed_over().shape == (1, 1)

    def test_functions_with_closures_are_refused_and_come_back(self, clip):
        def outer():
            held = 1
            return lambda: held

        function = outer()
        module = types.ModuleType("held_functions")
        module.function = function
        sys.modules["held_functions"] = module
        try:
            with Shortcuts(None, ("held_functions.function",)).refused(), pytest.raises(ShortcutError):
                function()
            assert function() == 1
        finally:
            del sys.modules["held_functions"]
