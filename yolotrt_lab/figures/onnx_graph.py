"""What an ONNX graph looks like: node by node, as a count of operators, and as the blocks of a detector."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from onnx import ModelProto, NodeProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import module_from_node_name
from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types, topological_order
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, ink_on, new_figure, series_colors
from yolotrt_lab.types import Array

__all__ = ["Block", "block_diagram", "blocks_of", "channel_ranges", "draw_graphs", "operator_bars"]

_SHORT = {
    "BatchNormalization": "BatchNorm",
    "QuantizeLinear": "Q",
    "DequantizeLinear": "DQ",
    "GlobalAveragePool": "AvgPool",
    "NonMaxSuppression": "NMS",
    "ReduceMean": "Mean",
    "InstanceNormalization": "InstNorm",
    "ConstantOfShape": "Fill",
    "ReduceSum": "Sum",
}
_NODE, _END, _MARKED = "#dbe9f4", "#eeeeee", "#f6c6a5"
_KIND_COLORS = {
    "Conv": "#9ecae1",
    "C3": "#4292c6",
    "SPPF": "#CC79A7",
    "Upsample": "#E69F00",
    "Concat": "#bdbdbd",
    "Detect": "#009E73",
}
_MOST_NODES = 60


@dataclass(frozen=True)
class Block:
    """One numbered block of a YOLO network, as its exported graph shows it.

    Attributes:
        number: Its number, from `/model.7/...` in the names of nodes.
        kind: What it is ("C3"); a guess from its operators unless it was given.
        node_count: Nodes in the graph.
        shape: Of its output, without the batch; () if unknown.
        sources: Numbers of the blocks it reads from; -1 is the image.
        tensor: Name of its output.
    """

    number: int
    kind: str
    node_count: int
    shape: tuple[int, ...]
    sources: tuple[int, ...]
    tensor: str = ""


def draw_graphs(graphs: Mapping[str, ModelProto], *, marked: Collection[str] = ()) -> Figure:
    """Draw small graphs below each other, from input to output, constants left out.

    Args:
        graphs: Title to model, each of at most 60 nodes.
        marked: Names of tensors; the nodes that make them are drawn in another colour.

    Raises:
        InputError: There is nothing to draw, or too much.
    """
    if not graphs or max(len(model.graph.node) for model in graphs.values()) > _MOST_NODES:
        raise InputError(
            "These graphs cannot be drawn node by node.",
            expected=f"at least one graph, none of more than {_MOST_NODES} nodes",
            got=f"{[len(model.graph.node) for model in graphs.values()]} nodes",
            fix="Use `block_diagram` or `operator_bars` for a whole network.",
        )
    layouts = {title: _Layout(model) for title, model in graphs.items()}
    width = max(layout.width_in for layout in layouts.values())
    heights = [0.35 + _LANE_IN * layout.lanes for layout in layouts.values()]
    figure = new_figure(width=max(width + 0.3, 6.0), height=sum(heights) + 0.2)
    rows = figure.subplots(len(graphs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, layout) in zip(rows, layouts.items(), strict=True):
        layout.draw(axes, width_in=max(width, 5.7), marked=marked)
        axes.set_title(escaped(title), loc="left", fontsize=12, color=INK)
    return figure


_LANE_IN, _GAP_IN, _CHARACTER_IN = 0.62, 0.26, 0.078


class _Layout:
    """Puts each node as far right as the longest way to it, and side branches into lanes of their own; in inches."""

    def __init__(self, model: ModelProto) -> None:
        index = GraphIndex(model.graph)
        inputs = [value.name for value in model.graph.input if value.name not in index.initializers]
        nodes = [node for node in topological_order(model.graph) if node.op_type != "Constant"]
        # Keys: the name of an input, "\0" and a node's first output, "\1" and the name of an output.
        self.labels: dict[str, str] = {name: name for name in inputs}
        self.column: dict[str, int] = dict.fromkeys(inputs, 0)
        self.edges: list[tuple[str, str]] = []
        maker: dict[str, str] = {name: name for name in inputs}
        for node in nodes:
            key = f"\0{node.output[0]}"
            sources = list(dict.fromkeys(maker[name] for name in node.input if name in maker))
            self.labels[key] = _label(node)
            self.column[key] = 1 + max((self.column[source] for source in sources), default=0)
            self.edges += [(source, key) for source in sources]
            maker |= dict.fromkeys(node.output, key)
        last = 1 + max(self.column.values(), default=0)
        for value in model.graph.output:
            end = f"\1{value.name}"
            self.labels[end], self.column[end] = value.name, last
            self.edges += [(maker[value.name], end)] if value.name in maker else []
        self.lane = self._lanes()
        self.lanes = 1 + max(self.lane.values(), default=0)
        self.center, self.width_in = self._centers(last + 1)

    def _lanes(self) -> dict[str, int]:
        """Stay on the lane of the first source; where that is taken, use the next one down."""
        lane: dict[str, int] = {}
        taken: set[tuple[int, int]] = set()
        for key in sorted(self.column, key=lambda name: self.column[name]):
            wanted = min((lane[source] for source, target in self.edges if target == key and source in lane), default=0)
            while (self.column[key], wanted) in taken:
                wanted += 1
            lane[key] = wanted
            taken.add((self.column[key], wanted))
        return lane

    def _centers(self, columns: int) -> tuple[list[float], float]:
        """Return the middle of each column, wide enough for its longest label, and the whole width."""
        widths = [0.0] * columns
        for key, label in self.labels.items():
            widths[self.column[key]] = max(widths[self.column[key]], _width_in(label))
        centers, left = [], 0.05
        for width in widths:
            centers.append(left + width / 2)
            left += width + _GAP_IN
        return centers, left - _GAP_IN + 0.05

    def draw(self, axes: Axes, *, width_in: float, marked: Collection[str]) -> None:
        """Draw boxes and arrows into axes."""
        for source, target in self.edges:
            self._draw_edge(axes, source, target)
        for key, label in self.labels.items():
            is_node = key.startswith("\0")
            color = (_MARKED if key[1:] in marked else _NODE) if is_node else _END
            axes.text(
                self.center[self.column[key]], -_LANE_IN * self.lane[key], escaped(label), ha="center", va="center",
                fontsize=9, color=INK, zorder=3,
                bbox={"boxstyle": "round,pad=0.3" if is_node else "square,pad=0.3", "facecolor": color,
                      "edgecolor": GREY, "linewidth": 0.8},
            )  # fmt: skip
        axes.set_xlim(0, width_in)
        axes.set_ylim(-_LANE_IN * (self.lanes - 0.55), _LANE_IN * 0.55)
        axes.axis("off")

    def _draw_edge(self, axes: Axes, source: str, target: str) -> None:
        """Draw an arrow from edge to edge; one that would cross others of its lane goes over them."""
        x0, x1 = self.center[self.column[source]], self.center[self.column[target]]
        y0, y1 = -_LANE_IN * self.lane[source], -_LANE_IN * self.lane[target]
        between = [key for key in self.column if self.column[source] < self.column[key] < self.column[target]]
        over = y0 == y1 and any(self.lane[key] == self.lane[source] for key in between)
        if over:
            start, end, bend = (x0, y0 + 0.13), (x1, y1 + 0.13), -0.28 / max(x1 - x0, 0.7)
        else:
            start, end = (x0 + _width_in(self.labels[source]) / 2, y0), (x1 - _width_in(self.labels[target]) / 2, y1)
            bend = 0.0
        axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=GREY, linewidth=1,
                connectionstyle=f"arc3,rad={bend}", zorder=1,
            )
        )  # fmt: skip


def _width_in(label: str) -> float:
    return 0.12 + _CHARACTER_IN * max(len(line) for line in label.splitlines())


def _label(node: NodeProto) -> str:
    """Return what stands in a node's box; branches of control flow are listed."""
    parts = [_SHORT.get(node.op_type, node.op_type)]
    for attribute in sorted(node.attribute, key=lambda entry: entry.name, reverse=True):  # then before else
        if attribute.HasField("g"):
            inside = [_SHORT.get(child.op_type, child.op_type) for child in attribute.g.node]
            kept = [name for name in inside if name != "Constant"]
            parts.append(f"{attribute.name.removesuffix('_branch')}: {', '.join(kept) or 'nothing'}")
    return "\n".join(parts)


def operator_bars(counts: Mapping[str, Mapping[str, int]], *, title: str = "Nodes by operator") -> Figure:
    """Draw how often each operator occurs in several versions of a graph.

    Args:
        counts: Version to operator to count.
        title: Above the figure.
    """
    operators = sorted({name for each in counts.values() for name in each}, key=lambda name: _order(name, counts))
    figure = new_figure(height=1.3 + 0.19 * max(len(operators), 1) * max(len(counts), 1) ** 0.7)
    axes = figure.add_subplot()
    colors = series_colors(list(counts))
    width = 0.8 / max(len(counts), 1)
    for number, (version, each) in enumerate(counts.items()):
        places = np.arange(len(operators)) + (number - (len(counts) - 1) / 2) * width
        values = [each.get(name, 0) for name in operators]
        label = f"{version}: {sum(values)} nodes"
        bars = axes.barh(places, values, height=width * 0.92, color=colors[version], label=escaped(label))
        axes.bar_label(bars, labels=[str(value) if value else "" for value in values], fontsize=9, padding=2, color=INK)
    axes.set_yticks(range(len(operators)), operators)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    finish_axes(axes, title=title, xlabel="Nodes", grid="x")
    if counts:
        axes.legend(fontsize=10, frameon=False, labelcolor=INK, loc="lower right")
    return figure


def _order(name: str, counts: Mapping[str, Mapping[str, int]]) -> tuple[int, str]:
    return (-max(each.get(name, 0) for each in counts.values()), name)


def blocks_of(model: ModelProto, *, kinds: Sequence[str] = ()) -> tuple[Block, ...]:
    """Return the numbered blocks of an exported YOLO, from the names of its nodes.

    Args:
        model: As Ultralytics exports it: nodes are named `/model.7/...` after their module.
        kinds: What each block is, by number; guessed from the operators where it is not given.

    Raises:
        InputError: The names of the nodes tell no blocks.
    """
    index, types = GraphIndex(model.graph), infer_tensor_types(model)
    members: dict[int, list[NodeProto]] = {}
    for node in topological_order(model.graph):
        number = _block_number(node)
        if number is not None:
            members.setdefault(number, []).append(node)
    if not members:
        raise InputError(
            "The graph's nodes are not named after modules.",
            expected="names such as /model.7/conv/Conv",
            got=", ".join(node.name for node in model.graph.node[:3]) or "no nodes",
        )
    images = {value.name for value in model.graph.input if value.name not in index.initializers}
    blocks = []
    for number, nodes in sorted(members.items()):
        sources: set[int] = {-1 for node in nodes for name in node.input if name in images}
        makers = [index.producer(name) for node in nodes for name in node.input]
        found = [_block_number(maker) for maker in makers if maker is not None]
        sources |= {other for other in found if other is not None and other != number}
        shape = types.get(nodes[-1].output[0], (0, None))[1] or ()
        known = tuple(length for length in shape[1:] if length is not None)
        kind = kinds[number] if number < len(kinds) else _guessed_kind(nodes)
        blocks.append(Block(number, kind, len(nodes), known, tuple(sorted(sources)), nodes[-1].output[0]))
    return tuple(blocks)


def _block_number(node: NodeProto) -> int | None:
    module = module_from_node_name(node.name) or ""
    parts = module.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "model" and parts[1].isdecimal() else None


def _guessed_kind(nodes: Sequence[NodeProto]) -> str:
    operators = [node.op_type for node in nodes]
    if "Softmax" in operators:
        return "Detect"
    for operator, kind in (("MaxPool", "SPPF"), ("Resize", "Upsample")):
        if operator in operators:
            return kind
    convolutions = operators.count("Conv")
    return "Concat" if not convolutions else "Conv" if convolutions == 1 else "C3"


def block_diagram(blocks: Sequence[Block]) -> Figure:
    """Draw the blocks of a detector from left to right, each at the height of its resolution.

    Args:
        blocks: From `blocks_of`.
    """
    levels = sorted({block.shape[1] for block in blocks if len(block.shape) == 3}, reverse=True)
    height_of = {size: -place for place, size in enumerate(levels)}
    place_of = {block.number: (column, _level(block, height_of)) for column, block in enumerate(blocks)}
    figure = new_figure(width=10.5, height=1.6 + 0.85 * max(len(levels), 1))
    axes = figure.add_subplot()
    for block in blocks:
        for source in block.sources:
            if source in place_of:
                _draw_connection(axes, place_of[source], place_of[block.number])
    for block in blocks:
        _draw_block(axes, block, place_of[block.number])
    axes.set_xlim(-0.7, len(blocks) - 0.3)
    axes.set_ylim(-len(levels) + 0.3, 0.7)
    finish_axes(axes, title="The network in the file, block by block", ylabel="Resolution (pixels)", grid="y")
    axes.set_xticks([])
    axes.set_yticks(list(height_of.values()), [f"{size}" for size in levels])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    figure.supxlabel("In each box: number, kind, channels, nodes.", fontsize=10, color=GREY, x=0.01, ha="left")
    return figure


def _level(block: Block, height_of: Mapping[int, int]) -> float:
    """Return the height of a block; one without a resolution, the head, stands in the middle."""
    if len(block.shape) == 3:
        return height_of[block.shape[1]]
    return (min(height_of.values(), default=0) + max(height_of.values(), default=0)) / 2


def _draw_connection(axes: Axes, start: tuple[int, float], end: tuple[int, float]) -> None:
    """Draw a line to the next block, or an arrow that skips others; between equals it goes over their tops."""
    if end[0] - start[0] == 1:
        axes.plot(*zip(start, end, strict=True), color=GREY, linewidth=1.1, zorder=1)
        return
    level = start[1] == end[1]
    lift, shrink = (0.33, (0, 0)) if level else (0.0, (12, 17))
    axes.add_patch(
        FancyArrowPatch(
            (start[0], start[1] + lift), (end[0], end[1] + lift), arrowstyle="-|>", mutation_scale=11, linewidth=1.6,
            shrinkA=shrink[0], shrinkB=shrink[1], color="#D55E00",
            connectionstyle=f"arc3,rad={-min(0.16, 1.3 / (end[0] - start[0]))}",
            zorder=1,
        )
    )  # fmt: skip


def _draw_block(axes: Axes, block: Block, place: tuple[int, float]) -> None:
    color = _KIND_COLORS.get(block.kind, "#dddddd")
    x, y = place
    box = FancyBboxPatch((x - 0.42, y - 0.33), 0.84, 0.66, boxstyle="round,pad=0,rounding_size=0.08", linewidth=0.8)
    box.set(facecolor=color, edgecolor=GREY, zorder=2)
    axes.add_patch(box)
    channels = block.shape[0] if block.shape else "?"
    kind = {"Upsample": "Up", "Concat": "Cat", "Detect": "Det"}.get(block.kind, block.kind)
    axes.text(x, y, f"{block.number}\n{escaped(kind)}\n{channels}\n{block.node_count}", ha="center", va="center",
              fontsize=8, linespacing=1.05, color=ink_on(color), zorder=3)  # fmt: skip


def channel_ranges(weights: Mapping[str, Array]) -> Figure:
    """Draw the greatest absolute weight of each output channel, sorted, for several versions of a layer.

    Args:
        weights: Version to weights, output channels first.
    """
    figure = new_figure(height=3.6)
    axes = figure.add_subplot()
    colors = series_colors(list(weights))
    for version, value in weights.items():
        ranges = np.sort(np.abs(value.reshape(len(value), -1)).max(axis=1))[::-1]
        spread = ranges[0] / ranges[-1] if ranges[-1] > 0 else np.inf
        label = f"{version}: largest {spread:.3g} times the smallest"
        axes.step(range(len(ranges)), ranges, where="mid", color=colors[version], linewidth=2, label=escaped(label))
    axes.set_yscale("log")
    finish_axes(axes, title="Range of the weights, channel by channel", xlabel="Output channel, sorted",
                ylabel="Greatest |weight|", grid="both", legend=bool(weights))  # fmt: skip
    return figure
