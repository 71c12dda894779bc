"""The layers of an engine that ONNX Runtime runs, from its own record of one run: its fusions, types and providers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolotrt_lab.emulation.tensorrt.layers import EngineLayer, LayerTensor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["executed_layers"]

_KINDS = {
    "Conv": "Convolution",
    "FusedConv": "Convolution",
    "NhwcConv": "Convolution",
    "NhwcFusedConv": "Convolution",
    "ConvTranspose": "Deconvolution",
    "MatMul": "MatrixMultiply",
    "Gemm": "MatrixMultiply",
    "FusedMatMul": "MatrixMultiply",
    "Concat": "Concat",
    "QuantizeLinear": "Quantize",
    "DequantizeLinear": "Dequantize",
    "Cast": "Reformat",
    "MemcpyFromHost": "Reformat",
    "MemcpyToHost": "Reformat",
    "Reshape": "NoOp",
    "Transpose": "Shuffle",
    "Resize": "Resize",
    "Slice": "Slice",
    "Split": "Slice",
    "Softmax": "SoftMax",
    "Shape": "Shape",
    "MaxPool": "Pooling",
}
_POINTWISE = frozenset({"Add", "Div", "Mul", "QuickGelu", "Relu", "Sigmoid", "Sub", "Tanh", "LeakyRelu", "Pow", "Exp"})
_TYPES = {"float": "FP32", "float16": "FP16", "bfloat16": "BF16", "int8": "Int8", "uint8": "UInt8", "bool": "Bool"}
_TYPES |= {"int32": "Int32", "int64": "Int64", "double": "FP64"}
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")

_Event = Mapping[str, Any]


def executed_layers(optimized: ModelProto, original: ModelProto, profile: Path) -> tuple[EngineLayer, ...]:
    """Return the executed layers in execution order.

    Args:
        optimized: The graph ONNX Runtime executed.
        original: The graph it was given.
        profile: Its record of one run or more. Dimensions that differ between runs are dynamic.
    """
    runs = _runs(json.loads(profile.read_text(encoding="utf-8")))
    nodes = {node.name: node for node in optimized.graph.node}
    constants = {tensor.name for tensor in optimized.graph.initializer}
    origins = _Origins(original, optimized)
    return tuple(
        _layer(nodes[name], event, [run[name] for run in runs[1:] if name in run], constants, origins)
        for name, event in runs[0].items()
        if name in nodes
    )


def _runs(events: Iterable[dict[str, Any]]) -> list[dict[str, _Event]]:
    """Return each run's nodes, by name, in execution order."""
    runs: list[dict[str, _Event]] = [{}]
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        name = name.removesuffix("_kernel_time")
        if name in runs[-1]:
            runs.append({})
        runs[-1][name] = event["args"]
    return runs


class _Origins:
    """Finds the nodes of the given graph that an executed node does."""

    def __init__(self, original: ModelProto, optimized: ModelProto) -> None:
        self._made = {name for node in optimized.graph.node for name in node.output}
        self._live = _live_nodes(original)
        self._producers = {name: node for node in original.graph.node for name in node.output}
        self._order = {node.name: index for index, node in enumerate(original.graph.node)}
        self._quantizers = {node.name for node in original.graph.node if node.op_type in _QUANTIZERS}

    def of(self, node: NodeProto) -> tuple[str, ...]:
        """Return them in order: from the node's outputs back to what others make, constants left out."""
        found: set[str] = set()
        waiting, known = list(node.output), {*node.input, *self._made}
        while waiting:
            producer = self._producers.get(waiting.pop())
            if producer is not None and producer.name in self._live - found:
                found.add(producer.name)
                waiting.extend(name for name in producer.input if name not in known)
        return tuple(sorted(found, key=self._order.__getitem__))

    def title(self, origins: Sequence[str]) -> str:
        """Return what to call a layer that does these nodes."""
        return " + ".join([name for name in origins if name not in self._quantizers] or origins)


def _live_nodes(model: ModelProto) -> set[str]:
    """Return the names of the nodes that depend on an input; the others' work is done when the engine is loaded."""
    moving = {value.name for value in model.graph.input}
    live = set()
    for node in model.graph.node:
        if any(name in moving for name in node.input):
            live.add(node.name)
            moving.update(node.output)
    return live


def _layer(
    node: NodeProto, event: _Event, again: Sequence[_Event], constants: set[str], origins: _Origins
) -> EngineLayer:
    names = origins.of(node)
    outputs = _tensors(node.output, "output_type_shape", event, again)
    inputs = _tensors(node.input, "input_type_shape", event, again)
    provider = str(event.get("provider", "")).removesuffix("ExecutionProvider")
    dtypes = [tensor.dtype for tensor in outputs] or [tensor.dtype for tensor in inputs]
    return EngineLayer(
        name=origins.title(names) or node.name,
        kind=_KINDS.get(node.op_type, "PointWise" if node.op_type in _POINTWISE else node.op_type),
        precision=dtypes[0] if dtypes else "",
        tactic=f"onnxruntime_{provider}_{node.op_type}",
        origins=names,
        inputs=tuple(tensor for tensor in inputs if tensor.name not in constants),
        outputs=outputs,
        openvino_name=node.name,
    )


def _tensors(names: Iterable[str], key: str, event: _Event, again: Sequence[_Event]) -> tuple[LayerTensor, ...]:
    """Return the tensors of a node; optional ones that are not there have no name, and no entry in the record."""
    tensors = []
    present = [name for name in names if name]
    for index, (name, entry) in enumerate(zip(present, event.get(key, ()), strict=False)):
        ((dtype, shape),) = entry.items()
        others = [tuple(*run[key][index].values()) for run in again if len(run.get(key, ())) > index]
        dimensions = tuple(
            size if all(len(other) == len(shape) and other[axis] == size for other in others) else -1
            for axis, size in enumerate(shape)
        )
        tensors.append(LayerTensor(name, dimensions, "Row major linear", _TYPES.get(dtype, dtype)))
    return tuple(tensors)
