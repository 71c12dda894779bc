"""Compiles a network with OpenVINO: from an ONNX graph and shape ranges to a blob."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolotrt_lab.emulation.device import core
from yolotrt_lab.emulation.tensorrt.graph import data_type_name
from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.optional import require
from yolotrt_lab.precision.openvino_qdq import fuse_quantize_dequantize

__all__ = ["CompiledNetwork", "ShapeProblem", "compile_model", "compile_settings", "onnx_of_network", "read_network"]

_OPENVINO_TYPES = {"FLOAT": "f32", "HALF": "f16", "INT8": "i8", "INT32": "i32", "INT64": "i64", "BOOL": "boolean"}
_OPENVINO_TYPES |= {"UINT8": "u8", "BF16": "bf16"}


class ShapeProblem(Exception):
    """The network cannot have the asked shapes."""


@dataclass(frozen=True)
class CompiledNetwork:
    """What the compiler hands over.

    Attributes:
        blob: OpenVINO's executable.
        inputs: (name, data type name, shape) of every input; -1 marks a dynamic dimension.
        outputs: The same of every output.
        shape_rules: See `PlanHead.shape_rules`.
    """

    blob: bytes
    inputs: tuple[tuple[str, str, Shape], ...]
    outputs: tuple[tuple[str, str, Shape], ...]
    shape_rules: Mapping[str, tuple[tuple[int, int], ...]]


def compile_settings(hint: str, *, profiling: bool = False) -> dict[str, Any]:
    """Return OpenVINO's settings; they have to be given again when a blob is loaded."""
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    threads = os.environ.get("YOLOTRT_EMULATION_THREADS", "")
    if threads.isdigit() and int(threads) > 0:
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    if profiling:
        settings["PERF_COUNT"] = True
    return settings


def onnx_of_network(network: Any) -> tuple[bytes, str]:
    """Return the network as ONNX, with its outputs as marked and its names as set, and the hash of the parsed model."""
    from onnx import ModelProto, helper

    digest = hashlib.sha256(network._model.SerializeToString(deterministic=True)).hexdigest()
    model = ModelProto()
    model.CopyFrom(network._model)
    del model.graph.output[:]
    for tensor in network._outputs:
        onnx_type = next(number for number in range(1, 24) if data_type_name(number) == tensor._dtype)
        shape = [None if size == -1 else size for size in tensor._shape]
        model.graph.output.append(helper.make_tensor_value_info(tensor._onnx_name, onnx_type, shape))
    renamed = {tensor._onnx_name: tensor.name for tensor in [*network._inputs, *network._outputs]}
    renamed = {old: new for old, new in renamed.items() if old != new}
    if renamed:
        _rename(model.graph, renamed)
    return model.SerializeToString(), digest


def _rename(graph: Any, renamed: Mapping[str, str]) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.name = renamed.get(value.name, value.name)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        for index, name in enumerate(node.output):
            node.output[index] = renamed.get(name, name)


def read_network(onnx_bytes: bytes, names: Sequence[str] = ()) -> Any:
    """Return OpenVINO's model of a serialized ONNX graph.

    Args:
        onnx_bytes: The graph.
        names: Its inputs and outputs; TensorRT keeps inputs that nothing reads, so they are put back.

    Raises:
        EmulationError: OpenVINO lacks an operator that TensorRT has.
    """
    try:
        model = core().read_model(model=onnx_bytes)
    except RuntimeError as error:
        raise EmulationError(
            "OpenVINO cannot read this network, though TensorRT's parser accepts it.",
            got=_last_line(error),
            fix="Export the model with other operators, or build on a machine with an NVIDIA GPU.",
        ) from error
    known = {name for port in [*model.inputs, *model.outputs] for name in port.get_names()}
    lost = [name for name in names if name not in known]
    if lost:
        _restore_inputs(model, onnx_bytes, lost)
    return model


def _restore_inputs(model: Any, onnx_bytes: bytes, lost: Sequence[str]) -> None:
    """Give a model inputs that OpenVINO removed because nothing reads them."""
    import onnx

    openvino = require("openvino", purpose="emulate TensorRT on the CPU")
    opset = require("openvino.opset13", purpose="emulate TensorRT on the CPU")
    for value in onnx.load_model_from_string(onnx_bytes).graph.input:
        tensor = value.type.tensor_type
        data_type = data_type_name(tensor.elem_type)
        if value.name in lost and data_type in _OPENVINO_TYPES:
            sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
            element_type = getattr(openvino.Type, _OPENVINO_TYPES[data_type])
            parameter = opset.parameter(sizes, element_type, name=value.name)
            parameter.output(0).get_tensor().set_names({value.name})
            model.add_parameters([parameter])


def compile_model(
    model: Any, *, names: Sequence[str], ranges: Mapping[str, ShapeRange], io_types: Mapping[str, str], hint: str
) -> CompiledNetwork:
    """Compile for ranges of shapes.

    Args:
        model: From `read_network`.
        names: The names of its inputs and outputs; OpenVINO may know a tensor by several.
        ranges: Least, preferred and greatest shape of inputs with dynamic dimensions.
        io_types: Data types that inputs and outputs were changed to, by name.
        hint: The arithmetic.

    Raises:
        ShapeProblem: The network cannot have these shapes.
        EmulationError: OpenVINO cannot compile the network.
    """
    try:
        rules = _shape_rules(model, ranges, names)
        model.reshape({name: _bounded(model, name, shapes) for name, shapes in ranges.items()})
    except RuntimeError as error:
        raise ShapeProblem(_last_line(error)) from error
    model = _with_io_types(model, io_types)
    fuse_quantize_dequantize(model)  # or OpenVINO rounds INT8 tensors behind a Concat wrongly
    try:
        compiled = core().compile_model(model, "CPU", compile_settings(hint))
    except RuntimeError as error:
        raise EmulationError(
            "OpenVINO cannot compile this network.",
            got=_last_line(error),
            fix="Build on a machine with an NVIDIA GPU, or export the model differently.",
        ) from error
    return CompiledNetwork(
        compiled.export_model().getvalue(),
        tuple(_describe(port, names) for port in compiled.inputs),
        tuple(_describe(port, names) for port in compiled.outputs),
        rules,
    )


def _bounded(model: Any, name: str, shapes: ShapeRange) -> Any:
    openvino = require("openvino", purpose="emulate TensorRT on the CPU")
    low, _, high = shapes
    return openvino.PartialShape([openvino.Dimension(a, b) if a != b else a for a, b in zip(low, high, strict=True)])


def _shape_rules(
    model: Any, ranges: Mapping[str, ShapeRange], names: Sequence[str]
) -> dict[str, tuple[tuple[int, int], ...]]:
    """Find how output shapes follow the one dynamic dimension, if there is one and they follow it in a straight line.

    The rule is worked out from the shapes at the least and the greatest size and checked at two more.
    """
    moving = [
        (name, axis) for name, (low, _, high) in ranges.items() for axis in range(len(low)) if low[axis] != high[axis]
    ]
    if len(moving) != 1:
        return {}
    name, axis = moving[0]
    low, preferred, high = (shape[axis] for shape in ranges[name])
    seen: dict[int, dict[str, Shape]] = {}
    for size in sorted({low, min(low + 1, high), preferred, high}):
        trial = model.clone()
        concrete = {other: list(shapes[0]) for other, shapes in ranges.items()}
        concrete[name][axis] = size
        trial.reshape(concrete)
        if any(port.get_partial_shape().is_dynamic for port in trial.outputs):
            return {}
        seen[size] = {_name(port, names): tuple(port.get_shape()) for port in trial.outputs}
    rules = {}
    for output in seen[low]:
        first, last = seen[low][output], seen[high][output]
        factors = [(b - a) // (high - low) for a, b in zip(first, last, strict=True)]
        rule = tuple((factor, a - factor * low) for factor, a in zip(factors, first, strict=True))
        for size, shapes in seen.items():
            if shapes[output] != tuple(factor * size + offset for factor, offset in rule):
                return {}
        rules[output] = rule
    return rules


def _with_io_types(model: Any, io_types: Mapping[str, str]) -> Any:
    """Convert inputs and outputs whose types were set on a weakly typed network."""
    if not io_types:
        return model
    openvino = require("openvino", purpose="emulate TensorRT on the CPU")
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(model)
    inputs = {name for port in model.inputs for name in port.get_names()}
    for name, data_type in io_types.items():
        side = processor.input(name) if name in inputs else processor.output(name)
        side.tensor().set_element_type(getattr(openvino.Type, _OPENVINO_TYPES[data_type]))
    return processor.build()


def _describe(port: Any, names: Sequence[str]) -> tuple[str, str, Shape]:
    by_type = {openvino_name: name for name, openvino_name in _OPENVINO_TYPES.items()}
    shape = tuple(-1 if dim.is_dynamic else dim.get_length() for dim in port.get_partial_shape())
    return _name(port, names), by_type[port.get_element_type().get_type_name()], shape


def _name(port: Any, names: Sequence[str]) -> str:
    """Return the network's name of a port; OpenVINO adds the names of tensors it found to be the same."""
    known = port.get_names()
    return next((name for name in names if name in known), port.get_any_name())


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
