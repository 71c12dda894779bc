"""From a tensor's values to the magnitude that INT8's 127 shall stand for.

Which one? Measured on YOLOv5n at 640 with INT8 in FP32 surroundings. Loss of mAP50-95 on BCCD (72 test images, from
0.615; mean and range of three draws of 128 calibration images) and on `parts` (100 test images, from 0.587; 120
calibration images); relative L2 error of the scores on BCCD (16 images, 64 for calibration).

================= ====================== ======= =========== ============
method            BCCD                   parts   scores mean scores worst
================= ====================== ======= =========== ============
mse               0.005 (0.004 to 0.006) 0.005   0.07        0.10
minmax            0.004 (0.002 to 0.004) 0.004   0.08        0.12
percentile        0.011 (0.011 to 0.012) 0.011   0.11        0.19
entropy           0.020 (0.018 to 0.022) 0.023   0.29        0.41
entropy-one-sided 0.001 (-0.001 to .003) 0.010   0.22        0.31
================= ====================== ======= =========== ============

In mAP, mse and minmax are within chance of each other; mse is the default for its smaller errors.

Entropy is TensorRT's classic, and this is its published algorithm: on all 13 of the BCCD detector's tensors that were
compared, the threshold of NVIDIA ModelOpt 0.47's calibrator was the same to 1e-7. That it loses most here is no mistake
in it but SiLU's and the letterbox's doing. `OneSidedEntropyCalibrator` says what SiLU does, and regains most or half of
the loss in mAP. The letterbox's grey makes a quarter of a 640 x 480 image's activations all but constant: spikes in the
early layers' histograms, whose divergence drives the cut to them: behind the first convolution to 1.4 of 8.7; to 7.2 of
14.3 on the same images cropped to squares. So one-sided entropy still changes the scores three times as much as mse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.histogram import MagnitudeRange, StreamingHistogram
from yolotrt_lab.types import Array

__all__ = [
    "METHODS",
    "Calibrator",
    "EntropyCalibrator",
    "MinMaxCalibrator",
    "MseCalibrator",
    "OneSidedEntropyCalibrator",
    "PercentileCalibrator",
    "make_calibrator",
]

LEVELS = 128
"""Magnitudes that symmetric INT8 tells apart: 0 to 127."""


class Calibrator(ABC):
    """Watches one tensor and chooses its clipping magnitude; memory does not grow with what it has seen."""

    @abstractmethod
    def update(self, values: Array) -> None:
        """Take in the values of one run (any shape).

        Raises:
            InputError: A value is NaN or infinite.
        """

    @abstractmethod
    def compute_amax(self) -> float:
        """Return the magnitude to map to 127; 0 when every value was zero."""

    @property
    @abstractmethod
    def observed_amax(self) -> float:
        """The largest magnitude seen."""

    def saturation(self, amax: float) -> float:
        """Return the share of values that `amax` clips."""
        return 0.0 if amax >= self.observed_amax else float("nan")


class MinMaxCalibrator(Calibrator):
    """Clips nothing: the largest magnitude maps to 127. One outlier can waste most of the 127 levels.

    Args:
        observed: What has been seen already, a histogram included, which may be shared with other calibrators.
    """

    def __init__(self, observed: MagnitudeRange | None = None) -> None:
        self._observed = MagnitudeRange() if observed is None else observed

    def update(self, values: Array) -> None:
        """Take in values."""
        self._observed.update(values)

    def compute_amax(self) -> float:
        """Return the largest magnitude seen."""
        return self._observed.amax

    @property
    def observed_amax(self) -> float:
        """The largest magnitude seen."""
        return self._observed.amax


class _HistogramCalibrator(Calibrator):
    """Chooses by the histogram, its own or one that is shared with other calibrators."""

    def __init__(self, observed: StreamingHistogram | None = None) -> None:
        self.histogram = StreamingHistogram() if observed is None else observed

    def update(self, values: Array) -> None:
        """Take in values."""
        self.histogram.update(values)

    @property
    def observed_amax(self) -> float:
        """The largest magnitude seen."""
        return self.histogram.amax

    def saturation(self, amax: float) -> float:
        """Return the share of values that `amax` clips, to the resolution of a bin."""
        return 0.0 if amax >= self.histogram.amax else self.histogram.share_above(amax)


class PercentileCalibrator(_HistogramCalibrator):
    """Clips a fixed share of the values.

    Args:
        observed: A histogram to share; by default its own.
        percentile: Percent of the values that stay unclipped.
    """

    def __init__(self, observed: StreamingHistogram | None = None, *, percentile: float = 99.99) -> None:
        super().__init__(observed)
        if not 50.0 <= percentile <= 100.0:
            raise InputError("The percentile is out of range.", expected="50 to 100", got=percentile)
        self.percentile = percentile

    def compute_amax(self) -> float:
        """Return the percentile of the magnitudes."""
        return self.histogram.quantile(self.percentile / 100.0)


class MseCalibrator(_HistogramCalibrator):
    """Clips where rounding and clipping together do the least damage: the sum of |x - quantized x| ** 2.4.

    An exponent above 2 weighs the clipping of rare large values more; 2.4 is what BRECQ (Li et al., ICLR 2021) uses.
    """

    _EXPONENT = 2.4
    _CANDIDATES = 256

    def compute_amax(self) -> float:
        """Return the magnitude with the smallest error, among 256 from a sixteenth of the range to all of it."""
        histogram = self.histogram
        if histogram.limit == 0.0:
            return 0.0
        counts = histogram.counts
        filled = np.flatnonzero(counts)
        centers = (filled + 0.5) * histogram.bin_width
        candidates = histogram.amax * np.linspace(1 / 16, 1.0, self._CANDIDATES)
        errors = [self._error(counts[filled], centers, float(candidate)) for candidate in candidates]
        return float(candidates[int(np.argmin(errors))])

    def _error(self, counts: Array, magnitudes: Array, amax: float) -> float:
        step = amax / (LEVELS - 1)
        quantized = np.minimum(np.rint(magnitudes / step), LEVELS - 1) * step
        return float((counts * np.abs(magnitudes - quantized) ** self._EXPONENT).sum())


class EntropyCalibrator(_HistogramCalibrator):
    """Clips where the quantized distribution loses the least information: TensorRT's entropy calibration.

    For every number i of bins from 128 on: P is the histogram cut at i with what lies beyond added to its last bin; Q
    is the cut histogram averaged into 128 levels, over the bins that are not empty. The cut with the smallest
    KL(P || Q) wins, the later one on a tie.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017. The first bin is set to the second, as in NVIDIA's
    pytorch-quantization, so that the many exact zeros of an activation do not decide.

    A histogram with more gaps than bars is not cut at all: pixels come in 256 values, which fill every eighth bin, and
    the comb would drive the cut into its first teeth. (On real images that maps everything but black to 127.)
    """

    def compute_amax(self) -> float:
        """Return the magnitude with the smallest divergence."""
        histogram = self.histogram
        if histogram.limit == 0.0:
            return 0.0
        counts = self._counts()
        used = min(int(np.ceil(histogram.amax / histogram.bin_width - 1e-9)), len(counts))
        if used <= LEVELS or self._is_comb(counts):
            return histogram.amax
        divergence = kl_divergences(counts[:used])
        best = used - int(np.argmin(divergence[::-1]))
        return float(min(best * histogram.bin_width, histogram.amax))

    def _counts(self) -> NDArray[np.int64]:
        return self.histogram.counts

    def _is_comb(self, counts: NDArray[np.int64]) -> bool:
        bulk = int(self.histogram.quantile(0.999) / self.histogram.bin_width) + 1
        return bool(np.count_nonzero(counts[:bulk]) < bulk / 2)


class OneSidedEntropyCalibrator(EntropyCalibrator):
    """Entropy calibration over the values of one sign, those that reach farther.

    SiLU has no value below -0.278, so the magnitudes of what is behind it have a cliff there: all negative values lie
    before it. A level across the cliff would cost more divergence than any tail, so TensorRT's algorithm puts the edge
    of a level on it, and the threshold becomes 128 x 0.278 / k for a whole k: 3.6, 4.0, 4.5, 5.1, 5.9, 7.1, 8.9 or
    11.9, whatever the tail. Without the negative values, which are small and are never clipped, there is no cliff.
    """

    def _counts(self) -> NDArray[np.int64]:
        return self.histogram.longer_side


def kl_divergences(counts: NDArray[np.int64], *, levels: int = LEVELS) -> NDArray[np.float64]:
    """Return KL(P || Q) in nats for every cut from `levels` bins to all of them.

    Cumulative sums make each cut cost `levels` steps instead of one per bin: within a level Q is constant, so only the
    level's sum and its number of non-empty bins are needed.

    Args:
        counts: (b,) histogram of magnitudes, b > levels.
        levels: Number of magnitudes after quantization.

    Returns:
        (b - levels + 1,) divergences; infinite where outliers would go to a bin that Q leaves empty.
    """
    bins = counts.astype(np.float64)
    bins[0] = bins[1]
    total = bins.sum()
    cuts = np.arange(levels, len(bins) + 1)
    filled = bins > 0
    entropies = bins * np.log(np.where(filled, bins, 1.0))
    sums, filled_sums, entropy_sums = (np.concatenate(([0.0], np.cumsum(part))) for part in (bins, filled, entropies))
    # starts[c, k]: first bin of level k in cut c, ceil(k * cut / levels)
    starts = -(-(np.arange(levels + 1)[None, :] * cuts[:, None]) // levels)
    level_sums = np.diff(sums[starts], axis=1)
    level_filled = np.diff(filled_sums[starts], axis=1)
    log_means = np.where(level_sums > 0, np.log(np.maximum(level_sums, 1e-300) / np.maximum(level_filled, 1.0)), 0.0)
    outliers = total - sums[cuts]
    last = bins[cuts - 1]
    last_with_outliers = last + outliers
    reference = entropy_sums[cuts - 1] + np.where(
        last_with_outliers > 0, last_with_outliers * np.log(np.maximum(last_with_outliers, 1e-300)), 0.0
    )
    crossed = (level_sums * log_means).sum(axis=1) + outliers * log_means[:, -1]
    kept = np.maximum(sums[cuts], 1e-300)
    divergence: NDArray[np.float64] = (reference - crossed) / total - np.log(total) + np.log(kept)
    divergence[(last == 0) & (outliers > 0)] = np.inf
    return divergence


METHODS: Mapping[str, Callable[..., Calibrator]] = {
    "mse": MseCalibrator,
    "minmax": MinMaxCalibrator,
    "percentile": PercentileCalibrator,
    "entropy": EntropyCalibrator,
    "entropy-one-sided": OneSidedEntropyCalibrator,
}


def make_calibrator(method: str, observed: MagnitudeRange | None = None) -> Calibrator:
    """Return a new calibrator.

    Args:
        method: "mse", "minmax", "percentile" (99.99), "entropy" or "entropy-one-sided".
        observed: What has been seen already, shared with other calibrators: a `StreamingHistogram`, for "minmax" any
            `MagnitudeRange`. By default the calibrator begins with nothing.

    Raises:
        InputError: There is no such method, or it needs a histogram.
    """
    if method not in METHODS:
        raise InputError("No such calibration method.", expected=", ".join(METHODS), got=method)
    if observed is not None and method != "minmax" and not isinstance(observed, StreamingHistogram):
        raise InputError(f"Method {method} needs a histogram.", expected="StreamingHistogram", got=type(observed))
    return METHODS[method](observed)
