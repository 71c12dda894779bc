"""Which class a detector takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import GroundTruth, require_pairs
from yolotrt_lab.evaluation.matching import Matches, match_one_to_one, same_class
from yolotrt_lab.types import Detections

__all__ = ["confusion_matrix"]


def confusion_matrix(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.5,
) -> NDArray[np.int64]:
    """Count what was found as what.

    Boxes are paired regardless of class, the closest first; of equally close ones a pair of the same class first.

    Args:
        ground_truth: The objects of each image.
        detections: What was found in each image, in the same order.
        class_names: Name of each class id.
        conf_threshold: Only detections that score above this count.
        iou_threshold: A pair overlaps at least this much.

    Returns:
        (classes + 1, classes + 1): row = class found, column = true class. The last column counts detections where
        nothing is, the last row objects that were not found; the corner is 0.

    Raises:
        InputError: As `evaluate_detections`, or a threshold is out of range.

    Example:
        >>> truth = GroundTruth(np.array([[0, 0, 9, 9]], np.float32), np.array([0]), (20, 20))
        >>> found = Detections(np.array([[0, 0, 9, 8]], np.float32), np.array([0.9], np.float32), np.array([1]))
        >>> confusion_matrix([truth], [found], class_names=["bolt", "nut"]).tolist()
        [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    """
    require_pairs(ground_truth, detections, class_names=class_names)
    for name, value in (("conf_threshold", conf_threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is out of range.", expected="0 to 1", got=value)
    background = len(class_names)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    for truth, everything in zip(ground_truth, detections, strict=True):
        found = everything.select(everything.scores > np.float32(conf_threshold))
        pairs = _pairs(found, truth, iou_threshold)
        predicted = np.full(len(truth), background)
        predicted[pairs.expected] = found.class_ids[pairs.actual]
        np.add.at(matrix, (predicted, truth.class_ids), 1)
        is_false = np.ones(len(found), bool)
        is_false[pairs.actual] = False
        matrix[:, background] += np.bincount(found.class_ids[is_false], minlength=background + 1)
    return matrix


def _pairs(found: Detections, truth: GroundTruth, iou_threshold: float) -> Matches:
    iou = iou_matrix(found.xyxy.astype(np.float64), truth.xyxy.astype(np.float64))
    # Far below any real difference in IoU, so it only breaks ties.
    tie_break = 1e-9 * same_class(found.class_ids, truth.class_ids)
    return match_one_to_one(iou, min_iou=max(iou_threshold, 1e-9), priority=iou + tie_break)
