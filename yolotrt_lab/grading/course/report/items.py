"""How hard an item is, and whether it tells strong from weak submissions: classical test theory, nothing more.

An item is an exercise, or one test of it. Everything here works on plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["FEWEST", "difficulty", "item_rest_correlation", "point_biserial", "upper_lower_discrimination"]

FEWEST = 10
"""With fewer submissions correlations are chance, and nothing here is worth a decision."""

_GROUP = 0.27


def difficulty(shares: Sequence[float]) -> float:
    """Return the item's difficulty index p: the mean share of its points, so that easy items have a high one.

    Ebel and Frisbie, "Essentials of Educational Measurement" (1991), chapter 13.

    Args:
        shares: (n,) share of the item's points per submission, from 0 to 1; at least one.

    Example:
        >>> difficulty([1.0, 0.5, 0.0])
        0.5
    """
    return math.fsum(shares) / len(shares)


def item_rest_correlation(item: Sequence[float], totals: Sequence[float]) -> float | None:
    """Return the correlation of an item with the rest of the points: Pearson's r of x and (total - x).

    The item is taken out of the total, because it would correlate with itself otherwise (Henrysson, "Correction of
    item-total correlations in item analysis", Psychometrika 28, 1963). For an item that is right or wrong this is the
    point-biserial correlation; for one with partial credit it is its usual extension.

    Args:
        item: (n,) points of the item.
        totals: (n,) points of the whole submissions, the item's included.

    Returns:
        r from -1 to 1; None where the item or the rest is the same for everybody.

    Example:
        >>> round(item_rest_correlation([0, 1, 1], [1, 3, 4]), 3)
        0.866
    """
    x = np.asarray(item, np.float64)
    rest = np.asarray(totals, np.float64) - x
    if len(x) < 2 or np.ptp(x) < 1e-9 or np.ptp(rest) < 1e-9:
        return None
    return float(np.clip(np.corrcoef(x, rest)[0, 1], -1.0, 1.0))


def point_biserial(passed: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Return the point-biserial correlation of a right-or-wrong item with a score.

    r = (M1 - M0) / s * sqrt(n1 n0 / n^2), where M1 and M0 are the mean scores of those who passed and failed, n1 and
    n0 their numbers, and s the standard deviation of all n scores, divided by n (Tate, "Correlation between a discrete
    and a continuous variable", Annals of Mathematical Statistics 25, 1954).

    Args:
        passed: (n,) who passed.
        scores: (n,) points, without those of the item.

    Returns:
        r from -1 to 1; None where all passed, all failed, or all scores are the same.

    Example:
        >>> point_biserial([True, True, False], [3.0, 3.0, 1.0])
        1.0
    """
    right, values = np.asarray(passed, bool), np.asarray(scores, np.float64)
    ones, zeros = int(right.sum()), int((~right).sum())
    if not ones or not zeros or np.ptp(values) < 1e-9:
        return None
    gap = float(values[right].mean() - values[~right].mean())
    found = gap / float(values.std()) * math.sqrt(ones * zeros) / len(values)
    return min(max(found, -1.0), 1.0)


def upper_lower_discrimination(shares: Sequence[float], totals: Sequence[float]) -> float | None:
    """Return the discrimination index D: the mean share of the best 27 % less that of the weakest 27 %.

    Kelley, "The selection of upper and lower groups for the validation of test items", Journal of Educational
    Psychology 30 (1939). Where the border of a group falls among submissions with the same total, these count with
    equal weights, so that no order among them matters.

    Args:
        shares: (n,) share of the item's points.
        totals: (n,) points of the whole submissions.

    Returns:
        D from -1 to 1; None where all totals are the same.

    Example:
        >>> upper_lower_discrimination([0, 0, 1, 1], [1, 2, 3, 4])
        1.0
    """
    x, values = np.asarray(shares, np.float64), np.asarray(totals, np.float64)
    if len(x) < 2 or np.ptp(values) < 1e-9:
        return None
    size = max(1, round(_GROUP * len(x)))
    return _mean_of_best(x, values, size) - _mean_of_best(x, -values, size)


def _mean_of_best(x: np.ndarray, values: np.ndarray, size: int) -> float:
    border = np.sort(values)[::-1][size - 1]
    above, at = values > border, values == border
    room = size - int(above.sum())
    return float((x[above].sum() + room * x[at].mean()) / size)
