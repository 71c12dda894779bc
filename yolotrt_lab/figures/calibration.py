"""Pictures of calibration: histograms and their thresholds, what entropy minimises, what the network was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure
from yolotrt_lab.types import Array

__all__ = [
    "divergence_curve",
    "histogram_thresholds",
    "kept_bins",
    "method_errors",
    "network_inputs",
    "range_shares",
]

_METHODS: Mapping[str, tuple[str, str]] = {
    "minmax": ("min-max", "#4D4D4D"),
    "mse": ("squared error", "#009E73"),
    "percentile": ("percentile 99.99", "#E69F00"),
    "entropy": ("entropy", "#D55E00"),
}
_FREE = ("#0072B2", "#CC79A7", "#56B4E9", "#8C6D31")
_CHANNELS = (("red", "#c0392b"), ("green", "#2e8b57"), ("blue", "#2f6fb2"))


def _look(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return name and colour of each method; unknown ones keep their name."""
    free = iter(_FREE * len(methods))
    return {method: _METHODS[method] if method in _METHODS else (method, next(free)) for method in methods}


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Name the lines below the figure, where no line runs through the names."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=10, frameon=False, labelcolor=INK)


def histogram_thresholds(
    histograms: Mapping[str, tuple[Array, float]], thresholds: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Show histograms of magnitudes with what each method would map to 127.

    Args:
        histograms: Tensor to (counts, width of a bin).
        thresholds: Tensor to method to threshold.
    """
    figure = new_figure(width=10.0, height=1.0 + 2.3 * len(histograms))
    panels = np.atleast_1d(figure.subplots(len(histograms), 1))
    for axes, (name, (counts, width)) in zip(panels, histograms.items(), strict=True):
        counts = np.asarray(counts)
        used = int(np.flatnonzero(counts)[-1]) + 1 if np.any(counts) else 1
        axes.set_yscale("log")
        axes.set_ylim(0.7, 1.5 * max(float(counts.max()), 1.0))
        axes.fill_between(np.arange(used) * width, counts[:used], step="post", color="#9ec5e8", linewidth=0)
        axes.set_xlim(0, used * width * 1.02)
        for method, (label, color) in _look(list(thresholds[name])).items():
            axes.axvline(thresholds[name][method], color=color, linewidth=2, label=label)
        finish_axes(axes, title=escaped(name), ylabel="values", grid=None)
    panels[-1].set_xlabel("magnitude", fontsize=11, color=INK)
    _legend_below(figure, panels[0])
    return figure


def kept_bins(counts: Array, cuts: Sequence[int], *, levels: int) -> Figure:
    """Show what entropy calibration compares, for a few cuts of one small histogram.

    Args:
        counts: (b,) the histogram.
        cuts: Numbers of bins to keep, each from `levels` to b.
        levels: Magnitudes that the quantized type can tell apart.
    """
    figure = new_figure(width=10.0, height=3.5)
    panels = np.atleast_1d(figure.subplots(1, len(cuts), sharey=True))
    for axes, cut in zip(panels, cuts, strict=True):
        p, q = _described(np.asarray(counts, np.float64), cut, levels)
        with np.errstate(divide="ignore"):
            divergence = float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))
        bins = np.arange(cut)
        axes.bar(np.arange(len(counts)), np.asarray(counts) / np.sum(counts), width=0.9, color="#e6e6e6")
        axes.bar(bins, p, width=0.9, color="#9ec5e8", label="P: the data, outliers in the last bin")
        edges, steps = np.append(bins - 0.5, cut - 0.5), np.append(q, q[-1:])
        axes.step(edges, steps, where="post", color="#D55E00", linewidth=2, label="Q: what the levels can tell")
        axes.set_yscale("log")
        finish_axes(axes, title=f"{cut} bins kept: {divergence:.4f}", xlabel="bin", grid=None)
    panels[0].set_ylabel("share of the values", fontsize=11, color=INK)
    _legend_below(figure, panels[0])
    return figure


def _described(counts: Array, cut: int, levels: int) -> tuple[Array, Array]:
    """Return the data as a cut shows them, and what the levels can tell of them; both sum to 1."""
    shown = np.append(counts[: cut - 1], counts[cut - 1 :].sum())
    told = np.zeros(cut)
    for group in np.array_split(np.arange(cut), np.ceil(np.arange(1, levels) * cut / levels).astype(int)):
        filled = group[counts[group] > 0]
        told[filled] = counts[group].sum() / max(len(filled), 1)
    return shown / shown.sum(), told / told.sum()


def divergence_curve(thresholds: Array, divergences: Array, chosen: Mapping[str, float]) -> Figure:
    """Show the divergence over the threshold, with the thresholds that were chosen.

    Args:
        thresholds: (n,) magnitudes.
        divergences: (n,) KL divergences in nats; infinite ones are left out.
        chosen: Who chose to threshold.
    """
    figure = new_figure(height=4.2)
    axes = figure.subplots()
    finite = np.where(np.isfinite(divergences), divergences, np.nan)
    axes.plot(thresholds, finite, color="#0072B2", linewidth=2)
    for method, (label, color) in _look(list(chosen)).items():
        axes.axvline(chosen[method], color=color, linewidth=2, linestyle="--", label=f"{label}: {chosen[method]:.3g}")
    axes.set_yscale("log")
    finish_axes(
        axes,
        title="Information lost by each threshold",
        xlabel="threshold",
        ylabel="KL(P || Q) in nats",
        grid="both",
    )
    _legend_below(figure, axes)
    return figure


def range_shares(shares: Mapping[str, Sequence[float]]) -> Figure:
    """Show what part of each tensor's range each method keeps.

    Args:
        shares: Method to threshold over largest magnitude, one entry per tensor in graph order.
    """
    figure = new_figure(width=10.0, height=4.0)
    axes = figure.subplots()
    for method, (label, color) in _look(list(shares)).items():
        values = np.asarray(shares[method])
        axes.plot(np.arange(len(values)), values, "o-", color=color, markersize=4, linewidth=0.8, label=label)
    axes.set_ylim(0, 1.08)
    finish_axes(
        axes,
        title="How much of each tensor's range is kept",
        xlabel="quantized activations, from the image to the head",
        ylabel="threshold / largest magnitude",
        grid="both",
    )
    axes.legend(fontsize=10, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=INK, loc="lower right", ncols=2)
    return figure


def method_errors(errors: Mapping[str, Sequence[float]], *, limit: float | None = None, what: str = "") -> Figure:
    """Show the error of each method, one dot per image and a bar for the mean.

    Args:
        errors: Method (or another name) to the error of every image.
        limit: A tolerance, as a line.
        what: What was measured, for the axis.
    """
    figure = new_figure(height=1.5 + 0.55 * len(errors))
    axes = figure.subplots()
    looks = _look(list(errors))
    for row, (method, values) in enumerate(errors.items()):
        _, color = looks[method]
        axes.barh(row, float(np.mean(values)), color=color, alpha=0.35, height=0.7)
        axes.plot(values, np.full(len(values), row), "o", color=color, markersize=5, alpha=0.8)
    axes.set_yticks(range(len(errors)), [escaped(looks[method][0]) for method in errors])
    axes.invert_yaxis()
    if limit is not None:
        axes.axvline(limit, color=INK, linestyle="--", linewidth=1.5)
        axes.annotate("tolerance", (limit, -0.45), xytext=(4, 0), textcoords="offset points", fontsize=10, va="center")
    finish_axes(axes, title="One dot per image, the bar is the mean", xlabel=what, grid="x")
    return figure


def network_inputs(tensors: Mapping[str, Array]) -> Figure:
    """Show what the network sees: each tensor as a picture, and what its channels reach.

    Args:
        tensors: Title to (3, h, w), meant as RGB in [0, 1]; what lies outside is shown as white.
    """
    figure = new_figure(width=2.5 * len(tensors) + 0.6, height=4.3)
    panels = figure.subplots(2, len(tensors), height_ratios=(3, 1), squeeze=False)
    for (title, tensor), picture, bars in zip(tensors.items(), panels[0], panels[1], strict=True):
        picture.imshow(np.clip(np.asarray(tensor).transpose(1, 2, 0), 0, 1), interpolation="nearest")
        picture.set_title(escaped(title), fontsize=11, color=INK)
        picture.set_xticks([])
        picture.set_yticks([])
        _channel_bars(bars, np.asarray(tensor))
    panels[1][0].set_ylabel("mean", fontsize=10, color=GREY)
    return figure


def _channel_bars(axes: Axes, tensor: Array) -> None:
    means = tensor.mean(axis=(1, 2))
    axes.bar(range(3), means, color=[color for _, color in _CHANNELS], width=0.65)
    axes.set_xticks(range(3), ["1st", "2nd", "3rd"])
    top = max(float(means.max()), 1e-9)
    axes.set_ylim(0, top * 1.35)
    for index, value in enumerate(means):
        axes.annotate(
            f"{value:.3g}", (index, value), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=9
        )
    finish_axes(axes, grid=None)
    axes.set_yticks([])
    axes.tick_params(labelsize=9)
