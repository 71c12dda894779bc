from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Detections, Precision, TensorSpec


def detections(count: int) -> Detections:
    xyxy = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    return Detections(xyxy, np.linspace(1, 0, count, dtype=np.float32), np.arange(count, dtype=np.int64))


@pytest.mark.parametrize(
    ("spec", "shape", "fits"),
    [
        ((1, 3, 640, 640), (1, 3, 640, 640), True),
        ((1, 3, 640, 640), (2, 3, 640, 640), False),
        ((None, 3, 640, 640), (7, 3, 640, 640), True),
        ((None, 3, None, None), (1, 3, 32, 64), True),
        ((None, 3, 640, 640), (3, 640, 640), False),
        ((None,), (), False),
        ((), (), True),
        ((0, 4), (0, 4), True),
        ((None, 4), (0, 4), True),
    ],
)
def test_tensor_spec(spec, shape, fits):
    assert TensorSpec("images", "float32", spec).accepts(shape) is fits


@pytest.mark.parametrize("count", [0, 1, 5])
def test_detections_of_any_number(count):
    assert len(detections(count)) == count


def test_no_detections_have_the_right_types():
    empty = Detections.empty()
    assert len(empty) == 0
    assert (empty.xyxy.shape, empty.xyxy.dtype) == ((0, 4), np.float32)
    assert (empty.scores.dtype, empty.class_ids.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("xyxy", "scores", "class_ids"),
    [((2, 4), (3,), (3,)), ((3, 5), (3,), (3,)), ((3, 4), (3,), (2,)), ((4,), (1,), (1,)), ((3, 4), (3, 1), (3,))],
)
def test_parts_that_do_not_belong_together(xyxy, scores, class_ids):
    with pytest.raises(InputError, match="one box, one score and one class id per object") as caught:
        Detections(np.zeros(xyxy, np.float32), np.zeros(scores, np.float32), np.zeros(class_ids, np.int64))
    assert str(xyxy) in (caught.value.got or "")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (np.array([], dtype=int), []),
        (np.array([3, 1]), [3, 1]),
        (np.array([True, False, False, True, False]), [0, 3]),
        (np.array([0, 0]), [0, 0]),
    ],
)
def test_select(keep, expected):
    chosen = detections(5).select(keep)
    assert chosen.class_ids.tolist() == expected
    assert chosen.xyxy[:, 0].tolist() == [4.0 * index for index in expected]


def test_nothing_can_be_replaced():
    with pytest.raises(FrozenInstanceError):
        detections(1).scores = np.zeros(1, np.float32)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        TensorSpec("a", "float32", (1,)).name = "b"  # type: ignore[misc]


def test_precisions_read_from_text():
    assert [str(precision) for precision in Precision] == ["fp32", "fp16", "bf16", "int8"]
    assert Precision("int8") is Precision.INT8
