"""Run a detector over a split of a data set and score it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import read_labels
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import DetectionMetrics, GroundTruth, evaluate_detections
from yolotrt_lab.types import Detections, ProgressCallback

__all__ = ["EVALUATION_CONFIDENCE", "Evaluation", "evaluate_detector"]

EVALUATION_CONFIDENCE = 0.001
"""Detect with this threshold for mAP: what a higher one cuts off is missing from the precision-recall curve."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a detector found in a split, what is there, and the score.

    Attributes:
        metrics: COCO metrics.
        images: The images, in order.
        detections: What was found in each.
        ground_truth: What is in each.
    """

    metrics: DetectionMetrics
    images: tuple[Path, ...]
    detections: tuple[Detections, ...]
    ground_truth: tuple[GroundTruth, ...]


def evaluate_detector(
    detector: Detector,
    dataset: Dataset,
    *,
    split: str = "test",
    max_images: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> Evaluation:
    """Detect in every image of a split and compute mAP.

    Args:
        detector: Built with a confidence threshold of `EVALUATION_CONFIDENCE`.
        dataset: Its class names must be the detector's, in the same order.
        split: Which images.
        max_images: Use only the first so many.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: The class names differ, the split is missing, or an image or label file is broken.
    """
    _require_same_classes(detector.class_names, dataset.class_names)
    images = dataset.images(split)[:max_images]
    found: list[Detections] = []
    truth: list[GroundTruth] = []
    for path in images:
        image = read_image(path)
        labels = read_labels(dataset.labels_path(path), num_classes=len(dataset.class_names))
        image_hw = (image.shape[0], image.shape[1])
        truth.append(GroundTruth(labels.xyxy(image_hw).astype(np.float32), labels.class_ids, image_hw))
        found.append(detector.detect(image))
        if on_progress is not None:
            on_progress(len(found), len(images))
    metrics = evaluate_detections(truth, found, class_names=dataset.class_names)
    return Evaluation(metrics, images, tuple(found), tuple(truth))


def _require_same_classes(model: Sequence[str], data: Sequence[str]) -> None:
    if tuple(model) != tuple(data):
        raise InputError(
            "The model and the data set have different classes.",
            expected=f"the model's: {', '.join(model)}",
            got=f"the data set's: {', '.join(data)}",
            fix="Evaluate on the data set the model was trained for, or put the names in data.yaml in its order.",
        )
