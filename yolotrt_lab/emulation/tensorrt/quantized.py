"""How TensorRT's parser reads QuantizeLinear and DequantizeLinear: what it refuses, and what it takes for INT8.

Source: the open-source ONNX parser (onnx-tensorrt for TensorRT 10.16), `QuantDequantLinearHelper`, for the checks and
their words; public reports from TensorRT 11 for INT32; NVIDIA's operator reference for scales computed at run time,
which the real parser lets pass and the builder refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["computed_tensors", "constant_tensors", "read_as_int8", "refusals"]

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_UINT8, _INT8, _INT32 = 2, 3, 6
_DLA = "Please set kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable asymmetric quantization if it is on DLA."
_UINT8_WARNING = (
    "TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA (version >= 3.16). "
    "Defaulting to INT8 instead. To import as UINT8, set the kIMPORT_UINT8_QUANTIZATION flag."
)


def refusals(node: Any, constants: Mapping[str, Any], computed: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (error code, TensorRT's words) for every reason to refuse a Q or DQ node.

    Args:
        node: The node.
        constants: Constant tensors by name.
        computed: Names of the tensors that depend on the network's input.
    """
    stored = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    if stored is not None and stored.data_type == _UINT8:
        yield "UNSUPPORTED_NODE", "Found invalid input type of UINT8"
    if stored is not None and stored.data_type == _INT32:
        problem = f"{node.name}: input has type Int32 but must have type FP8, FP4, Int4, or Int8."
        yield (
            "INVALID_NODE",
            f"Invalid Node - {node.name}\nITensor::getDimensions: Error Code 4: API Usage Error ({problem})",
        )
    if any(name in computed for name in node.input[1:]):
        yield "INVALID_NODE", "The scale tensor must be a build-time constant."
    scale = _values(constants.get(node.input[1])) if len(node.input) > 1 else None
    if scale is None:
        return
    if not np.all(scale > 0):
        yield "INVALID_NODE", "Assertion failed: scaleAllPositive: Scale coefficients must all be positive"
    yield from _shape_refusals(node, constants, scale)


def _shape_refusals(node: Any, constants: Mapping[str, Any], scale: Any) -> Iterator[tuple[str, str]]:
    zero_point = _values(constants.get(node.input[2])) if len(node.input) > 2 else None
    if zero_point is not None and np.any(zero_point):
        yield (
            "INVALID_NODE",
            f"Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. {_DLA}",
        )
    if zero_point is not None and zero_point.size != scale.size:
        yield (
            "INVALID_NODE",
            "Assertion failed: zeroPointSize == scaleSize: The scale and zero point must have the same volume. "
            f"Size of zero point = {zero_point.size}, size of the scale = {scale.size}.",
        )
    data = constants.get(node.input[0])
    if data is None or scale.size == 1 or scale.ndim != 1:
        return
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if not -len(data.dims) <= axis < len(data.dims):
        yield "INVALID_NODE", "Assertion failed: axis >= 0 && axis < nbDims"
    elif data.dims[axis] != scale.size:
        yield (
            "INVALID_NODE",
            "Assertion failed: K == scaleSize: The number of scales is not equal to the number of output channels. "
            f"Number of output channels = {data.dims[axis]}, number of scales = {scale.size}.",
        )


def _values(tensor: Any) -> Any:
    from onnx import numpy_helper

    return None if tensor is None else numpy_helper.to_array(tensor)


def constant_tensors(graph: Any) -> dict[str, Any]:
    """Return the constant tensors of a graph by name: initializers and Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def computed_tensors(graph: Any) -> set[str]:
    """Return the names of the tensors that depend on the network's input; nodes must be sorted, as ONNX asks for."""
    computed = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if any(name in computed for name in node.input):
            computed.update(name for name in node.output if name)
    return computed


def read_as_int8(model: Any) -> tuple[Any, list[str]]:
    """Return a model as TensorRT reads it, and its warnings: UINT8, or no type at all, becomes INT8.

    ONNX's default type is UINT8; on a GPU there is only INT8, with the same scale, so that more is clipped.
    """
    from onnx import ModelProto, TensorProto

    pairs = [node for node in model.graph.node if node.op_type in _PAIR]
    constants = constant_tensors(model.graph)
    unsigned = {
        node.input[2]
        for node in pairs
        if len(node.input) > 2 and node.input[2] in constants and constants[node.input[2]].data_type == _UINT8
    }
    untyped = any(node.op_type == "QuantizeLinear" and not _typed(node) for node in pairs)
    if not unsigned and not untyped:
        return model, []
    copy = ModelProto()
    copy.CopyFrom(model)
    constants = constant_tensors(copy.graph)
    for name in unsigned:
        tensor = constants[name]
        zeros = TensorProto(name=tensor.name, data_type=_INT8, dims=tensor.dims)
        zeros.raw_data = bytes(int(np.prod(tensor.dims)))  # refused if it were not zero
        tensor.CopyFrom(zeros)
    for node in copy.graph.node:
        if node.op_type == "QuantizeLinear" and not _typed(node):
            scale = constants.get(node.input[1])
            zeros = TensorProto(
                name=f"{node.output[0]}_int8", data_type=_INT8, dims=[] if scale is None else scale.dims
            )
            zeros.raw_data = bytes(int(np.prod(zeros.dims)))
            copy.graph.initializer.append(zeros)
            del node.input[2:]
            node.input.append(zeros.name)
    return copy, [_UINT8_WARNING] * sum(len(node.input) > 2 and node.input[2] in unsigned for node in pairs)


def _typed(node: Any) -> bool:
    declared = any(attribute.name == "output_dtype" and attribute.i for attribute in node.attribute)
    return declared or (len(node.input) > 2 and bool(node.input[2]))
