"""Mean average precision as COCO defines it, equal to pycocotools.

Ten IoU thresholds from 0.50 to 0.95, precision at 101 recalls, at most 100 detections per class and image, boxes of
every size, no crowds. A class without a single object has no average precision and stays out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.curves import Curves, ScoredClass, interpolated_precision
from yolotrt_lab.evaluation.matching import match_best_first, same_class
from yolotrt_lab.types import Array, Detections, FloatArray

__all__ = ["IOU_THRESHOLDS", "DetectionMetrics", "GroundTruth", "evaluate_detections", "require_pairs"]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects that are really in one image.

    Attributes:
        xyxy: (n, 4) boxes in pixels of the image.
        class_ids: (n,) int64.
        image_hw: Height and width of the image in pixels.
    """

    xyxy: FloatArray
    class_ids: NDArray[np.int64]
    image_hw: tuple[int, int]

    def __post_init__(self) -> None:
        count = len(self.class_ids)
        if self.xyxy.shape != (count, 4) or self.class_ids.shape != (count,):
            raise InputError(
                "Ground truth needs one box and one class id per object.",
                expected="xyxy (n, 4), class_ids (n,)",
                got=f"xyxy {self.xyxy.shape}, class_ids {self.class_ids.shape}",
            )

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class DetectionMetrics:
    """How well detections fit the ground truth of a data set.

    Attributes:
        map50: Mean average precision at IoU 0.50.
        map75: Mean average precision at IoU 0.75.
        map50_95: Mean over the IoU thresholds 0.50, 0.55 … 0.95.
        per_class_ap50: Average precision at IoU 0.50 of every class that has objects.
        per_class_ap50_95: The same, mean over the ten thresholds.
        precision: Mean precision over the classes at the confidence with the best mean F1, at IoU 0.5.
        recall: Mean recall there.
        f1: Mean F1 there.
        best_confidence: That confidence.
        curves: Precision, recall and F1 over confidence, and over each other; `curves.at(confidence)` gives any point.
        image_count: Images evaluated.
        object_count: Objects in them.
    """

    map50: float
    map75: float
    map50_95: float
    per_class_ap50: dict[str, float]
    per_class_ap50_95: dict[str, float]
    precision: float
    recall: float
    f1: float
    best_confidence: float
    curves: Curves
    image_count: int
    object_count: int


def evaluate_detections(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    max_detections: int = 100,
) -> DetectionMetrics:
    """Return the COCO metrics of detections in a set of images.

    Args:
        ground_truth: The objects of each image.
        detections: What was found in each image, in the same order. Detect with a confidence threshold of 0.001 or so:
            detections that are cut off lower the recall that can be reached, and with it the mAP.
        class_names: Name of each class id.
        max_detections: Use only this many of each class in an image, the most confident.

    Raises:
        InputError: Not one entry per image on both sides, class ids without a name, NaN, or no object at all.

    Example:
        >>> truth = GroundTruth(np.array([[0, 0, 9, 9]], np.float32), np.array([0]), (20, 20))
        >>> found = Detections(np.array([[0, 0, 9, 8]], np.float32), np.array([0.9], np.float32), np.array([0]))
        >>> metrics = evaluate_detections([truth], [found], class_names=["part"])
        >>> round(metrics.map50, 6), round(metrics.map50_95, 6)  # IoU 0.89: right at eight of ten thresholds
        (1.0, 0.8)
    """
    require_pairs(ground_truth, detections, class_names=class_names)
    if max_detections < 1:
        raise InputError("max_detections is out of range.", expected="at least 1", got=max_detections)
    classes = _scored_classes(ground_truth, detections, class_names, max_detections)
    if not classes:
        raise InputError(
            f"There is no object in {len(ground_truth)} images, so mean average precision is undefined.",
            expected="at least one labeled object",
            got="0",
            fix="Check the path of the labels and the split.",
        )
    average = {each.name: interpolated_precision(each).mean(axis=1) for each in classes}
    mean = np.mean(list(average.values()), axis=0)
    curves = Curves.from_classes(classes)
    best = curves.best()
    return DetectionMetrics(
        map50=float(mean[0]),
        map75=float(mean[5]),
        map50_95=float(mean.mean()),
        per_class_ap50={name: float(values[0]) for name, values in average.items()},
        per_class_ap50_95={name: float(values.mean()) for name, values in average.items()},
        precision=best.precision,
        recall=best.recall,
        f1=best.f1,
        best_confidence=best.confidence,
        curves=curves,
        image_count=len(ground_truth),
        object_count=sum(map(len, ground_truth)),
    )


def require_pairs(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detections], *, class_names: Sequence[str]
) -> None:
    """Check that both sides describe the same images with known classes and finite numbers.

    Raises:
        InputError: They do not.
    """
    if len(ground_truth) != len(detections):
        raise InputError(
            "Every image needs its ground truth and its detections.",
            expected=f"{len(ground_truth)} entries, one per image",
            got=f"{len(detections)} detections",
        )
    if len(set(class_names)) != len(class_names):
        raise InputError("Class names repeat.", expected="one name per class", got=", ".join(class_names))
    for index, (truth, found) in enumerate(zip(ground_truth, detections, strict=True)):
        for kind, ids in (("ground truth", truth.class_ids), ("detections", found.class_ids)):
            if len(ids) and not (ids.min() >= 0 and ids.max() < len(class_names)):
                raise InputError(
                    f"The {kind} of image {index} has a class id without a name.",
                    expected=f"0 to {len(class_names) - 1}",
                    got=f"{ids.min()} to {ids.max()}",
                )
        if not all(np.isfinite(values).all() for values in (truth.xyxy, found.xyxy, found.scores)):
            raise InputError(f"Image {index} has boxes or scores that are NaN or infinite.", expected="finite numbers")


def _scored_classes(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    class_names: Sequence[str],
    max_detections: int,
) -> tuple[ScoredClass, ...]:
    """Return every class that has objects, with its detections judged and sorted."""
    used = [each.select(_most_confident(each, max_detections)) for each in detections]
    is_true = [_judge_image(truth, found) for truth, found in zip(ground_truth, used, strict=True)]
    # The arrays below are empty for a set without detections; the leading rows give them their shapes.
    all_true = np.concatenate([np.zeros((0, len(IOU_THRESHOLDS)), bool), *is_true])
    all_scores = np.concatenate([np.zeros(0, np.float32), *(each.scores for each in used)])
    all_ids = np.concatenate([np.zeros(0, np.int64), *(each.class_ids for each in used)])
    positives = np.bincount(
        np.concatenate([np.zeros(0, np.int64), *(each.class_ids for each in ground_truth)]), minlength=len(class_names)
    )
    classes = []
    for class_id in np.flatnonzero(positives).tolist():
        members = np.flatnonzero(all_ids == class_id)
        # Stable, as in pycocotools: equal scores keep the order of the images, and that decides the curve.
        members = members[np.argsort(-all_scores[members], kind="stable")]
        classes.append(
            ScoredClass(class_names[class_id], all_scores[members], all_true[members], int(positives[class_id]))
        )
    return tuple(classes)


def _most_confident(found: Detections, limit: int) -> Array:
    """Return indices, most confident first, of at most `limit` detections per class."""
    order = np.argsort(-found.scores, kind="stable")
    ids = found.class_ids[order]
    by_class = np.argsort(ids, kind="stable")
    counts = np.bincount(ids) if len(ids) else np.zeros(0, np.int64)
    rank = np.empty(len(ids), np.int64)
    rank[by_class] = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    result: Array = order[rank < limit]
    return result


def _judge_image(truth: GroundTruth, found: Detections) -> NDArray[np.bool_]:
    iou = iou_matrix(found.xyxy.astype(np.float64), truth.xyxy.astype(np.float64))
    iou *= same_class(found.class_ids, truth.class_ids)
    return match_best_first(iou, iou_thresholds=IOU_THRESHOLDS)
