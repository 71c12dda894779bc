"""Checks of what a Q or DQ node carries: scale, zero point, type, and their shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from yolotrt_lab.export.graph import node_label
from yolotrt_lab.precision.lint.graph import DEQUANTIZE, QUANTIZE, QdqGraph, channel_axis, type_name
from yolotrt_lab.precision.lint.rule import Finding, Severity

__all__ = [
    "asymmetric",
    "fp16_scale_opset",
    "int32",
    "low_opset",
    "no_zero_point",
    "other_type",
    "parameter_shape",
    "positive_scale",
    "runtime_parameter",
    "uint8",
]

UINT8_CONSTANT = "Found invalid input type of UINT8"
_EIGHT_AND_FOUR_BITS = (TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.FLOAT4E2M1)


def _all(graph: QdqGraph) -> Iterator[NodeProto]:
    return graph.of_type(QUANTIZE, DEQUANTIZE)


def runtime_parameter(graph: QdqGraph) -> Iterator[Finding]:
    """Scale or zero point is computed by the network."""
    for node in _all(graph):
        for slot, what in ((1, "scale"), (2, "zero point")):
            given = slot < len(node.input) and bool(node.input[slot])
            if given and graph.parameter(node, slot) is None and graph.depends_on_input(node.input[slot]):
                yield Finding(node_label(node), f"the {what} is computed at run time; TensorRT wants a constant")


def positive_scale(graph: QdqGraph) -> Iterator[Finding]:
    """A scale that nothing can be divided by."""
    for node in _all(graph):
        scale = graph.scale(node)
        if scale is None or (np.all(np.isfinite(scale)) and np.all(scale > 0)):
            continue
        infinite = bool(np.all(scale > 0))  # TensorRT asks only for that
        yield Finding(
            node_label(node),
            "a scale is zero, negative or not finite",
            answer="" if infinite else None,
            severity=Severity.INACCURATE if infinite else None,
        )


def fp16_scale_opset(graph: QdqGraph) -> Iterator[Finding]:
    """FP16 scales before the operator set that has them."""
    for node in _all(graph):
        scale = graph.scale(node)
        if scale is not None and scale.dtype == np.float16 and graph.opset < 19:
            yield Finding(node_label(node), f"FP16 scales need operator set 19, the model has {graph.opset}")


def int32(graph: QdqGraph) -> Iterator[Finding]:
    """INT32, which some quantizers give biases."""
    for node in graph.of_type(DEQUANTIZE):
        if graph.element_type(node.input[0]) == TensorProto.INT32:
            message = "int32 instead of int8 is refused; INT32 is what some quantizers give biases"
            words = f"{node_label(node)}: input has type Int32 but must have type FP8, FP4, Int4, or Int8."
            yield Finding(node_label(node), message, answer=words)


def uint8(graph: QdqGraph) -> Iterator[Finding]:
    """UINT8, which TensorRT takes for INT8."""
    for node in _all(graph):
        if graph.integer_type(node) != TensorProto.UINT8:
            continue
        label = node_label(node)
        stored = node.op_type == DEQUANTIZE and graph.index.is_constant(node.input[0])
        if stored:
            message = "weights stored as uint8 instead of int8 are refused; quantize to INT8"
            yield Finding(label, message, answer=UINT8_CONSTANT, severity=Severity.REFUSED)
        else:
            message = "uint8 instead of int8: TensorRT uses INT8 with the same scale and clips what is above 127 steps"
            yield Finding(label, message)


def no_zero_point(graph: QdqGraph) -> Iterator[Finding]:
    """A QuantizeLinear whose type nothing says."""
    for node in graph.of_type(QUANTIZE):
        if graph.integer_type(node) is None and (len(node.input) < 3 or not node.input[2]):
            message = "without a zero point this quantizes to uint8 in ONNX, and to INT8 in TensorRT"
            yield Finding(node_label(node), message)


def other_type(graph: QdqGraph) -> Iterator[Finding]:
    """Neither 8-bit integers nor the INT32 of biases."""
    known = (None, TensorProto.INT8, TensorProto.UINT8)
    for node in _all(graph):
        found = graph.integer_type(node)
        if found in known or found is None:
            continue
        label, name = node_label(node), type_name(found)
        if found == TensorProto.INT32:
            if node.op_type == QUANTIZE:
                message = "int32 instead of int8: TensorRT uses INT8 with the same scale"
                yield Finding(label, message, answer="", severity=Severity.INACCURATE)
        elif found in _EIGHT_AND_FOUR_BITS:
            message = f"{name} instead of int8: FP8 and the 4-bit types run on newer GPUs only, and not as INT8"
            yield Finding(label, message, answer="", severity=Severity.SLOW)
        else:
            yield Finding(label, f"{name} instead of int8 is refused; quantize to INT8")


def asymmetric(graph: QdqGraph) -> Iterator[Finding]:
    """A zero point that is not zero."""
    for node in _all(graph):
        zero_point = graph.zero_point(node)
        if zero_point is not None and np.any(zero_point):
            first = zero_point.ravel()[np.flatnonzero(zero_point)[0]]
            yield Finding(node_label(node), f"zero point {first} instead of 0 is refused")


def parameter_shape(graph: QdqGraph) -> Iterator[Finding]:
    """Scales that do not fit their tensor, or the zero points."""
    for node in _all(graph):
        scale, zero_point = graph.scale(node), graph.zero_point(node)
        if scale is None:
            continue
        label = node_label(node)
        if zero_point is not None and zero_point.size != scale.size:
            words = (
                "The scale and zero point must have the same volume. Size of zero point = "
                f"{zero_point.size}, size of the scale = {scale.size}."
            )
            yield Finding(label, f"{zero_point.size} zero points for {scale.size} scales", answer=words)
        data = graph.index.constant(node.input[0])
        axis = graph.axis(node)
        if data is None or scale.size == 1 or scale.ndim != 1 or not -data.ndim <= axis < data.ndim:
            continue
        if data.shape[axis] != scale.size:
            words = (
                "The number of scales is not equal to the number of output channels. Number of output channels = "
                f"{data.shape[axis]}, number of scales = {scale.size}."
            )
            message = f"{scale.size} scales for {data.shape[axis]} slices along axis {axis} of its weights"
            yield Finding(label, message, answer=words)


def low_opset(graph: QdqGraph) -> Iterator[Finding]:
    """Scales per channel before the operator set that has an axis."""
    if graph.opset >= 13:
        return
    for node in _all(graph):
        scale = graph.scale(node)
        if scale is not None and scale.size > 1:
            message = f"scales per channel need operator set 13, the model has {graph.opset}"
            yield Finding(node_label(node), message)


def weight_scales_fit(graph: QdqGraph, node: NodeProto, dequantize: NodeProto) -> Iterator[Finding]:
    """Say what is wrong with the scales of one node's weights."""
    scale, weights = graph.scale(dequantize), graph.weights_behind(dequantize)
    if scale is None or weights is None or weights.ndim < 2:
        return
    wanted, axis = channel_axis(node), graph.axis(dequantize) % max(weights.ndim, 1)
    if weights.shape[wanted] == 1:
        return
    if scale.size == 1:
        message = "one scale for all its weights; use one per output channel"
        yield Finding(node_label(node), message, severity=Severity.INACCURATE)
    elif axis != wanted:
        yield Finding(node_label(node), f"its weights are quantized along axis {axis} instead of {wanted}")
