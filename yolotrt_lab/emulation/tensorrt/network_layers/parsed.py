"""The settings of layers that came from ONNX nodes, where a node is one layer and nothing is left to guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.graph import data_type_name
from yolotrt_lab.emulation.tensorrt.network_layers.convolutions import window_settings
from yolotrt_lab.emulation.tensorrt.network_layers.pointwise import BINARY_OPS, UNARY_OPS
from yolotrt_lab.emulation.tensorrt.network_layers.reductions import REDUCE_OPS, mask_from_axes
from yolotrt_lab.types import Array

__all__ = ["parsed_settings"]

_BINARY = {op: name for name, op in BINARY_OPS.items()}
_UNARY = {op: name for name, op in UNARY_OPS.items()}
_REDUCE = {op: name for name, op in REDUCE_OPS.items()}
_ACTIVATIONS: dict[str, tuple[str, float, float]] = {
    "Relu": ("RELU", 0.0, 0.0), "Sigmoid": ("SIGMOID", 0.0, 0.0), "Tanh": ("TANH", 0.0, 0.0),
    "LeakyRelu": ("LEAKY_RELU", 0.01, 0.0), "Elu": ("ELU", 1.0, 0.0), "Softsign": ("SOFTSIGN", 0.0, 0.0),
    "Softplus": ("SOFTPLUS", 1.0, 1.0), "HardSigmoid": ("HARD_SIGMOID", 0.2, 0.5),
    "ThresholdedRelu": ("THRESHOLDED_RELU", 1.0, 0.0), "Selu": ("SELU", 1.6732632423543772, 1.0507009873554805),
}  # fmt: skip
_COORDINATES = {
    "align_corners": "ALIGN_CORNERS", "asymmetric": "ASYMMETRIC", "half_pixel": "HALF_PIXEL",
    "pytorch_half_pixel": "HALF_PIXEL",
}  # fmt: skip
_ROUNDING = {"round_prefer_ceil": "HALF_UP", "round_prefer_floor": "HALF_DOWN", "floor": "FLOOR", "ceil": "CEIL"}

_Attributes = Mapping[str, Any]
_Constant = Callable[[str], Array | None]


def parsed_settings(node: Any, shape: Sequence[int], constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    """Return a layer's settings and the names of its inputs; None if the node is kept whole.

    Args:
        node: The ONNX node.
        shape: The shape of its first input, () if it has none.
        constant: Gives the value of a tensor by its ONNX name, None if it is not constant.
    """
    from onnx import helper

    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    inputs, rank = list(node.input), len(shape)
    op = node.op_type
    if op in ("Conv", "ConvTranspose"):
        return _convolution(node, attributes, constant)
    if op in ("MaxPool", "AveragePool"):
        return _pooling(node, attributes)
    if op in _ACTIVATIONS:
        kind, alpha, beta = _ACTIVATIONS[op]
        beta = attributes.get("gamma", attributes.get("beta", beta))
        return {"type": kind, "alpha": attributes.get("alpha", alpha), "beta": beta}, inputs
    if op in _BINARY and len(inputs) == 2:
        return {"op": _BINARY[op]}, inputs
    if op in _UNARY:
        return {"op": _UNARY[op]}, inputs
    if op in _REDUCE:
        return _reduction(node, attributes, rank, constant)
    if op == "Concat":
        return {"axis": attributes["axis"] % rank}, inputs
    if op == "Softmax":
        return {"axes": mask_from_axes([attributes.get("axis", -1)], rank)}, inputs
    if op == "MatMul":
        return {"op0": "NONE", "op1": "NONE"}, inputs
    if op == "BatchNormalization":
        return _normalization(node, attributes, constant)
    if op == "Slice":
        return _slice(node, shape, constant)
    if op == "Resize":
        return _resize(node, attributes, constant)
    return _values(node, attributes, constant) or _movement(node, attributes, rank, constant)


def _movement(
    node: Any, attributes: _Attributes, rank: int, constant: _Constant
) -> tuple[dict[str, Any], list[str]] | None:
    op, inputs = node.op_type, list(node.input)
    shuffle: dict[str, Any] = {
        "first_transpose": None, "reshape_dims": None, "second_transpose": None, "zero_is_placeholder": True,
    }  # fmt: skip
    if op == "Transpose":
        order = attributes.get("perm", range(rank)[::-1])
        return {**shuffle, "first_transpose": tuple(order)}, inputs
    if op == "Reshape":
        target = constant(inputs[1])
        shuffle["zero_is_placeholder"] = not attributes.get("allowzero", 0)
        if target is None:
            return shuffle, inputs
        return {**shuffle, "reshape_dims": tuple(int(size) for size in target)}, inputs[:1]
    if op in ("Gather", "GatherElements"):
        mode = "DEFAULT" if op == "Gather" else "ELEMENT"
        return {"mode": mode, "axis": attributes.get("axis", 0) % rank, "num_elementwise_dims": 0}, inputs
    if op in ("Identity", "Where", "Shape", "Squeeze", "Unsqueeze") and not attributes:
        return {}, inputs
    return None


def _values(node: Any, attributes: _Attributes, constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    """Constants, conversions and quantization."""
    from onnx import numpy_helper

    if node.op_type == "Constant" and "value" in attributes:
        value = numpy_helper.to_array(attributes["value"])
        return {"weights": value.ravel(), "shape": value.shape}, []
    if node.op_type == "Cast" and data_type_name(attributes["to"]) is not None:
        return {"to_type": data_type_name(attributes["to"])}, list(node.input)
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        scale = constant(node.input[1])
        if scale is None or "block_size" in attributes:
            return None
        kind = "INT8" if node.op_type == "QuantizeLinear" else "FLOAT"
        axis = attributes.get("axis", 1) if scale.size > 1 else -1
        return {"axis": axis, "block_shape": (), "to_type": kind}, list(node.input[:2])
    return None


def _normalization(node: Any, attributes: _Attributes, constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    """A batch normalization, which is a scale and a shift for each channel."""
    values = [constant(name) for name in node.input[1:5]]
    if len(node.output) > 1 or any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (value.astype(np.float64) for value in values if value is not None)
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return {
        "mode": "CHANNEL", "scale": scale.astype(np.float32), "shift": (beta - mean * scale).astype(np.float32),
        "power": None, "channel_axis": 1,
    }, list(node.input[:1])  # fmt: skip


def _slice(node: Any, shape: Sequence[int], constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    lists = [constant(name) if name else None for name in node.input[1:]]
    if len(lists) < 2 or lists[0] is None or lists[1] is None or -1 in shape:
        return None
    axes = range(len(shape)) if len(lists) < 3 or lists[2] is None else [int(a) % len(shape) for a in lists[2]]
    steps = [1] * len(axes) if len(lists) < 4 or lists[3] is None else [int(step) for step in lists[3]]
    parts = {axis: range(size) for axis, size in enumerate(shape)}
    for axis, start, end, step in zip(axes, lists[0], lists[1], steps, strict=True):
        parts[axis] = range(*slice(int(start), int(end), step).indices(shape[axis]))
    taken = parts.values()
    return {
        "start": tuple(part.start for part in taken), "shape": tuple(map(len, taken)), "mode": "STRICT_BOUNDS",
        "stride": tuple(part.step for part in taken), "axes": None,
    }, list(node.input[:1])  # fmt: skip


def _resize(node: Any, attributes: _Attributes, constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    text = {key: value.decode() for key, value in attributes.items() if isinstance(value, bytes)}
    coordinates = text.get("coordinate_transformation_mode", "half_pixel")
    upper = coordinates == "pytorch_half_pixel"
    scales = constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    sizes = constant(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    if coordinates not in _COORDINATES or (scales is None) == (sizes is None) or "axes" in attributes:
        return None
    return {
        "mode": text.get("mode", "nearest").upper(), "coordinates": _COORDINATES[coordinates],
        "selector": "UPPER" if upper else "FORMULA", "cubic_coeff": attributes.get("cubic_coeff_a", -0.75),
        "rounding": _ROUNDING[text.get("nearest_mode", "round_prefer_floor")],
        "exclude_outside": bool(attributes.get("exclude_outside", 0)),
        "scales": None if scales is None else tuple(float(scale) for scale in scales),
        "shape": None if sizes is None else tuple(int(size) for size in sizes),
    }, list(node.input[:1])  # fmt: skip


def _convolution(node: Any, attributes: _Attributes, constant: _Constant) -> tuple[dict[str, Any], list[str]] | None:
    kernel = constant(node.input[1])
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = constant(node.input[2]) if has_bias else None
    if kernel is None or (has_bias and bias is None) or "output_padding" in attributes:
        return None
    groups, size = attributes.get("group", 1), kernel.shape[2:]
    settings = {
        "num_output_maps": kernel.shape[0] if node.op_type == "Conv" else kernel.shape[1] * groups,
        "kernel_size": tuple(size), "kernel": kernel.ravel(), "bias": bias, "num_groups": groups,
        "dilation": tuple(attributes.get("dilations", (1,) * len(size))), **_window(attributes, len(size)),
    }  # fmt: skip
    return settings, [node.input[0]]


def _window(attributes: _Attributes, dimensions: int) -> dict[str, Any]:
    settings = window_settings(dimensions)
    pads = attributes.get("pads", (0,) * (2 * dimensions))
    settings["pre_padding"], settings["post_padding"] = tuple(pads[:dimensions]), tuple(pads[dimensions:])
    settings["stride"] = tuple(attributes.get("strides", (1,) * dimensions))
    automatic = attributes.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        settings["padding_mode"] = automatic
    elif attributes.get("ceil_mode", 0):
        settings["padding_mode"] = "EXPLICIT_ROUND_UP"
    return settings


def _pooling(node: Any, attributes: _Attributes) -> tuple[dict[str, Any], list[str]] | None:
    size = tuple(attributes["kernel_shape"])
    if any(step != 1 for step in attributes.get("dilations", ())) or len(node.output) > 1:
        return None
    settings = {
        "type": "MAX" if node.op_type == "MaxPool" else "AVERAGE", "window_size": size, "blend_factor": 0.0,
        "excludes_padding": not attributes.get("count_include_pad", 0), **_window(attributes, len(size)),
    }  # fmt: skip
    return settings, list(node.input)


def _reduction(
    node: Any, attributes: _Attributes, rank: int, constant: _Constant
) -> tuple[dict[str, Any], list[str]] | None:
    axes: Any = attributes.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = constant(node.input[1])
        if axes is None:
            return None
    if attributes.get("noop_with_empty_axes", 0):
        return None
    mask = mask_from_axes(range(rank) if axes is None else [int(axis) for axis in axes], rank)
    keep = bool(attributes.get("keepdims", 1))
    return {"op": _REDUCE[node.op_type], "axes": mask, "keep_dims": keep}, list(node.input[:1])
