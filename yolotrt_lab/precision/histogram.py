"""Histograms of magnitudes that grow with the data: constant memory however many images pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array

__all__ = ["BIN_COUNT", "MagnitudeRange", "StreamingHistogram"]

BIN_COUNT = 2048
"""As many bins as TensorRT's calibrator uses."""

_CHUNK = 1 << 20


class MagnitudeRange:
    """The largest |x| over values that arrive in pieces and are not kept: all that min-max needs."""

    def __init__(self) -> None:
        self.amax = 0.0

    def update(self, values: Array) -> None:
        """Take in the magnitudes of `values` (any shape).

        Raises:
            InputError: A value is NaN or infinite.
        """
        flat = np.asarray(values).reshape(-1)
        if flat.size:
            self._take(flat)

    def _take(self, flat: Array) -> None:
        amax = float(max(flat.max(), -flat.min()))
        if not np.isfinite(amax):
            raise InputError(
                "Cannot calibrate on values that are not finite.",
                expected="finite activations",
                got="NaN or infinity",
                fix="Check the model with `yolotrt verify`, and that the images are scaled to [0, 1].",
            )
        self.amax = max(self.amax, amax)


class StreamingHistogram(MagnitudeRange):
    """A histogram of |x| over values that arrive in pieces and are not kept.

    Positive and negative values are counted apart, because some of the choices depend on the longer side alone.

    The range starts at the largest magnitude of the first piece. When a larger one comes, the range doubles until it
    fits, and each pair of bins merges into one, so no count is lost and one pass over the data is enough. (Doubling
    leaves between half of the bins and all of them in use.)

    Args:
        bin_count: Number of bins; even.

    Example:
        >>> histogram = StreamingHistogram()
        >>> histogram.update(np.array([0.5, -1.0])); histogram.update(np.array([3.0]))
        >>> histogram.amax, histogram.total, histogram.limit
        (3.0, 3, 4.0)
    """

    def __init__(self, *, bin_count: int = BIN_COUNT) -> None:
        super().__init__()
        if bin_count < 2 or bin_count % 2:
            raise InputError("Bins merge in pairs.", expected="an even number of bins", got=bin_count)
        self._signed: NDArray[np.int64] = np.zeros(2 * bin_count, np.int64)  # from -limit to limit
        self.limit = 0.0
        self.zero_count = 0

    @property
    def positive(self) -> NDArray[np.int64]:
        """(bins,) counts of the values from 0 on."""
        return self._signed[self._signed.size // 2 :]

    @property
    def negative(self) -> NDArray[np.int64]:
        """(bins,) counts of the values below 0, by magnitude."""
        return self._signed[: self._signed.size // 2][::-1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) counts of all values by magnitude."""
        return self.positive + self.negative

    @property
    def longer_side(self) -> NDArray[np.int64]:
        """(bins,) counts of those values, positive or negative, that reach farther."""
        reach = [int(np.flatnonzero(side)[-1]) if side.any() else -1 for side in (self.positive, self.negative)]
        return self.positive if reach[0] >= reach[1] else self.negative

    @property
    def total(self) -> int:
        """Number of values seen."""
        return int(self._signed.sum()) + (self.zero_count if self.limit == 0.0 else 0)

    @property
    def bin_width(self) -> float:
        """Width of one bin, in the units of the values; 0 while every value was zero."""
        return 2.0 * self.limit / self._signed.size

    @property
    def state_bytes(self) -> int:
        """Memory held, which does not depend on how much was seen."""
        return int(self._signed.nbytes)

    def _take(self, flat: Array) -> None:
        super()._take(flat)
        self._start(self.amax)
        self._grow(self.amax)
        if self.limit == 0.0:  # nothing but zeros so far: there is no scale to bin by
            self.zero_count += flat.size
            return
        if flat.dtype != np.float32:
            flat = flat.astype(np.float64)
        size = self._signed.size
        scale = flat.dtype.type(0.5 * size / self.limit)
        for start in range(0, flat.size, _CHUNK):  # pieces that stay in the cache
            shifted = flat[start : start + _CHUNK] * scale
            shifted += size // 2
            positions = shifted.astype(np.int32)
            np.minimum(positions, size - 1, out=positions)  # the largest value belongs to the last bin
            self._signed += np.bincount(positions, minlength=size)

    def _start(self, limit: float) -> None:
        """Set the range if there is none yet; magnitudes too small to divide by count as zero."""
        if self.limit == 0.0 and limit > np.finfo(np.float32).tiny * self._signed.size:
            self.limit = limit
            self.positive[0] += self.zero_count

    def _grow(self, amax: float) -> None:
        quarter = self._signed.size // 4
        while 0.0 < self.limit < amax:
            pairs = self._signed.reshape(-1, 2).sum(axis=1)
            self._signed[:] = 0
            self._signed[quarter : 3 * quarter] = pairs
            self.limit *= 2.0

    def align(self, other: StreamingHistogram) -> None:
        """Start with the range of another one, so that the two can be merged; no effect once there is a range."""
        self._start(other.limit)

    def merged(self, other: StreamingHistogram) -> StreamingHistogram:
        """Return the histogram of what both have seen; no count is lost, and neither changes.

        Raises:
            InputError: The ranges are no power of two apart, because the two were not aligned.

        Example:
            >>> odd, even = StreamingHistogram(), StreamingHistogram()
            >>> odd.update(np.array([1.0])); even.align(odd); even.update(np.array([3.0, 5.0]))
            >>> odd.merged(even).total, odd.merged(even).limit
            (3, 8.0)
        """
        ratio = self.limit / other.limit if self.limit and other.limit else 1.0
        if self._signed.size != other._signed.size or np.frexp(ratio)[0] != 0.5:
            raise InputError(
                "These histograms do not share their bins.",
                expected="ranges a power of two apart",
                got=f"{self.limit:g} and {other.limit:g}",
                fix="Call `align` on the second one before its first update.",
            )
        limit = max(self.limit, other.limit)
        result = StreamingHistogram(bin_count=self._signed.size // 2)
        for part in (self, other):
            piece = StreamingHistogram(bin_count=self._signed.size // 2)
            piece._signed, piece.limit, piece.zero_count = part._signed.copy(), part.limit, part.zero_count
            piece._start(limit)
            piece._grow(limit)
            result._signed += piece._signed
            result.limit = piece.limit
            result.zero_count += piece.zero_count
        result.amax = max(self.amax, other.amax)
        return result

    def quantile(self, share: float) -> float:
        """Return the magnitude below which `share` of the values lie, linear within the bin, at most `amax`."""
        counts = self.counts
        total = counts.sum()
        if self.limit == 0.0 or total == 0:
            return 0.0
        target = share * total
        cumulative = np.cumsum(counts)
        position = min(int(np.searchsorted(cumulative, target)), len(counts) - 1)
        inside = counts[position]
        before = cumulative[position] - inside
        fraction = (target - before) / inside if inside else 1.0
        return float(min((position + fraction) * self.bin_width, self.amax))

    def share_above(self, magnitude: float) -> float:
        """Return the share of values above a magnitude, to the resolution of a bin."""
        counts = self.counts
        total = counts.sum()
        if self.limit == 0.0 or total == 0:
            return 0.0
        position = int(np.ceil(magnitude / self.bin_width - 1e-9))
        return float(counts[position:].sum() / total)
