"""What is replaced is noticed and put back; what libraries do to themselves is nobody's business."""

import importlib
import sys
import types

import numpy as np
import pytest

from yolotrt_lab.detection import boxes
from yolotrt_lab.grading.integrity.baseline import Baseline
from yolotrt_lab.grading.integrity.notes import MAX_NOTES, MAX_TEXT, Notebook
from yolotrt_lab.types import TensorSpec


@pytest.fixture(scope="module")
def baseline():
    made = Baseline()
    made.look_at_new_modules(Notebook())
    return made


def put_back(baseline):
    notes = Notebook()
    baseline.put_back(notes)
    assert baseline.put_back(Notebook()) == 0
    return [note.what for note in notes.notes]


def test_nothing_is_changed_at_first(baseline):
    assert put_back(baseline) == []


def test_attributes_classes_code_and_defaults(baseline):
    before = (np.allclose, TensorSpec.__init__, boxes.clip_boxes.__code__, boxes.iou_matrix.__defaults__)
    np.allclose = lambda *_: True
    TensorSpec.__init__ = lambda *_: None
    boxes.clip_boxes.__code__ = (lambda *_: None).__code__
    boxes.iou_matrix.__defaults__ = (1,)
    found = put_back(baseline)
    assert set(found) == {
        "numpy.allclose",
        "yolotrt_lab.types.TensorSpec.__init__",
        "the code of yolotrt_lab.detection.boxes.clip_boxes",
        "the defaults of yolotrt_lab.detection.boxes.iou_matrix",
    }
    assert before == (np.allclose, TensorSpec.__init__, boxes.clip_boxes.__code__, boxes.iou_matrix.__defaults__)


def test_what_was_deleted_comes_back(baseline):
    kept = np.linalg.norm
    del np.linalg.norm
    assert put_back(baseline) == ["numpy.linalg.norm"]
    assert np.linalg.norm is kept


def test_a_module_in_the_place_of_another(baseline):
    sys.modules["yolotrt_lab.detection.boxes"] = types.ModuleType("yolotrt_lab.detection.boxes")
    assert put_back(baseline) == ["the module yolotrt_lab.detection.boxes"]
    assert sys.modules["yolotrt_lab.detection.boxes"] is boxes


def test_loading_again_is_no_crime(baseline):
    kept = vars(boxes).copy()
    try:
        importlib.reload(boxes)
        assert put_back(baseline) == []
    finally:
        vars(boxes).update(kept)


def test_a_cell_in_a_module_that_came_later():
    late = types.ModuleType("yolotrt_lab.came_later")
    exec(compile("def measure(): return 0", "<cell 3>", "exec"), vars(late))
    sys.modules[late.__name__] = late
    notes = Notebook()
    try:
        Baseline().look_at_new_modules(notes)
    finally:
        del sys.modules[late.__name__]
    assert [(note.kind, note.what) for note in notes.notes] == [("replaced", "yolotrt_lab.came_later.measure")]


def test_notes_have_limits():
    notes = Notebook()
    for number in range(3 * MAX_NOTES):
        notes.add("replaced", f"{number} " * 1000)
    assert len(notes.notes) == MAX_NOTES
    assert max(len(note.what) for note in notes.notes) == MAX_TEXT
