"""Does a Q/DQ graph keep TensorRT's rules? For graphs from any quantizer.

Source: NVIDIA, "Working with quantized types" and "Q/DQ layer-placement recommendations" in the TensorRT documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto

from yolotrt_lab.export.graph import GraphIndex, node_label, opset_version
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.precision.structure import HeadStructure, find_head, is_dfl_conv
from yolotrt_lab.types import Array

__all__ = ["RuleViolation", "check_qdq_rules", "qdq_violations"]

_ACTIVATIONS = ("Sigmoid", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Clip", "Mul", "Tanh", "Mish", "Gelu")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class RuleViolation:
    """One rule broken at one node.

    Attributes:
        node: Name of the node.
        rule: Short name of the rule.
        message: What is there, and what TensorRT makes of it.
    """

    node: str
    rule: str
    message: str


def check_qdq_rules(path: Path) -> tuple[RuleViolation, ...]:
    """Return every place where a quantized model breaks TensorRT's rules; nothing means it keeps them all.

    Args:
        path: An ONNX model with or without Q/DQ nodes.

    Raises:
        InputError: The model cannot be loaded.
    """
    return qdq_violations(load_onnx_checked(path))


def qdq_violations(model: ModelProto) -> tuple[RuleViolation, ...]:
    """Return the violations in a loaded model, in graph order."""
    index = GraphIndex(model.graph)
    head = find_head(model)
    found: list[RuleViolation] = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            found += _check_parameters(node, index, opset_version(model))
            found += _check_quantize(node, index, head)
        elif node.op_type == "DequantizeLinear":
            found += _check_parameters(node, index, opset_version(model))
            found += _check_dequantize(node, index)
        elif node.op_type == "Conv":
            found += _check_conv(node, index, head)
    return tuple(found)


def _check_parameters(node: NodeProto, index: GraphIndex, opset: int) -> Iterator[RuleViolation]:
    label = node_label(node)
    scale = index.constant(node.input[1])
    if scale is None:
        yield RuleViolation(label, "constant scale", "the scale is computed at run time; TensorRT wants a constant")
        return
    if not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        yield RuleViolation(label, "positive scale", "a scale is zero, negative or not finite")
    if scale.dtype == np.float16 and opset < 19:
        yield RuleViolation(label, "scale type", f"FP16 scales need operator set 19, the model has {opset}")
    zero_point = index.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero_point is not None and zero_point.dtype != np.int8:
        hint = "INT32 is what some quantizers give biases" if zero_point.dtype == np.int32 else "quantize to INT8"
        yield RuleViolation(label, "INT8", f"{zero_point.dtype} instead of int8 is refused; {hint}")
    elif zero_point is None and node.op_type == "QuantizeLinear":
        yield RuleViolation(label, "INT8", "without a zero point this quantizes to uint8, which is refused")
    if zero_point is not None and np.any(zero_point):
        yield RuleViolation(label, "symmetric", f"zero point {zero_point.ravel()[0]} instead of 0 is refused")


def _check_quantize(node: NodeProto, index: GraphIndex, head: HeadStructure) -> Iterator[RuleViolation]:
    label, tensor = node_label(node), node.input[0]
    scale = index.constant(node.input[1])
    is_weight = index.is_constant(tensor)
    if scale is not None and scale.size > 1 and not is_weight:
        yield RuleViolation(
            label, "activations per tensor", f"{scale.size} scales for an activation; TensorRT takes one"
        )
    for reader, _ in index.consumers(node.output[0]):
        if reader.op_type != "DequantizeLinear":
            yield RuleViolation(
                label, "pairs", f"its INT8 output goes to {reader.op_type}; a DequantizeLinear must follow"
            )
    maker = index.producer(tensor)
    if maker is None or maker.op_type not in _WEIGHTED:
        yield from _check_decode(label, maker, head)
        return
    readers = [reader.op_type for reader, _ in index.consumers(tensor)]
    behind = [reader.op_type for reader, _ in _past_pair(node, index)]
    if any(kind in _ACTIVATIONS for kind in (*readers, *behind)):
        message = f"the output of {node_label(maker)} is quantized before its activation; quantize inputs instead"
        yield RuleViolation(label, "inputs, not outputs", message)
    elif maker.output[0] in head.final_convs:
        yield RuleViolation(
            label, "head", f"the logits of {node_label(maker)} are quantized; keep them in high precision"
        )


def _check_decode(label: str, maker: NodeProto | None, head: HeadStructure) -> Iterator[RuleViolation]:
    if maker is not None and maker.output[0] in head.decode and maker.op_type not in ("DequantizeLinear",):
        yield RuleViolation(
            label, "head", f"{node_label(maker)} belongs to the decode, which is to stay in high precision"
        )


def _past_pair(node: NodeProto, index: GraphIndex) -> list[tuple[NodeProto, int]]:
    found: list[tuple[NodeProto, int]] = []
    for reader, _ in index.consumers(node.output[0]):
        if reader.op_type == "DequantizeLinear":
            found += index.consumers(reader.output[0])
    return found


def _check_dequantize(node: NodeProto, index: GraphIndex) -> Iterator[RuleViolation]:
    quantize = index.producer(node.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return  # weights stored as integers
    for slot, what in ((1, "scale"), (2, "zero point")):
        ours, theirs = (_parameter(part, slot, index) for part in (node, quantize))
        if ours is not None and theirs is not None and not np.array_equal(ours, theirs, equal_nan=True):
            yield RuleViolation(node_label(node), "pairs", f"its {what} differs from that of its QuantizeLinear")


def _parameter(node: NodeProto, slot: int, index: GraphIndex) -> Array | None:
    return index.constant(node.input[slot]) if slot < len(node.input) and node.input[slot] else None


def _check_conv(node: NodeProto, index: GraphIndex, head: HeadStructure) -> Iterator[RuleViolation]:
    label = node_label(node)
    sources = [index.producer(name) for name in node.input]
    quantized = [source is not None and source.op_type == "DequantizeLinear" for source in sources]
    if quantized[0] != quantized[1]:
        missing = "weights" if quantized[0] else "input"
        yield RuleViolation(label, "both or none", f"its {missing} are not quantized, so it cannot run in INT8")
    if len(quantized) > 2 and quantized[2]:
        yield RuleViolation(
            label, "bias", "its bias is quantized, which the TensorRT parser refuses; leave biases alone"
        )
    if quantized[0] and (node.output[0] in head.final_convs or is_dfl_conv(node, index)):
        yield RuleViolation(label, "head", "the end of the head is quantized; scores and boxes lose precision")
    weight_source = sources[1]
    if quantized[1] and weight_source is not None:
        yield from _check_weight_axis(label, weight_source, index)


def _check_weight_axis(label: str, source: NodeProto, index: GraphIndex) -> Iterator[RuleViolation]:
    scale = index.constant(source.input[1])
    quantize = index.producer(source.input[0])
    weights = index.constant(source.input[0] if quantize is None else quantize.input[0])
    if scale is None or weights is None or len(weights) == 1:
        return
    axis = next((attribute.i for attribute in source.attribute if attribute.name == "axis"), 1)
    if scale.size == 1:
        yield RuleViolation(label, "weights per channel", "one scale for all its weights; use one per output channel")
    elif axis != 0:
        yield RuleViolation(label, "weights per channel", f"its weights are quantized along axis {axis} instead of 0")
