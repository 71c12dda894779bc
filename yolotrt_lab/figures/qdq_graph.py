"""A part of a quantized graph as it is explained: pairs, what runs in INT8 between them, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from onnx import ModelProto, NodeProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import GraphIndex
from yolotrt_lab.report.plots.style import GREY, INK, ink_on, new_figure

__all__ = ["placement_graph"]

_WIDTH, _HEIGHT = 0.84, 0.5
_SKIP_HEIGHT = 0.45
_INT8, _FLOAT, _PAIR, _TENSOR = "#009E73", "#dbe9f6", "#fff0c9", "#f0f0f0"
_MOST_NODES = 60


@dataclass(frozen=True)
class _Drawing:
    """Boxes by name with their label and colour, and the arrows between them."""

    boxes: dict[str, tuple[str, str]]
    arrows: list[tuple[str, str]]


def placement_graph(model: ModelProto, *, prefix: str, title: str = "", per_row: int = 10) -> Figure:
    """Draw the nodes whose names start alike, with the quantization around them.

    A Sigmoid and the Mul behind it are drawn as one SiLU, a QuantizeLinear and the DequantizeLinear behind it as one
    pair. Weights and tensors from outside are small boxes on their own.

    Args:
        model: A graph with or without Q/DQ nodes.
        prefix: Beginning of the names, "/model.2/".
        title: Shown above.
        per_row: Columns before the drawing goes on below.

    Raises:
        InputError: No node is called so, or too many are.
    """
    index = GraphIndex(model.graph)
    chosen = [node for node in model.graph.node if node.name.startswith(prefix) and not _is_quantizer(node)]
    if not 1 <= len(chosen) <= _MOST_NODES:
        raise InputError(
            "This part of the graph cannot be drawn.",
            expected=f"1 to {_MOST_NODES} nodes",
            got=f"{len(chosen)} nodes whose names start with {prefix!r}",
        )
    drawing = _drawing(chosen, index)
    places = _places(drawing)
    return _drawn(drawing, places, title=title, per_row=per_row)


def _is_quantizer(node: NodeProto | None) -> bool:
    return node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _drawing(chosen: Sequence[NodeProto], index: GraphIndex) -> _Drawing:
    drawing = _Drawing({}, [])
    for node in chosen:
        if node.op_type == "Sigmoid" and _is_silu(node, index):
            continue  # drawn with its Mul
        sources = [name for name in node.input if name and not _is_quiet(name, node, index)]
        label = node.op_type
        if label == "Mul" and any(_made_by_sigmoid(name, index) for name in sources):
            label, sources = "SiLU", [name for name in sources if not _made_by_sigmoid(name, index)]
        pairs = [_is_quantizer(index.producer(source)) for source in sources]
        both = len(pairs) == 2 and all(pairs) and label in ("Conv", "Add")
        boxes = [_source_box(source, drawing, index) for source in sources]
        drawing.boxes[node.output[0]] = (label, _INT8 if both else _FLOAT)
        drawing.arrows.extend((box, node.output[0]) for box in boxes)
    return drawing


def _is_quiet(name: str, node: NodeProto, index: GraphIndex) -> bool:
    """Return whether an input is not worth a box: a bias, a shape, a constant of other operators."""
    slot = list(node.input).index(name)
    return index.is_constant(name) and not (node.op_type == "Conv" and slot == 1)


def _made_by_sigmoid(name: str, index: GraphIndex) -> bool:
    maker = index.producer(name)
    return maker is not None and maker.op_type == "Sigmoid"


def _is_silu(node: NodeProto, index: GraphIndex) -> bool:
    return any(reader.op_type == "Mul" for reader, _ in index.consumers(node.output[0]))


def _source_box(name: str, drawing: _Drawing, index: GraphIndex) -> str:
    """Return the box a tensor comes out of, made if it is not there yet."""
    if name in drawing.boxes:
        return name
    maker = index.producer(name)
    if maker is not None and maker.op_type == "DequantizeLinear":
        quantize = index.producer(maker.input[0])
        inner = maker.input[0] if quantize is None else quantize.input[0]
        start = _source_box(inner, drawing, index)
        drawing.boxes[name] = ("Q · DQ", _PAIR)
        drawing.arrows.append((start, name))
    else:
        drawing.boxes[name] = ("weights" if index.is_constant(name) else "from before", _TENSOR)
    return name


def _places(drawing: _Drawing) -> dict[str, tuple[int, int]]:
    """Return (column, lane): as far right as the longest way to a box, in the first lane that is free there."""
    sources = _sources(drawing)
    column: dict[str, int] = {}
    for name in drawing.boxes:  # in the order in which they can run
        column[name] = max((column[source] + 1 for source in sources[name]), default=0)
    for name in reversed(list(drawing.boxes)):  # weights and their pairs stand just in front of their reader
        if _only_weights(name, sources, drawing):
            readers = [column[end] for start, end in drawing.arrows if start == name]
            column[name] = min(readers, default=column[name] + 1) - 1
    taken: dict[int, set[int]] = {}
    places: dict[str, tuple[int, int]] = {}
    # What computes keeps the lane of what it reads; weights take what is left.
    for name in sorted(drawing.boxes, key=lambda name: (_only_weights(name, sources, drawing), column[name])):
        lanes = taken.setdefault(column[name], set())
        weights = _only_weights(name, sources, drawing)
        before = [places[source][1] for source in sources[name] if source in places]
        lane = 1 if weights else min(before, default=0)
        while lane in lanes:
            lane += 1
        lanes.add(lane)
        places[name] = (column[name], lane)
    return places


def _sources(drawing: _Drawing) -> dict[str, list[str]]:
    sources: dict[str, list[str]] = {name: [] for name in drawing.boxes}
    for start, end in drawing.arrows:
        sources[end].append(start)
    return sources


def _only_weights(name: str, sources: Mapping[str, Sequence[str]], drawing: _Drawing) -> bool:
    """Return whether a box is weights, or the pair behind them."""
    if drawing.boxes[name][0] == "weights":
        return True
    return bool(sources[name]) and all(drawing.boxes[source][0] == "weights" for source in sources[name])


def _drawn(drawing: _Drawing, places: Mapping[str, tuple[int, int]], *, title: str, per_row: int) -> Figure:
    columns = max(column for column, _ in places.values()) + 1
    lanes = max(lane for _, lane in places.values()) + 1
    rows = -(-columns // per_row)
    pitch = lanes * 0.85 + 0.35

    def spot(name: str) -> tuple[float, float]:
        column, lane = places[name]
        return column % per_row, -0.85 * lane - pitch * (column // per_row)

    skips = any(places[end][0] - places[start][0] > 2 for start, end in drawing.arrows)
    top = 0.65 if skips else 0.4
    figure = new_figure(width=10.5, height=1.0 + 0.72 * (pitch * rows + top - 0.55))
    axes = figure.subplots()
    for start, end in drawing.arrows:
        _arrow(axes, spot(start), spot(end), hidden=places[end][0] // per_row != places[start][0] // per_row)
    for name, (label, fill) in drawing.boxes.items():
        _box(axes, spot(name), label, fill)
    axes.set_xlim(-0.75, min(columns, per_row) - 0.25)
    axes.set_ylim(-pitch * rows + 0.55, top)
    axes.axis("off")
    if title:
        axes.set_title(title, fontsize=13, color=INK, loc="left", pad=8)
    legend = {"runs in INT8": _INT8, "runs in high precision": _FLOAT, "quantize and dequantize": _PAIR}
    figure.legend(
        handles=[Patch(facecolor=color, edgecolor=GREY, label=label) for label, color in legend.items()],
        loc="outside lower left",
        ncols=3,
        fontsize=10,
        frameon=False,
        labelcolor=INK,
    )
    return figure


def _box(axes: Axes, place: tuple[float, float], label: str, fill: str) -> None:
    x, y = place
    box = FancyBboxPatch(
        (x - _WIDTH / 2, y - _HEIGHT / 2),
        _WIDTH,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.09",
        facecolor=fill,
        edgecolor="#C77F00" if fill == _PAIR else GREY,
        linewidth=1.5 if fill == _PAIR else 0.8,
        zorder=2,
    )
    axes.add_patch(box)
    axes.text(x, y, label, ha="center", va="center", fontsize=9, color=ink_on(fill), zorder=3)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, hidden: bool) -> None:
    """Draw an arrow; one that goes on in another row ends, and begins, at the margin."""
    (x0, y0), (x1, y1) = start, end
    if hidden:
        for tail, head in (
            ((x0 + _WIDTH / 2, y0), (x0 + _WIDTH / 2 + 0.25, y0)),
            ((x1 - _WIDTH / 2 - 0.25, y1), (x1 - _WIDTH / 2, y1)),
        ):
            _line(axes, tail, head, dotted=True)
        return
    if x1 - x0 > 1.5 and y0 == y1:  # over the boxes between
        high, edge = y0 + _SKIP_HEIGHT, y0 + _HEIGHT / 2
        axes.plot([x0, x0, x1], [edge, high, high], color=GREY, linewidth=1.1, zorder=1)
        _line(axes, (x1, high), (x1, edge))
        return
    _line(axes, (x0 + _WIDTH / 2, y0), (x1 - _WIDTH / 2, y1))


def _line(axes: Axes, tail: tuple[float, float], head: tuple[float, float], *, dotted: bool = False) -> None:
    arrow = FancyArrowPatch(
        tail,
        head,
        arrowstyle="-|>",
        mutation_scale=9,
        color=GREY,
        linewidth=1.1,
        linestyle=":" if dotted else "-",
        zorder=1,
    )
    axes.add_patch(arrow)
