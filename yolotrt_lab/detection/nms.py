"""Non-maximum suppression: of boxes that cover the same object, keep the best.

Greedy NMS as torchvision does it: best first, drop every later box whose IoU with a kept one exceeds the threshold.
Boxes with equal scores are taken in the order they come, so the result depends on nothing but the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yolotrt_lab.detection.boxes import as_boxes, box_area
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, Detections

__all__ = ["MAX_CANDIDATES", "class_aware_nms", "nms"]

MAX_CANDIDATES = 30_000
"""Of more candidates than this only the best enter, as in Ultralytics; it bounds time on a broken model."""

# Large enough that NumPy's per-call cost vanishes, small enough that few are compared that others suppress anyway.
_BLOCK = 128
# So that the matrices of one comparison stay in the cache.
_PAIRS_AT_ONCE = 32_768


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
    left = _Candidates.from_boxes(boxes[order], None if class_ids is None else class_ids[order], places=order)
    limit = len(order) if max_detections is None else max_detections
    threshold = _rounded_down(iou_threshold, boxes.dtype)
    kept = [np.zeros(0, np.int64)]
    while len(left) and sum(map(len, kept)) < limit:
        best, left = left.select(slice(None, _BLOCK)), left.select(slice(_BLOCK, None))
        best = best.select(_survivors(_overlaps(best, best, threshold)))
        kept.append(best.places)
        left = left.select(np.flatnonzero(~_overlapped(best, left, threshold)))
    result: Array = np.concatenate(kept)[:limit]
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


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Boxes still in the running, best first, with one contiguous array per coordinate, which vectorises.

    Attributes:
        planes: (5, n) left, top, right, bottom and area.
        classes: (n,) class ids in the smallest type that holds them; None if classes do not matter.
        places: (n,) where they stood in the input.
    """

    planes: Array
    classes: Array | None
    places: Array

    @classmethod
    def from_boxes(cls, boxes: Array, classes: Array | None, *, places: Array) -> _Candidates:
        if classes is not None and len(classes):
            lowest, highest = classes.min(), classes.max()
            small = np.result_type(np.min_scalar_type(lowest), np.min_scalar_type(highest))
            classes = None if lowest == highest else classes.astype(small)
        return cls(np.concatenate((boxes.T, box_area(boxes)[None])), classes, places)

    def __len__(self) -> int:
        return len(self.places)

    def select(self, keep: Any) -> _Candidates:
        classes = None if self.classes is None else self.classes[keep]
        if isinstance(keep, slice):
            return _Candidates(self.planes[:, keep], classes, self.places[keep])
        return _Candidates(self.planes.take(keep, axis=1), classes, self.places[keep])


def _overlapped(rows: _Candidates, columns: _Candidates, threshold: Any) -> Array:
    """Return which of the columns any row suppresses."""
    step = max(_PAIRS_AT_ONCE // len(rows), 1)
    found = np.empty(len(columns), np.bool_)
    for start in range(0, len(columns), step):
        chunk = slice(start, start + step)
        _overlaps(rows, columns.select(chunk), threshold).any(axis=0, out=found[chunk])
    return found


def _overlaps(rows: _Candidates, columns: _Candidates, threshold: Any) -> Array:
    """Return where a row's box suppresses a column's: same class, IoU above the threshold.

    The numbers are those of `iou_matrix` to the last bit wherever the IoU is positive. Where it is not, two steps are
    saved: a negative height alone makes the quotient negative, and 0 / 0 is NaN, and neither is above a threshold.
    """
    ax1, ay1, ax2, ay2, a_area = rows.planes[:, :, None]
    bx1, by1, bx2, by2, b_area = columns.planes[:, None, :]
    width, other = np.minimum(ax2, bx2), np.maximum(ax1, bx1)
    width -= other
    overlaps: Array = width > 0  # cheaper than to raise negative widths to 0
    intersection = np.minimum(ay2, by2)
    intersection -= np.maximum(ay1, by1, out=other)
    intersection *= width
    union = np.add(a_area, b_area, out=width)
    union -= intersection
    with np.errstate(divide="ignore", invalid="ignore"):
        intersection /= union
        overlaps &= intersection > threshold
    if rows.classes is not None and columns.classes is not None:
        overlaps &= rows.classes[:, None] == columns.classes[None, :]
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
    width, rows = packed.shape[1], packed.tobytes()
    dropped, survivors = 0, []
    for index in range(len(overlaps)):
        if not dropped >> index & 1:
            survivors.append(index)
            dropped |= int.from_bytes(rows[index * width : (index + 1) * width], "little")
    return survivors
