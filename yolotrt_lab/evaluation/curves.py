"""Precision, recall and F1 over confidence and over each other.

At a confidence threshold a detector keeps the detections that score above it. Of those, TP find an object of their
own and FP do not; the objects that no detection finds are FN. Then

    precision = TP / (TP + FP)     recall = TP / (TP + FN)     F1 = 2 TP / (2 TP + FP + FN)

Precision is taken as 0 where nothing is kept: a detector that says nothing has not been right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, FloatArray

__all__ = ["RECALL_POINTS", "Curves", "OperatingPoint", "ScoredClass", "interpolated_precision"]

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO samples precision."""


@dataclass(frozen=True, eq=False)
class ScoredClass:
    """All detections of one class in a data set, most confident first, judged at several IoU thresholds.

    Attributes:
        name: The class's name.
        scores: (n,) float32, descending.
        is_true: (n, thresholds) whether the detection found an object of its own.
        positives: How many objects of the class there are, at least 1.
    """

    name: str
    scores: FloatArray
    is_true: NDArray[np.bool_]
    positives: int

    def counts_above(self, confidence: Array) -> tuple[Array, Array]:
        """Return how many detections score above each confidence, and how many of them are true at the first IoU."""
        kept = np.searchsorted(-self.scores, -np.asarray(confidence, np.float32), side="left")
        true = np.concatenate(([0], np.cumsum(self.is_true[:, 0])))
        return kept, true[kept]


@dataclass(frozen=True)
class OperatingPoint:
    """Mean precision, recall and F1 over the classes at one confidence threshold, at IoU 0.5."""

    confidence: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class Curves:
    """What a detector trades against what, at IoU 0.5, for every class that has objects.

    Attributes:
        class_names: (c,) the classes, in the order of the rows below.
        recall_points: (101,) recalls from 0 to 1.
        precision_at_recall: (c, 101) the greatest precision reached at this recall or more.
        confidence: (1001,) thresholds from 0 to 1.
        precision: (c, 1001) of detections that score above the threshold.
        recall: (c, 1001).
        f1: (c, 1001).
        classes: The judged detections the curves are made of.
    """

    class_names: tuple[str, ...]
    recall_points: NDArray[np.float64]
    precision_at_recall: NDArray[np.float64]
    confidence: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    classes: tuple[ScoredClass, ...]

    @classmethod
    def from_classes(cls, classes: tuple[ScoredClass, ...], *, points: int = 1001) -> Curves:
        """Compute the curves; the first IoU threshold of each class is the one used."""
        confidence = np.linspace(0.0, 1.0, points)
        precision, recall, f1 = _rates(classes, confidence)
        return cls(
            class_names=tuple(each.name for each in classes),
            recall_points=RECALL_POINTS,
            precision_at_recall=np.stack([interpolated_precision(each)[0] for each in classes]),
            confidence=confidence,
            precision=precision,
            recall=recall,
            f1=f1,
            classes=classes,
        )

    def at(self, confidence: float) -> OperatingPoint:
        """Return the mean over the classes at exactly this confidence threshold.

        Raises:
            InputError: The threshold is not in [0, 1].
        """
        if not 0 <= confidence <= 1:
            raise InputError("The confidence threshold is out of range.", expected="0 to 1", got=confidence)
        precision, recall, f1 = (rate.mean() for rate in _rates(self.classes, np.array([confidence])))
        return OperatingPoint(confidence, float(precision), float(recall), float(f1))

    def best(self) -> OperatingPoint:
        """Return the point with the greatest mean F1.

        F1 does not change between two neighboring scores, so a stretch of thresholds is equally good; its middle is
        returned, which has the most room on either side.
        """
        mean = self.f1.mean(axis=0)
        is_best = mean >= mean.max() - 1e-12
        start = int(is_best.argmax())
        length = int(np.argmin(np.append(is_best[start:], False)))
        return self.at(float(self.confidence[start + (length - 1) // 2]))


def _rates(classes: tuple[ScoredClass, ...], confidence: Array) -> tuple[Array, Array, Array]:
    """Return precision, recall and F1, each (classes, confidences)."""
    pairs = [each.counts_above(confidence) for each in classes]
    kept = np.stack([pair[0] for pair in pairs]).astype(np.float64)
    true = np.stack([pair[1] for pair in pairs]).astype(np.float64)
    positives = np.array([each.positives for each in classes], np.float64)[:, None]
    precision = np.divide(true, kept, out=np.zeros_like(true), where=kept > 0)
    return precision, true / positives, 2 * true / (kept + positives)


def interpolated_precision(detections: ScoredClass) -> NDArray[np.float64]:
    """Return (thresholds, 101) precision at COCO's recall points; its mean over the points is the average precision.

        p(r) = max over recalls r' >= r of precision(r'),    0 where r is never reached

    Source: `COCOeval.accumulate` in pycocotools, whose constants are kept so that the numbers are the same.
    """
    true = np.cumsum(detections.is_true, axis=0, dtype=np.float64)
    count, thresholds = true.shape
    result = np.zeros((thresholds, len(RECALL_POINTS)))
    if count == 0:
        return result
    recall = true / detections.positives
    precision = true / (np.arange(1, count + 1)[:, None] + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    for index in range(thresholds):
        reached = np.searchsorted(recall[:, index], RECALL_POINTS, side="left")
        within = reached < count
        result[index, within] = envelope[reached[within], index]
    return result
