"""Compare several runners fairly on a noisy machine.

Timing A for a while and then B credits to B whatever else the machine did meanwhile. Here the runners take turns in
random order, round after round, so a slow spell hits all of them, and ratios are taken inside a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.resampling import bootstrap_interval
from yolotrt_lab.profiling.timing import LatencyStats, gc_paused, time_call_ms
from yolotrt_lab.types import ProgressCallback

__all__ = ["InterleavedTimings", "Ratio", "measure_interleaved"]


@dataclass(frozen=True)
class Ratio:
    """How many times as long one runner takes as another: median over rounds, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 1: the difference is more than the noise of this run."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True)
class InterleavedTimings:
    """Latencies of several runners that took turns.

    Attributes:
        stats: Runner name to its latency; sample i of every runner comes from the same round.
        calls_per_turn: Measured calls in a row in each turn.
    """

    stats: Mapping[str, LatencyStats]
    calls_per_turn: int

    def _round_medians(self, name: str) -> NDArray[np.float64]:
        if name not in self.stats:
            raise InputError(f"No runner {name!r} was timed.", expected=", ".join(self.stats), got=name)
        samples = np.asarray(self.stats[name].samples_ms).reshape(-1, self.calls_per_turn)
        return np.asarray(np.median(samples, axis=1))

    def ratio(self, name: str, *, baseline: str) -> Ratio:
        """Return time of `name` / time of `baseline`, paired by round (under 1: `name` is faster).

        Raises:
            InputError: No such runner.
        """
        paired = self._round_medians(name) / self._round_medians(baseline)
        low, high = bootstrap_interval(paired)
        return Ratio(float(np.median(paired)), low, high)


def measure_interleaved(
    runners: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    calls_per_turn: int = 3,
    warmup: int = 10,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> InterleavedTimings:
    """Time several runners in turns.

    Every turn starts with one unmeasured call: the runner before has just filled the caches with its own weights and
    its threads may still be winding down.

    Args:
        runners: Name to what to time.
        rounds: How often every runner gets a turn.
        calls_per_turn: Measured calls in a turn.
        warmup: Unmeasured calls of each runner before the first round.
        seed: Seed of the order within the rounds.
        on_progress: Called with (rounds done, rounds).

    Raises:
        InputError: No runners, or a count out of range.

    Example:
        >>> timings = measure_interleaved({"a": lambda: None, "b": lambda: sum(range(9999))}, rounds=5, warmup=1)
        >>> timings.ratio("b", baseline="a").value > 1
        True
    """
    if not runners or rounds < 1 or calls_per_turn < 1 or warmup < 0:
        raise InputError(
            "Nothing to time.",
            expected="at least one runner, rounds >= 1, calls_per_turn >= 1, warmup >= 0",
            got=f"{len(runners)} runners, rounds={rounds}, calls_per_turn={calls_per_turn}, warmup={warmup}",
        )
    for run in runners.values():
        for _ in range(warmup):
            run()
    samples_ms: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    random = np.random.default_rng(seed)
    with gc_paused():
        for done in range(rounds):
            for index in random.permutation(len(names)):
                run = runners[names[index]]
                run()
                samples_ms[names[index]] += [time_call_ms(run) for _ in range(calls_per_turn)]
            if on_progress is not None:
                on_progress(done + 1, rounds)
    stats = {name: LatencyStats.from_samples(values) for name, values in samples_ms.items()}
    return InterleavedTimings(stats, calls_per_turn)
