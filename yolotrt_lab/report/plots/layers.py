"""Layers: which are hot in which engine, and what precision each part of the network runs in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from yolotrt_lab.profiling.layers import LayerMatrix
from yolotrt_lab.profiling.structure import NodeRow, StructureComparison
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    color_for,
    finish_axes,
    ink_on,
    new_figure,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["layer_heatmap", "network_heatmap", "structure_comparison"]

_ABSENT = "#f1f1f1"
_BLOCKS_PER_LINE = 13
_UNKNOWN = "#9e9e9e"


def layer_heatmap(matrix: LayerMatrix, *, platform: PlatformInfo | None = None, top: int = 24) -> Figure:
    """Draw the time of each part of the network in each engine: darker takes a larger share.

    Args:
        matrix: From `profiling.layers.layer_matrix`.
        platform: Where the engines ran.
        top: Rows shown; the rest is summed into one.
    """
    shown = matrix.hottest(top)
    share = 100 * shown.share
    figure = new_figure(width=9.0, height=1.7 + 0.29 * max(len(shown.rows), 3))
    axes = figure.add_subplot()
    named = share[: len(shown.rows) - (shown is not matrix)]  # the sum of the rest would drown the single layers
    brightest = max(float(named.max(initial=0)), 1.0)
    colors = colormaps["Blues"]
    image = axes.imshow(share, aspect="auto", cmap=colors, vmin=0, vmax=1.25 * brightest)
    if shown is not matrix:
        axes.axhspan(len(shown.rows) - 1.5, len(shown.rows) - 0.5, color=_ABSENT, zorder=1.5)
    for (row, column), value in np.ndenumerate(share):
        text = f"{shown.time_ms[row, column]:.2f} ms  {value:.1f} %" if shown.time_ms[row, column] > 0 else "fused"
        red, green, blue, _ = colors(float(value) / (1.25 * brightest)) if row < len(named) else to_rgba(_ABSENT)
        ink = ink_on((red, green, blue)) if shown.time_ms[row, column] > 0 else GREY
        axes.text(column, row, text, ha="center", va="center", fontsize=10, color=ink)
    finish_axes(axes, title="Time per layer, by the ONNX node it came from", grid=None)
    axes.set_xticks(range(len(shown.engines)), [_column_title(shown, column) for column in range(len(shown.engines))])
    axes.set_yticks(range(len(shown.rows)), [short_name(row, length=38) for row in shown.rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("Share of the engine's time (%)", fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=10)
    bar.outline.set_visible(False)
    stamp_platform(figure, platform, note="layers profiled one by one: compare shares, not sums with the latency")
    return figure


def _column_title(matrix: LayerMatrix, column: int) -> str:
    return f"{short_name(matrix.engines[column], length=20)}\n{matrix.time_ms[:, column].sum():.1f} ms"


def network_heatmap(matrix: LayerMatrix, *, platform: PlatformInfo | None = None) -> Figure:
    """Draw the network from its input to its head, a cell for every block and engine: darker takes a larger share.

    Args:
        matrix: From `profiling.layers.layer_matrix` with `by_block=True`.
        platform: Where the engines ran.
    """
    order = sorted(range(len(matrix.rows)), key=lambda row: _block_number(matrix.rows[row]))
    matrix = LayerMatrix(tuple(matrix.rows[row] for row in order), matrix.engines, matrix.time_ms[order])
    share = 100 * matrix.share
    engines, blocks = len(matrix.engines), len(matrix.rows)
    lines = -(-blocks // _BLOCKS_PER_LINE) or 1
    columns = min(max(blocks, 1), _BLOCKS_PER_LINE)
    figure = new_figure(width=9.0, height=1.5 + lines * (0.62 + 0.42 * max(engines, 1)))
    colors = colormaps["Blues"]
    most = 1.25 * max(float(share.max(initial=0)), 1.0)
    panels = figure.subplots(lines, 1, squeeze=False)[:, 0]
    for line, axes in enumerate(panels):
        part = slice(line * _BLOCKS_PER_LINE, (line + 1) * _BLOCKS_PER_LINE)
        image = axes.imshow(share[part].T, aspect="auto", cmap=colors, vmin=0, vmax=most)
        for (row, column), value in np.ndenumerate(share[part]):
            time_ms = matrix.time_ms[part][row, column]
            red, green, blue, _ = colors(float(value) / most)
            text = f"{time_ms:.2f}" if time_ms > 0 else "-"
            axes.text(row, column, text, ha="center", va="center", fontsize=9, color=ink_on((red, green, blue)))
        title = "Time per block, from the input to the head (ms)" if line == 0 else ""
        label = "Block of the network" if line == lines - 1 else ""
        finish_axes(axes, title=title, xlabel=label, grid=None)
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_xticks(range(len(matrix.rows[part])), [_block_title(row) for row in matrix.rows[part]])
        sums = matrix.time_ms.sum(axis=0)
        titles = [f"{short_name(name, length=16)}\n{sums[n]:.1f} ms" for n, name in enumerate(matrix.engines)]
        axes.set_yticks(range(engines), titles)
        axes.tick_params(length=0, labelsize=9)
        for spine in axes.spines.values():
            spine.set_visible(False)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.7, pad=0.02)
    bar.set_label("Share (%)", fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    stamp_platform(figure, platform, note="layers profiled one by one: compare shares")
    return figure


def _block_number(row: str) -> float:
    """Return a block's place in the network; what has no number comes last."""
    number = row.rstrip("/").rsplit(".", 1)[-1]
    return float(number) if number.isdecimal() else float("inf")


def _block_title(row: str) -> str:
    """Return a block's name as short as it stays clear: its number, for blocks that are numbered."""
    number = row.rstrip("/").rsplit(".", 1)[-1]
    return number if row.startswith(("/model.", "model.")) and number.isdecimal() else short_name(row, length=10)


def _present_precisions(comparison: StructureComparison) -> list[str]:
    order = ["fp32", "fp16", "bf16", "int8"]
    found = {value for row in comparison.rows for value in row.precisions.values() if value}
    found |= {name for engine in comparison.engines for name in engine.precision_counts}
    return [name for name in order if name in found] + sorted(found - set(order))


def _draw_strips(axes: Axes, rows: Sequence[NodeRow], engines: Sequence[str], precisions: Sequence[str]) -> None:
    index = {name: position + 1 for position, name in enumerate(precisions)}
    cells = np.array([[index.get(row.precisions.get(name) or "", 0) for row in rows] for name in engines])
    colors = ListedColormap([_ABSENT, *(color_for(name) or _UNKNOWN for name in precisions)])
    axes.imshow(
        cells.reshape(len(engines), len(rows)),
        aspect="auto",
        cmap=colors,
        vmin=-0.5,
        vmax=len(precisions) + 0.5,
        interpolation="nearest",
    )
    for boundary in range(1, len(engines)):
        axes.axhline(boundary - 0.5, color="white", linewidth=6)
    finish_axes(
        axes,
        title="Precision of each weighted node, from input (left) to head (right)",
        xlabel="Node of the ONNX graph, in order",
        grid=None,
    )
    axes.set_yticks(range(len(engines)), [short_name(name) for name in engines], fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_counts(axes: Axes, comparison: StructureComparison, precisions: Sequence[str]) -> None:
    names = [engine.name for engine in comparison.engines]
    for position, engine in enumerate(comparison.engines):
        left = 0
        for precision in precisions:
            count = engine.precision_counts.get(precision, 0)
            axes.barh(position, count, left=left, height=0.6, color=color_for(precision) or _UNKNOWN, edgecolor="white")
            left += count
        axes.annotate(
            f"{engine.layers} layers; {engine.fused_layers} fuse {engine.fused_nodes} nodes; "
            f"{engine.reformat_layers} reformat",
            (left, position),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=INK,
        )
    axes.set_xlim(0, 2.0 * max((engine.layers for engine in comparison.engines), default=1))
    finish_axes(axes, title="Executed layers by precision", xlabel="Layers", grid="x")
    axes.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=11)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def structure_comparison(comparison: StructureComparison, *, platform: PlatformInfo | None = None) -> Figure:
    """Draw engines of one graph side by side: precision of every node, and counts of layers and fusions.

    Args:
        comparison: From `profiling.structure.compare_structures`.
        platform: Where the engines were built.
    """
    count = max(len(comparison.engines), 1)
    figure = new_figure(height=3.0 + 0.85 * count)
    top, bottom = figure.subplots(2, 1, height_ratios=(1, 1))
    precisions = _present_precisions(comparison)
    _draw_strips(top, comparison.rows, [engine.name for engine in comparison.engines], precisions)
    _draw_counts(bottom, comparison, precisions)
    handles = [Patch(color=color_for(name) or _UNKNOWN, label=short_name(name)) for name in precisions]
    handles.append(Patch(color=_ABSENT, label="folded away"))
    figure.legend(handles=handles, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles))
    stamp_platform(figure, platform)
    return figure
