"""Everything about the layers of one engine in one piece: times, costs, place under the roof, advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.engines.provenance import read_provenance
from yolotrt_lab.files import sha256_of
from yolotrt_lab.profiling.advice import Advice, advise
from yolotrt_lab.profiling.layer_costs import GraphCosts, graph_costs
from yolotrt_lab.profiling.layers import LayerTime, layer_samples
from yolotrt_lab.profiling.roofline import MachineRoof, PlacedLayer, place_layers
from yolotrt_lab.profiling.throughput import random_feeds
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Precision, ProgressCallback

__all__ = ["LayerView", "MeasuredLayers", "measure_model_layers", "onnx_behind", "view_layers"]


@dataclass(frozen=True)
class MeasuredLayers:
    """The layers of a model as they ran.

    Attributes:
        label: The model's name in tables and pictures.
        path: Its file.
        backend: "tensorrt" or "openvino".
        runtime: Framework, version and device.
        platform: "real", "emulated", or the OpenVINO device.
        executed_precision: What most convolutions ran in.
        batch: Images per run.
        layers: Median times, in execution order.
        spread: How much longer the layers took in the median than in their fastest run, as a ratio of the sums: about
            1.1 on a quiet machine.
    """

    label: str
    path: Path
    backend: str
    runtime: str
    platform: str
    executed_precision: Precision
    batch: int
    layers: tuple[LayerTime, ...]
    spread: float = 1.0

    @property
    def total_ms(self) -> float:
        """Sum over the layers; more than the latency of a run without the profiler."""
        return sum(layer.time_ms for layer in self.layers)


@dataclass(frozen=True)
class LayerView:
    """A model's layers under a machine's roof.

    Attributes:
        measured: What ran.
        onnx: The graph that it was counted by.
        costs: Operations and bytes of its nodes.
        roof: The machine's limits.
        placed: The layers.
        advice: What to do about the slowest.
    """

    measured: MeasuredLayers
    onnx: Path
    costs: GraphCosts
    roof: MachineRoof
    placed: tuple[PlacedLayer, ...]
    advice: tuple[Advice, ...]

    @property
    def counted_share(self) -> float:
        """Part of the graph's operations that were found in the layers: about 1 if the graph is the right one."""
        total = self.costs.total().flops
        return sum(layer.cost.flops for layer in self.placed if layer.cost) / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "onnx": str(self.onnx),
            "roof": {**asdict(self.roof), "peak_gflops": dict(self.roof.peak_gflops)},
            "counted_share": self.counted_share,
            "layers": [_layer_json(layer) for layer in self.placed],
            "advice": [{**asdict(advice), "steps": list(advice.steps)} for advice in self.advice],
        }


def _layer_json(layer: PlacedLayer) -> dict[str, Any]:
    cost = layer.cost
    return {
        "name": layer.name,
        "layer": layer.layer.name,
        "kind": layer.layer.kind,
        "precision": layer.precision,
        "nodes": list(layer.nodes),
        "time_ms": layer.time_ms,
        "share": layer.share,
        "bound": layer.bound,
        "flops": cost.flops if cost else None,
        "bytes": cost.moved_bytes if cost else None,
        "gflops": layer.gflops,
        "gb_s": layer.gb_s,
        "roof_share": layer.roof_share,
    }


def measure_model_layers(
    path: Path,
    *,
    label: str,
    backend: str,
    batch: int = 1,
    repeats: int = 20,
    threads: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> MeasuredLayers:
    """Open a model with a layer profiler and measure its layers on noise.

    Args:
        path: An engine, an ONNX file or an OpenVINO model.
        label: Its name in tables and pictures.
        backend: "tensorrt" or "openvino".
        batch: Images per run.
        repeats: Measured runs.
        threads: CPU threads of OpenVINO; None lets it decide.
        on_progress: Called with (runs measured, runs).

    Raises:
        InputError: The model cannot be opened, cannot take the batch, or its framework has no layer profiler.
    """
    with open_runtime(path, backend=backend, batch=batch, threads=threads) as runtime:
        feeds = random_feeds(runtime, batch=batch)
        order, samples = layer_samples(runtime, feeds, repeats=repeats, on_progress=on_progress)
        layers = tuple(replace(layer, time_ms=float(np.median(samples[layer.name]))) for layer in order)
        fastest = sum(min(samples[layer.name]) for layer in order)
        return MeasuredLayers(
            label=label,
            path=path,
            backend=backend,
            runtime=runtime.name,
            platform=runtime.platform,
            executed_precision=runtime.executed_precision,
            batch=batch,
            layers=layers,
            spread=sum(layer.time_ms for layer in layers) / fastest if fastest else 1.0,
        )


def onnx_behind(path: Path) -> Path | None:
    """Return the ONNX file a model comes from: itself, or the one an engine's provenance names, if it is still that."""
    if path.suffix.lower() == ".onnx":
        return path
    provenance = read_provenance(path) if path.suffix.lower() in (".engine", ".plan") else None
    if provenance is None:
        return None
    named = Path(provenance.onnx_path)
    for candidate in (named, path.parent / named, path.parent / named.name):
        if candidate.is_file() and sha256_of(candidate) == provenance.onnx_sha256:
            return candidate
    return None


def view_layers(measured: MeasuredLayers, onnx: Path, roof: MachineRoof, *, count: int = 3) -> LayerView:
    """Place a model's layers under a roof, and say what to do about the slowest.

    Args:
        measured: From `measure_model_layers`.
        onnx: The graph the model was built from.
        roof: The machine's limits.
        count: How many layers to give advice about.

    Raises:
        InputError: The graph cannot be read, or its sizes cannot be known.
    """
    costs = graph_costs(onnx, batch=measured.batch)
    placed = place_layers(measured.layers, costs, roof)
    is_int8 = costs.is_quantized or measured.executed_precision is Precision.INT8
    precision = "int8" if is_int8 else str(measured.executed_precision)
    found: Sequence[Advice] = advise(placed, costs, roof, engine_precision=precision, count=count)
    return LayerView(measured, onnx, costs, roof, placed, tuple(found))
