"""Detections of a whole split beside its labels, ready for `evaluate_detections`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import YoloLabels, read_labels
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.evaluation.average_precision import DetectionMetrics, GroundTruth, evaluate_detections
from yolotrt_lab.runtimes.metadata import numbered_class_names
from yolotrt_lab.types import Detections, ProgressCallback

__all__ = ["MAP_CONFIG", "SplitDetections", "detect_split"]

MAP_CONFIG = DetectorConfig(conf_threshold=0.001, iou_threshold=0.7, max_detections=300, multi_label=True)
"""Settings to compute mAP with, the same as Ultralytics' validation."""


@dataclass(frozen=True, eq=False)
class SplitDetections:
    """What a detector found in the images of a split, and what is really there.

    Attributes:
        images: Paths, in order.
        ground_truth: One entry per image.
        detections: One entry per image, in its pixels.
        class_names: Of the data set.
    """

    images: tuple[Path, ...]
    ground_truth: tuple[GroundTruth, ...]
    detections: tuple[Detections, ...]
    class_names: tuple[str, ...]

    def metrics(self) -> DetectionMetrics:
        """Return the COCO metrics.

        Raises:
            InputError: No image has any object.
        """
        return evaluate_detections(self.ground_truth, self.detections, class_names=self.class_names)


def _require_same_classes(model: Sequence[str], dataset: Dataset) -> None:
    names = dataset.class_names
    if len(model) != len(names) or (set(model) == set(names) and tuple(model) != names):
        raise InputError(
            f"The model's classes are not those of {dataset.name}.",
            expected=", ".join(names),
            got=", ".join(model),
            fix="Use the data set the model was trained on; the order of the classes matters too.",
        )
    if tuple(model) not in (names, numbered_class_names(len(names))):
        warnings.warn(
            f"The model calls its classes {', '.join(model)}; the data set calls them {', '.join(names)}.",
            LabWarning,
            stacklevel=3,
        )


def _ground_truth(labels: YoloLabels, image_hw: tuple[int, int]) -> GroundTruth:
    return GroundTruth(labels.xyxy(image_hw).astype(np.float32), labels.class_ids, image_hw)


def detect_split(
    detector: Detector,
    dataset: Dataset,
    *,
    split: str = "test",
    limit: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> SplitDetections:
    """Run a detector over a split's images and read their labels.

    An image without a label file has no objects, as in training.

    Args:
        detector: Configured for its purpose; `MAP_CONFIG` for mAP.
        dataset: The data set.
        split: Which of its splits.
        limit: Use only the first so many images.
        on_progress: Called with (images done, images).

    Raises:
        InputError: The classes do not fit, there is no such split, or an image or label file is broken.

    Warns:
        LabWarning: The model has as many classes as the data set, by other names.
    """
    _require_same_classes(detector.class_names, dataset)
    images = dataset.images(split)[:limit]
    truths: list[GroundTruth] = []
    found: list[Detections] = []
    for path in images:
        image = read_image(path)
        labels = read_labels(dataset.labels_path(path), num_classes=len(dataset.class_names))
        truths.append(_ground_truth(labels, (image.shape[0], image.shape[1])))
        found.append(detector.detect(image))
        if on_progress is not None:
            on_progress(len(found), len(images))
    return SplitDetections(tuple(images), tuple(truths), tuple(found), dataset.class_names)
