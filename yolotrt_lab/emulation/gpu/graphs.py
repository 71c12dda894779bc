"""The ONNX graph that ONNX Runtime is given: the network with the types that the builder was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from yolotrt_lab.emulation.tensorrt.target import CompileOrder
from yolotrt_lab.errors import EmulationError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["prepared_graph"]

# The size of their outputs depends on values.
_DATA_DEPENDENT = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


def prepared_graph(order: CompileOrder) -> ModelProto:
    """Return the network, in FP16 if a weakly typed one is to be, with inputs and outputs of the asked types.

    Raises:
        EmulationError: The shape of something in it depends on the data.
    """
    import onnx

    model = onnx.load_model_from_string(order.onnx_bytes)
    found = sorted({node.op_type for node in model.graph.node if node.op_type in _DATA_DEPENDENT})
    if found:
        raise EmulationError(
            "Shapes that depend on the data are not emulated on a GPU.",
            expected="a network without NonMaxSuppression or NonZero",
            got=", ".join(found),
            fix="Export the model without a built-in NMS.",
        )
    if order.hint == "f16" and not order.strongly_typed:
        _convert_to_fp16(model, order.fp32_layers or ())
    for name, data_type in order.io_types.items():
        _retype(model.graph, name, data_type)
    _name_nodes(model.graph)
    return model


def _convert_to_fp16(model: ModelProto, in_fp32: Collection[str]) -> None:
    """Let the layers compute in FP16, as the builder flag allows; a detector's decode stays in FP32.

    A network that has FP16 parts already keeps its types.
    """
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.precision.casting import cast_graph_to_fp16
    from yolotrt_lab.precision.fp16 import DECODE_REASON
    from yolotrt_lab.precision.structure import find_head

    head = find_head(model)
    kept = dict.fromkeys(head.decode, DECODE_REASON) if head.final_convs else {}
    asked = {node.output[0] for node in model.graph.node if node.output and node.output[0] in in_fp32}
    kept |= dict.fromkeys(asked, "the program asked for FP32")
    try:
        cast_graph_to_fp16(model, kept=kept, keep_io=True)
    except InputError as error:
        if "FP16 already" not in error.what:
            raise EmulationError("This network cannot run in FP16.", expected=error.expected, got=error.got) from error


def _retype(graph: GraphProto, name: str, data_type: str) -> None:
    """Give an input or output another type, with a cast behind or before it."""
    from onnx import helper

    from yolotrt_lab.emulation.tensorrt.graph import data_type_name

    number = next(number for number in range(1, 24) if data_type_name(number) == data_type)
    inner = f"{name}_as_computed"
    for value in graph.input:
        if value.name == name:
            old = value.type.tensor_type.elem_type
            _rename(graph, {name: inner}, reading=True)
            graph.node.insert(0, helper.make_node("Cast", [name], [inner], name=f"{name}_cast", to=old))
            value.type.tensor_type.elem_type = number
    for value in graph.output:
        if value.name == name:
            _rename(graph, {name: inner}, reading=True)
            _rename(graph, {name: inner}, reading=False)
            graph.node.append(helper.make_node("Cast", [inner], [name], name=f"{name}_cast", to=number))
            value.type.tensor_type.elem_type = number


def _rename(graph: GraphProto, renamed: Mapping[str, str], *, reading: bool) -> None:
    for node in graph.node:
        values = node.input if reading else node.output
        for index, name in enumerate(values):
            values[index] = renamed.get(name, name)


def _name_nodes(graph: GraphProto) -> None:
    """Give every node a name of its own, by which its execution is recognised."""
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)
