"""How closely one tensor follows another: shape, type and finiteness first, then three measures together.

max_abs      max |a - e|            catches a single wrong value
relative_l2  ‖a - e‖ / ‖e‖          catches a wrong scale
cosine       a·e / (‖a‖ ‖e‖)        catches a wrong direction, but passes any scaled output: never used alone
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.detection.decode import OutputLayout, detect_layout
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.diagnosis import (
    class_order_causes,
    likely_box_causes,
    likely_causes,
    shape_causes,
)
from yolotrt_lab.evaluation.matching import match_one_to_one, same_class
from yolotrt_lab.types import Array

__all__ = ["TensorAgreement", "YoloOutputAgreement", "compare_tensors", "compare_yolo_outputs"]

# Differences below this need no explanation; looking for one takes longer than comparing.
_WORTH_EXPLAINING = 1e-3
# End-to-end rows below this are filled up from the noise, different ones each time.
_LEAST_ROW_SCORE = 0.05


@dataclass(frozen=True)
class TensorAgreement:
    """What was measured; judging it is `tolerance.judge`'s task.

    Attributes:
        shape_ok: The shapes are equal.
        dtype_ok: The type is the one asked for.
        finite: No NaN and no infinity.
        max_abs: Greatest absolute difference; NaN, as the next two, if the shapes differ or a value is not finite.
        relative_l2: Norm of the difference over norm of what was expected.
        cosine: Cosine of the angle between the two.
        actual_shape: Shape that came.
        expected_shape: Shape of the reference.
        actual_dtype: Type that came.
        expected_dtype: Type asked for.
        nonfinite_count: How many values are NaN or infinite.
        actual_range: Least and greatest finite value that came.
        expected_range: Least and greatest value of the reference.
        causes: Mistakes that would explain the difference.
    """

    shape_ok: bool
    dtype_ok: bool
    finite: bool
    max_abs: float
    relative_l2: float
    cosine: float
    actual_shape: tuple[int, ...]
    expected_shape: tuple[int, ...]
    actual_dtype: str
    expected_dtype: str
    nonfinite_count: int
    actual_range: tuple[float, float]
    expected_range: tuple[float, float]
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class YoloOutputAgreement:
    """Boxes and scores of a YOLO output apart: box values near 640 would hide any error in scores below 1."""

    boxes: TensorAgreement
    scores: TensorAgreement

    def as_tensors(self, name: str = "output") -> dict[str, TensorAgreement]:
        """Return both by name, as `judge` takes them."""
        return {f"{name} boxes": self.boxes, f"{name} scores": self.scores}


def compare_tensors(actual: Array, expected: Array, *, dtype: str | None = None) -> TensorAgreement:
    """Measure how far a tensor is from its reference, in float64.

    Args:
        actual: What an engine returned.
        expected: What the reference, usually ONNX Runtime in FP32, returned for the same input.
        dtype: Type that `actual` should have; the reference's if None.

    Raises:
        InputError: The reference itself is not finite or not numeric.

    Example:
        >>> agreement = compare_tensors(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
        >>> round(agreement.cosine, 9), agreement.relative_l2  # the cosine alone sees nothing
        (1.0, 1.0)
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if expected.dtype.kind not in "fiub" or not np.isfinite(expected).all():
        raise InputError(
            "The reference output is unusable.",
            expected="finite numbers",
            got=f"dtype {expected.dtype}, shape {expected.shape}, with values that are not finite numbers",
            fix="Check the FP32 ONNX model before comparing an engine with it.",
        )
    is_numeric = actual.dtype.kind in "fiub"
    finite = np.isfinite(actual) if is_numeric else np.zeros(actual.shape, bool)
    shape_ok, is_finite = actual.shape == expected.shape, bool(finite.all())
    max_abs = relative_l2 = cosine = math.nan
    causes: tuple[str, ...] = ()
    if not shape_ok:
        causes = shape_causes(actual.shape, expected.shape)
    elif is_finite:
        max_abs, relative_l2, cosine = _measures(actual, expected)
        causes = likely_causes(actual, expected) if relative_l2 > _WORTH_EXPLAINING else ()
    return TensorAgreement(
        shape_ok=shape_ok,
        dtype_ok=actual.dtype.name == (dtype or expected.dtype.name),
        finite=is_finite,
        max_abs=max_abs,
        relative_l2=relative_l2,
        cosine=cosine,
        actual_shape=actual.shape,
        expected_shape=expected.shape,
        actual_dtype=actual.dtype.name,
        expected_dtype=dtype or expected.dtype.name,
        nonfinite_count=int(np.count_nonzero(~finite)),
        actual_range=_range(actual[finite]),
        expected_range=_range(expected),
        causes=causes,
    )


def _measures(actual: Array, expected: Array) -> tuple[float, float, float]:
    """Return max_abs, relative_l2, cosine; two zero tensors agree, one zero tensor agrees with nothing else."""
    a, e = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    difference = a - e
    norm_a, norm_e = float(np.linalg.norm(a)), float(np.linalg.norm(e))
    norm_difference = float(np.linalg.norm(difference))
    if norm_a == 0 or norm_e == 0:
        cosine = 1.0 if norm_a == norm_e else 0.0
    else:
        # Divided first, so that no product overflows; clipped, because rounding may exceed 1.
        cosine = min(max(float((a / norm_a) @ (e / norm_e)), -1.0), 1.0)
    relative_l2 = norm_difference / norm_e if norm_e else math.inf if norm_difference else 0.0
    return float(np.abs(difference).max(initial=0.0)), relative_l2, cosine


def _range(values: Array) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)


def compare_yolo_outputs(
    actual: Array, expected: Array, *, num_classes: int, layout: OutputLayout | None = None
) -> YoloOutputAgreement:
    """Measure boxes and scores of a raw YOLO output apart.

    Rows of an end-to-end output have no fixed order, and its tail is noise. So rows whose score is at least 0.05 are
    paired by class and overlap, and compared pair by pair; one without a partner is compared with zeros.

    Args:
        actual: What an engine returned.
        expected: What the reference returned for the same input.
        num_classes: How many classes the model has.
        layout: How the output is arranged; read off the reference's shape if None.

    Raises:
        InputError: The reference is unusable or its layout cannot be told.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    layout = layout or detect_layout(expected.shape, num_classes=num_classes)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        whole = compare_tensors(actual, expected)
        return YoloOutputAgreement(boxes=whole, scores=whole)
    actual_parts, expected_parts = (_boxes_and_scores(output, num_classes, layout) for output in (actual, expected))
    if layout is OutputLayout.END_TO_END:
        actual_parts, expected_parts = _aligned_rows(actual, expected)
    boxes, scores = (compare_tensors(a, e) for a, e in zip(actual_parts, expected_parts, strict=True))
    if layout is OutputLayout.END_TO_END:
        return YoloOutputAgreement(boxes=boxes, scores=scores)
    return _explained(boxes, scores, actual_parts, expected_parts, whole=(actual, expected))


def _boxes_and_scores(output: Array, num_classes: int, layout: OutputLayout) -> tuple[Array, Array]:
    """Return (..., 4) boxes and (..., classes) scores, objectness first where there is one."""
    rows = output.transpose(0, 2, 1) if layout is OutputLayout.ANCHOR_FREE else output
    last = 5 + num_classes if layout is OutputLayout.ANCHOR_BASED else 4 + num_classes
    return rows[..., :4], rows[..., 4:last]


def _explained(
    boxes: TensorAgreement,
    scores: TensorAgreement,
    actual_parts: tuple[Array, Array],
    expected_parts: tuple[Array, Array],
    *,
    whole: tuple[Array, Array],
) -> YoloOutputAgreement:
    """Return the agreements with the causes that only boxes, only scores or only the whole output can show."""
    (actual_boxes, actual_scores), (expected_boxes, expected_scores) = actual_parts, expected_parts
    if boxes.relative_l2 > _WORTH_EXPLAINING:
        boxes = replace(boxes, causes=boxes.causes + likely_box_causes(actual_boxes, expected_boxes))
    if scores.relative_l2 > _WORTH_EXPLAINING:
        columns = (part.reshape(-1, part.shape[-1]).T for part in (actual_scores, expected_scores))
        scores = replace(scores, causes=scores.causes + class_order_causes(*columns))
    if not boxes.causes and not scores.causes and max(boxes.relative_l2, scores.relative_l2) > _WORTH_EXPLAINING:
        causes = likely_causes(*whole)
        boxes, scores = replace(boxes, causes=causes), replace(scores, causes=causes)
    return YoloOutputAgreement(boxes=boxes, scores=scores)


def _aligned_rows(actual: Array, expected: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return (n, 4) boxes and (n, 1) scores of paired end-to-end rows of all images, zeros for a missing partner."""
    left: list[Array] = []
    right: list[Array] = []
    for a, e in zip(actual, expected, strict=True):
        # One row's score may fall just below the limit while its partner's stays above: it still is its partner.
        iou = iou_matrix(a[:, :4].astype(np.float64), e[:, :4].astype(np.float64))
        pairs = match_one_to_one(
            iou,
            min_iou=0.5,
            allowed=same_class(np.rint(a[:, 5]), np.rint(e[:, 5])),
            priority=np.add.outer(a[:, 4] >= _LEAST_ROW_SCORE, e[:, 4] >= _LEAST_ROW_SCORE, dtype=np.int64),
        )
        matters = np.maximum(a[pairs.actual, 4], e[pairs.expected, 4]) >= _LEAST_ROW_SCORE
        alone_a = np.setdiff1d(np.flatnonzero(a[:, 4] >= _LEAST_ROW_SCORE), pairs.actual)
        alone_e = np.setdiff1d(np.flatnonzero(e[:, 4] >= _LEAST_ROW_SCORE), pairs.expected)
        left += [a[pairs.actual[matters]], a[alone_a], np.zeros_like(a[: len(alone_e)])]
        right += [e[pairs.expected[matters]], np.zeros_like(e[: len(alone_a)]), e[alone_e]]
    rows_a, rows_e = np.concatenate(left), np.concatenate(right)
    return (rows_a[:, :4], rows_a[:, 4:5]), (rows_e[:, :4], rows_e[:, 4:5])
