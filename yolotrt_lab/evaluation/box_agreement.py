"""How closely one engine's detections follow another's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.matching import Matches, match_detections
from yolotrt_lab.types import Detections

__all__ = ["BoxAgreement", "compare_boxes"]


@dataclass(frozen=True)
class BoxAgreement:
    """What was measured over all images; judging it is `tolerance.judge`'s task.

    Attributes:
        matched_fraction: Counted boxes of both sides that have a partner, over all counted boxes; NaN without any.
        compared: Counted boxes of both sides: those clear of the confidence threshold.
        missing: Counted boxes of the reference without a partner.
        extra: Counted boxes of the engine without a partner.
        excluded: Boxes of both sides too close to the confidence threshold to count.
        mean_iou: Mean IoU of the pairs; NaN without pairs.
        max_score_delta: Greatest score difference within a pair; NaN without pairs.
        matched_ignoring_class: The matched fraction if classes need not agree.
        matched_ignoring_scores: The matched fraction if scores need not agree.
        matched_ignoring_place: The matched fraction if an IoU of 0.3 is enough.
    """

    matched_fraction: float
    compared: int
    missing: int
    extra: int
    excluded: int
    mean_iou: float
    max_score_delta: float
    matched_ignoring_class: float
    matched_ignoring_scores: float
    matched_ignoring_place: float


@dataclass(frozen=True, eq=False)
class _Image:
    """Both sides' detections of one image, and which of them count."""

    actual: Detections
    expected: Detections
    actual_counts: NDArray[np.bool_]
    expected_counts: NDArray[np.bool_]

    def match(self, *, min_iou: float, max_score_delta: float | None, class_aware: bool = True) -> Matches:
        # Where partners are contested, a counted box goes before one that only might have been there.
        priority = self.actual_counts[:, None].astype(np.int64) + self.expected_counts[None, :]
        return match_detections(
            self.actual,
            self.expected,
            min_iou=min_iou,
            max_score_delta=max_score_delta,
            class_aware=class_aware,
            priority=priority,
        )

    def matched(self, pairs: Matches) -> tuple[int, int]:
        """Return how many counted boxes of either side have a partner."""
        return int(self.actual_counts[pairs.actual].sum()), int(self.expected_counts[pairs.expected].sum())


def compare_boxes(
    actual: Sequence[Detections],
    expected: Sequence[Detections],
    *,
    match_iou: float,
    score_delta: float,
    conf_threshold: float,
) -> BoxAgreement:
    """Measure agreement of detections, image by image.

    A box that scores just above the confidence threshold on one side may score just below it on the other and be
    gone, without any disagreement beyond `score_delta`. Therefore, before any matching, boxes that score less than
    `conf_threshold + score_delta` are taken out of the count, on both sides. They stay as possible partners only: a
    counted box whose partner slipped into that margin is matched.

    A pair has the same class, an IoU of at least `match_iou` and scores at most `score_delta` apart; each box is in
    one pair at most. Missing and additional boxes lower the result alike.

    Args:
        actual: The engine's detections of each image.
        expected: The reference's, in the same order.
        match_iou: Least overlap of a pair.
        score_delta: Greatest difference of scores in a pair.
        conf_threshold: The threshold both sides were detected with.

    Raises:
        InputError: Not the same number of images, or a box below the threshold, which says that another was used.
    """
    if len(actual) != len(expected):
        raise InputError(
            "Both engines need detections for every image.",
            expected=f"{len(expected)} images",
            got=f"{len(actual)} images",
        )
    images = [_image(a, e, conf_threshold, score_delta) for a, e in zip(actual, expected, strict=True)]
    pairs = [image.match(min_iou=match_iou, max_score_delta=score_delta) for image in images]
    found, kept = (sum(side) for side in _sides(images, pairs))
    extra = sum(int(image.actual_counts.sum()) for image in images) - found
    missing = sum(int(image.expected_counts.sum()) for image in images) - kept
    compared = found + kept + extra + missing
    deltas = [
        np.abs(image.actual.scores[each.actual].astype(np.float64) - image.expected.scores[each.expected])
        for image, each in zip(images, pairs, strict=True)
    ]

    def matched_if(*, iou: float = match_iou, delta: float | None = score_delta, class_aware: bool = True) -> float:
        looser = [image.match(min_iou=iou, max_score_delta=delta, class_aware=class_aware) for image in images]
        return sum(sum(side) for side in _sides(images, looser)) / compared if compared else math.nan

    return BoxAgreement(
        matched_fraction=(found + kept) / compared if compared else math.nan,
        compared=compared,
        missing=missing,
        extra=extra,
        excluded=sum(len(image.actual) + len(image.expected) for image in images) - compared,
        mean_iou=_mean([each.iou for each in pairs]),
        max_score_delta=max((float(each.max()) for each in deltas if len(each)), default=math.nan),
        matched_ignoring_class=matched_if(class_aware=False),
        matched_ignoring_scores=matched_if(delta=None),
        matched_ignoring_place=matched_if(iou=0.3),
    )


def _image(actual: Detections, expected: Detections, conf_threshold: float, score_delta: float) -> _Image:
    for side, found in (("engine", actual), ("reference", expected)):
        if len(found) and (not np.isfinite(found.xyxy).all() or not (found.scores >= np.float32(conf_threshold)).all()):
            raise InputError(
                f"The {side}'s detections are not those of confidence threshold {conf_threshold}.",
                expected=f"finite boxes with scores above {conf_threshold}",
                got=f"scores from {found.scores.min():.4g}",
                fix="Detect with both engines at the threshold that is passed here.",
            )
    least = np.float32(conf_threshold + score_delta)
    return _Image(actual, expected, actual.scores >= least, expected.scores >= least)


def _sides(images: list[_Image], pairs: list[Matches]) -> tuple[list[int], list[int]]:
    """Return the matched counted boxes per image, of the engine and of the reference."""
    both = [image.matched(each) for image, each in zip(images, pairs, strict=True)]
    return [side[0] for side in both], [side[1] for side in both]


def _mean(parts: list[NDArray[np.float64]]) -> float:
    values = np.concatenate([np.zeros(0), *parts])
    return float(values.mean()) if len(values) else math.nan
