"""Placing pairs anew, by this package's plan, with the ranges that the old ones knew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from yolotrt_lab.errors import LabError
from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types, node_label, replace_nodes
from yolotrt_lab.precision.lint.graph import MOVERS, channel_axis
from yolotrt_lab.precision.lint.strip import Stripped
from yolotrt_lab.precision.placement import Placement, plan_placement
from yolotrt_lab.precision.qdq import FP16_SMALLEST_NORMAL, add_pair, weight_scales
from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.types import Array

__all__ = ["Rebuilt", "place_pairs"]

_SAME_RANGE = (*MOVERS, "Identity", "Cast", "Relu")
_OTHER_WEIGHTED = ("ConvTranspose", "Gemm", "MatMul")


@dataclass
class Rebuilt:
    """A graph with new pairs.

    Attributes:
        model: The model.
        int8: Labels of the nodes that read INT8.
        dropped: Label of a node that read INT8 before and does no longer, to the reason.
    """

    model: ModelProto
    int8: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)


def place_pairs(stripped: Stripped) -> Rebuilt:
    """Quantize again what was quantized, where TensorRT wants it; changes the model in `stripped`."""
    model, index = stripped.model, GraphIndex(stripped.model.graph)
    steps = _Steps(stripped, index)
    wanted = _wanted(stripped, index)
    floats = [n.output[0] for n in model.graph.node if n.op_type in ("Conv", "Add") and n.output[0] not in wanted]
    tensors = {name for node in model.graph.node for name in node.input}
    plan = plan_placement(
        model,
        high_precision_nodes=floats,
        dead_tensors=[name for name in tensors if steps.of(name) is None],
        weight_types=("float32", "float16"),
    )
    result = Rebuilt(model)
    others = _others(stripped, index, steps)
    labels = {node.output[0]: node_label(node) for node in model.graph.node}
    made = [*plan.convs, *plan.adds, *(node.output[0] for node in others)]
    result.int8 = tuple(labels[output] for output in made)
    decode = find_head(model).decode
    for output in labels:
        if output in wanted and output not in made:
            reason = "part of the decode" if output in decode else "an addition that is no residual"
            reason = plan.kept.get(labels[output], reason)
            result.dropped[labels[output]] = reason.replace("was zero on every calibration image", "has no known range")
    _insert(stripped, plan, others, steps)
    return result


class _Steps:
    """The step of every activation, from its own pairs or from those of what it is made of."""

    def __init__(self, stripped: Stripped, index: GraphIndex) -> None:
        self._index = index
        self._known: dict[str, float | None] = dict(stripped.steps)

    def of(self, tensor: str) -> float | None:
        """Return a step that covers a tensor, None if nothing says it."""
        if tensor not in self._known:
            self._known[tensor] = self._derived(tensor)
        return self._known[tensor]

    def _derived(self, tensor: str) -> float | None:
        maker = self._index.producer(tensor)
        if maker is None:
            return None
        if maker.op_type in _SAME_RANGE:
            return self.of(maker.input[0])
        if maker.op_type == "Sigmoid":
            return 1 / 127
        if maker.op_type == "Concat":
            parts = [self.of(name) for name in maker.input]
            known = [part for part in parts if part is not None]
            return max(known) if len(known) == len(parts) else None
        return self._silu(maker)

    def _silu(self, node: NodeProto) -> float | None:
        """Return the step of x * sigmoid(x): it never exceeds x."""
        if node.op_type != "Mul":
            return None
        for source, gate in (node.input, reversed(node.input)):
            sigmoid = self._index.producer(gate)
            if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.input[0] == source:
                return self.of(source)
        return None


def _wanted(stripped: Stripped, index: GraphIndex) -> set[str]:
    """Return the convolutions and Adds that were meant to be INT8: by their weights, or by any of their branches."""
    wanted = set()
    for (output, slot), _ in stripped.reads.items():
        node = index.producer(output)
        if node is not None and ((node.op_type == "Conv" and slot == 1) or node.op_type == "Add"):
            wanted.add(output)
    return wanted


def _others(stripped: Stripped, index: GraphIndex, steps: _Steps) -> list[NodeProto]:
    """Return matrix products and transposed convolutions whose both operands were quantized, and can be again."""
    head = find_head(stripped.model)
    found = []
    for node in stripped.model.graph.node:
        output = node.output[0]
        if node.op_type not in _OTHER_WEIGHTED or output in head.final_convs or output in head.decode:
            continue
        if (output, 0) not in stripped.reads or (output, 1) not in stripped.reads:
            continue
        if all(index.is_constant(name) or steps.of(name) is not None for name in node.input[:2]):
            found.append(node)
    return found


def _insert(stripped: Stripped, plan: Placement, others: list[NodeProto], steps: _Steps) -> None:
    graph = stripped.model.graph
    index, types = GraphIndex(graph), infer_tensor_types(stripped.model)
    nodes = {node.output[0]: node for node in graph.node}
    places = {tensor: list(reads) for tensor, reads in plan.reads.items()}
    weights = {(output, 1): 0 for output in plan.convs}
    for node in others:
        for slot, name in enumerate(node.input[:2]):
            if index.is_constant(name):
                weights[node.output[0], slot] = channel_axis(node)
            else:
                places.setdefault(name, []).append((node.output[0], slot))
    shared = _shared(plan, places, steps)
    taken = {tensor.name for tensor in graph.initializer} | {name for node in graph.node for name in node.output}
    added: list[NodeProto] = []
    for tensor, reads in places.items():
        half = types.get(tensor, (TensorProto.FLOAT, None))[0] == TensorProto.FLOAT16
        scale = _stored(np.asarray(shared[tensor]), half=half)
        dequantized = add_pair(graph, added, tensor, scale, stem=_free_stem(tensor, taken))
        for output, slot in reads:
            nodes[output].input[slot] = dequantized
    pairs: dict[str, str] = {}
    for (output, slot), axis in weights.items():
        name = nodes[output].input[slot]
        if name not in pairs:
            scale = _weight_steps(_constant(index, name), stripped.weight_steps.get(name), axis)
            pairs[name] = add_pair(graph, added, name, scale, axis=axis, stem=_free_stem(name, taken))
        nodes[output].input[slot] = pairs[name]
    replace_nodes(graph, [*graph.node, *added])


def _free_stem(tensor: str, taken: set[str]) -> str:
    """Return what the names of a tensor's new pair may begin with; nodes that stay may have the usual ones."""
    stem = tensor
    while any(f"{stem}_{end}" in taken for end in ("scale", "zero_point", "quantized", "dequantized")):
        stem += "_int8"
    return stem


def _constant(index: GraphIndex, name: str) -> Array:
    values = index.constant(name)
    if values is None:
        raise LabError(f"The weights {name!r} vanished while pairs were placed.")
    return values


def _shared(plan: Placement, places: Mapping[str, object], steps: _Steps) -> dict[str, float]:
    """Return the step of every tensor; those that the same integers flow through have the largest of theirs."""
    result = {tensor: steps.of(tensor) or 1.0 for tensor in places}
    for group in plan.groups:
        largest = max(result[tensor] for tensor in group)
        result |= dict.fromkeys(group, largest)
    return result


def _stored(scale: Array, *, half: bool) -> Array:
    if not half:
        return scale.astype(np.float32)
    result: Array = np.maximum(scale, FP16_SMALLEST_NORMAL).astype(np.float16)
    return result


def _weight_steps(values: Array, old: Array | None, axis: int) -> Array:
    """Return one step per slice along an axis: the old ones if they are that, else max |w| / 127."""
    channels = values.shape[axis]
    if old is not None and old.ndim == 1 and old.size == channels:
        return old.astype(values.dtype)
    half = values.dtype == np.float16
    fresh = weight_scales(np.moveaxis(values, axis, 0).astype(np.float32), fp16=half)
    result: Array = fresh.astype(values.dtype)
    return result
