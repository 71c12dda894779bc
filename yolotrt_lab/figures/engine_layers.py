"""Pictures of what an engine is made of: which nodes were fused, and what each runs in."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.ticker import MaxNLocator

from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    color_for,
    display_name,
    escaped,
    finish_axes,
    ink_on,
    new_figure,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["fusion_map", "layers_by_precision"]

_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_UNKNOWN = "#d9d9d9"
_ALONE = "#f4f4f4"
_FUSED = "#cfe3f1"
# One colour per operator that matters here; all others share the last.
_OPERATORS = {
    "Conv": "#0072B2",
    "Sigmoid": "#E69F00",
    "Mul": "#F0C56B",
    "Add": "#009E73",
    "Concat": "#CC79A7",
    "MaxPool": "#56B4E9",
    "QuantizeLinear": "#D55E00",
    "DequantizeLinear": "#F2A27E",
}
_OTHER = "#b5b5b5"


def fusion_map(
    nodes: Sequence[tuple[str, str]],
    fused: Sequence[Sequence[str]],
    *,
    title: str = "What was fused into one layer",
    columns: int = 13,
    max_rows: int = 5,
) -> Figure:
    """Draw the graph's nodes, those of one fused layer on a common band, in the order in which the layers can run.

    Args:
        nodes: (name, operator) of every node, in the graph's order.
        fused: The nodes of every layer that does more than one.
        title: Of the figure.
        columns: Nodes per row.
        max_rows: Rows drawn; the rest of a large graph repeats what is seen.
    """
    layers = _layers_in_order(nodes, fused)
    rows = _rows_of_layers(layers, columns)
    shown = rows[:max_rows]
    figure = new_figure(width=10.5, height=1.3 + 0.72 * max(len(shown), 1))
    axes = figure.add_subplot()
    for y, row in enumerate(shown):
        x = 0
        for layer in row:
            _draw_band(axes, x, y, len(layer))
            for operator in layer:
                _draw_node(axes, x, y, operator)
                x += 1
    axes.set_xlim(-0.6, columns - 0.4)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_axis_off()
    axes.set_title(escaped(title), fontsize=13, color=INK, loc="left", pad=10)
    handles = [Patch(color=_FUSED, label="one layer of several nodes"), Patch(color=_ALONE, label="a layer by itself")]
    figure.legend(handles=handles, fontsize=10, frameon=False, loc="outside lower left", ncols=2)
    rest = len(layers) - sum(map(len, shown))
    if rest > 0:
        figure.supxlabel(f"\u2026 and {rest} more layers", fontsize=10, color=GREY, x=0.99, ha="right")
    return figure


def _layers_in_order(nodes: Sequence[tuple[str, str]], fused: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the operators of each layer; a layer can run when its last node can."""
    group_of = {name: number for number, group in enumerate(fused) for name in group}
    members: dict[object, list[str]] = {}
    last: dict[object, int] = {}
    for place, (name, operator) in enumerate(nodes):
        key: object = group_of.get(name, name or place)
        members.setdefault(key, []).append(operator)
        last[key] = place
    return [members[key] for key in sorted(members, key=last.__getitem__)]


def _rows_of_layers(layers: Sequence[list[str]], columns: int) -> list[list[list[str]]]:
    """Fill rows with layers; one that is longer than a row is cut into rows of its own."""
    rows: list[list[list[str]]] = [[]]
    for layer in layers:
        for start in range(0, len(layer), columns):
            piece = layer[start : start + columns]
            if rows[-1] and sum(map(len, rows[-1])) + len(piece) > columns:
                rows.append([])
            rows[-1].append(piece)
    return rows


def _draw_band(axes: Axes, x: int, y: int, length: int) -> None:
    color = _FUSED if length > 1 else _ALONE
    axes.fill_between([x - 0.46, x + length - 0.54], y - 0.42, y + 0.42, color=color, linewidth=0)


def _draw_node(axes: Axes, x: int, y: int, operator: str) -> None:
    color = _OPERATORS.get(operator, _OTHER)
    box = FancyBboxPatch(
        (x - 0.38, y - 0.25), 0.76, 0.5, boxstyle="round,pad=0,rounding_size=0.08", color=color, linewidth=0
    )
    axes.add_patch(box)
    label = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}.get(operator, operator)
    text = "\n".join(textwrap.wrap(label, 8)) or "?"
    axes.text(x, y, escaped(text), ha="center", va="center", fontsize=9, color=ink_on(color))


def layers_by_precision(
    engines: Mapping[str, Mapping[str, str | None]], *, platform: PlatformInfo | None = None
) -> Figure:
    """Draw for each engine what each compute node runs in, and how many run in what.

    Args:
        engines: Engine name to (node name to precision, None if unknown), nodes in the graph's order.
        platform: Where the engines were built.
    """
    count = max(len(engines), 1)
    figure = new_figure(width=10.0, height=2.0 + 0.62 * count)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    present = [name for name in _PRECISIONS if any(name in found.values() for found in engines.values())]
    _draw_strips(left, engines, present)
    _draw_counts(right, engines, present)
    handles = [Patch(color=color_for(name), label=display_name(name)) for name in present]
    if any(value not in _PRECISIONS for found in engines.values() for value in found.values()):
        handles.append(Patch(color=_UNKNOWN, label="not shown by the inspector"))
    if handles:
        figure.legend(handles=handles, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles))
    stamp_platform(figure, platform)
    return figure


def _draw_strips(axes: Axes, engines: Mapping[str, Mapping[str, str | None]], present: Sequence[str]) -> None:
    width = max((len(found) for found in engines.values()), default=1)
    cells = np.zeros((max(len(engines), 1), max(width, 1)))
    for row, found in enumerate(engines.values()):
        for column, value in enumerate(found.values()):
            cells[row, column] = present.index(value) + 1 if value in present else 0
    colors = ListedColormap([_UNKNOWN, *(color_for(name) or _UNKNOWN for name in present)])
    axes.imshow(
        cells, aspect="auto", cmap=colors, vmin=-0.5, vmax=len(present) + 0.5, interpolation="nearest", origin="upper"
    )
    for boundary in range(1, len(engines)):
        axes.axhline(boundary - 0.5, color="white", linewidth=6)
    finish_axes(
        axes, title="Each convolution, from input to head", xlabel="Convolution, in the graph's order", grid=None
    )
    axes.set_yticks(range(len(engines)), [short_name(name) for name in engines], fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_counts(axes: Axes, engines: Mapping[str, Mapping[str, str | None]], present: Sequence[str]) -> None:
    for row, found in enumerate(engines.values()):
        counts, start = Counter(found.values()), 0
        for name in present:
            amount = counts.get(name, 0)
            color = color_for(name) or _UNKNOWN
            axes.barh(row, amount, left=start, height=0.62, color=color, edgecolor="white")
            if amount:
                axes.text(
                    start + amount / 2, row, str(amount), ha="center", va="center", fontsize=9, color=ink_on(color)
                )
            start += amount
    finish_axes(axes, title="How many", xlabel="Convolutions", grid="x")
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
