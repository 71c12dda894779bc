from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from yolotrt_lab.errors import InputError, VerificationError
from yolotrt_lab.evaluation.tolerance import (
    TOLERANCES,
    Tolerance,
    compare_detections,
    compare_tensors,
    compare_yolo_outputs,
    judge,
)
from yolotrt_lab.types import Detections, Precision

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


def scores(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, 500)) ** 3


def off_by(relative_l2: float) -> np.ndarray:
    """Scores that are exactly so far from `scores()`, in no direction that has a name."""
    expected = scores()
    noise = np.random.default_rng(1).standard_normal(expected.shape)
    return expected + noise * relative_l2 * np.linalg.norm(expected) / np.linalg.norm(noise)


def test_the_ladder_is_that_of_the_design():
    assert [dataclasses.astuple(TOLERANCES[each]) for each in (FP32, FP16, BF16, INT8)] == [
        (1e-4, 0.99999, 0.99, 0.99, 0.005, 0.002),
        (1e-2, 0.9999, 0.97, 0.95, 0.02, 0.005),
        (5e-2, 0.999, 0.95, 0.9, 0.05, 0.01),
        (0.15, 0.99, 0.85, 0.8, 0.1, 0.02),
    ]
    with pytest.raises(TypeError):
        TOLERANCES[FP32] = TOLERANCES[INT8]  # type: ignore[index]


@pytest.mark.parametrize("precision", list(Precision))
def test_each_precision_passes_within_its_limit_and_fails_beyond(precision):
    # Noise of relative size r lowers the cosine by r² / 2, so the ladder's cosines bind first for some precisions.
    limits = TOLERANCES[precision]
    within = 0.9 * min(limits.relative_l2, np.sqrt(2 * (1 - limits.cosine)))
    for error, passed in ((within, True), (1.1 * limits.relative_l2, False)):
        verdict = judge(executed=precision, tensors={"scores": compare_tensors(off_by(error), scores())})
        assert verdict.passed is passed
        assert len(verdict.checks) == 2
    assert any(f"allowed at most {limits.relative_l2:g}" in reason for reason in verdict.reasons)
    assert any(f"{1.1 * limits.relative_l2:.3g}" in reason for reason in verdict.reasons)


def test_a_scaled_output_fails_though_its_cosine_is_perfect():
    verdict = judge(executed=INT8, tensors={"scores": compare_tensors(1.3 * scores(), scores())})
    assert not verdict.passed
    (reason,) = verdict.reasons
    assert reason.startswith("scores relative L2 error: measured 0.3, allowed at most 0.15")
    assert "1.3 times the expected ones" in reason
    assert [check.passed for check in verdict.checks if "cosine" in check.name] == [True]


def test_partly_scaled_output_is_hinted_at():
    actual = scores()
    actual[:, :, :250] *= 1.25
    verdict = judge(
        executed=FP16,
        tensors={"scores": compare_tensors(actual, scores())},
        tolerance=Tolerance(1e-2, 0.99, 0.9, 0.9, 0.1, 0.01),
    )
    assert "part of the output is scaled" in verdict.reasons[0]


def test_a_wrong_direction_fails_though_its_error_is_allowed():
    limits = Tolerance(0.5, 0.999, 1, 1, 0, 0)
    verdict = judge(executed=FP32, tensors={"x": compare_tensors(off_by(0.3), scores())}, tolerance=limits)
    assert [check.name for check in verdict.checks if not check.passed] == ["x cosine"]


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (
            scores().transpose(0, 2, 1),
            "scores shape: measured (1, 500, 3), allowed (1, 3, 500); likely cause: the axes",
        ),
        (scores().astype(np.float32), "scores dtype: measured float32, allowed float64; likely cause: cast"),
        (np.where(scores() > 0.9, np.nan, scores()), "scores NaN or infinite values: measured"),
        (np.log(scores() / (1 - scores())), "the last sigmoid is missing"),
        (3 * scores() ** 2 - 1, "no probabilities: a sigmoid is missing"),
        (0.3 * scores() * (np.arange(500) % 3 == 0), "scores collapse"),
        (np.zeros_like(scores()), "every value is 0: the output was not copied back"),
        (scores(7), "BGR for RGB"),
    ],
)
def test_reasons_say_measured_allowed_and_the_likely_cause(actual, reason):
    verdict = judge(executed=INT8, tensors={"scores": compare_tensors(actual, scores())})
    assert not verdict.passed
    assert any(reason in each for each in verdict.reasons), verdict.reasons


def test_shape_and_finiteness_end_the_checks_of_a_tensor():
    for actual in (scores()[:, :2], np.full_like(scores(), np.nan)):
        verdict = judge(executed=INT8, tensors={"scores": compare_tensors(actual, scores())})
        assert len(verdict.checks) == 1


@pytest.mark.parametrize(
    ("claimed", "executed", "passed"),
    [
        (FP32, FP32, True),
        (FP16, FP16, True),
        (FP16, BF16, True),  # a CPU without FP16 arithmetic
        (BF16, FP16, True),
        (INT8, INT8, True),
        (INT8, FP32, False),
        (INT8, FP16, False),
        (FP16, FP32, False),
        (FP16, INT8, False),
        (FP32, FP16, False),
    ],
)
def test_the_claimed_precision_must_be_there(claimed, executed, passed):
    perfect = {"scores": compare_tensors(scores(), scores())}
    verdict = judge(executed=executed, claimed=claimed, tensors=perfect)
    assert verdict.passed is passed
    if not passed:
        assert f"measured {executed}, allowed {claimed}" in verdict.reasons[0]
    if executed is FP32 and not passed:
        assert "plain FP32 engine" in verdict.reasons[0]


def boxes(count: int = 20) -> Detections:
    left = np.arange(count, dtype=np.float32) * 50
    xyxy = np.stack((left, left * 0, left + 40, left * 0 + 40), axis=1)
    return Detections(xyxy, np.full(count, 0.8, np.float32), np.arange(count) % 3)


def judged(actual: Detections, expected: Detections, precision: Precision = INT8):
    agreement = compare_detections(actual, expected, tolerance=TOLERANCES[precision], conf_threshold=0.25)
    return judge(executed=precision, boxes=agreement)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda d: Detections(d.xyxy, d.scores, (d.class_ids + 1) % 3), "classes differ"),
        (lambda d: Detections(d.xyxy, d.scores - np.float32(0.3), d.class_ids), "scores differ"),
        (lambda d: Detections(d.xyxy + np.float32(8), d.scores, d.class_ids), "boxes are moved or resized"),
        (lambda d: d.select(np.arange(10)), "boxes are only missing"),
        (lambda d: Detections(d.xyxy + np.float32(5000), d.scores, d.class_ids), "other images"),
    ],
)
def test_box_reasons_tell_what_disagrees(change, hint):
    verdict = judged(change(boxes()), boxes())
    assert not verdict.passed
    (reason,) = verdict.reasons
    assert reason.startswith("matched boxes: measured ")
    assert "allowed at least 85% at IoU 0.8 and score within 0.1" in reason
    assert hint in reason


def test_extra_boxes_are_called_extra():
    assert "boxes are only extra" in judged(boxes(), boxes().select(np.arange(10))).reasons[0]


def test_the_allowed_fraction_of_boxes_passes():
    assert judged(boxes(100).select(np.arange(99)), boxes(100), FP32).passed
    assert not judged(boxes(100).select(np.arange(97)), boxes(100), FP32).passed
    assert judged(boxes(100).select(np.arange(80)), boxes(100), INT8).passed


def test_no_box_proves_nothing():
    verdict = judged(Detections.empty(), Detections.empty())
    assert not verdict.passed
    assert "nothing is proved" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("drop", "passed"), [(0.019, True), (0.021, False), (-0.3, True), (float("nan"), False), (float("inf"), False)]
)
def test_the_loss_of_map_is_limited_and_a_gain_is_not(drop, passed):
    verdict = judge(executed=INT8, map50_95_drop=drop)
    assert verdict.passed is passed
    assert passed or "mAP50-95 drop: measured" in verdict.reasons[0]


def test_every_measure_must_pass():
    good = {"scores": compare_tensors(scores(), scores())}
    agreement = compare_detections(boxes(), boxes(), tolerance=TOLERANCES[FP32], conf_threshold=0.25)
    verdict = judge(executed=FP32, claimed=FP32, tensors=good, boxes=agreement, map50_95_drop=0.0)
    assert verdict.passed
    assert len(verdict.checks) == 5
    assert verdict.reasons == ()
    verdict.require("The engine")
    assert not judge(executed=FP32, tensors=good, boxes=agreement, map50_95_drop=0.5).passed


def test_require_raises_with_every_reason():
    verdict = judge(executed=INT8, claimed=FP16, map50_95_drop=0.5)
    with pytest.raises(VerificationError, match=r"parts-int8\.plan does not follow its reference") as caught:
        verdict.require("parts-int8.plan")
    assert all(reason in caught.value.got for reason in verdict.reasons)
    assert len(verdict.reasons) == 2


def test_nothing_to_judge_by_is_refused():
    for options in ({}, {"tensors": {}}, {"claimed": INT8}):
        with pytest.raises(InputError, match="nothing to judge"):
            judge(executed=INT8, **options)


def test_yolo_outputs_are_judged_as_boxes_and_scores():
    rng = np.random.default_rng(0)
    expected = np.concatenate((rng.uniform(0, 640, (1, 4, 210)), rng.random((1, 3, 210))), axis=1)
    actual = expected.copy()
    actual[:, 4:] *= 0.9
    whole = judge(executed=FP16, tensors={"output": compare_tensors(actual, expected)})
    apart = judge(executed=FP16, tensors=compare_yolo_outputs(actual, expected, num_classes=3).as_tensors())
    assert whole.passed  # which is why they are compared apart
    assert [check.name for check in apart.checks if not check.passed] == ["output scores relative L2 error"]
