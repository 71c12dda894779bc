"""Quantization: which layers it hurts, and what keeping them in high precision brings and costs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from yolotrt_lab.precision.mixed import MixedPlan, MixedPoint
from yolotrt_lab.precision.sensitivity import LayerDamage, SensitivityReport
from yolotrt_lab.profiling.layers import block_of_node
from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, readable, series_colors
from yolotrt_lab.types import Array

__all__ = ["layer_damage", "mixed_precision_curve"]

_BUDGET = "#D55E00"
_CHOSEN = "#009E73"
_OTHER = "#0072B2"
_LABELLED = 12
_CHARACTER = 0.0115
"""Width of one in a label, as a share of the axis."""

_WORTH_A_LABEL = 0.03


def layer_damage(report: SensitivityReport, *, kept: Collection[str] = ()) -> Figure:
    """Draw each layer's share of the damage, from the input (left) to the head (right), coloured by block.

    Args:
        report: From `precision.sensitivity.rank_layers`.
        kept: Layers that stay in high precision; hatched.
    """
    layers = sorted(report.layers, key=lambda layer: (_block_number(layer), layer.depth))
    blocks = [_block(layer) for layer in layers]
    colors = series_colors(list(dict.fromkeys(blocks)))
    figure = new_figure(height=4.9)
    axes = figure.add_subplot()
    shares = np.array([100 * layer.share for layer in layers])
    axes.bar(
        range(len(layers)),
        shares,
        width=0.85,
        color=[colors[block] for block in blocks],
        edgecolor=[INK if layer.node in kept else "white" for layer in layers],
        linewidth=[1.0 if layer.node in kept else 0.3 for layer in layers],
        hatch=["////" if layer.node in kept else "" for layer in layers],
    )
    _label_worst(axes, layers, shares)
    _block_ticks(axes, blocks)
    finish_axes(
        axes,
        title=f"Where INT8 hurts: {_concentration(report)}",
        xlabel="Block of the network; one bar for each quantized layer, input on the left",
        ylabel="Share of the damage (%)",
    )
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-1, len(layers))
    axes.set_ylim(0, 1.18 * max(float(shares.max(initial=0.0)), 1.0))
    if kept:
        handle = Patch(facecolor="white", edgecolor=INK, hatch="////", label="kept in high precision")
        axes.legend(handles=[handle], fontsize=10, frameon=False, labelcolor=INK, loc="upper right")
    figure.supxlabel(
        f"Squared output error with one layer quantized at a time, images: {report.image_count}; "
        f"all together: error {report.error.total:.3f}.",
        fontsize=10,
        color=GREY,
        x=0.01,
        ha="left",
    )
    return figure


def _block(layer: LayerDamage) -> str:
    block = block_of_node(layer.node)
    return block.strip("/") if block != layer.node else layer.node.strip("/").split("/")[0]


def _block_number(layer: LayerDamage) -> int:
    """Return a block's number, so that the head comes last; exporters write parts of it early. 0 without a number."""
    number = _block(layer).rsplit(".", 1)[-1]
    return int(number) if number.isdecimal() else 0


def _concentration(report: SensitivityReport) -> str:
    total, count = 0.0, 0
    for layer in report.ranked:
        if total >= 0.8:
            break
        total, count = total + layer.share, count + 1
    noun = "layer causes" if count == 1 else "layers cause"
    return f"{count} of {len(report.layers)} {noun} {total:.0%} of the damage"


def _label_worst(axes: Axes, layers: Sequence[LayerDamage], shares: Array) -> None:
    """Name the tallest bars above themselves, centred or to one side; one that finds no room goes unnamed."""
    taken: list[tuple[float, float]] = []
    for place in np.argsort(-shares, kind="stable")[:_LABELLED].tolist():
        if layers[place].share < _WORTH_A_LABEL:
            continue
        text = _short(layers[place].node)
        width = len(text) * _CHARACTER * len(layers)
        spans = {
            "center": (place - width / 2, place + width / 2),
            "left": (place - 0.5, place - 0.5 + width),
            "right": (place + 0.5 - width, place + 0.5),
        }
        free = [
            side
            for side, (start, end) in spans.items()
            if start > -1 and end < len(layers) and all(end <= first or start >= last for first, last in taken)
        ]
        if not free:
            continue
        taken.append(spans[free[0]])
        axes.annotate(
            escaped(f"{text}\n{layers[place].share:.0%}"),
            ({"center": place, "left": place - 0.5, "right": place + 0.5}[free[0]], shares[place]),
            xytext=(0, 4),
            textcoords="offset points",
            ha=free[0],
            va="bottom",
            fontsize=10,
            color=INK,
        )


def _short(node: str) -> str:
    """Return a node's name without what every convolution's name ends in."""
    return node.strip("/").removesuffix("/Conv").removesuffix("/conv")


def _block_ticks(axes: Axes, blocks: Sequence[str]) -> None:
    """Write each block's number under the middle of its bars."""
    places: dict[str, list[int]] = {}
    for position, block in enumerate(blocks):
        places.setdefault(block, []).append(position)
    middles = [float(np.mean(positions)) for positions in places.values()]
    short = [block.rsplit(".", 1)[-1] for block in places]
    axes.set_xticks(middles, [escaped(text) for text in short])


def mixed_precision_curve(plan: MixedPlan) -> Figure:
    """Draw the loss of accuracy over time as more layers are kept, with the budget and the chosen point.

    Args:
        plan: From `precision.mixed.plan_mixed`.
    """
    figure = new_figure(height=5.0)
    axes = figure.add_subplot()
    measured = all(point.latency_ms is not None for point in plan.curve)
    times = [_time(point, measured) for point in plan.curve]
    losses = [100 * point.loss for point in plan.curve]
    axes.plot(times, losses, color=_OTHER, linewidth=1.4, marker="o", markersize=6, zorder=2)
    budget = 100 * plan.budget
    axes.axhline(budget, color=_BUDGET, linewidth=1.4, linestyle=(0, (6, 3)), zorder=1)
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    chosen = _time(plan.chosen, measured), 100 * plan.chosen.loss
    axes.plot(*chosen, marker="o", markersize=13, color=_CHOSEN, markeredgecolor="white", markeredgewidth=1.5, zorder=3)
    _limits(axes, times, [*losses, budget, 0.0])
    finish_axes(
        axes,
        title="Accuracy lost as fewer layers run in INT8 (better: down and left)",
        xlabel="Latency (ms)" if measured else "Estimated time, relative to INT8 throughout",
        ylabel="Loss of mAP50-95 (percentage points)",
        grid="both",
    )
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    right = axes.get_xlim()[1]
    axes.annotate(
        f"budget {budget:.2g} points",
        (right, budget),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        fontsize=10,
        color=readable(_BUDGET),
    )
    labels = [_point_label(point, chosen=point == plan.chosen) for point in plan.curve]
    inks = [readable(_CHOSEN) if point == plan.chosen else INK for point in plan.curve]
    coordinates = list(zip(times, losses, strict=True))
    segments = list(itertools.pairwise(coordinates))
    place_labels(axes, coordinates, labels, colors=inks, segments=segments)
    _note_costs(figure, plan, measured=measured)
    return figure


def _time(point: MixedPoint, measured: bool) -> float:
    return point.latency_ms if measured and point.latency_ms is not None else point.relative_time


def _limits(axes: Axes, times: Sequence[float], losses: Sequence[float]) -> None:
    wide, high = max(times) - min(times), max(losses) - min(losses)
    pad_x, pad_y = 0.12 * (wide or 0.1), 0.22 * (high or 0.1)
    axes.set_xlim(min(times) - pad_x, max(times) + pad_x)
    axes.set_ylim(min(losses) - pad_y, max(losses) + pad_y)


def _point_label(point: MixedPoint, *, chosen: bool) -> str:
    text = "all INT8" if not point.kept else f"{len(point.kept)} kept"
    return f"chosen: {text}" if chosen else text


def _note_costs(figure: Figure, plan: MixedPlan, *, measured: bool) -> None:
    source = {True: "latency measured", False: "time from measured layer times"}[measured]
    if not measured and plan.unit != "ms":
        source = "time estimated from multiply-additions and bytes"
    figure.supxlabel(f"FP32: mAP50-95 {plan.reference_map:.3f}; {source}.", fontsize=10, color=GREY, x=0.01, ha="left")
