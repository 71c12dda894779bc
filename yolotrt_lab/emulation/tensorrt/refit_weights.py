"""Which weights of an ONNX model a refit can replace, under which names, and replacing them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yolotrt_lab.emulation.tensorrt.graph import data_type_name

__all__ = [
    "WeightRecord",
    "replace_weights",
    "strip_weights",
    "tensor_content",
    "weight_records",
    "weights_bytes",
]

_KERNEL_OPS = ("Conv", "ConvTranspose")
_SCALE_ROLES = ("", "SCALE", "SHIFT")
_ITEM_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2}


@dataclass(frozen=True)
class WeightRecord:
    """A weight tensor that can be replaced.

    Attributes:
        name: The initializer's name.
        layer: The name of the layer that has it: the node's for convolutions and normalizations; for weights that
            TensorRT makes constant layers of, their own.
        role: Name of the `WeightsRole`.
        dtype: Name of the `DataType`.
        count: How many elements it has.
        nbytes: How many bytes it has.
        checksum: CRC-32 of its bytes; 0 if it was stripped.
    """

    name: str
    layer: str
    role: str
    dtype: str
    count: int
    nbytes: int
    checksum: int


def weight_records(model: Any, *, only: Collection[str] | None = None) -> list[WeightRecord]:
    """Return the replaceable weights of a `ModelProto` in the order of their use; `only` these if given.

    Floating-point weights can be replaced. Scales of Q/DQ nodes and of resizing cannot: they shape the kernels.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    records = []
    for name, layer, role in _uses(model.graph):
        tensor = weights.pop(name, None)
        if tensor is None or (only is not None and name not in only):
            continue
        dtype = data_type_name(tensor.data_type)
        if dtype in _ITEM_BYTES:
            count, checksum = math.prod(tensor.dims), zlib.crc32(tensor_content(tensor))
            records.append(WeightRecord(name, layer, role, dtype, count, _ITEM_BYTES[dtype] * count, checksum))
    return records


def _uses(graph: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (tensor name, layer name, role) for everything nodes read."""
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            yield from ((name, name, "CONSTANT") for name in node.input[:1])
        elif node.op_type == "BatchNormalization":
            for index, name in enumerate(node.input):
                yield name, node.name, _SCALE_ROLES[index] if 0 < index < len(_SCALE_ROLES) else "CONSTANT"
        elif node.op_type in _KERNEL_OPS:
            for index, name in enumerate(node.input):
                yield name, node.name, ("CONSTANT", "KERNEL", "BIAS")[index]
        elif node.op_type != "Resize":
            yield from ((name, *_owner(name, node.name)) for name in node.input)


def _owner(weights: str, node: str) -> tuple[str, str]:
    """Return layer and role of weights: what hand-made scale layers call them says it, others are constants."""
    found = re.search(r"/(SHIFT|SCALE)_\d+$", weights)
    return (re.sub(r"/\w+_\d+$", "", node), found.group(1)) if found else (weights, "CONSTANT")


def tensor_content(tensor: Any) -> bytes:
    """Return a tensor's bytes, however it has them; none if it was stripped."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    from onnx import numpy_helper

    if not (tensor.float_data or tensor.int32_data):
        return b""
    return bytes(numpy_helper.to_array(tensor).tobytes())


def replace_weights(model: Any, contents: Mapping[str, bytes]) -> None:
    """Put new bytes into the initializers of a `ModelProto`."""
    for tensor in model.graph.initializer:
        if tensor.name in contents:
            tensor.ClearField("float_data")
            tensor.ClearField("int32_data")
            tensor.raw_data = contents[tensor.name]


def strip_weights(model: Any, names: Collection[str]) -> None:
    """Take the bytes out of initializers of a `ModelProto`; types and shapes stay."""
    for tensor in model.graph.initializer:
        if tensor.name in names:
            for field in ("raw_data", "float_data", "int32_data"):
                tensor.ClearField(field)


def weights_bytes(model: Any) -> int:
    """Return how many bytes the initializers of a `ModelProto` have."""
    from onnx import helper

    return sum(
        math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
        if tensor.data_type not in (0, 8)
    )
