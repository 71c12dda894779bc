"""Which tensors of a detector become INT8: TensorRT's rules for explicit quantization, as a plan.

- Inputs of convolutions are quantized, never their outputs: the SiLU behind a convolution wants its full precision.
- Both inputs of a residual Add are quantized, so that the sum can be formed from INT8 tensors; an input that is the
  bare output of a convolution is not, because TensorRT adds it in the convolution's own epilogue.
- The last convolutions of the head, DFL and the decode stay in high precision.
- Concat, MaxPool, Resize and the like get no pair of their own: TensorRT moves the pair of their consumer in front of
  them. To let it use one INT8 tensor for all readers, tensors joined by such operators share one scale (the largest).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types, node_label
from yolotrt_lab.precision.structure import find_head, match_nodes

__all__ = ["Placement", "ReadSlot", "plan_placement"]

# They move values about, or pick among them, and so commute with quantization.
PASS_THROUGH = ("Concat", "MaxPool", "Resize", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")

ReadSlot = tuple[str, int]
"""First output of the reading node, and which of its inputs."""


@dataclass(frozen=True)
class Placement:
    """Where quantize/dequantize pairs go. Nodes are named by their first output, which is always unique.

    Attributes:
        convs: Convolutions that get INT8 inputs and weights.
        adds: Residual additions that get INT8 inputs.
        reads: The places that read quantized activations, per tensor; each tensor gets one pair, which they share.
        groups: Tensors that share a scale; every quantized tensor is in exactly one group.
        kept: Convolution or Add, by label, to the reason it stays in high precision.
    """

    convs: tuple[str, ...]
    adds: tuple[str, ...]
    reads: Mapping[str, tuple[ReadSlot, ...]]
    groups: tuple[tuple[str, ...], ...]
    kept: Mapping[str, str]

    @property
    def activations(self) -> tuple[str, ...]:
        """Tensors that need a range, in graph order."""
        return tuple(self.reads)


def plan_placement(
    model: ModelProto,
    *,
    high_precision_nodes: Collection[str] = (),
    dead_tensors: Collection[str] = (),
    weight_types: Collection[str] = ("float32",),
) -> Placement:
    """Decide what to quantize.

    Args:
        model: An FP32 detector.
        high_precision_nodes: Names of further convolutions or Adds to leave alone.
        dead_tensors: Tensors without a usable range; what reads them is left alone.
        weight_types: NumPy names of the types that weights may have.

    Raises:
        InputError: `high_precision_nodes` names no node.
    """
    index = GraphIndex(model.graph)
    head = find_head(model)
    requested = frozenset(match_nodes(model, high_precision_nodes))
    shapes = {name: shape for name, (_, shape) in infer_tensor_types(model).items()}
    convs: list[str] = []
    adds: list[str] = []
    kept: dict[str, str] = {}
    reads: dict[str, list[ReadSlot]] = {}
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type == "Conv":
            reason, slots = _conv_reason(node, index, weight_types), [0]
        elif node.op_type == "Add" and output not in head.decode:
            reason, slots = _residual_slots(node, index, shapes)
            if reason is None and not slots:
                continue  # a bias or a constant offset, not a residual
        else:
            continue
        if output in head.final_convs:
            reason = "last convolution of the head: its logits decide boxes and scores"
        elif output in head.decode:
            reason = "part of the decode"
        elif output in requested:
            reason = "kept by request"
        elif any(node.input[slot] in dead_tensors for slot in slots):
            reason = "its input was zero on every calibration image"
        if reason is not None:
            kept[node_label(node)] = reason
            continue
        (convs if node.op_type == "Conv" else adds).append(output)
        for slot in slots:
            reads.setdefault(node.input[slot], []).append((output, slot))
    return Placement(
        convs=tuple(convs),
        adds=tuple(adds),
        reads={tensor: tuple(places) for tensor, places in reads.items()},
        groups=_scale_groups(list(reads), index, head.decode),
        kept=kept,
    )


def _conv_reason(node: NodeProto, index: GraphIndex, weight_types: Collection[str]) -> str | None:
    weights = index.constant(node.input[1])
    if weights is None:
        return "its weights are computed, not constant"
    if weights.dtype.name not in weight_types:
        return f"its weights are {weights.dtype}, not {' or '.join(weight_types)}"
    return None


def _residual_slots(
    node: NodeProto, index: GraphIndex, shapes: Mapping[str, tuple[int | None, ...] | None]
) -> tuple[str | None, list[int]]:
    """Return why an Add is left alone (or None) and the inputs to quantize; both empty when it is no residual."""
    if any(index.is_constant(name) for name in node.input):
        return None, []
    ours = [shapes.get(name) for name in node.input]
    if ours[0] is None or ours[0] != ours[1] or len(ours[0]) != 4:
        return None, []
    producers = [index.producer(name) for name in node.input]
    slots = [slot for slot, maker in enumerate(producers) if maker is None or maker.op_type != "Conv"]
    return (None, slots) if slots else ("both inputs are bare convolution outputs, added in their epilogue", [])


def _scale_groups(tensors: list[str], index: GraphIndex, decode: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Join tensors that the same INT8 values flow through."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for node in index.graph.node:
        if node.op_type not in PASS_THROUGH or node.output[0] in decode:
            continue
        inputs = node.input if node.op_type == "Concat" else node.input[:1]
        for name in (*inputs, *node.output[1:]):
            if not index.is_constant(name):
                parent[root(name)] = root(node.output[0])
    groups: dict[str, list[str]] = {}
    for tensor in tensors:
        groups.setdefault(root(tensor), []).append(tensor)
    return tuple(tuple(group) for group in groups.values())
