"""Giving every float tensor of a graph one type, and casting where two types meet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.graph import (
    GraphIndex,
    infer_tensor_types,
    node_label,
    opset_version,
    replace_nodes,
    walk_graphs,
)
from yolotrt_lab.types import Array

__all__ = ["CastResult", "ConstantLoss", "cast_graph_to_fp16", "check_result"]

FP16_MAX = 65504.0

# Their result type is an attribute or a default rather than an input's type.
_TYPED_BY_ATTRIBUTE = ("ConstantOfShape", "EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "Bernoulli")


@dataclass(frozen=True)
class ConstantLoss:
    """What FP16 does to one constant."""

    name: str
    overflowing: int
    flushed_to_zero: int
    relative_l2: float


@dataclass(frozen=True)
class CastResult:
    """Which nodes compute in FP16, which do not and why, and what it took."""

    converted: tuple[str, ...]
    kept: Mapping[str, str]
    cast_count: int
    losses: tuple[ConstantLoss, ...]


def cast_graph_to_fp16(model: ModelProto, *, kept: Mapping[str, str], keep_io: bool) -> CastResult:
    """Convert a model in place.

    Args:
        model: An FP32 model, possibly with Q/DQ nodes.
        kept: First outputs of the nodes that stay in FP32, with the reason.
        keep_io: Keep inputs and outputs float32.

    Raises:
        InputError: The model holds control flow or FP16 already.
    """
    _check_convertible(model)
    _constants_to_initializers(model)
    kept = dict(kept)
    kept.update(_must_stay(model))
    labels = {node.output[0]: node_label(node) for node in model.graph.node}
    caster = _Caster(model, kept=frozenset(kept), keep_io=keep_io)
    caster.run()
    return CastResult(
        converted=tuple(label for output, label in labels.items() if output not in kept),
        kept={labels[output]: reason for output, reason in kept.items() if output in labels},
        cast_count=caster.cast_count,
        losses=tuple(caster.losses),
    )


def check_result(model: ModelProto) -> None:
    """Make sure that what is about to be written is valid.

    Raises:
        LabError: It is not, which is a bug here or an operator whose types ONNX cannot infer.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and TypeError or ValueError out of the C++ side
        raise LabError(
            "The converted graph is not valid ONNX.",
            expected="a graph that passes onnx.checker",
            got=str(error).splitlines()[0],
            fix="Keep the named node in FP32, and report this with the model.",
        ) from error


def _check_convertible(model: ModelProto) -> None:
    if sum(1 for _ in walk_graphs(model.graph)) > 1:
        raise InputError(
            "Cannot convert a graph with control flow to FP16.", expected="no If, Loop or Scan", got="subgraphs"
        )
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise InputError(
            "The model is FP16 already.",
            expected="an FP32 model",
            got="FP16 weights",
            fix="Start from what `yolotrt export` wrote.",
        )


def _constants_to_initializers(model: ModelProto) -> None:
    index = GraphIndex(model.graph)
    remaining = []
    for node in model.graph.node:
        value = index.constant(node.output[0]) if node.op_type == "Constant" else None
        if value is None:
            remaining.append(node)
        else:
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    replace_nodes(model.graph, remaining)


def _must_stay(model: ModelProto) -> dict[str, str]:
    """Return the nodes that cannot be FP16: no such kernel in the standard, or a constant beyond its range."""
    index = GraphIndex(model.graph)
    opset = opset_version(model)
    result = {}
    for node in model.graph.node:
        if node.op_type in _TYPED_BY_ATTRIBUTE:
            result[node.output[0]] = f"{node.op_type} takes its type from an attribute"
        elif _float_only(node, 0, opset) or _float_only(node, 0, opset, outputs=True):
            result[node.output[0]] = f"{node.op_type} has no FP16 form in operator set {opset}"
        for name in node.input:
            value = index.constant(name) if name in index.initializers else None
            if value is not None and value.dtype == np.float32 and np.any(np.abs(value) > FP16_MAX):
                result[node.output[0]] = f"constant {name} exceeds FP16's largest value, 65504"
    return result


def _slot_types(node: NodeProto, slot: int, opset: int, *, outputs: bool = False) -> Collection[str]:
    """Return the types the standard allows at an input or output of a node."""
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    formal = schema.outputs if outputs else schema.inputs
    if not formal:
        return ()
    types: Collection[str] = formal[min(slot, len(formal) - 1)].types  # the last may be variadic
    return types


def _float_only(node: NodeProto, slot: int, opset: int, *, outputs: bool = False) -> bool:
    types = _slot_types(node, slot, opset, outputs=outputs)
    return "tensor(float)" in types and "tensor(float16)" not in types


class _Caster:
    """Gives every float tensor one type, that of the node which makes it, and casts where a reader wants the other."""

    def __init__(self, model: ModelProto, *, kept: frozenset[str], keep_io: bool) -> None:
        self.graph = model.graph
        self.opset = opset_version(model)
        self.kept = kept
        self.keep_io = keep_io
        self.cast_count = 0
        self.losses: list[ConstantLoss] = []
        self._index = GraphIndex(self.graph)
        self._element_types = {name: element for name, (element, _) in infer_tensor_types(model).items()}
        self._is_fp16: dict[str, bool] = {}
        self._casts: dict[str, NodeProto] = {}
        self._fp16_constants: dict[str, TensorProto] = {}
        self._fp32_constants: set[str] = set()

    def run(self) -> None:
        """Convert the graph."""
        for value in self.graph.input:
            self._is_fp16[value.name] = not self.keep_io
        for node in self.graph.node:
            for name in node.output:
                self._is_fp16[name] = node.output[0] not in self.kept
        nodes = [self._converted(node) for node in self.graph.node]
        nodes += self._casts.values()
        nodes += self._cast_outputs(nodes)
        self.cast_count = len(nodes) - len(self.graph.node)
        self._swap_constants()
        self._retype_io()
        replace_nodes(self.graph, nodes)

    def _converted(self, node: NodeProto) -> NodeProto:
        wants_fp16 = node.output[0] not in self.kept
        changed = NodeProto()
        changed.CopyFrom(node)
        for slot, name in enumerate(node.input):
            if name and self._element_types.get(name) == TensorProto.FLOAT:
                fixed = _float_only(node, slot, self.opset)  # such as Resize's scales
                changed.input[slot] = self._typed(name, fp16=wants_fp16 and not fixed)
        if node.op_type == "Cast" and wants_fp16:
            for attribute in changed.attribute:
                if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        return changed

    def _typed(self, name: str, *, fp16: bool) -> str:
        """Return the name under which a float tensor can be read in the wanted type."""
        if name in self._index.initializers:
            return self._typed_constant(name, fp16=fp16)
        if self._is_fp16[name] == fp16:
            return name
        cast_name = f"{name}_{'to_fp16' if fp16 else 'to_fp32'}"
        if cast_name not in self._casts:
            target = TensorProto.FLOAT16 if fp16 else TensorProto.FLOAT
            self._casts[cast_name] = helper.make_node("Cast", [name], [cast_name], name=cast_name, to=target)
        return cast_name

    def _typed_constant(self, name: str, *, fp16: bool) -> str:
        if not fp16:
            self._fp32_constants.add(name)
            return name
        if name not in self._fp16_constants:
            value = numpy_helper.to_array(self._index.initializers[name])
            with np.errstate(over="ignore"):
                half = value.astype(np.float16)
            self._note_loss(name, value, half)
            self._fp16_constants[name] = numpy_helper.from_array(half, f"{name}_fp16")
        return f"{name}_fp16"

    def _note_loss(self, name: str, value: Array, half: Array) -> None:
        flushed = int(np.count_nonzero((half == 0) & (value != 0)))
        overflowing = int(np.count_nonzero(~np.isfinite(half)))
        if flushed or overflowing:
            norm = float(np.linalg.norm(value.astype(np.float64)))
            error = float(np.linalg.norm(value.astype(np.float64) - half.astype(np.float64)))
            self.losses.append(ConstantLoss(name, overflowing, flushed, error / norm if norm else 0.0))

    def _swap_constants(self) -> None:
        remaining = [
            tensor
            for tensor in self.graph.initializer
            if tensor.name not in self._fp16_constants or tensor.name in self._fp32_constants
        ]
        replaced = [*remaining, *self._fp16_constants.values()]
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in replaced]
        del self.graph.initializer[:]
        self.graph.initializer.extend(copies)

    def _cast_outputs(self, nodes: list[NodeProto]) -> list[NodeProto]:
        """Rename outputs that have the wrong type, and return casts that make them under their promised names."""
        casts = []
        for value in self.graph.output:
            name = value.name
            if value.type.tensor_type.elem_type != TensorProto.FLOAT or self._is_fp16[name] != self.keep_io:
                continue
            inner = f"{name}_uncast"
            for node in nodes:
                for names in (node.input, node.output):
                    for slot, other in enumerate(names):
                        if other == name:
                            names[slot] = inner
            target = TensorProto.FLOAT if self.keep_io else TensorProto.FLOAT16
            casts.append(helper.make_node("Cast", [inner], [name], name=f"{name}_cast", to=target))
        return casts

    def _retype_io(self) -> None:
        if self.keep_io:
            return
        for value in (*self.graph.input, *self.graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
