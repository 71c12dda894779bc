"""Layers under a machine's roof: how much of what is possible each of them reaches, and what holds it back.

A layer that needs F operations and moves B bytes takes at least max(F / peak, B / bandwidth). Which of the two is the
larger is its bound (Williams, Waterman and Patterson, "Roofline", 2009). What the model does not know is the time to
start a layer; the roof therefore also carries the time of a layer that does next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layer_costs import GraphCosts, LayerCost
from yolotrt_lab.profiling.layers import LayerTime, graph_nodes, main_node, working_nodes

__all__ = ["H200", "Bound", "MachineRoof", "PlacedLayer", "layer_precision", "place_layers", "roof_from_text"]

Bound = Literal["compute", "memory", "launch", "reformat", "unknown"]

_NAMES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "float": "fp32", "half": "fp16"}
_LAUNCH_FACTOR = 3.0
"""A layer that takes up to this many times as long as an empty one, and could be far faster, is bound by its launch."""
_SUBSTITUTES = {"bf16": ("fp16",), "fp16": ("bf16",), "int8": ("fp16", "bf16"), "tf32": ("fp32",)}


@dataclass(frozen=True)
class MachineRoof:
    """What a machine can do at most.

    Attributes:
        name: Which machine.
        peak_gflops: Arithmetic to 10^9 operations a second.
        bandwidth_gb_s: Memory, in 10^9 bytes a second.
        launch_ms: What a layer takes that does next to nothing.
        source: Where the numbers come from.
    """

    name: str
    peak_gflops: Mapping[str, float]
    bandwidth_gb_s: float
    launch_ms: float
    source: str

    def __post_init__(self) -> None:
        rates = (*self.peak_gflops.values(), self.bandwidth_gb_s)
        if "fp32" not in self.peak_gflops or not all(rate > 0 for rate in rates) or self.launch_ms < 0:
            raise InputError(
                "The roof makes no sense.",
                expected="rates above 0, fp32 among them",
                got=f"{dict(self.peak_gflops)}, {self.bandwidth_gb_s} GB/s, {self.launch_ms} ms",
            )

    def peak(self, precision: str) -> float:
        """Return the peak in GFLOP/s of an arithmetic; of the nearest one known where it was not measured."""
        for name in (precision, *_SUBSTITUTES.get(precision, ())):
            if name in self.peak_gflops:
                return self.peak_gflops[name]
        return self.peak_gflops["fp32"]

    def ridge(self, precision: str) -> float:
        """Return the operations per byte from which on arithmetic is the limit."""
        return self.peak(precision) / self.bandwidth_gb_s

    def compute_ms(self, cost: LayerCost, precision: str) -> float:
        """Return the least time for the operations: products at the precision's peak, the rest in FP32 at most."""
        rest = cost.flops - cost.product_flops
        simple = self.peak(precision if precision != "int8" else "fp32")
        return cost.product_flops / self.peak(precision) / 1e6 + rest / simple / 1e6

    def memory_ms(self, cost: LayerCost) -> float:
        """Return the least time for the bytes."""
        return cost.moved_bytes / self.bandwidth_gb_s / 1e6


H200 = MachineRoof(
    name="NVIDIA H200 SXM (data sheet)",
    peak_gflops={"fp32": 67_000.0, "tf32": 494_500.0, "fp16": 989_500.0, "bf16": 989_500.0, "int8": 1_979_000.0},
    bandwidth_gb_s=4_800.0,
    launch_ms=0.0029,
    source=(
        "NVIDIA H200 Tensor Core GPU data sheet, which gives tensor rates with sparsity, halved here; launch: 2.9 µs a "
        "kernel, measured on an H200 in November 2026 (the cost model of the emulated GPU)"
    ),
)
_KNOWN = {"h200": H200}


@dataclass(frozen=True)
class PlacedLayer:
    """A layer, what it costs, and where it stands under the roof.

    Attributes:
        name: The ONNX node it is known by.
        layer: What was measured.
        nodes: The ONNX nodes it does, as the graph names them.
        precision: The arithmetic, by this package's names; "" unknown.
        share: Part of the engine's whole time, 0 to 1.
        cost: Operations and bytes; None where nothing of it is in the graph.
        compute_ms: The least time for its operations.
        memory_ms: The least time for its bytes.
        bound: What holds it back.
    """

    name: str
    layer: LayerTime
    nodes: tuple[str, ...]
    precision: str
    share: float
    cost: LayerCost | None
    compute_ms: float
    memory_ms: float
    bound: Bound

    @property
    def time_ms(self) -> float:
        """What it took."""
        return self.layer.time_ms

    @property
    def least_ms(self) -> float:
        """What the roof allows."""
        return max(self.compute_ms, self.memory_ms)

    @property
    def gflops(self) -> float:
        """Attained operations, 10^9 a second."""
        return self.cost.flops / self.time_ms / 1e6 if self.cost and self.time_ms else 0.0

    @property
    def gb_s(self) -> float:
        """Attained bytes, 10^9 a second."""
        return self.cost.moved_bytes / self.time_ms / 1e6 if self.cost and self.time_ms else 0.0

    @property
    def roof_share(self) -> float:
        """Part of what the roof allows, 0 to 1; above 1 where a cache saved the way to memory."""
        return self.least_ms / self.time_ms if self.time_ms else 0.0


def layer_precision(name: str) -> str:
    """Return this package's name of an arithmetic that a framework reports.

    Example:
        >>> layer_precision("i8"), layer_precision("BF16")
        ('int8', 'bf16')
    """
    return _NAMES.get(name.lower(), name.lower())


def place_layers(layers: Sequence[LayerTime], costs: GraphCosts, roof: MachineRoof) -> tuple[PlacedLayer, ...]:
    """Return every layer with its cost and its place under the roof, in execution order.

    Args:
        layers: From `profiling.layers.measure_layers`.
        costs: Of the ONNX graph the engine was built from, at the batch that was measured.
        roof: The machine's limits.
    """
    total = sum(layer.time_ms for layer in layers) or 1.0
    members = [graph_nodes([costs.node_named(name) for name in layer.origins], costs.nodes) for layer in layers]
    owned = {name for nodes in members for name in nodes}
    return tuple(
        _placed(layer, _with_unnamed(nodes, costs, owned), costs, roof, total)
        for layer, nodes in zip(layers, members, strict=True)
    )


def _with_unnamed(nodes: tuple[str, ...], costs: GraphCosts, owned: set[str]) -> tuple[str, ...]:
    """Add nodes that no layer claims but that lie wholly inside this one, such as the Sigmoid of a fused SiLU."""
    found = dict.fromkeys(nodes)
    size = -1
    while size != len(found):
        size = len(found)
        made = {tensor for name in found for tensor in costs.nodes[name].output}
        readers = [costs.label(reader) for tensor in made for reader, _ in costs.index.consumers(tensor)]
        for name in readers:
            node = costs.nodes[name]
            following = [costs.label(user) for tensor in node.output for user, _ in costs.index.consumers(tensor)]
            if name in owned or not following or not all(user in found for user in following):
                continue
            if all(source in made or costs.is_constant(source) for source in node.input if source):
                found[name] = None
    return tuple(found)


def _placed(
    layer: LayerTime, nodes: tuple[str, ...], costs: GraphCosts, roof: MachineRoof, total: float
) -> PlacedLayer:
    precision = layer_precision(layer.precision)
    cost = costs.group(nodes, precision=precision) if nodes else None
    compute_ms = roof.compute_ms(cost, precision) if cost else 0.0
    memory_ms = roof.memory_ms(cost) if cost else 0.0
    least = max(compute_ms, memory_ms)
    bound: Bound
    if not working_nodes(layer.origins):
        bound = "reformat" if not layer.origins or nodes else "unknown"
    elif cost is None:
        bound = "unknown"
    elif layer.time_ms <= _LAUNCH_FACTOR * roof.launch_ms and least < layer.time_ms / 2:
        bound = "launch"
    else:
        bound = "compute" if compute_ms > memory_ms else "memory"
    known = working_nodes(nodes) or working_nodes(layer.origins)
    name = main_node(known) if known else layer.name
    share = layer.time_ms / total
    return PlacedLayer(name, layer, nodes, precision, share, cost, compute_ms, memory_ms, bound)


def roof_from_text(text: str) -> MachineRoof:
    """Return a roof by its name, or from numbers: GFLOP/s per arithmetic, and gb_s.

    Raises:
        InputError: No such machine, or the numbers cannot be read.

    Example:
        >>> roof_from_text("fp32=100,int8=400,gb_s=20").ridge("fp32")
        5.0
    """
    if text.lower() in _KNOWN:
        return _KNOWN[text.lower()]
    try:
        pairs = {
            key.strip().lower(): float(value) for key, _, value in (part.partition("=") for part in text.split(","))
        }
    except ValueError:
        pairs = {}
    bandwidth = pairs.pop("gb_s", math.nan)
    launch = pairs.pop("launch_us", 0.0) / 1e3
    if not bandwidth > 0 or "fp32" not in pairs:
        raise InputError(
            "The roof cannot be read.",
            expected=f"measured, {', '.join(_KNOWN)}, or numbers such as fp32=100,fp16=200,int8=400,gb_s=20",
            got=text,
            fix="Give GFLOP/s for fp32 and what else you know, and the memory bandwidth in GB/s.",
        )
    return MachineRoof("the machine given", pairs, bandwidth, launch, f"given: {text}")
