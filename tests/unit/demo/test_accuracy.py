"""Agreement with the reference: what is compared, and by whose tolerance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.demo.accuracy import Accuracy, agreement_with
from yolotrt_lab.evaluation.average_precision import GroundTruth
from yolotrt_lab.runtimes.accuracy import SplitDetections
from yolotrt_lab.types import Detections, Precision

BOXES = np.array([[10, 10, 50, 60], [70, 20, 120, 90]], np.float32)


@pytest.fixture
def reference() -> Accuracy:
    found = Detections(BOXES, np.array([0.9, 0.8], np.float32), np.array([0, 1]))
    truth = GroundTruth(BOXES, np.array([0, 1]), (128, 128))
    split = SplitDetections((Path("a.jpg"),), (truth,), (found,), ("bolt", "nut"))
    raw = np.random.default_rng(0).random((1, 6, 336), np.float32)
    return Accuracy(split, split.metrics(), (found,), raw)


def test_the_reference_agrees_with_itself(reference):
    record = agreement_with(reference, reference, executed=Precision.FP32, claimed=Precision.FP32)
    assert record["verdict"] == "pass"
    assert record["reasons"] == []
    assert record["tensor"]["boxes relative_l2"] == 0
    assert record["boxes"]["matched_fraction"] == 1


@pytest.mark.parametrize(("executed", "verdict"), [(Precision.FP32, "fail"), (Precision.INT8, "pass")])
def test_the_tolerance_is_that_of_the_precision_that_ran(reference, executed, verdict):
    coarse = replace(reference, raw=reference.raw * np.float32(1.05))
    assert agreement_with(reference, coarse, executed=executed, claimed=executed)["verdict"] == verdict


def test_fp32_called_int8_fails(reference):
    record = agreement_with(reference, reference, executed=Precision.FP32, claimed=Precision.INT8)
    assert record["verdict"] == "fail"
    assert "executed precision" in record["reasons"][0]


def test_boxes_are_compared_too(reference):
    moved = reference.shown[0]
    moved = Detections(moved.xyxy + 15, moved.scores, moved.class_ids)
    record = agreement_with(
        reference, replace(reference, shown=(moved,)), executed=Precision.FP32, claimed=Precision.FP32
    )
    assert record["verdict"] == "fail"
    assert any("matched boxes" in reason for reason in record["reasons"])


def test_lost_accuracy_fails(reference):
    nothing = replace(reference.split, detections=(Detections.empty(),))
    worse = replace(reference, metrics=nothing.metrics())
    record = agreement_with(reference, worse, executed=Precision.FP32, claimed=Precision.FP32)
    assert any("mAP50-95 drop" in reason for reason in record["reasons"])
