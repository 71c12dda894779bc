"""Which layers does INT8 hurt? Each one's damage to the detector's output, measured one at a time and together.

Three views, because none tells all:

- *alone*: only this layer is quantized. Clean, but blind to errors that add up or cancel.
- *spared*: everything is quantized but this layer. What keeping it would really bring, at the start.
- *greedy*: keep the layer that brings most, measure again, keep the next. The order to spend a budget in.

Rounding is emulated in FP32 (see `switchable`), on a few images that stay in memory, against FP32 outputs that are
computed once (see `output_error`). A YOLOv5n has 76 layers to quantize; alone and spared take 153 runs over the images.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import expose_tensors, infer_tensor_types, node_label
from yolotrt_lab.precision.histogram import StreamingHistogram
from yolotrt_lab.precision.output_error import OutputError, OutputProbe
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.switchable import SwitchableGraph
from yolotrt_lab.precision.table import CalibrationTable
from yolotrt_lab.types import FloatArray, ProgressCallback

__all__ = ["GreedyStep", "Judge", "LayerDamage", "SensitivityReport", "greedy_order", "multiply_adds", "rank_layers"]

Judge = Callable[[Path], float]
"""Returns the mAP50-95 of an ONNX file; given by whoever has a runtime and labels."""

_BULK = 0.99
_MAX_TRIES = 6
"""Layers measured for one greedy step; after so many, the best of them is taken."""


@dataclass(frozen=True)
class LayerDamage:
    """What quantizing one layer does.

    Attributes:
        node: Name of the convolution or residual addition.
        op_type: "Conv" or "Add".
        depth: Position among the quantized layers, in graph order, from 0.
        alone: Output error when only this layer is quantized.
        share: Its part of all layers' squared errors, 0 to 1.
        spared: Part of the fully quantized network's squared error that goes away when this layer is left out;
            negative when errors cancelled. NaN if not measured.
        multiply_adds: Of one image; an Add has one per element.
        input_amax: Largest magnitude of its inputs.
        input_bulk: Magnitude below which 99 % of their values lie.
        clip: Magnitude that 127 stands for.
        map_loss: Loss of mAP50-95 when only this layer is quantized, or None if not asked for.
    """

    node: str
    op_type: str
    depth: int
    alone: float
    share: float
    spared: float
    multiply_adds: int
    input_amax: float
    input_bulk: float
    clip: float
    map_loss: float | None = None


@dataclass(frozen=True)
class SensitivityReport:
    """The damage of every layer, and of all together.

    Attributes:
        layers: In graph order.
        error: Of the fully quantized network.
        image_count: Images measured on.
    """

    layers: tuple[LayerDamage, ...]
    error: OutputError
    image_count: int

    @property
    def ranked(self) -> tuple[LayerDamage, ...]:
        """The layers, most harmful first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.alone))

    @property
    def additivity(self) -> float:
        """Sum of the single squared errors over the square of the joint one; 1 when layers err independently."""
        joint = self.error.total**2
        return sum(layer.alone**2 for layer in self.layers) / joint if joint else 0.0


@dataclass(frozen=True)
class GreedyStep:
    """One more layer in high precision.

    Attributes:
        node: The layer.
        error: Output error with this and all layers before it kept.
    """

    node: str
    error: float


def rank_layers(
    onnx_path: Path,
    *,
    table: CalibrationTable,
    images: Sequence[FloatArray],
    leave_one_out: bool = True,
    judge: Judge | None = None,
    threads: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> SensitivityReport:
    """Measure what the quantization of each layer does to the output.

    Args:
        onnx_path: The FP32 model.
        table: Its ranges.
        images: Preprocessed images, each (1, 3, H, W) float32, all kept in memory.
        leave_one_out: Measure `spared` too, which doubles the time.
        judge: Measures mAP; called once for the model and once for every layer. Slow, and noisy on few images.
        threads: CPU threads for ONNX Runtime; by default all.
        on_progress: Called with (variants measured, variants).

    Raises:
        InputError: The model cannot be quantized with this table, or there are no images.
    """
    graph, plain = _switchable(onnx_path, table)
    probe = OutputProbe(plain, images, threads=threads)
    total = 1 + len(graph.layers) * (1 + leave_one_out + (judge is not None))
    ticks = _ticks(on_progress, total)
    joint = probe.measure(graph.variant(graph.layers))
    next(ticks)
    alone, spared = {}, dict.fromkeys(graph.layers, float("nan"))
    for layer in graph.layers:
        alone[layer] = probe.measure(graph.variant([layer])).total
        next(ticks)
        if leave_one_out:
            others = [other for other in graph.layers if other != layer]
            rest = probe.measure(graph.variant(others)).total ** 2
            spared[layer] = 1 - rest / joint.total**2 if joint.total else 0.0
            next(ticks)
    losses = _map_losses(graph, onnx_path, judge, ticks) if judge is not None else {}
    layers = _damages(graph, plain, alone, spared, losses, _ranges(graph, plain, images, threads))
    return SensitivityReport(layers=layers, error=joint, image_count=len(images))


def greedy_order(
    onnx_path: Path,
    *,
    table: CalibrationTable,
    images: Sequence[FloatArray],
    report: SensitivityReport,
    steps: int,
    threads: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[GreedyStep, ...]:
    """Keep layers one after another, each time the one that lowers the squared output error most.

    Lazily (Minoux, 1978): a layer's gain from an earlier step is taken for what it still brings at most, so only the
    layers at the top of the list are measured again. Gains need not shrink here, so this is a heuristic; in return a
    step costs a handful of measurements instead of one per layer.

    Args:
        onnx_path: The FP32 model.
        table: Its ranges.
        images: Preprocessed images, each (1, 3, H, W) float32.
        report: From `rank_layers`.
        steps: Layers to keep at most.
        threads: CPU threads for ONNX Runtime; by default all.
        on_progress: Called with (steps done, steps).
    """
    graph, plain = _switchable(onnx_path, table)
    probe = OutputProbe(plain, images, threads=threads)
    current = probe.measure(graph.variant(graph.layers)).total ** 2
    first = {
        layer.node: layer.alone**2 if np.isnan(layer.spared) else layer.spared * current for layer in report.layers
    }
    waiting = [(-gain, node) for node, gain in first.items()]
    heapq.heapify(waiting)
    kept: list[str] = []
    result: list[GreedyStep] = []
    while waiting and len(result) < steps:
        tried: list[tuple[float, str]] = []
        while waiting and len(tried) < _MAX_TRIES and (not tried or waiting[0] < min(tried)):
            _, node = heapq.heappop(waiting)
            rest = [layer for layer in graph.layers if layer not in kept and layer != node]
            tried.append((probe.measure(graph.variant(rest)).total ** 2 - current, node))
        gain, chosen = min(tried)
        for other in tried:
            if other[1] != chosen:
                heapq.heappush(waiting, other)
        kept.append(chosen)
        current += gain
        result.append(GreedyStep(chosen, float(np.sqrt(max(current, 0.0)))))
        if on_progress is not None:
            on_progress(len(result), steps)
    return tuple(result)


def multiply_adds(model: ModelProto) -> dict[str, int]:
    """Return the multiply-additions of one image for every convolution and Add, by node name; 0 for unknown sizes."""
    types = infer_tensor_types(model)
    counts = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Add"):
            sizes = list((types.get(node.output[0], (0, None))[1] or (None, None))[1:])
            if node.op_type == "Conv":
                sizes += (types.get(node.input[1], (0, None))[1] or (None, None))[1:]
            counts[node_label(node)] = int(np.prod([size or 0 for size in sizes], dtype=np.int64))
    return counts


def _switchable(onnx_path: Path, table: CalibrationTable) -> tuple[SwitchableGraph, ModelProto]:
    with tempfile.TemporaryDirectory() as folder:
        report = quantize_onnx(onnx_path, Path(folder) / "int8.onnx", table=table)
        graph = SwitchableGraph(onnx.load(report.path))
    return graph, graph.plain()


def _ticks(on_progress: ProgressCallback | None, total: int) -> Iterator[None]:
    for done in range(1, total + 1):
        if on_progress is not None:
            on_progress(done, total)
        yield


def _map_losses(graph: SwitchableGraph, onnx_path: Path, judge: Judge, ticks: Iterator[None]) -> dict[str, float]:
    reference = judge(onnx_path)
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        for layer in graph.layers:
            path = Path(folder) / "one-layer.onnx"
            onnx.save(graph.variant([layer]), path)
            losses[layer] = reference - judge(path)
            next(ticks)
    return losses


def _ranges(
    graph: SwitchableGraph, plain: ModelProto, images: Sequence[FloatArray], threads: int | None
) -> dict[str, tuple[float, float]]:
    """Return (largest, below which 99 % lie) of the magnitudes of every layer's inputs."""
    names = list(dict.fromkeys(name for layer in graph.layers for name in graph.inputs(layer)))
    graph_input = plain.graph.input[0].name
    made = [name for name in names if name != graph_input]
    session = make_session(expose_tensors(plain, made), threads=threads)
    histograms = {name: StreamingHistogram() for name in names}
    for image in images[:8]:  # for words, not for scales
        values = dict(zip(made, session.run(made, {graph_input: image}), strict=True)) if made else {}
        values[graph_input] = image
        for name, histogram in histograms.items():
            histogram.update(values[name])
    pairs = {name: (histogram.amax, histogram.quantile(_BULK)) for name, histogram in histograms.items()}
    return {layer: max((pairs[name] for name in graph.inputs(layer)), default=(0.0, 0.0)) for layer in graph.layers}


def _damages(
    graph: SwitchableGraph,
    plain: ModelProto,
    alone: Mapping[str, float],
    spared: Mapping[str, float],
    losses: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float]],
) -> tuple[LayerDamage, ...]:
    squares = sum(value**2 for value in alone.values())
    work = multiply_adds(plain)
    return tuple(
        LayerDamage(
            node=layer,
            op_type=graph.op_type(layer),
            depth=depth,
            alone=alone[layer],
            share=alone[layer] ** 2 / squares if squares else 0.0,
            spared=spared[layer],
            multiply_adds=work.get(layer, 0),
            input_amax=ranges[layer][0],
            input_bulk=ranges[layer][1],
            clip=graph.clip(layer),
            map_loss=losses.get(layer),
        )
        for depth, layer in enumerate(graph.layers)
    )
