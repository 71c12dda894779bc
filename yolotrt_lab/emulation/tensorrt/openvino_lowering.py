"""Lets OpenVINO compute most of a network in 16 bits and chosen layers in FP32.

OpenVINO's precision hint is for a whole network. Types written into the graph are obeyed, however, when the hint asks
for FP32: so what may be computed in 16 bits gets 16-bit tensors, and conversions stand where it meets what may not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from yolotrt_lab.optional import require

__all__ = ["lower_all_but", "spare_expectations"]

_ALL = 99
_LOWERED: dict[str, int] = dict.fromkeys(
    (
        "Abs", "Add", "AvgPool", "Ceiling", "Clamp", "Concat", "Convolution", "ConvolutionBackpropData", "Cos",
        "Divide", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupConvolution", "GroupConvolutionBackpropData",
        "HSigmoid", "HSwish", "HardSigmoid", "Log", "MVN", "MatMul", "MaxPool", "Maximum", "Minimum", "Multiply",
        "Negative", "PRelu", "Power", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Selu",
        "Sigmoid", "Sign", "Sin", "Slice", "SoftPlus", "Softmax", "SoftMax", "Split", "Sqrt", "Squeeze",
        "StridedSlice", "Subtract", "Swish", "Tan", "Tanh", "Transpose", "Unsqueeze", "VariadicSplit",
    ),
    _ALL,
)  # fmt: skip
_LOWERED["Interpolate"] = 1
"""Operations that may have 16-bit tensors, and how many of their inputs, counted from the first."""

_MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")


def lower_all_but(model: Any, kept: Collection[str], *, element_type: str, instead_of: str = "f32") -> None:
    """Write 16-bit types into an `openvino.Model`, in place.

    Args:
        model: The model; its inputs and outputs keep their types.
        kept: Names of the ONNX nodes, and of the tensors they write, that stay in FP32.
        element_type: "bf16" or "f16".
        instead_of: The type that is replaced: "f32", or "f16" in a model whose types are mixed already.
    """
    opset = require("openvino.opset13", purpose="mix precisions on the CPU")
    lowered: set[tuple[str, int]] = set()
    converted: dict[tuple[str, int, str], Any] = {}

    def typed(source: Any, wanted: str) -> Any:
        key = (source.get_node().get_name(), source.get_index(), wanted)
        if key not in converted:
            converted[key] = opset.convert(source, wanted).output(0)
        return converted[key]

    fixed: set[str] = set()  # weights and what is made of them alone: typed by what reads them
    for operation in model.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_name() for port in operation.inputs()]
        sources = sources[:1] if operation.get_type_name() in _MOVING else sources
        if operation.get_type_name() == "Constant" or (sources and fixed.issuperset(sources)):
            fixed.add(operation.get_name())
            continue
        low = operation.get_type_name() in _LOWERED and not _is_kept(operation, kept)
        low = low and operation.get_output_element_type(0).get_type_name() == instead_of
        for place, port in enumerate(operation.inputs()):
            source = port.get_source_output()
            is_low = (source.get_node().get_name(), source.get_index()) in lowered
            if low and place >= _LOWERED[operation.get_type_name()]:
                continue
            if low and not is_low and source.get_element_type().get_type_name() == instead_of:
                port.replace_source_output(typed(source, element_type))
            elif not low and is_low:
                _restore(port, typed(source, instead_of), operation)
        if low:
            lowered.update((operation.get_name(), index) for index in range(operation.get_output_size()))
    model.validate_nodes_and_infer_types()


def spare_expectations(model: Any) -> int:
    """Write FP32 convolutions of 1 x 1 to one channel as sums of products, in place, so that a hint spares them.

    Under a 16-bit hint OpenVINO computes convolutions and all before them in 16 bits, and leaves in FP32 what comes
    behind the last one. DFL's convolution, which only takes an expectation over bins, would drag the decode with it.

    Args:
        model: An `openvino.Model` whose other types are 16-bit.

    Returns:
        The number of convolutions rewritten.
    """
    opset = require("openvino.opset13", purpose="mix precisions on the CPU")
    count = 0
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Convolution" or operation.get_output_element_type(0).get_type_name() != "f32":
            continue
        weights = operation.input_value(1)
        shape = weights.get_partial_shape()
        if shape.is_dynamic or [*shape.to_shape()][::2] != [1, 1] or shape.to_shape()[3] != 1:
            continue
        products = opset.multiply(operation.input_value(0), weights)
        products.set_friendly_name(f"{operation.get_friendly_name()}/products")
        total = opset.reduce_sum(products, np.array([1]), keep_dims=True)
        total.set_friendly_name(operation.get_friendly_name())
        operation.output(0).replace(total.output(0))
        count += 1
    return count


def _restore(port: Any, restored: Any, reader: Any) -> None:
    """Give a reader that stays in FP32 its input back; an output of the network takes its names along."""
    source = port.get_source_output()
    port.replace_source_output(restored)
    if reader.get_type_name() == "Result":
        names = source.get_tensor().get_names()
        source.get_tensor().set_names(set())
        restored.get_tensor().set_names(names)


def _is_kept(operation: Any, kept: Collection[str]) -> bool:
    name = operation.get_friendly_name()
    tensors = {tensor for port in operation.outputs() for tensor in port.get_names()}
    return name in kept or name.partition("/WithoutBiases")[0] in kept or not tensors.isdisjoint(kept)
