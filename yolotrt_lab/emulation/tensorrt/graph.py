"""Reads an ONNX model the way TensorRT's parser does, and reports every reason why TensorRT would refuse it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.onnx_ops import PLUGIN_OPS, STANDARD_DOMAINS, SUPPORTED_OPS
from yolotrt_lab.emulation.tensorrt.quantized import computed_tensors, constant_tensors, refusals
from yolotrt_lab.errors import EmulationError

__all__ = ["Problem", "check_model", "data_type_name", "load_model", "tensor_shapes"]

_OP_CHECKERS = "onnxOpCheckers.cpp"
_IMPORTER = "ModelImporter.cpp"


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a model.

    Attributes:
        code: Name of the parser's `ErrorCode`.
        description: The parser's words.
        function: The parser's function that finds it.
        file: The parser's source file.
        line: The line there.
        node: Index of the node in the graph; -1 for the graph as a whole.
        node_name: The node's name.
        node_op: The node's operator.
    """

    code: str
    description: str
    function: str
    file: str = _OP_CHECKERS
    line: int = 0
    node: int = -1
    node_name: str = ""
    node_op: str = ""


class Unreadable(Exception):
    """The bytes are no ONNX model; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.description)
        self.problem = problem


def load_model(data: bytes, *, folder: Path | None) -> Any:
    """Return the `ModelProto` in `data`, weights kept in other files of `folder` included.

    Raises:
        Unreadable: No ONNX model, or its external weights cannot be read.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's DecodeError, which ships no types
        raise Unreadable(_graph_problem("MODEL_DESERIALIZE_FAILED", "Failed to parse the ONNX model.", 0)) from None
    if not model.ir_version or not model.graph.node:
        raise Unreadable(_graph_problem("MODEL_DESERIALIZE_FAILED", "Failed to parse the ONNX model.", 0))
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        _load_external(model, external[0].name, folder)
    return model


def _load_external(model: Any, first: str, folder: Path | None) -> None:
    from onnx.external_data_helper import load_external_data_for_model

    if folder is None:
        text = f"Failed to open file for the external weights of {first}: parse() was given no path."
        raise Unreadable(_graph_problem("MODEL_DESERIALIZE_FAILED", text, 0, function="convertOnnxWeights"))
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:
        text = f"Failed to open file for the external weights of {first}: {error}"
        raise Unreadable(_graph_problem("MODEL_DESERIALIZE_FAILED", text, 0, function="convertOnnxWeights")) from error


def check_model(model: Any) -> list[Problem]:
    """Return every reason why TensorRT's parser would refuse the model."""
    problems = [*_check_inputs(model.graph), *_check_initializers(model.graph), *_check_wiring(model.graph)]
    constants = constant_tensors(model.graph)
    computed = computed_tensors(model.graph)
    for index, node in enumerate(model.graph.node):
        problems += _check_node(index, node, constants, computed)
    return problems


def _check_inputs(graph: Any) -> Iterator[Problem]:
    known = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in known:
            continue
        if not value.type.HasField("tensor_type") or data_type_name(value.type.tensor_type.elem_type) is None:
            text = "Failed to convert ONNX date type to TensorRT data type."
            yield _graph_problem("UNSUPPORTED_NODE", f"{value.name}: {text}", 0, function="importInput")


def _check_initializers(graph: Any) -> Iterator[Problem]:
    from onnx import helper

    for tensor in graph.initializer:
        if data_type_name(tensor.data_type) is None:
            yield _graph_problem("UNSUPPORTED_NODE", f"Failed to import initializer {tensor.name}.", 0)
        elif tensor.HasField("raw_data"):
            itemsize = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
            four_bit = tensor.data_type in _FOUR_BIT
            if not four_bit and len(tensor.raw_data) != math.prod(tensor.dims) * itemsize:
                yield _graph_problem("INVALID_GRAPH", f"Failed to import initializer {tensor.name}.", 0)


def _check_wiring(graph: Any) -> Iterator[Problem]:
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    produced = known | {name for node in graph.node for name in node.output}
    for index, node in enumerate(graph.node):
        missing = [name for name in node.input if name not in produced]
        if missing:
            text = f'(ctx->tensors().count(inputName)) && "Node input {missing[0]} was not registered."'
            yield _node_problem(index, node, "INVALID_GRAPH", text, "parseGraph", file=_IMPORTER)
    if _has_cycle(graph, known):
        text = 'toposort(graph.node(), &topoOrder) && "Failed to sort the model topologically."'
        yield _graph_problem("INVALID_GRAPH", text, 0, function="parseGraph")
    for value in graph.output:
        if value.name not in produced:
            yield _graph_problem("INVALID_GRAPH", f"Output {value.name} was not registered.", 0, function="parseGraph")


def _has_cycle(graph: Any, known: set[str]) -> bool:
    made = {name for node in graph.node for name in node.output} - known
    needs = [made & set(node.input) for node in graph.node]
    readers: dict[str, list[int]] = defaultdict(list)
    for index, names in enumerate(needs):
        for name in names:
            readers[name].append(index)
    ready = [index for index, names in enumerate(needs) if not names]
    done = 0
    while ready:
        done += 1
        for name in graph.node[ready.pop()].output:
            for reader in readers.pop(name, ()):
                needs[reader].discard(name)
                if not needs[reader]:
                    ready.append(reader)
    return done < len(needs)


def _check_node(index: int, node: Any, constants: dict[str, Any], computed: set[str]) -> Iterator[Problem]:
    if node.op_type in PLUGIN_OPS and node.op_type not in SUPPORTED_OPS:
        raise EmulationError(
            f"The plugin {node.op_type} (node {node.name}) is not emulated; TensorRT ships it.",
            expected="operators of the ONNX standard",
            got=node.op_type,
            fix="Export the model without the plugin, for instance without NMS in the graph.",
        )
    if node.domain not in STANDARD_DOMAINS or node.op_type not in SUPPORTED_OPS:
        text = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
        yield _node_problem(index, node, "INVALID_NODE", text, "checkFallbackPluginImporter", line=819)
        return
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        for code, text in refusals(node, constants, computed):
            yield _node_problem(index, node, code, text, "QuantDequantLinearHelper", file="onnxOpImporters.cpp")
    if node.op_type == "MaxPool" and len([name for name in node.output if name]) > 1:
        text = '(node.output().size() == 1) && "TensorRT does not support the indices output in MaxPool!"'
        yield _node_problem(index, node, "UNSUPPORTED_NODE", text, "checkMaxPool")
    for attribute in node.attribute:
        if attribute.HasField("g"):
            inner = constant_tensors(attribute.g)
            for inner_index, inner_node in enumerate(attribute.g.node):
                yield from _check_node(inner_index, inner_node, {**constants, **inner}, computed)


def _graph_problem(code: str, description: str, line: int, *, function: str = "parse") -> Problem:
    return Problem(code, description, function, file=_IMPORTER, line=line)


def _node_problem(
    index: int, node: Any, code: str, description: str, function: str, *, file: str = _OP_CHECKERS, line: int = 0
) -> Problem:
    return Problem(code, description, function, file, line, index, node.name, node.op_type)


_FOUR_BIT = (21, 22, 23)  # UINT4, INT4, FLOAT4E2M1

_DATA_TYPES = {
    1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF", 11: "FLOAT", 16: "BF16",
    17: "FP8", 22: "INT4", 23: "FP4",
}  # fmt: skip


def data_type_name(onnx_type: int) -> str | None:
    """Return the name in `DataType` of an ONNX element type; None if TensorRT has no such type."""
    return _DATA_TYPES.get(onnx_type)


def tensor_shapes(model: Any) -> dict[str, tuple[str, tuple[int, ...], tuple[str, ...]]]:
    """Return data type name, shape (-1 where unknown) and dimension names of every tensor that can be inferred."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    graph = inferred.graph
    found = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        dims = list(tensor.shape.dim)
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        names = tuple(dim.dim_param for dim in dims)
        found[value.name] = (data_type_name(tensor.elem_type) or "FLOAT", shape, names)
    return found
