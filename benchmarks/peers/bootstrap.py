"""mAP of the same images drawn again and again, so that models can be compared image by image.

Two models measured on the same images are right and wrong on the same ones, so the difference of their mAP is known far
better than either. Every model therefore sees the same draws (Efron, 1979), and the interval is that of the difference.
Which detection finds which object does not depend on what else is drawn, so it is settled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.evaluation.average_precision import IOU_THRESHOLDS, GroundTruth
from yolotrt_lab.evaluation.curves import ScoredClass, interpolated_precision
from yolotrt_lab.evaluation.matching import match_best_first
from yolotrt_lab.types import Detections

__all__ = ["JudgedImages", "draw_images", "interval"]

MAX_DETECTIONS = 100  # per class and image, as in COCO

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _JudgedClass:
    """All detections of a class, most confident first, and the image each is in."""

    scores: NDArray[np.float32]
    is_true: NDArray[np.bool_]
    image: NDArray[np.int64]
    positives: NDArray[np.int64]  # objects in each image


@dataclass(frozen=True, eq=False)
class JudgedImages:
    """Detections of one model in all images, judged against the ground truth."""

    classes: tuple[_JudgedClass, ...]

    @classmethod
    def judge(cls, truths: Sequence[GroundTruth], found: Sequence[Detections], *, num_classes: int) -> JudgedImages:
        """Settle which detections are right, at each IoU threshold."""
        return cls(tuple(_judge_class(truths, found, class_id) for class_id in range(num_classes)))

    def map50_95(self, counts: Counts) -> float:
        """Return mAP50-95 of a set in which image i appears `counts[i]` times.

        Example:
            >>> truth = GroundTruth(np.array([[0, 0, 9, 9]], np.float32), np.array([0]), (20, 20))
            >>> right = Detections(np.array([[0, 0, 9, 9]], np.float32), np.array([0.9], np.float32), np.array([0]))
            >>> judged = JudgedImages.judge([truth, truth], [right, right.select(np.array([], int))], num_classes=1)
            >>> round(judged.map50_95(np.array([1, 0])), 3), round(judged.map50_95(np.array([0, 1])), 3)
            (1.0, 0.0)
        """
        average = []
        for each in self.classes:
            positives = int(each.positives @ counts)
            if positives:
                members = np.repeat(np.arange(len(each.scores)), counts[each.image])
                drawn = ScoredClass("", each.scores[members], each.is_true[members], positives)
                average.append(interpolated_precision(drawn).mean())
        return float(np.mean(average)) if average else float("nan")


def _judge_class(truths: Sequence[GroundTruth], found: Sequence[Detections], class_id: int) -> _JudgedClass:
    scores, is_true, image = [np.zeros(0, np.float32)], [np.zeros((0, len(IOU_THRESHOLDS)), bool)], []
    for truth, detections in zip(truths, found, strict=True):
        mine = np.flatnonzero(detections.class_ids == class_id)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")][:MAX_DETECTIONS]
        iou = iou_matrix(
            detections.xyxy[mine].astype(np.float64), truth.xyxy[truth.class_ids == class_id].astype(np.float64)
        )
        scores.append(detections.scores[mine])
        is_true.append(match_best_first(iou, iou_thresholds=IOU_THRESHOLDS))
        image.append(len(mine))
    all_scores = np.concatenate(scores)
    order = np.argsort(-all_scores, kind="stable")
    return _JudgedClass(
        scores=all_scores[order],
        is_true=np.concatenate(is_true)[order],
        image=np.repeat(np.arange(len(image)), image)[order],
        positives=np.array([np.count_nonzero(truth.class_ids == class_id) for truth in truths], np.int64),
    )


def draw_images(count: int, *, resamples: int, seed: int = 0) -> Counts:
    """Return (resamples, count) how often each image is drawn, with replacement."""
    random = np.random.default_rng(seed)
    return np.stack([np.bincount(random.integers(0, count, count), minlength=count) for _ in range(resamples)])


def interval(samples: NDArray[np.float64], *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap samples; draws without any object are left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)
