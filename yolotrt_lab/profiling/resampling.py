"""Error bars by the bootstrap (Efron, 1979): resample what was measured, and see how far the statistic moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError

__all__ = ["bootstrap_interval", "median_interval"]

_NORMAL_975 = 1.959964  # 97.5 % quantile of the standard normal distribution


def bootstrap_interval(
    samples: Sequence[float] | NDArray[np.float64],
    *,
    statistic: Callable[[NDArray[np.float64]], float] = lambda values: float(np.median(values)),
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic.

    Args:
        samples: (n,) measurements, or (n, k) rows that belong together (they are resampled as rows).
        statistic: Called with resampled rows; the median by default.
        confidence: Probability mass inside the interval.
        resamples: How often to resample.
        seed: Seed of the resampling, so that a report can be rebuilt.

    Raises:
        InputError: There are no samples.

    Example:
        >>> low, high = bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0])
        >>> low <= 3.0 <= high
        True
    """
    values = np.asarray(samples, dtype=np.float64)
    if len(values) == 0:
        raise InputError("There is nothing to resample.", expected="at least one sample", got="none")
    random = np.random.default_rng(seed)
    found = [statistic(values[random.integers(0, len(values), len(values))]) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def median_interval(samples: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the median from order statistics: no resampling, no assumption on the distribution.

    The number of samples under the true median is binomial(n, 1/2), so the interval is the samples of rank
    n/2 -+ 1.96 sqrt(n)/2 (Conover, Practical Nonparametric Statistics, 3.2). Neighbouring timings are not quite
    independent, which makes the true interval somewhat wider.

    Raises:
        InputError: There are no samples.

    Example:
        >>> median_interval([3.0])
        (3.0, 3.0)
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(ordered)
    if count == 0:
        raise InputError("There is no median of nothing.", expected="at least one sample", got="none")
    half_width = _NORMAL_975 * math.sqrt(count) / 2
    low = max(math.floor(count / 2 - half_width), 0)
    high = min(math.ceil(count / 2 + half_width), count - 1)
    return float(ordered[low]), float(ordered[high])
