"""Training curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import require_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_history", "plot_training", "read_history"]

_LOSSES = {"box_loss": "Box loss", "cls_loss": "Class loss", "dfl_loss": "Distribution focal loss"}
_TRAIN, _VAL, _SECOND, _INK, _GRID = "#2563eb", "#ea580c", "#0d9488", "#334155", "#e2e8f0"


def read_history(run_dir_or_csv: Path) -> dict[str, list[float]]:
    """Return the columns of a run's `results.csv`, one value per epoch.

    Args:
        run_dir_or_csv: The run's folder, or its `results.csv`.

    Raises:
        InputError: There is no such file, or it is not a table of numbers.
    """
    path = run_dir_or_csv / "results.csv" if run_dir_or_csv.is_dir() else run_dir_or_csv
    require_file(path, kind="results.csv of a training run")
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        columns = {name.strip(): [float(row[name]) for row in rows] for name in (rows[0] if rows else {})}
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is not a table of training results.", expected="numbers", got=error) from error
    if "epoch" not in columns:
        raise InputError(f"{path} is not a table of training results.", expected="a column `epoch`", got=list(columns))
    return columns


def plot_training(run_dir_or_csv: Path) -> Figure:
    """Draw losses and validation metrics over the epochs.

    Args:
        run_dir_or_csv: The run's folder, or its `results.csv`.

    Returns:
        A figure with one panel per loss (training and validation), one for mAP, one for precision and recall.

    Raises:
        InputError: There are no readable results.
    """
    return plot_history(read_history(run_dir_or_csv))


def plot_history(history: Mapping[str, list[float]]) -> Figure:
    """Draw the columns that `read_history` returns, as `plot_training` does."""
    from matplotlib.figure import Figure

    losses = [(key, title) for key, title in _LOSSES.items() if f"train/{key}" in history]
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    for index, (key, title) in enumerate(losses):
        axes = figure.add_subplot(grid[0, 2 * index : 2 * index + 2])
        _curves(axes, history, {f"train/{key}": ("training", _TRAIN), f"val/{key}": ("validation", _VAL)})
        peak = max(history[f"train/{key}"] + history.get(f"val/{key}", []))
        axes.set(title=title, ylim=(0, 1.08 * peak or 1))
    axes = figure.add_subplot(grid[1, :3])
    _curves(axes, history, {"metrics/mAP50(B)": ("mAP50", _TRAIN), "metrics/mAP50-95(B)": ("mAP50-95", _VAL)})
    _mark_best(axes, history)
    axes.set(title="Mean average precision on validation images", ylim=(0, 1.02))
    axes = figure.add_subplot(grid[1, 3:])
    _curves(axes, history, {"metrics/precision(B)": ("precision", _SECOND), "metrics/recall(B)": ("recall", _INK)})
    axes.set(title="Precision and recall at best F1", ylim=(0, 1.02))
    return figure


def _curves(axes: Any, history: Mapping[str, list[float]], series: Mapping[str, tuple[str, str]]) -> None:
    epochs = history["epoch"]
    marker = "o" if len(epochs) <= 20 else None
    for column, (label, colour) in series.items():
        if column in history:
            axes.plot(epochs, history[column], label=label, color=colour, linewidth=1.8, marker=marker, markersize=4)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=_GRID)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False)


def _mark_best(axes: Any, history: Mapping[str, list[float]]) -> None:
    """Mark the epoch whose weights `best.pt` holds."""
    values = history.get("metrics/mAP50-95(B)")
    if not values:
        return
    best = max(range(len(values)), key=values.__getitem__)
    epoch = history["epoch"][best]
    axes.axvline(epoch, color=_INK, linewidth=1, linestyle=":")
    axes.annotate(
        f"best: {values[best]:.3f} in epoch {epoch:.0f}",
        (epoch, 0.03),
        xytext=(-6 if best > len(values) / 2 else 6, 0),
        textcoords="offset points",
        ha="right" if best > len(values) / 2 else "left",
        color=_INK,
        fontsize=9,
    )
