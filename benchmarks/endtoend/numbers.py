"""Summaries of repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["flatness", "shown", "spread"]

# 97.5 % quantile of Student's t with 18 degrees of freedom: a line through 20 means.
_BLOCKS, _T_975 = 20, 2.101


def spread(values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """Return least, median and greatest."""
    return {"min": float(np.min(values)), "median": float(np.median(values)), "max": float(np.max(values))}


def shown(values: dict[str, float], *, digits: int = 2, percent: bool = False) -> str:
    """Return "median (min to max)" for a table."""
    factor, unit = (100, " %") if percent else (1, "")
    low, middle, high = (f"{factor * values[name]:.{digits}f}" for name in ("min", "median", "max"))
    return f"{middle}{unit} ({low} to {high})"


def flatness(frames: Sequence[float], memory_mib: Sequence[float]) -> dict[str, float]:
    """Return the slope of memory over frames by least squares, in MiB per 1000 frames, with a 95 % interval.

    Neighbouring samples are nearly equal, so a line through all of them would look far too certain; it goes through the
    means of twenty blocks instead.

    Example:
        >>> flat = flatness(range(100), [5.0] * 100)
        >>> flat["slope"], flat["high"]
        (0.0, 0.0)
    """
    x = np.array([block.mean() for block in np.array_split(np.asarray(frames, np.float64) / 1000, _BLOCKS)])
    y = np.array([block.mean() for block in np.array_split(np.asarray(memory_mib, np.float64), _BLOCKS)])
    centered = x - x.mean()
    slope = float(centered @ y / (centered @ centered))
    residual = y - y.mean() - slope * centered
    error = _T_975 * float(np.sqrt(residual @ residual / (_BLOCKS - 2) / (centered @ centered)))
    return {"slope": slope, "low": slope - error, "high": slope + error}
