"""Axis-aligned boxes as (n, 4) arrays: conversions, clipping, area, intersection over union.

Every function is pure, keeps the floating type it is given (so float64 in, float64 out) and accepts zero boxes.

    xyxy    left, top, right, bottom
    cxcywh  center x, center y, width, height (YOLO)
    xywh    left, top, width, height (COCO)
"""

from __future__ import annotations

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array

__all__ = [
    "as_boxes",
    "box_area",
    "clip_boxes",
    "cxcywh_from_xyxy",
    "iou_matrix",
    "xywh_from_xyxy",
    "xyxy_from_cxcywh",
    "xyxy_from_xywh",
]


def as_boxes(boxes: Array, *, name: str = "boxes") -> Array:
    """Return `boxes` as a floating (n, 4) array; integers become float64, floats keep their type.

    Raises:
        InputError: Not an (n, 4) array of numbers.
    """
    array = np.asarray(boxes)
    if array.shape == (0,):
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "fiu":
        raise InputError(
            f"Argument `{name}` does not hold boxes.",
            expected="a numeric array of shape (n, 4)",
            got=f"shape {array.shape}, dtype {array.dtype}",
            fix="Use reshape(-1, 4); one box is shape (1, 4).",
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def xyxy_from_cxcywh(cxcywh: Array) -> Array:
    """Return left, top, right, bottom from center and size.

    Example:
        >>> xyxy_from_cxcywh(np.array([[10.0, 20.0, 4.0, 6.0]])).tolist()
        [[8.0, 17.0, 12.0, 23.0]]
    """
    boxes = as_boxes(cxcywh, name="cxcywh")
    half_size = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half_size, boxes[:, :2] + half_size), axis=1)


def cxcywh_from_xyxy(xyxy: Array) -> Array:
    """Return center and size from left, top, right, bottom.

    Example:
        >>> cxcywh_from_xyxy(np.array([[8.0, 17.0, 12.0, 23.0]])).tolist()
        [[10.0, 20.0, 4.0, 6.0]]
    """
    boxes = as_boxes(xyxy, name="xyxy")
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def xyxy_from_xywh(xywh: Array) -> Array:
    """Return left, top, right, bottom from left, top, width, height.

    Example:
        >>> xyxy_from_xywh(np.array([[8.0, 17.0, 4.0, 6.0]])).tolist()
        [[8.0, 17.0, 12.0, 23.0]]
    """
    boxes = as_boxes(xywh, name="xywh")
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def xywh_from_xyxy(xyxy: Array) -> Array:
    """Return left, top, width, height from left, top, right, bottom.

    Example:
        >>> xywh_from_xyxy(np.array([[8.0, 17.0, 12.0, 23.0]])).tolist()
        [[8.0, 17.0, 4.0, 6.0]]
    """
    boxes = as_boxes(xyxy, name="xyxy")
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def clip_boxes(xyxy: Array, image_hw: tuple[int, int]) -> Array:
    """Return the boxes cut to the image; one that lies wholly outside collapses onto the nearest border.

    Args:
        xyxy: (n, 4) boxes in pixels.
        image_hw: Height and width of the image in pixels.

    Example:
        >>> clip_boxes(np.array([[-5.0, 2.0, 50.0, 99.0]]), (30, 40)).tolist()
        [[0.0, 2.0, 40.0, 30.0]]
    """
    boxes = as_boxes(xyxy, name="xyxy")
    height, width = image_hw
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    clipped: Array = np.minimum(np.maximum(boxes, boxes.dtype.type(0)), limits)
    return clipped


def box_area(xyxy: Array) -> Array:
    """Return (n,) areas in square pixels; a box with right < left or bottom < top has none.

    Example:
        >>> box_area(np.array([[0.0, 0.0, 2.0, 3.0], [5.0, 5.0, 4.0, 9.0]])).tolist()
        [6.0, 0.0]
    """
    boxes = as_boxes(xyxy, name="xyxy")
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: Array = size[:, 0] * size[:, 1]
    return area


def iou_matrix(a: Array, b: Array) -> Array:
    """Return the (n, m) intersection over union of every box of `a` with every box of `b`.

    IoU is the area of the intersection over that of the union. Boxes that only touch have 0, and so has a box without
    area, even with itself. The operations and their order are those of torchvision and pycocotools, so in the same
    floating type the numbers agree to the last bit, which decides at an exact threshold.

    Args:
        a: (n, 4) boxes, xyxy.
        b: (m, 4) boxes, xyxy.

    Example:
        >>> a, b = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[0.0, 0.0, 2.0, 1.0], [2.0, 0.0, 3.0, 1.0]])
        >>> iou_matrix(a, b).tolist()
        [[0.5, 0.0]]
    """
    first, second = as_boxes(a, name="a"), as_boxes(b, name="b")
    # One (n, m) plane per coordinate: a third axis of length 2 would defeat vectorisation.
    ax1, ay1, ax2, ay2 = first.T[:, :, None]
    bx1, by1, bx2, by2 = second.T[:, None, :]
    width = np.minimum(ax2, bx2)
    width -= np.maximum(ax1, bx1)
    np.maximum(width, 0, out=width)
    intersection = np.minimum(ay2, by2)
    intersection -= np.maximum(ay1, by1)
    np.maximum(intersection, 0, out=intersection)
    intersection *= width
    union = box_area(first)[:, None] + box_area(second)[None, :]
    union -= intersection
    np.maximum(union, np.finfo(union.dtype).tiny, out=union)  # 0 / 0 is 0 here
    intersection /= union
    result: Array = intersection
    return result
