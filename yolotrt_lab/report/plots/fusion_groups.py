"""The layers of an engine as groups of ONNX nodes, and how the groups hang together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from yolotrt_lab.profiling.layer_costs import GraphCosts
from yolotrt_lab.profiling.layers import block_of_node
from yolotrt_lab.profiling.roofline import PlacedLayer

__all__ = ["FusedGroup", "FusionGraph"]

_REFORMAT = re.compile(r"^Reformatting CopyNode for Input Tensor \d+ to (.*)$")
_ABSENT = "no layer of its own"


@dataclass(frozen=True)
class FusedGroup:
    """ONNX nodes that an engine does as one layer.

    Attributes:
        name: The node the layer is known by.
        nodes: (name, operator with its sizes) of the nodes that work on activations, in the graph's order.
        precision: What it ran in; "" for nodes that no layer does.
        time_ms: What it took.
        share: Part of the engine's time.
        reformat_ms: What the layers took that change type or layout in front of it; 0 without any.
    """

    name: str
    nodes: tuple[tuple[str, str], ...]
    precision: str
    time_ms: float
    share: float
    reformat_ms: float = 0.0

    @property
    def caption(self) -> str:
        """Time, share and precision."""
        if not self.precision:
            return _ABSENT
        return f"{self.time_ms:.3g} ms  {self.share:.1%}  {self.precision.upper()}"

    @property
    def operators(self) -> str:
        """The operators in a line."""
        return " ".join(label.split(maxsplit=1)[0] for _, label in self.nodes)


class FusionGraph:
    """Groups and the data that flows between them.

    Args:
        placed: The engine's layers.
        costs: The graph it was built from.
    """

    def __init__(self, placed: Sequence[PlacedLayer], costs: GraphCosts) -> None:
        self._costs = costs
        self._owner: dict[str, str] = {}
        reformats = _reformat_times(placed)
        order = {name: place for place, name in enumerate(costs.nodes)}
        self.groups: dict[str, FusedGroup] = {}
        for layer in placed:
            names = [name for name in layer.nodes if name not in self._owner and self._is_live(costs.nodes[name])]
            if not names:
                continue
            key = layer.layer.name
            self._owner.update(dict.fromkeys(names, key))
            members = tuple((name, _label(costs, name)) for name in sorted(names, key=order.__getitem__))
            self.groups[key] = FusedGroup(
                layer.name, members, layer.precision, layer.time_ms, layer.share, reformats.get(key, 0.0)
            )
        for name, node in costs.nodes.items():
            if name not in self._owner and self._is_live(node):
                self._owner[name] = name
                self.groups[name] = FusedGroup(name, ((name, _label(costs, name)),), "", 0.0, 0.0)
        self.edges = self._edges()

    def _is_live(self, node: NodeProto) -> bool:
        """Return whether a node works on activations, not on weights or shapes."""
        return self._costs.depends_on_input(node)

    def _edges(self) -> tuple[tuple[str, str], ...]:
        found: dict[tuple[str, str], None] = {}
        for name, key in self._owner.items():
            for tensor in self._costs.nodes[name].output:
                for reader, _ in self._costs.index.consumers(tensor):
                    target = self._owner.get(self._costs.label(reader))
                    if target is not None and target != key:
                        found[key, target] = None
        return tuple(found)

    def before(self, key: str) -> list[str]:
        """Return the groups that a group reads from."""
        return [source for source, target in self.edges if target == key]

    def after(self, key: str) -> list[str]:
        """Return the groups that read what a group makes."""
        return [target for source, target in self.edges if source == key]

    def hottest(self, count: int) -> list[str]:
        """Return the groups that take the most time."""
        return sorted(self.groups, key=lambda key: -self.groups[key].time_ms)[:count]

    def of_block(self, block: str) -> list[str]:
        """Return the groups with a node in a block of the network, in the graph's order."""
        return [
            key for key, group in self.groups.items() if any(block_of_node(name) == block for name, _ in group.nodes)
        ]

    def blocks(self) -> dict[str, float]:
        """Return the blocks of the network, each with the time of the groups known by a node in it."""
        times: dict[str, float] = {}
        for group in self.groups.values():
            block = block_of_node(group.name)
            times[block] = times.get(block, 0.0) + group.time_ms
        return times

    def ranks(self, keys: Sequence[str]) -> dict[str, int]:
        """Return how many groups among `keys` must run before each, counted along the longest way."""
        inside = set(keys)
        sources: Mapping[str, list[str]] = {
            key: [other for other in self.before(key) if other in inside] for key in keys
        }
        ranks: dict[str, int] = {}

        def rank(key: str, above: frozenset[str]) -> int:
            if key not in ranks:
                ways = [rank(other, above | {key}) for other in sources[key] if other not in above]
                ranks[key] = 1 + max(ways, default=-1)
            return ranks[key]

        for key in keys:
            rank(key, frozenset({key}))
        return ranks


def _reformat_times(placed: Sequence[PlacedLayer]) -> dict[str, float]:
    """Return the time of reformats by the layer they stand before, which TensorRT names in theirs."""
    times: dict[str, float] = {}
    for layer in placed:
        match = _REFORMAT.match(layer.layer.name)
        if layer.bound == "reformat" and match:
            times[match.group(1)] = times.get(match.group(1), 0.0) + layer.time_ms
    return times


def _label(costs: GraphCosts, name: str) -> str:
    """Return a node's operator, for a convolution with kernel and channels."""
    node = costs.nodes[name]
    short = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}.get(node.op_type, node.op_type)
    if node.op_type == "Conv":
        weights = costs.shapes.get(node.input[1], ())
        if len(weights) == 4:
            return f"Conv {weights[2]}x{weights[3]}\n{weights[1]} to {weights[0]}"
    return short
