"""Pair boxes with boxes: detections with ground truth, or one engine's detections with another's.

Two rules, for two questions:

    match_best_first   Detections in order of score take the best free ground truth: COCO's rule, for precision and
                       recall, because a detector commits to its most confident boxes first.
    match_one_to_one   The closest pairs go first, neither side leads: for comparing equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, Detections

__all__ = ["Matches", "match_best_first", "match_detections", "match_one_to_one", "same_class"]


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of boxes, each box in one pair at most.

    Attributes:
        actual: (pairs,) indices of the first set.
        expected: (pairs,) indices of the second set.
        iou: (pairs,) intersection over union of each pair.
    """

    actual: NDArray[np.int64]
    expected: NDArray[np.int64]
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.actual)


def same_class(actual: Array, expected: Array) -> NDArray[np.bool_]:
    """Return the (n, m) table of which class ids are equal."""
    table: NDArray[np.bool_] = np.asarray(actual)[:, None] == np.asarray(expected)[None, :]
    return table


def match_best_first(iou: Array, *, iou_thresholds: Sequence[float] | Array) -> NDArray[np.bool_]:
    """Return which detections find a ground truth of their own, at each threshold.

    The rule of the COCO evaluation: rows come in order, and each takes the free column with the greatest IoU that
    reaches the threshold; of equal ones the last.

    Args:
        iou: (detections, ground truths), rows from the most to the least confident; 0 where a pair is not allowed.
        iou_thresholds: (t,) ascending and positive.

    Returns:
        (detections, t), true where the detection is a true positive.

    Raises:
        InputError: Thresholds that are not ascending in (0, 1], or more than 60 of them.

    Example:
        >>> match_best_first(np.array([[0.6], [0.9]]), iou_thresholds=[0.5, 0.75]).tolist()
        [[True, False], [False, True]]
    """
    thresholds = np.asarray(iou_thresholds, np.float64)
    ascending = (np.diff(thresholds) > 0).all() and len(thresholds) <= 60
    if not ascending or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise InputError(
            "IoU thresholds are out of range.", expected="at most 60, ascending, in (0, 1]", got=thresholds.tolist()
        )
    # pycocotools takes an IoU of 1 - 1e-10 for 1, against rounding.
    reached = np.searchsorted(np.minimum(thresholds, 1 - 1e-10), iou, side="right")
    rows, columns = np.nonzero(reached)
    order = np.lexsort((-columns, -iou[rows, columns], rows))
    # One bit per threshold, so a pair is settled at all thresholds at once: what the pair reaches, what its row has
    # found already, what its column has given away.
    reachable = ((1 << reached[rows, columns]) - 1)[order].tolist()
    found = [0] * iou.shape[0]
    taken = [0] * iou.shape[1]
    for row, column, bits in zip(rows[order].tolist(), columns[order].tolist(), reachable, strict=True):
        won = bits & ~found[row] & ~taken[column]
        found[row] |= won
        taken[column] |= won
    flags: NDArray[np.bool_] = (np.array(found, np.int64)[:, None] >> np.arange(len(thresholds))) & 1 == 1
    return flags


def match_one_to_one(
    iou: Array, *, min_iou: float, allowed: Array | None = None, priority: Array | None = None
) -> Matches:
    """Return pairs, the closest first; each row and each column is used once at most.

    Args:
        iou: (n, m) intersection over union.
        min_iou: Pairs with less are no pairs.
        allowed: (n, m) which pairs may be made; None allows all.
        priority: (n, m) pairs with more go before closer ones with less; None makes all equal.

    Returns:
        The pairs in the order in which they were made; equal ones by row, then column.

    Example:
        >>> pairs = match_one_to_one(np.array([[0.6, 0.7], [0.1, 0.9]]), min_iou=0.5)
        >>> pairs.actual.tolist(), pairs.expected.tolist()
        ([1, 0], [1, 0])
    """
    possible = iou >= min_iou
    if allowed is not None:
        possible &= allowed
    rows, columns = np.nonzero(possible)
    closeness = iou[rows, columns]
    rank = np.zeros(len(rows)) if priority is None else priority[rows, columns]
    free_rows, free_columns = [True] * iou.shape[0], [True] * iou.shape[1]
    chosen = []
    for pair in np.lexsort((columns, rows, -closeness, -rank)).tolist():
        row, column = rows[pair], columns[pair]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            chosen.append(pair)
    return Matches(rows[chosen], columns[chosen], closeness[chosen].astype(np.float64))


def match_detections(
    actual: Detections,
    expected: Detections,
    *,
    min_iou: float,
    max_score_delta: float | None = None,
    class_aware: bool = True,
    priority: Array | None = None,
) -> Matches:
    """Return one-to-one pairs of detections that agree.

    Args:
        actual: One engine's detections in an image.
        expected: Another's in the same image.
        min_iou: A pair overlaps at least this much.
        max_score_delta: A pair's scores differ by at most this; None ignores scores.
        class_aware: A pair has the same class.
        priority: As in `match_one_to_one`.

    Example:
        >>> found = Detections(np.array([[0, 0, 9, 9]], np.float32), np.array([0.5], np.float32), np.array([1]))
        >>> len(match_detections(found, found, min_iou=0.99, max_score_delta=0.01))
        1
    """
    # In float64, because an IoU of 0.99 between float32 boxes far from the origin hangs on the last bits.
    iou = iou_matrix(actual.xyxy.astype(np.float64), expected.xyxy.astype(np.float64))
    allowed = np.ones(iou.shape, bool)
    if class_aware:
        allowed &= same_class(actual.class_ids, expected.class_ids)
    if max_score_delta is not None:
        delta = actual.scores.astype(np.float64)[:, None] - expected.scores.astype(np.float64)[None, :]
        allowed &= np.abs(delta) <= max_score_delta
    return match_one_to_one(iou, min_iou=min_iou, allowed=allowed, priority=priority)
