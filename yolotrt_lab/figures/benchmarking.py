"""What a latency is made of: first calls, a distribution with a tail, waiting, and the ways to tell it wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    finish_axes,
    new_figure,
    readable,
    series_colors,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo
from yolotrt_lab.types import FloatArray

__all__ = ["first_calls", "latency_tail", "launch_and_wait", "percentile_spread", "told_speedups"]

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def _samples(values: Sequence[float], *, at_least: int = 1) -> FloatArray:
    samples = np.asarray(values, np.float64)
    if samples.ndim != 1 or len(samples) < at_least or not np.isfinite(samples).all() or (samples < 0).any():
        raise InputError(
            "These are no latencies.",
            expected=f"at least {at_least} finite numbers of zero or more, in milliseconds",
            got=f"{samples.size} values of shape {samples.shape}",
        )
    return samples.astype(np.float32)


def first_calls(latency_ms: Mapping[str, Sequence[float]], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw the latency of every call since a model was loaded, and the median of the second half.

    Args:
        latency_ms: Name to the latencies in the order of the calls; the first one is the first call ever.
        platform: Where they ran.
    """
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    colors = series_colors(list(latency_ms))
    for name, values in latency_ms.items():
        samples = _samples(values, at_least=2)
        warm = float(np.median(samples[len(samples) // 2 :]))
        label = (
            f"{short_name(name)}: first call {samples[0]:.1f} ms, warm {warm:.2f} ms ({samples[0] / warm:.1f}\u00d7)"
        )
        numbers = np.arange(1, len(samples) + 1)
        axes.plot(numbers, samples, color=colors[name], linewidth=1.6, marker="o", markersize=4, label=label)
        axes.axhline(warm, color=colors[name], linewidth=1, linestyle=":")
    axes.set_yscale("log")
    _plain_log_ticks(axes)
    finish_axes(axes, title="Cold and warm calls", xlabel="Call since loading", ylabel="Latency (ms, logarithmic)")
    figure.legend(loc="outside upper left", fontsize=10, frameon=False, labelcolor=INK)
    stamp_platform(figure, platform, note="dotted: median of the second half")
    return figure


def _plain_log_ticks(axes: Axes) -> None:
    """Write 2, 5, 10 instead of powers of ten."""
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def latency_tail(latency_ms: Sequence[float], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw one latency as it ran, and as a distribution with median, mean, p90 and p99.

    Args:
        latency_ms: Warm calls, in the order they ran.
        platform: Where they ran.
    """
    samples = _samples(latency_ms, at_least=2)
    figure = new_figure(height=4.8)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    marks = {
        "median": (float(np.median(samples)), _GREEN, "-"),
        "mean": (float(samples.mean()), _ORANGE, "--"),
        "p90": (float(np.quantile(samples, 0.9)), _BLUE, "-."),
        "p99": (float(np.quantile(samples, 0.99)), _RED, ":"),
    }
    slow = samples > marks["p99"][0]
    numbers = np.arange(1, len(samples) + 1)
    left.plot(numbers[~slow], samples[~slow], ".", color=GREY, markersize=4)
    left.plot(numbers[slow], samples[slow], "o", color=_RED, markersize=5, label="slower than p99")
    right.hist(samples, bins=_bins(samples), orientation="horizontal", color="#9db7c9")
    for name, (value, color, style) in marks.items():
        for axes in (left, right):
            label = f"{name} {value:.2f} ms" if axes is right else None
            axes.axhline(value, color=color, linestyle=style, linewidth=1.8, label=label)
    top = float(samples.max())
    low = float(samples.min())
    left.set_ylim(low - 0.06 * (top - low) - 1e-9, top + 0.08 * (top - low) + 1e-9)
    finish_axes(left, title="As it ran", xlabel="Call", ylabel="Latency (ms)")
    finish_axes(right, title="How often", xlabel="Calls", grid="x")
    figure.legend(loc="outside upper right", fontsize=10, frameon=False, ncols=5, labelcolor=INK)
    stamp_platform(figure, platform, note=f"{len(samples)} calls")
    return figure


def _bins(samples: FloatArray) -> int:
    return int(np.clip(np.sqrt(len(samples)) * 2, 12, 60))


def percentile_spread(
    latency_ms: Sequence[float],
    *,
    counts: Sequence[int] = (10, 20, 50, 100, 200, 500),
    draws: int = 400,
    platform: PlatformInfo | None = None,
) -> Figure:
    """Draw how far the median and p99 of a benchmark scatter when it makes only so many calls.

    The benchmark is repeated by drawing from the measured calls; the band holds nine out of ten repetitions.

    Args:
        latency_ms: Measured calls, many.
        counts: Numbers of calls of the imagined benchmarks.
        draws: Repetitions of each.
        platform: Where they ran.
    """
    samples = _samples(latency_ms, at_least=10)
    rng = np.random.default_rng(0)
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    for label, share, color in (("p99", 0.99, _RED), ("median", 0.5, _GREEN)):
        repeated = [np.quantile(rng.choice(samples, (draws, count)), share, axis=1) for count in counts]
        low, middle, high = np.array([np.quantile(values, [0.05, 0.5, 0.95]) for values in repeated]).T
        axes.fill_between(counts, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(counts, middle, color=color, marker="o", linewidth=2, label=f"{label} of one benchmark")
        axes.axhline(float(np.quantile(samples, share)), color=color, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(counts)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    finish_axes(
        axes, title="What a benchmark of n calls would have told", xlabel="Calls n", ylabel="Latency (ms)", legend=True
    )
    stamp_platform(figure, platform, note=f"band: nine of ten benchmarks; dotted: all {len(samples)} calls")
    return figure


def launch_and_wait(launch_ms: float, total_ms: float, *, platform: PlatformInfo | None = None) -> Figure:
    """Draw one asynchronous call: what the host does, what the device does, and where a clock may be stopped.

    Args:
        launch_ms: Until the call that hands the work over has returned.
        total_ms: Until the work is done.
        platform: Where it ran.

    Raises:
        InputError: The total is not longer than the launch, or one of them is not positive.
    """
    if not 0 < launch_ms < total_ms:
        raise InputError(
            "These are no times of one call.", expected="0 < launch < total", got=f"{launch_ms} and {total_ms} ms"
        )
    figure = new_figure(height=3.3)
    axes = figure.add_subplot()
    axes.barh(0, launch_ms, height=0.5, color=_ORANGE, label="launch")
    axes.barh(0, total_ms - launch_ms, left=launch_ms, height=0.5, color="#e6e6e6", label="wait (synchronize)")
    axes.barh(1, total_ms - launch_ms, left=launch_ms, height=0.5, color=_BLUE, label="work")
    for place, text, color, side in (
        (launch_ms, f"clock stopped after the launch: {launch_ms:.3f} ms", _RED, "left"),
        (total_ms, f"after the wait: {total_ms:.2f} ms", _GREEN, "right"),
    ):
        axes.plot([place, place], [-0.55, 1.4], color=color, linewidth=2)
        axes.annotate(
            text, (place, -0.55), xytext=(4 if side == "left" else -4, 3), textcoords="offset points", ha=side,
            va="bottom", fontsize=10.5, color=readable(color),
        )  # fmt: skip
    axes.set_ylim(1.5, -1.0)
    axes.set_xlim(-0.01 * total_ms, 1.03 * total_ms)
    finish_axes(axes, xlabel="Time (ms)", grid=None)
    axes.set_yticks([0, 1], ["Host", "Device"], fontsize=11)
    figure.legend(loc="outside upper right", fontsize=10, frameon=False, ncols=3, labelcolor=INK)
    stamp_platform(figure, platform)
    return figure


def told_speedups(speedups: Mapping[str, float], *, honest: str, platform: PlatformInfo | None = None) -> Figure:
    """Draw the same two models' speed-up as honest and as less honest benchmarks would tell it.

    Args:
        speedups: How it was measured to how many times as fast the second model came out.
        honest: The key of the honest one.
        platform: Where they ran.

    Raises:
        InputError: `honest` is not among them, or a speed-up is not positive.
    """
    if honest not in speedups or min(speedups.values()) <= 0:
        raise InputError("There is no honest speed-up to compare with.", expected=honest, got=", ".join(speedups))
    names = [honest, *(name for name in speedups if name != honest)]
    figure = new_figure(height=1.5 + 0.5 * len(names))
    axes = figure.add_subplot()
    low, right = min(speedups.values()), max(speedups.values())
    for row, name in enumerate(names):
        value, color = speedups[name], _GREEN if name == honest else _RED
        axes.plot([speedups[honest], value], [row, row], color=color, linewidth=3, alpha=0.5)
        axes.plot(value, row, marker="o", markersize=11, color=color)
        text = f"{value:.2f}\u00d7" if value < 10 else f"{value:.0f}\u00d7"
        left = value < speedups[honest]
        axes.annotate(
            text, (value, row), xytext=(-10 if left else 10, 0), textcoords="offset points", va="center",
            ha="right" if left else "left", fontsize=11,
        )  # fmt: skip
    axes.axvline(speedups[honest], color=_GREEN, linewidth=1.2, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}\u00d7"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    spread = max(right / low, 1.5)
    axes.set_xlim(low / spread**0.15 / 1.15, right * spread**0.15 * 1.15)
    axes.set_ylim(len(names) - 0.4, -0.6)
    finish_axes(axes, title="One truth, and how it can be told", xlabel="Speed-up that is reported", grid="x")
    axes.set_yticks(range(len(names)), [short_name(name, length=44) for name in names], fontsize=11)
    stamp_platform(figure, platform)
    return figure
