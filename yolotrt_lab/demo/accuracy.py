"""How accurate each engine is, and how closely it follows FP32 ONNX Runtime, on the same test images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.decode import detect_layout
from yolotrt_lab.detection.pipeline import DetectorConfig
from yolotrt_lab.evaluation.average_precision import DetectionMetrics
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections, compare_yolo_outputs, judge
from yolotrt_lab.report.records import agreement_record
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, SplitDetections, detect_split
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Array, Detections, Precision, ProgressCallback

__all__ = ["SHOWN_CONFIG", "Accuracy", "agreement_with", "measure_accuracy"]

SHOWN_CONFIG = DetectorConfig(conf_threshold=0.25)
"""Settings of what a user sees, and of what must match the reference box by box."""

_RAW_IMAGES = 16  # raw outputs compared value by value; detections are compared on every test image


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What one model did on the test images.

    Attributes:
        split: Everything it found, and what is there.
        metrics: Its mAP.
        shown: What a user would see in each image.
        raw: (k, channels, anchors) network outputs for the first images.
    """

    split: SplitDetections
    metrics: DetectionMetrics
    shown: tuple[Detections, ...]
    raw: Array


def measure_accuracy(
    path: Path,
    dataset: Dataset,
    *,
    backend: str | None = None,
    max_images: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> Accuracy:
    """Evaluate a model file on the test images, and keep what it shows and its first raw outputs."""
    with open_runtime(path, backend=backend, batch=1) as runtime:
        found = detect_split(
            detector_from_runtime(runtime, config=MAP_CONFIG),
            dataset,
            split="test",
            limit=max_images,
            on_progress=on_progress,
        )
        detector = detector_from_runtime(runtime, config=SHOWN_CONFIG)
        shown: list[Detections] = []
        raw: list[Array] = []
        for image in found.images:
            batch, transforms = detector.preprocess([read_image(image)])
            output = detector.infer(batch)
            shown += detector.postprocess(output, transforms)
            if len(raw) < _RAW_IMAGES:
                raw.append(output)
    return Accuracy(found, found.metrics(), tuple(shown), np.concatenate(raw))


def agreement_with(
    reference: Accuracy, measured: Accuracy, *, executed: Precision, claimed: Precision
) -> dict[str, Any]:
    """Compare a model with the FP32 ONNX Runtime reference and judge it by the precision that really ran.

    Returns:
        The record that `report.schema.Agreement` describes.
    """
    num_classes = len(reference.split.class_names)
    layout = detect_layout(reference.raw.shape, num_classes=num_classes)
    raw = compare_yolo_outputs(measured.raw, reference.raw, num_classes=num_classes, layout=layout)
    tensors = {"boxes": raw.boxes, "scores": raw.scores}
    boxes = compare_detections(
        measured.shown,
        reference.shown,
        tolerance=TOLERANCES[executed],
        conf_threshold=SHOWN_CONFIG.conf_threshold,
    )
    drop = reference.metrics.map50_95 - measured.metrics.map50_95
    verdict = judge(executed=executed, claimed=claimed, tensors=tensors, boxes=boxes, map50_95_drop=drop)
    return agreement_record(verdict, tensors=tensors, boxes=boxes)
