"""How much an engine may differ from the FP32 reference, and the verdict.

The tolerance belongs to the precision that really executed, not to the one asked for. A verdict rests on shape, type
and finiteness first, then on relative L2 error *and* cosine, boxes and scores apart, then on matched boxes, then on
mAP. Every measure that is handed in must pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from yolotrt_lab.errors import InputError, VerificationError
from yolotrt_lab.evaluation.box_agreement import BoxAgreement, compare_boxes
from yolotrt_lab.evaluation.tensor_agreement import (
    TensorAgreement,
    YoloOutputAgreement,
    compare_tensors,
    compare_yolo_outputs,
)
from yolotrt_lab.types import Detections, Precision

__all__ = [
    "TOLERANCES",
    "BoxAgreement",
    "Check",
    "TensorAgreement",
    "Tolerance",
    "Verdict",
    "YoloOutputAgreement",
    "compare_detections",
    "compare_tensors",
    "compare_yolo_outputs",
    "judge",
]


@dataclass(frozen=True)
class Tolerance:
    """What may differ from the reference.

    Attributes:
        relative_l2: Greatest relative L2 error of a tensor.
        cosine: Least cosine between a tensor and its reference.
        matched_fraction: Least fraction of matched boxes.
        match_iou: Least IoU of two boxes that match.
        score_delta: Greatest difference of their scores.
        map50_95_drop: Greatest loss of mAP50-95.
    """

    relative_l2: float
    cosine: float
    matched_fraction: float
    match_iou: float
    score_delta: float
    map50_95_drop: float


TOLERANCES: Mapping[Precision, Tolerance] = MappingProxyType(
    {
        Precision.FP32: Tolerance(1e-4, 0.99999, 0.99, 0.99, 0.005, 0.002),
        Precision.FP16: Tolerance(1e-2, 0.9999, 0.97, 0.95, 0.02, 0.005),
        Precision.BF16: Tolerance(5e-2, 0.999, 0.95, 0.9, 0.05, 0.01),
        Precision.INT8: Tolerance(0.15, 0.99, 0.85, 0.8, 0.1, 0.02),
    }
)
"""The ladder: for the precision that really executed."""

# A CPU without FP16 arithmetic runs an FP16 request in BF16, which is reduced precision honestly delivered.
_ACCEPTED_FOR: Mapping[Precision, tuple[Precision, ...]] = {
    Precision.FP32: (Precision.FP32,),
    Precision.FP16: (Precision.FP16, Precision.BF16),
    Precision.BF16: (Precision.BF16, Precision.FP16),
    Precision.INT8: (Precision.INT8,),
}


@dataclass(frozen=True)
class Check:
    """One measure against its limit.

    Attributes:
        name: What was measured, of what.
        measured: The value, as text.
        allowed: The limit, as text.
        passed: Whether the limit is kept.
        hint: The likely cause of a failure; empty if there is no evidence for one.
    """

    name: str
    measured: str
    allowed: str
    passed: bool
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: measured {self.measured}, allowed {self.allowed}"
        return f"{text}; likely cause: {self.hint}" if self.hint else text


@dataclass(frozen=True)
class Verdict:
    """Whether an engine may be used.

    Attributes:
        passed: Every check passed.
        reasons: One line for each check that failed: measured, allowed, likely cause.
        checks: Every check that was made.
    """

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def require(self, subject: str) -> None:
        """Raise unless passed.

        Raises:
            VerificationError: The verdict is negative; the message holds every reason.
        """
        if not self.passed:
            raise VerificationError(
                f"{subject} does not follow its reference.",
                expected="every check within its tolerance",
                got="\n            ".join(self.reasons),
            )


def compare_detections(
    actual: Detections | Sequence[Detections],
    expected: Detections | Sequence[Detections],
    *,
    tolerance: Tolerance,
    conf_threshold: float,
) -> BoxAgreement:
    """Measure agreement of detections in one image or many, as `compare_boxes` does, by this tolerance's limits.

    Boxes that score less than `conf_threshold + tolerance.score_delta` are taken out of the count before matching.

    Args:
        actual: The engine's detections: of one image, or one entry per image.
        expected: The reference's, likewise.
        tolerance: Says how close two boxes and their scores must be to match.
        conf_threshold: The threshold both sides were detected with.

    Raises:
        InputError: Not the same number of images, or a box below the threshold.
    """
    return compare_boxes(
        [actual] if isinstance(actual, Detections) else actual,
        [expected] if isinstance(expected, Detections) else expected,
        match_iou=tolerance.match_iou,
        score_delta=tolerance.score_delta,
        conf_threshold=conf_threshold,
    )


def judge(
    *,
    executed: Precision,
    claimed: Precision | None = None,
    tensors: Mapping[str, TensorAgreement] | None = None,
    boxes: BoxAgreement | None = None,
    map50_95_drop: float | None = None,
    tolerance: Tolerance | None = None,
) -> Verdict:
    """Return whether everything measured keeps the tolerance of the precision that executed.

    Args:
        executed: The precision that the inspector found.
        claimed: The precision asked for; another one executed is a failure, however close the numbers. FP16 and BF16
            stand for each other, because a CPU without FP16 arithmetic runs BF16.
        tensors: Agreement of raw outputs by name; `YoloOutputAgreement.as_tensors` gives boxes and scores apart.
        boxes: Agreement of detections.
        map50_95_drop: mAP50-95 of the reference minus that of the engine.
        tolerance: Instead of the ladder's.

    Raises:
        InputError: Nothing was handed in to judge by.

    Example:
        >>> import numpy as np
        >>> expected = np.array([0.1, 0.9, 0.5])
        >>> verdict = judge(executed=Precision.FP32, tensors={"scores": compare_tensors(2 * expected, expected)})
        >>> verdict.passed, len(verdict.reasons)
        (False, 1)
    """
    if not tensors and boxes is None and map50_95_drop is None:
        raise InputError(
            "There is nothing to judge the engine by.", expected="at least one of tensors, boxes, map50_95_drop"
        )
    limits = tolerance or TOLERANCES[executed]
    checks: list[Check] = []
    if claimed is not None:
        checks.append(_precision_check(executed, claimed))
    for name, agreement in (tensors or {}).items():
        checks += _tensor_checks(name, agreement, limits)
    if boxes is not None:
        checks.append(_box_check(boxes, limits))
    if map50_95_drop is not None:
        checks.append(_map_check(map50_95_drop, limits))
    reasons = tuple(str(check) for check in checks if not check.passed)
    return Verdict(passed=not reasons, reasons=reasons, checks=tuple(checks))


def _precision_check(executed: Precision, claimed: Precision) -> Check:
    passed = executed in _ACCEPTED_FOR[claimed]
    hint = ""
    if not passed and executed is Precision.FP32:
        hint = "the builder flag or the conversion had no effect, so a plain FP32 engine was built"
    return Check("executed precision", executed, " or ".join(_ACCEPTED_FOR[claimed]), passed, "" if passed else hint)


def _tensor_checks(name: str, agreement: TensorAgreement, limits: Tolerance) -> Iterator[Check]:
    """Yield the checks of one tensor; what makes the next ones meaningless ends them."""
    causes = "; ".join(agreement.causes)
    if not agreement.shape_ok:
        yield Check(f"{name} shape", str(agreement.actual_shape), str(agreement.expected_shape), False, causes)
        return
    if not agreement.dtype_ok:
        hint = "cast the output, or pass the type that the engine declares"
        yield Check(f"{name} dtype", agreement.actual_dtype, agreement.expected_dtype, False, hint)
    if not agreement.finite:
        hint = "values beyond 65504 overflow in FP16, or the output buffer was never written"
        yield Check(f"{name} NaN or infinite values", str(agreement.nonfinite_count), "0", False, hint)
        return
    l2_ok, cosine_ok = agreement.relative_l2 <= limits.relative_l2, agreement.cosine >= limits.cosine
    hint = causes or _fallback_hint(agreement, cosine_ok=cosine_ok)
    yield Check(
        f"{name} relative L2 error",
        f"{agreement.relative_l2:.3g}",
        f"at most {limits.relative_l2:g}",
        l2_ok,
        "" if l2_ok else hint,
    )
    yield Check(
        f"{name} cosine", f"{agreement.cosine:.6f}", f"at least {limits.cosine:g}", cosine_ok, "" if cosine_ok else hint
    )


def _fallback_hint(agreement: TensorAgreement, *, cosine_ok: bool) -> str:
    """Return what the numbers suggest where no single mistake explains the difference."""
    low, high = agreement.expected_range
    actual_low, actual_high = agreement.actual_range
    if low >= 0 and high <= 1 and (actual_low < -0.05 or (actual_high > 1.05 and not cosine_ok)):
        return f"values from {actual_low:.3g} to {actual_high:.3g} are no probabilities: a sigmoid is missing"
    if low >= 0 and high <= 1 and actual_high < 0.5 * high:
        return "scores collapse: the detection head is quantized, or calibration saw the wrong inputs"
    if cosine_ok:
        return "the direction fits but the size does not: part of the output is scaled"
    return (
        "the input differs (BGR for RGB, no division by 255, another letterbox), the weights differ, "
        "or the precision is too low for some layer"
    )


def _box_check(boxes: BoxAgreement, limits: Tolerance) -> Check:
    rule = f"at least {limits.matched_fraction:.0%} at IoU {limits.match_iou:g} and score within {limits.score_delta:g}"
    if boxes.compared == 0:
        hint = "no image shows an object clear of the confidence threshold, so nothing is proved"
        return Check("matched boxes", "no box to compare", rule, False, hint)
    passed = boxes.matched_fraction >= limits.matched_fraction
    measured = f"{boxes.matched_fraction:.1%} of {boxes.compared} ({boxes.missing} missing, {boxes.extra} extra)"
    return Check("matched boxes", measured, rule, passed, "" if passed else _box_hint(boxes))


def _box_hint(boxes: BoxAgreement) -> str:
    """Return which of the three conditions keeps most boxes apart, if dropping it helps half of them."""
    looser = {
        "classes differ while boxes and scores agree: class names or their order are mixed up": (
            boxes.matched_ignoring_class
        ),
        "scores differ while boxes and classes agree: the input differs (BGR for RGB, no division by 255), or the "
        "head is quantized": boxes.matched_ignoring_scores,
        "boxes are moved or resized while classes and scores agree: the padding or the scale of the way back is wrong, "
        "or coordinates are quantized": boxes.matched_ignoring_place,
    }
    cause, matched = max(looser.items(), key=lambda item: item[1])
    if matched - boxes.matched_fraction >= (1 - boxes.matched_fraction) / 2:
        return cause
    if boxes.extra == 0 or boxes.missing == 0:
        kind = "missing" if boxes.extra == 0 else "extra"
        return f"boxes are only {kind}: the confidence or NMS thresholds of the two sides differ, or scores collapse"
    return "the detections are of other images, or another preprocessing"


def _map_check(drop: float, limits: Tolerance) -> Check:
    passed = drop <= limits.map50_95_drop
    hint = "" if passed or not math.isnan(drop) else "one side's mAP is not a number"
    if not passed and not hint:
        hint = "too few or unlike calibration images, or a sensitive layer in low precision"
    return Check("mAP50-95 drop", f"{drop:.4f}", f"at most {limits.map50_95_drop:g}", passed, hint)
