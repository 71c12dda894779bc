"""Latency as a distribution: warm up, repeat until the median is stable, report percentiles and error bars."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.resampling import median_interval
from yolotrt_lab.types import ProgressCallback

__all__ = ["LatencyStats", "gc_paused", "measure_latency", "time_call_ms"]


@dataclass(frozen=True)
class LatencyStats:
    """The distribution of one latency, in milliseconds.

    Attributes:
        p50_ms: Median.
        p90_ms: One call in ten takes longer.
        p99_ms: One call in a hundred takes longer; with fewer than 100 samples it is close to the maximum.
        mean_ms: Arithmetic mean, pulled up by the slow tail.
        min_ms: Fastest call.
        samples_ms: Every measured call, in the order they ran.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    min_ms: float
    samples_ms: tuple[float, ...]

    @classmethod
    def from_samples(cls, samples_ms: Sequence[float]) -> LatencyStats:
        """Return the statistics of measured latencies.

        Raises:
            InputError: No samples, or a sample that is negative or not finite.

        Example:
            >>> LatencyStats.from_samples([1.0, 2.0, 9.0]).p50_ms
            2.0
        """
        values = np.asarray(samples_ms, dtype=np.float64)
        if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all() or (values < 0).any():
            raise InputError(
                "Latency samples must be finite milliseconds.",
                expected="at least one number of zero or more",
                got=list(samples_ms)[:5],
            )
        p50, p90, p99 = np.quantile(values, [0.5, 0.9, 0.99])
        return cls(
            p50_ms=float(p50),
            p90_ms=float(p90),
            p99_ms=float(p99),
            mean_ms=float(values.mean()),
            min_ms=float(values.min()),
            samples_ms=tuple(float(value) for value in values),
        )

    @property
    def p50_interval_ms(self) -> tuple[float, float]:
        """95 % interval of the median."""
        return median_interval(self.samples_ms)

    def to_json(self) -> dict[str, Any]:
        """Return the form results.json keeps under a key that names the unit, such as `latency_ms`."""
        return {
            "p50": self.p50_ms,
            "p90": self.p90_ms,
            "p99": self.p99_ms,
            "mean": self.mean_ms,
            "min": self.min_ms,
            "samples": [round(sample, 6) for sample in self.samples_ms],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LatencyStats:
        """Return the statistics `to_json` wrote, recomputed from the samples.

        Raises:
            InputError: The samples are missing or malformed.
        """
        samples = value.get("samples")
        if not isinstance(samples, list) or not all(
            isinstance(sample, (int, float)) and not isinstance(sample, bool) for sample in samples
        ):
            raise InputError("Latency has no samples.", expected='"samples": [milliseconds, ...]', got=samples)
        return cls.from_samples(samples)


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Keep Python's garbage collector from running inside the block, so it is not measured."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def time_call_ms(run: Callable[[], object]) -> float:
    """Return the wall-clock milliseconds of one call."""
    start_ns = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start_ns) / 1e6


def _is_stable(samples_ms: Sequence[float], *, within: float) -> bool:
    low, high = median_interval(samples_ms)
    return high - low <= 2 * within * float(np.median(samples_ms))


def measure_latency(
    run: Callable[[], object],
    *,
    warmup: int = 10,
    repeats: int = 50,
    max_repeats: int | None = None,
    stable_within: float = 0.02,
    max_seconds: float | None = None,
    on_progress: ProgressCallback | None = None,
) -> LatencyStats:
    """Time a call until its median is known well enough.

    Runs `warmup` calls that are thrown away (first calls allocate, compile and fill caches), then at least `repeats`
    and at most `max_repeats` measured calls, stopping between them as soon as the 95 % interval of the median lies
    within `stable_within` of it. On a GPU, `run` must include the synchronisation, or only the launch is timed.

    Args:
        run: What to time; takes no arguments.
        warmup: Calls before measuring.
        repeats: Measured calls at least.
        max_repeats: Measured calls at most; `repeats` when None.
        stable_within: Relative half-width of the median's interval that is good enough.
        max_seconds: Stop after this many seconds, with at least one sample.
        on_progress: Called with (calls measured, calls at most).

    Raises:
        InputError: A count is out of range.

    Example:
        >>> measure_latency(lambda: sum(range(100)), warmup=1, repeats=5).min_ms > 0
        True
    """
    most = repeats if max_repeats is None else max_repeats
    if warmup < 0 or repeats < 1 or most < repeats:
        raise InputError(
            "The number of calls to time is out of range.",
            expected="warmup >= 0, repeats >= 1, max_repeats >= repeats",
            got=f"warmup={warmup}, repeats={repeats}, max_repeats={max_repeats}",
        )
    for _ in range(warmup):
        run()
    samples_ms: list[float] = []
    deadline = None if max_seconds is None else time.perf_counter() + max_seconds
    with gc_paused():
        while len(samples_ms) < most:
            samples_ms.append(time_call_ms(run))
            if on_progress is not None:
                on_progress(len(samples_ms), most)
            if deadline is not None and time.perf_counter() >= deadline:
                break
            # Every tenth call: the check itself takes time between calls and cools caches.
            if (
                len(samples_ms) >= repeats
                and len(samples_ms) % 10 == 0
                and _is_stable(samples_ms, within=stable_within)
            ):
                break
    return LatencyStats.from_samples(samples_ms)
