"""What was fused with what: the ONNX nodes of a part of the network as boxes, those of one layer enclosed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Polygon

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.fusion_groups import FusedGroup, FusionGraph
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    color_for,
    display_name,
    escaped,
    ink_on,
    new_figure,
    readable,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["block_fusion", "hottest_fusions"]

_NODE_W, _NODE_H, _PAD, _HEADER = 0.96, 0.50, 0.12, 0.56
_PER_ROW = 5
_GAP_X, _GAP_Y = 0.35, 0.55
_WIDEST = 11.6
_COMPACT_W, _COMPACT_H = 3.1, 0.78
_SMALL_W, _SMALL_H = 1.75, 0.94
_TALLEST_INCHES = 24.0
_REFORMAT = "#D55E00"
_NO_PRECISION = "#9e9e9e"
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True)
class _Box:
    """A group's place: left, top, width, height, the y axis pointing down."""

    x: float
    y: float
    w: float
    h: float

    @property
    def center_x(self) -> float:
        return self.x + self.w / 2

    @property
    def bottom(self) -> float:
        return self.y + self.h


def block_fusion(graph: FusionGraph, *, block: str, platform: PlatformInfo | None = None) -> Figure:
    """Draw one block of the network: every ONNX node, in the layer that does it.

    Args:
        graph: The engine's groups.
        block: Such as "/model.4".
        platform: Where the engine ran.

    Raises:
        InputError: The network has no such block.
    """
    keys = graph.of_block(block)
    if not keys:
        raise InputError(
            f"The network has no block {block!r}.",
            expected=", ".join(graph.blocks()),
            got=block,
            fix="Name one of these.",
        )
    small = not _fits(graph, keys)
    boxes = _stacked(graph, keys, small=small)
    figure, axes = _canvas(_WIDEST, max(box.bottom for box in boxes.values()) + 0.7)
    time_ms = sum(graph.groups[key].time_ms for key in keys)
    title = f"What was fused in {short_name(block)}: {_count(keys, graph)}, {time_ms:.3g} ms"
    axes.set_title(title, fontsize=13, color=INK, loc="left", pad=8)
    outside = [key for key in dict.fromkeys(other for key in keys for other in graph.before(key)) if key not in boxes]
    if outside:
        names = ", ".join(short_name(graph.groups[key].name, length=34) for key in outside[:3])
        axes.text(0.0, -0.32, f"reads from {names}", fontsize=9, color=GREY, va="center")
    for source, target in graph.edges:
        if source in boxes and target in boxes:
            others = [box for key, box in boxes.items() if key not in (source, target)]
            _draw_edge(axes, boxes[source], boxes[target], others)
    for key, box in boxes.items():
        if small:
            _draw_small(axes, graph.groups[key], box, prefix=block)
        else:
            _draw_group(axes, graph.groups[key], box, prefix=block)
    _finish(figure, [graph.groups[key] for key in keys], platform)
    return figure


def hottest_fusions(graph: FusionGraph, *, count: int = 3, platform: PlatformInfo | None = None) -> Figure:
    """Draw the groups that take the most time, each with what it reads from and what reads it.

    Args:
        graph: The engine's groups.
        count: How many groups.
        platform: Where the engine ran.
    """
    keys = [key for key in graph.hottest(count) if graph.groups[key].time_ms > 0]
    rows = [(key, graph.before(key)[:4], graph.after(key)[:4]) for key in keys]
    heights = [
        max(_group_size(graph.groups[key])[1], _compact_height(before), _compact_height(after)) + 0.5
        for key, before, after in rows
    ]
    middle = max((_group_size(graph.groups[key])[0] for key in keys), default=4.0)
    width = 2 * _COMPACT_W + middle + 2 * 0.75
    figure, axes = _canvas(width, sum(heights) + 0.5)
    axes.set_title(
        f"The {len(keys)} slowest layers, and what is around them", fontsize=13, color=INK, loc="left", pad=8
    )
    for x, text in ((0.0, "reads from"), (_COMPACT_W + 0.75, "the layer"), (width - _COMPACT_W, "read by")):
        axes.text(x, -0.25, text, fontsize=9, color=GREY, va="center")
    top, shown = 0.0, []
    for (key, before, after), height in zip(rows, heights, strict=True):
        group = graph.groups[key]
        w, h = _group_size(group)
        body = height - 0.5
        box = _Box(_COMPACT_W + 0.75 + (middle - w) / 2, top + (body - h) / 2, w, h)
        for others, x, forward in ((before, 0.0, True), (after, width - _COMPACT_W, False)):
            start = top + (body - _compact_height(others)) / 2
            for place, other in enumerate(others):
                small = _Box(x, start + place * 0.92, _COMPACT_W, _COMPACT_H)
                _draw_side_edge(axes, small if forward else box, box if forward else small)
                _draw_small(axes, graph.groups[other], small, prefix="")
                shown.append(graph.groups[other])
        _draw_group(axes, group, box, prefix="")
        shown.append(group)
        top += height
    _finish(figure, shown, platform)
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return axes in which a unit is as long across as down, so that boxes keep their shape."""
    figure = new_figure(width=9.0, height=min(9.0 / width * height + 1.1, _TALLEST_INCHES))
    axes = figure.add_subplot()
    axes.set_xlim(-0.1, width + 0.1)
    axes.set_ylim(height - 0.5, -0.6)
    axes.set_axis_off()
    return figure, axes


def _group_size(group: FusedGroup) -> tuple[float, float]:
    columns = min(max(len(group.nodes), 1), _PER_ROW)
    rows = -(-len(group.nodes) // _PER_ROW)
    return max(columns * _NODE_W + 2 * _PAD, _COMPACT_W), _HEADER + rows * (_NODE_H + 0.08) + _PAD


def _compact_height(others: Sequence[str]) -> float:
    return 0.92 * len(others)


def _fits(graph: FusionGraph, keys: Sequence[str]) -> bool:
    """Return whether groups that do not depend on each other fit side by side with all their nodes."""
    ranks = graph.ranks(keys)
    widths = [0.0] * (max(ranks.values()) + 1)
    for key in keys:
        widths[ranks[key]] += _group_size(graph.groups[key])[0] + _GAP_X
    return max(widths) - _GAP_X <= _WIDEST


def _stacked(graph: FusionGraph, keys: Sequence[str], *, small: bool) -> dict[str, _Box]:
    """Place groups below those they read from; side by side where they do not depend on each other."""
    ranks = graph.ranks(keys)
    sizes = {key: (_SMALL_W, _SMALL_H) if small else _group_size(graph.groups[key]) for key in keys}
    gap = 0.16 if small else _GAP_X
    boxes: dict[str, _Box] = {}
    top = 0.0
    for rank in range(max(ranks.values()) + 1):
        row = [key for key in keys if ranks[key] == rank]
        wishes = {key: _mean([boxes[other].center_x for other in graph.before(key) if other in boxes]) for key in row}
        row.sort(key=lambda key: wishes[key])
        left, lowest = 0.0, top
        for place, key in enumerate(row):
            w, h = sizes[key]
            rest = sum(sizes[other][0] + gap for other in row[place:]) - gap
            x = max(left, min(wishes[key] - w / 2, _WIDEST - rest))
            y = top + (0.28 if graph.groups[key].reformat_ms else 0.0)
            boxes[key] = _Box(x, y, w, h)
            left = x + w + gap
            lowest = max(lowest, y + h)
        top = lowest + (0.42 if small else _GAP_Y)
    shift = max((_WIDEST - max(box.x + box.w for box in boxes.values())) / 2, 0.0)
    return {key: _Box(box.x + shift, box.y, box.w, box.h) for key, box in boxes.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _color(group: FusedGroup) -> str:
    return color_for(group.precision) or _NO_PRECISION


def _tint(color: str, share: float = 0.16) -> tuple[float, float, float]:
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(color))
    return red, green, blue


def _draw_group(axes: Axes, group: FusedGroup, box: _Box, *, prefix: str) -> None:
    color = _color(group)
    _round_box(axes, box, face=_tint(color), edge=color, width=1.6, dashed=not group.precision)
    name = _name(group, prefix)
    letters = int(box.w * 8.3)
    axes.text(box.x + _PAD, box.y + 0.17, short_name(name, length=letters), fontsize=9, color=INK, va="center")
    axes.text(box.x + _PAD, box.y + 0.39, group.caption, fontsize=9, color=readable(color), va="center")
    for place, (_, label) in enumerate(group.nodes):
        row, column = divmod(place, _PER_ROW)
        x = box.x + _PAD + column * _NODE_W
        _draw_node(axes, label, x, box.y + _HEADER + row * (_NODE_H + 0.08), color)
    if group.reformat_ms:
        _draw_reformat(axes, group.reformat_ms, box.x + box.w - 0.3, box.y)


def _name(group: FusedGroup, prefix: str) -> str:
    """Return the part of a group's name that tells it from others in the picture."""
    name = group.name.removeprefix(prefix).strip("/")
    return name.removesuffix("/Conv").removesuffix("/conv") or group.name


def _draw_node(axes: Axes, label: str, x: float, y: float, color: str) -> None:
    operator = label.split(maxsplit=1)[0]
    face: str | tuple[float, float, float] = "white"
    if operator in _PRODUCTS:
        face = color
    elif operator in ("Q", "DQ", "Cast"):
        face = _tint(_REFORMAT, 0.35)
    _round_box(axes, _Box(x + 0.03, y, _NODE_W - 0.06, _NODE_H), face=face, edge=GREY, width=0.7)
    axes.text(
        x + _NODE_W / 2, y + _NODE_H / 2, escaped(label), ha="center", va="center", fontsize=8, color=ink_on(face),
        linespacing=1.05, zorder=5,
    )  # fmt: skip


def _draw_reformat(axes: Axes, time_ms: float, x: float, y: float) -> None:
    diamond = Polygon([(x - 0.13, y), (x, y - 0.13), (x + 0.13, y), (x, y + 0.13)], color=_REFORMAT, zorder=6)
    axes.add_patch(diamond)
    axes.text(x - 0.2, y - 0.15, f"reformat {time_ms:.2g} ms", fontsize=8, color=readable(_REFORMAT), ha="right",
              va="center", zorder=6)  # fmt: skip


def _draw_small(axes: Axes, group: FusedGroup, box: _Box, *, prefix: str) -> None:
    """Draw a group as a line of operators, for what stands beside a layer and for blocks with many branches."""
    color = _color(group)
    _round_box(axes, box, face=_tint(color, 0.10), edge=color, width=0.9, dashed=not group.precision)
    name = _name(group, prefix)
    letters = int(box.w * 9.3)
    size = 8.0 if box.w > 2 else 7.0
    lines = [(short_name(name, length=letters), INK), (_small_caption(group, box), readable(color))]
    if box.h > _COMPACT_H:
        lines.append((group.operators if len(group.operators) <= letters + 6 else f"{len(group.nodes)} nodes", GREY))
    step = box.h / (len(lines) + 0.35)
    for place, (text, ink) in enumerate(lines):
        axes.text(box.x + 0.09, box.y + step * (place + 0.68), text, fontsize=size, color=ink, va="center", zorder=5)
    if group.reformat_ms:
        _draw_reformat(axes, group.reformat_ms, box.x + box.w - 0.2, box.y)


def _small_caption(group: FusedGroup, box: _Box) -> str:
    if box.w > 2 or not group.precision:
        return group.caption
    return f"{group.time_ms:.2g} ms  {group.precision.upper()}"


def _round_box(
    axes: Axes, box: _Box, *, face: str | tuple[float, float, float], edge: str, width: float, dashed: bool = False
) -> None:
    patch = FancyBboxPatch(
        (box.x, box.y), box.w, box.h, boxstyle="round,pad=0,rounding_size=0.09", facecolor=face, edgecolor=edge,
        linewidth=width, linestyle="--" if dashed else "-", zorder=3,
    )  # fmt: skip
    axes.add_patch(patch)


def _draw_edge(axes: Axes, source: _Box, target: _Box, others: Sequence[_Box]) -> None:
    """Draw an arrow from the bottom of a box to the top of another, or around the boxes that stand in between."""
    reach = min(source.w, target.w) * 0.3
    start = (source.center_x + max(-reach, min(reach, target.center_x - source.center_x)), source.bottom)
    end = (target.center_x + max(-reach, min(reach, source.center_x - target.center_x)), target.y)
    middle = (start[0] + end[0]) / 2
    hidden = any(box.y >= source.bottom and box.bottom <= target.y and box.x < middle < box.x + box.w for box in others)
    if hidden:
        _draw_detour(axes, source, target, others)
    else:
        _arrow(axes, start, end, bend=0.0 if abs(start[0] - end[0]) < 0.2 else 0.08)


def _draw_detour(axes: Axes, source: _Box, target: _Box, others: Sequence[_Box]) -> None:
    """Draw an arrow around the side with fewer boxes, the left if there is room, bent no further than that allows."""
    left = min(source.x, target.x)
    right = max(source.x + source.w, target.x + target.w)
    between = [box for box in others if box.y < target.y and box.bottom > source.bottom]
    in_the_way = (sum(box.x < left - 0.01 for box in between), sum(box.x + box.w > right + 0.01 for box in between))
    # Straight arrows of parallel branches run on the right.
    goes_left = in_the_way[0] <= in_the_way[1] and (left >= 1.0 or left >= _WIDEST - right)
    y = (source.y + source.h * 0.7, target.y + target.h * 0.3)
    room = left if goes_left else _WIDEST - right
    bend = min(0.35, 1.8 * max(room, 0.3) / (y[1] - y[0]))  # an arc's height is half its length times the bend
    if goes_left:
        _arrow(axes, (source.x, y[0]), (target.x, y[1]), bend=bend)
    else:
        _arrow(axes, (source.x + source.w, y[0]), (target.x + target.w, y[1]), bend=-bend)


def _draw_side_edge(axes: Axes, source: _Box, target: _Box) -> None:
    _arrow(axes, (source.x + source.w, source.y + source.h / 2), (target.x, target.y + target.h / 2), bend=0.0)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, bend: float) -> None:
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=9, color="#8a8a8a", linewidth=1.1, shrinkA=0, shrinkB=0, zorder=2,
        connectionstyle=f"arc3,rad={bend}",
    )  # fmt: skip
    axes.add_patch(arrow)


def _count(keys: Sequence[str], graph: FusionGraph) -> str:
    nodes = sum(len(graph.groups[key].nodes) for key in keys)
    layers = sum(bool(graph.groups[key].precision) for key in keys)
    return f"{nodes} nodes in {layers} layer{'s' if layers != 1 else ''}"


def _finish(figure: Figure, groups: Sequence[FusedGroup], platform: PlatformInfo | None) -> None:
    present = dict.fromkeys(group.precision for group in groups)
    handles = [
        Patch(facecolor=_tint(color_for(name) or _NO_PRECISION), edgecolor=color_for(name) or _NO_PRECISION,
              label=f"one layer, in {display_name(name)}" if name else "no layer of its own")
        for name in present
    ]  # fmt: skip
    if any(group.reformat_ms for group in groups):
        handles.append(Patch(color=_REFORMAT, label="change of type or layout before it"))
    figure.legend(handles=handles, fontsize=9, frameon=False, loc="outside upper right", ncols=len(handles))
    stamp_platform(figure, platform, note="layers profiled one by one")
