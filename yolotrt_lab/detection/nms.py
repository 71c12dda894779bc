"""Non-maximum suppression: of boxes that cover the same object, keep the best.

Greedy NMS as torchvision does it: best first, drop every later box whose IoU with a kept one exceeds the threshold.
Boxes with equal scores are taken in the order they come, so the result depends on nothing but the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.detection.boxes import as_boxes, iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, Detections

__all__ = ["MAX_CANDIDATES", "class_aware_nms", "nms"]

MAX_CANDIDATES = 30_000
"""Of more candidates than this only the best enter, as in Ultralytics; it bounds time on a broken model."""

# Large enough that NumPy's per-call cost vanishes, small enough that a block's IoU matrix stays in the cache.
_BLOCK = 128


def nms(xyxy: Array, scores: Array, *, iou_threshold: float, max_detections: int | None = None) -> Array:
    """Return the indices of the boxes to keep, best first, regardless of class.

    Args:
        xyxy: (n, 4) boxes.
        scores: (n,) scores; equal ones keep their order.
        iou_threshold: A box is dropped if its IoU with a kept one is greater than this.
        max_detections: Stop after this many; None keeps all.

    Returns:
        (kept,) int64 indices into `xyxy`.

    Raises:
        InputError: Shapes do not fit, a value is NaN, or a threshold is out of range.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
        >>> nms(boxes, np.array([0.6, 0.9, 0.3], np.float32), iou_threshold=0.5).tolist()
        [1, 2]
    """
    return _suppress(xyxy, scores, None, iou_threshold, max_detections)


def class_aware_nms(detections: Detections, *, iou_threshold: float, max_detections: int | None = None) -> Detections:
    """Return the detections that survive NMS within each class, best first.

    Boxes of different classes never suppress each other. Classes are compared, not shifted apart by a coordinate
    offset, so no rounding creeps into the IoU.

    Args:
        detections: Candidates of one image.
        iou_threshold: A box is dropped if its IoU with a kept one of its class is greater than this.
        max_detections: Keep at most this many over all classes; None keeps all.

    Raises:
        InputError: A value is NaN or a threshold is out of range.
    """
    keep = _suppress(detections.xyxy, detections.scores, detections.class_ids, iou_threshold, max_detections)
    return detections.select(keep)


def _suppress(
    xyxy: Array, scores: Array, class_ids: Array | None, iou_threshold: float, max_detections: int | None
) -> Array:
    boxes = as_boxes(xyxy, name="xyxy")
    _require(boxes, scores, iou_threshold, max_detections)
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes = boxes[order]
    classes = np.zeros(len(order), np.int64) if class_ids is None else class_ids[order]
    limit = len(order) if max_detections is None else max_detections
    threshold = _rounded_down(iou_threshold, boxes.dtype)
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(order)))
        if len(kept):
            block = block[~_overlaps(boxes, classes, kept, block, threshold).any(axis=0)]
        kept = np.concatenate((kept, block[_survivors(_overlaps(boxes, classes, block, block, threshold))]))
        if len(kept) >= limit:
            break
    result: Array = order[kept[:limit]]
    return result


def _require(boxes: Array, scores: Array, iou_threshold: float, max_detections: int | None) -> None:
    if scores.shape != (len(boxes),):
        raise InputError(
            "NMS needs one score per box.", expected=f"scores of shape ({len(boxes)},)", got=f"shape {scores.shape}"
        )
    if not 0 <= iou_threshold <= 1:
        raise InputError("The IoU threshold is out of range.", expected="0 to 1", got=iou_threshold)
    if max_detections is not None and max_detections < 1:
        raise InputError("max_detections is out of range.", expected="at least 1", got=max_detections)
    if np.isnan(scores).any() or np.isnan(boxes).any():
        raise InputError("NMS cannot rank NaN.", expected="finite boxes and scores", got="NaN")


def _overlaps(boxes: Array, classes: Array, rows: Array, columns: Array, threshold: Any) -> Array:
    """Return where a row's box suppresses a column's: same class, IoU above the threshold."""
    overlaps: Array = iou_matrix(boxes[rows], boxes[columns]) > threshold
    overlaps &= classes[rows][:, None] == classes[columns][None, :]
    return overlaps


def _rounded_down(value: float, dtype: np.dtype[Any]) -> Any:
    """Return the largest number of this float type that is not above `value`.

    A float32 IoU is greater than this exactly if it is greater than `value` in double precision, which is how
    torchvision compares. Plain rounding would not do: 0.3 in single precision is above 0.3.
    """
    rounded = dtype.type(value)
    return np.nextafter(rounded, dtype.type(0)) if float(rounded) > value else rounded


def _survivors(overlaps: Array) -> list[int]:
    """Return which of a sorted block's boxes no earlier survivor overlaps; rows as integers, one bit per box."""
    packed = np.packbits(overlaps, axis=1, bitorder="little")
    dropped, survivors = 0, []
    for index, row in enumerate(packed):
        if not dropped >> index & 1:
            survivors.append(index)
            dropped |= int.from_bytes(row.tobytes(), "little")
    return survivors
