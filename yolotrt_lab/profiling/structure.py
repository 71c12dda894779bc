"""How differently engines of one ONNX graph are built: layers, fusion, and the precision of every original node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layers import compute_nodes, main_node, working_nodes

__all__ = ["EngineStructure", "NodeRow", "StructureComparison", "StructureLayer", "compare_structures"]


@dataclass(frozen=True)
class StructureLayer:
    """One executed layer of an engine.

    Attributes:
        name: The engine's name of it.
        kind: What it does.
        precision: The arithmetic it runs in ("fp32", "fp16", "bf16", "int8"; "" unknown).
        origins: ONNX nodes fused into it.
    """

    name: str
    kind: str
    precision: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineStructure:
    """One engine in numbers.

    Attributes:
        name: Which engine.
        layers: Executed layers.
        fused_layers: Layers that do the work of two or more ONNX nodes; casts, quantization and dequantization do not
            count as work.
        fused_nodes: ONNX nodes inside those.
        reformat_layers: Layers that only change memory layout or precision.
        precision_counts: Layers by precision.
    """

    name: str
    layers: int
    fused_layers: int
    fused_nodes: int
    reformat_layers: int
    precision_counts: Mapping[str, int]


@dataclass(frozen=True)
class NodeRow:
    """Precision of one ONNX node in each engine; None where it does not appear (folded away)."""

    node: str
    precisions: Mapping[str, str | None]


@dataclass(frozen=True)
class StructureComparison:
    """Several engines of one graph side by side."""

    engines: tuple[EngineStructure, ...]
    rows: tuple[NodeRow, ...]

    @property
    def differing_rows(self) -> tuple[NodeRow, ...]:
        """Nodes whose precision is not the same in all engines."""
        return tuple(row for row in self.rows if len(set(row.precisions.values())) > 1)


def _engine_structure(name: str, layers: Sequence[StructureLayer]) -> EngineStructure:
    nodes = [working_nodes(layer.origins) for layer in layers]
    fused = [names for names in nodes if len(names) > 1]
    return EngineStructure(
        name=name,
        layers=len(layers),
        fused_layers=len(fused),
        fused_nodes=sum(map(len, fused)),
        reformat_layers=sum(not names for names in nodes),
        precision_counts=dict(Counter(layer.precision or "unknown" for layer in layers)),
    )


def compare_structures(engines: Mapping[str, Sequence[StructureLayer]]) -> StructureComparison:
    """Compare engines built from one ONNX graph.

    Rows are the convolutions and matrix products, where precision matters, in the order they first appear; for a graph
    without any, the nodes layers are known by (`main_node`).

    Args:
        engines: Engine name to its layers in execution order.

    Raises:
        InputError: No engines.
    """
    if not engines:
        raise InputError("There are no engines to compare.", expected="at least one engine", got="none")
    has_compute = any(compute_nodes(layer.origins) for layers in engines.values() for layer in layers)
    precisions: dict[str, dict[str, str | None]] = {}
    for name, layers in engines.items():
        for layer in layers:
            known_by = (main_node(layer.origins),) if layer.origins else ()
            for node in compute_nodes(layer.origins) if has_compute else known_by:
                precisions.setdefault(node, dict.fromkeys(engines))[name] = layer.precision or "unknown"
    return StructureComparison(
        engines=tuple(_engine_structure(name, layers) for name, layers in engines.items()),
        rows=tuple(NodeRow(node, row) for node, row in precisions.items()),
    )
