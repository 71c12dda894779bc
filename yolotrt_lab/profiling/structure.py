"""How differently engines of one ONNX graph are built: layers, fusion, and the precision of every original node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layers import main_node

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
        fused_layers: Layers that do the work of two or more ONNX nodes.
        fused_nodes: ONNX nodes inside those.
        reformat_layers: Layers that come from no ONNX node.
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
    fused = [layer for layer in layers if len(layer.origins) > 1]
    return EngineStructure(
        name=name,
        layers=len(layers),
        fused_layers=len(fused),
        fused_nodes=sum(len(layer.origins) for layer in fused),
        reformat_layers=sum(not layer.origins for layer in layers),
        precision_counts=dict(Counter(layer.precision or "unknown" for layer in layers)),
    )


def compare_structures(engines: Mapping[str, Sequence[StructureLayer]]) -> StructureComparison:
    """Compare engines built from one ONNX graph.

    Rows are the nodes layers are known by (`main_node`), in the order they first appear.

    Args:
        engines: Engine name to its layers in execution order.

    Raises:
        InputError: No engines.
    """
    if not engines:
        raise InputError("There are no engines to compare.", expected="at least one engine", got="none")
    precisions: dict[str, dict[str, str | None]] = {}
    for name, layers in engines.items():
        for layer in layers:
            if layer.origins:
                row = precisions.setdefault(main_node(layer.origins), dict.fromkeys(engines))
                row[name] = layer.precision or "unknown"
    return StructureComparison(
        engines=tuple(_engine_structure(name, layers) for name, layers in engines.items()),
        rows=tuple(NodeRow(node, row) for node, row in precisions.items()),
    )
