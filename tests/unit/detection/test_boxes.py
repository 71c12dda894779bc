from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from torchvision.ops import box_convert, box_iou

from yolotrt_lab.detection.boxes import (
    as_boxes,
    box_area,
    clip_boxes,
    cxcywh_from_xyxy,
    iou_matrix,
    xywh_from_xyxy,
    xyxy_from_cxcywh,
    xyxy_from_xywh,
)
from yolotrt_lab.errors import InputError

# Eighths are exact in binary, so a round trip must return the very same numbers.
eighths = st.integers(-8000, 8000).map(lambda number: number / 8)


def boxes_xyxy() -> st.SearchStrategy[np.ndarray]:
    corners = st.integers(0, 12).flatmap(lambda n: arrays(np.float64, (n, 2, 2), elements=eighths))
    return corners.map(lambda pair: np.concatenate((pair.min(axis=1), pair.max(axis=1)), axis=1).reshape(-1, 4))


@pytest.mark.parametrize(
    ("there", "back", "torch_format"),
    [(cxcywh_from_xyxy, xyxy_from_cxcywh, "cxcywh"), (xywh_from_xyxy, xyxy_from_xywh, "xywh")],
)
@given(xyxy=boxes_xyxy())
def test_conversions_round_trip_and_match_torchvision(there, back, torch_format, xyxy):
    converted = there(xyxy)
    np.testing.assert_array_equal(converted, box_convert(torch.from_numpy(xyxy), "xyxy", torch_format).numpy())
    np.testing.assert_array_equal(back(converted), xyxy)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("function", [xyxy_from_cxcywh, cxcywh_from_xyxy, xyxy_from_xywh, xywh_from_xyxy])
def test_conversions_keep_the_float_type_and_accept_no_boxes(function, dtype):
    assert function(np.zeros((0, 4), dtype)).shape == (0, 4)
    assert function(np.ones((2, 4), dtype)).dtype == dtype


def test_integers_are_not_truncated():
    assert xyxy_from_cxcywh(np.array([[5, 5, 3, 3]])).tolist() == [[3.5, 3.5, 6.5, 6.5]]


@given(a=boxes_xyxy(), b=boxes_xyxy())
def test_iou_matches_torchvision_and_pycocotools(a, b):
    iou = iou_matrix(a, b)
    assert iou.shape == (len(a), len(b))
    expected = np.nan_to_num(box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy())
    np.testing.assert_allclose(iou, expected, rtol=0, atol=1e-12)
    if len(a) and len(b):
        coco = coco_mask.iou(xywh_from_xyxy(a), xywh_from_xyxy(b), [0] * len(b))
        np.testing.assert_array_equal(iou, coco)


@given(boxes=boxes_xyxy(), shift=st.integers(-100, 100))
def test_iou_is_symmetric_translation_invariant_and_one_with_itself(boxes, shift):
    iou = iou_matrix(boxes, boxes)
    np.testing.assert_array_equal(iou, iou.T)
    np.testing.assert_array_equal(iou, iou_matrix(boxes + shift, boxes + shift))
    np.testing.assert_array_equal(np.diag(iou), (box_area(boxes) > 0).astype(float))


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0.0),  # touching
        ([0, 0, 2, 2], [9, 9, 11, 11], 0.0),
        ([0, 0, 4, 4], [1, 1, 3, 3], 0.25),  # inside
        ([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3),
        ([0, 0, 1, 4], [0, 0, 4, 1], 1 / 7),  # crossing: swapped width and height would give 1
        ([5, 5, 5, 9], [5, 5, 5, 9], 0.0),  # no area
    ],
)
def test_iou_by_hand(a, b, iou):
    assert iou_matrix(np.array([a]), np.array([b]))[0, 0] == pytest.approx(iou, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_iou_keeps_the_float_type(dtype):
    assert iou_matrix(np.ones((1, 4), dtype), np.ones((3, 4), dtype)).dtype == dtype


def test_area_of_inverted_boxes_is_zero():
    assert box_area(np.array([[0, 0, 2, 3], [2, 0, 0, 3], [2, 3, 0, 0]])).tolist() == [6, 0, 0]


@settings(max_examples=50)
@given(xyxy=boxes_xyxy(), height=st.integers(1, 500), width=st.integers(1, 500))
def test_clipped_boxes_lie_in_the_image_and_inner_ones_stay(xyxy, height, width):
    before = xyxy.copy()
    clipped = clip_boxes(xyxy, (height, width))
    np.testing.assert_array_equal(xyxy, before)
    assert (clipped >= 0).all()
    assert (clipped[:, 0::2] <= width).all()
    assert (clipped[:, 1::2] <= height).all()
    inner = (xyxy[:, 0] >= 0) & (xyxy[:, 1] >= 0) & (xyxy[:, 2] <= width) & (xyxy[:, 3] <= height)
    np.testing.assert_array_equal(clipped[inner], xyxy[inner])


@pytest.mark.parametrize(
    "bad", [np.zeros(4), np.zeros((2, 5)), np.zeros((1, 2, 4)), np.array([["a"] * 4]), np.zeros((1, 4), bool)]
)
def test_what_is_not_boxes_is_refused(bad):
    with pytest.raises(InputError, match="does not hold boxes") as caught:
        as_boxes(bad, name="truth")
    assert "truth" in caught.value.what
    assert str(bad.shape) in caught.value.got


def test_an_empty_list_is_no_boxes():
    assert as_boxes(np.array([])).shape == (0, 4)
