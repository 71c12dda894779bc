"""How training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from yolotrt_lab.report.plots.style import finish_axes, new_figure, series_colors

__all__ = ["training_curves"]


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses (left) and accuracies (right) over epochs.

    Args:
        history: One mapping per epoch; keys with "loss" go left, keys with "map", "precision" or "recall" go right.
    """
    figure = new_figure(height=4.2)
    left, right = figure.subplots(1, 2)
    keys = list(dict.fromkeys(key for epoch in history for key in epoch))
    losses = [key for key in keys if "loss" in key.lower()]
    scores = [key for key in keys if any(word in key.lower() for word in ("map", "precision", "recall"))]
    for axes, chosen in ((left, losses), (right, scores)):
        colors = series_colors(chosen)
        for key in chosen:
            epochs = [epoch.get("epoch", index + 1) for index, epoch in enumerate(history) if key in epoch]
            values = [epoch[key] for epoch in history if key in epoch]
            marker = "o" if len(values) < 15 else None
            axes.plot(epochs, values, color=colors[key], linewidth=2, marker=marker, markersize=4, label=key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_axes(left, title="Losses", xlabel="Epoch", ylabel="Loss", legend=bool(losses))
    finish_axes(right, title="Accuracy on the validation images", xlabel="Epoch", ylabel="Score", legend=bool(scores))
    right.set_ylim(0, 1.02)
    return figure
