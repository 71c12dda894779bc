"""Taking the pairs out of a graph, and remembering what they knew: ranges of activations, steps of weights.

A pair says two things: *here is INT8*, and *this is the range*. The second is all that calibration found out, and holds
wherever the first was wrong. So a graph is repaired by taking all pairs out and placing new ones from the old ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from yolotrt_lab.export.graph import replace_nodes, walk_graphs
from yolotrt_lab.precision.lint.graph import DEQUANTIZE, QUANTIZE, QdqGraph
from yolotrt_lab.types import Array

__all__ = ["Stripped", "strip_pairs"]

_LIMITS: dict[int, tuple[int, int]] = {
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.FLOAT8E4M3FN: (-448, 448),
    TensorProto.FLOAT8E5M2: (-57344, 57344),
}
_QMAX = 127


@dataclass
class Stripped:
    """A graph without pairs, and what they said.

    Attributes:
        model: The model, computing in float.
        steps: Activation to the step of an INT8 that covers what its pairs covered; None where they did not say.
        weight_steps: Constant to its steps, scalar or one per slice, where they are fit to be used again.
        reads: Where dequantized tensors were read: (first output of the reader, input slot) to the tensor.
    """

    model: ModelProto
    steps: dict[str, float | None] = field(default_factory=dict)
    weight_steps: dict[str, Array] = field(default_factory=dict)
    reads: dict[tuple[str, int], str] = field(default_factory=dict)


def strip_pairs(model: ModelProto) -> Stripped:
    """Return a copy of a model in which nothing is quantized any more.

    Weights and biases stored as integers become floats. Integers that do not come from a QuantizeLinear, and those
    that something else than a DequantizeLinear reads, stay: their pairs cannot be taken out.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    result = Stripped(copy)
    graph = QdqGraph(copy)
    renamed: dict[str, str] = {}
    gone: set[str] = set()  # by first output
    for node in graph.of_type(DEQUANTIZE):
        root = _root(graph, node)
        if root is None:
            values = _stored_values(graph, node)
            if values is None:
                continue
            copy.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            root = node.output[0]
        gone.add(node.output[0])
        renamed[node.output[0]] = root
        _remember(result, graph, node, root)
    for quantize in graph.of_type(QUANTIZE):
        readers = {reader.output[0] for reader, _ in graph.index.consumers(quantize.output[0])}
        if readers <= gone and quantize.output[0] not in graph.index.output_names:
            gone.add(quantize.output[0])
    _rewire(copy.graph, gone, renamed, result)
    return result


def _root(graph: QdqGraph, dequantize: NodeProto) -> str | None:
    """Return the float tensor behind all pairs in front of a node's output; None for stored integers and for others."""
    quantize = graph.quantizer(dequantize)
    if quantize is None:
        return None
    earlier = graph.dequantized(quantize.input[0])
    deeper = None if earlier is None else _root(graph, earlier)
    return deeper or quantize.input[0]


def _stored_values(graph: QdqGraph, node: NodeProto) -> Array | None:
    """Return what a DequantizeLinear makes of stored integers, None if it is no constant."""
    stored, scale = graph.index.constant(node.input[0]), graph.scale(node)
    if stored is None or scale is None or not np.all(np.isfinite(scale)):
        return None
    zero_point = graph.zero_point(node)
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[graph.axis(node)] = scale.size
    shift = 0.0 if zero_point is None else zero_point.astype(np.float32).reshape(shape if zero_point.size > 1 else ())
    steps = scale.astype(np.float32).reshape(shape if scale.size > 1 else ())
    result: Array = ((stored.astype(np.float32) - shift) * steps).astype(scale.dtype)
    return result


def _remember(result: Stripped, graph: QdqGraph, dequantize: NodeProto, root: str) -> None:
    quantize = graph.quantizer(dequantize)
    speaker = dequantize if quantize is None else quantize
    scale, zero_point = graph.scale(speaker), graph.zero_point(speaker)
    if graph.index.is_constant(root) or quantize is None:
        steps = scale if quantize is None else graph.scale(dequantize)
        symmetric = zero_point is not None and zero_point.dtype == np.int8 and not np.any(zero_point)
        if scale is not None and symmetric and np.all(np.isfinite(scale)) and np.all(scale > 0) and steps is not None:
            result.weight_steps[root] = scale
        return
    step = _covering_step(graph, quantize, dequantize)
    earlier = graph.dequantized(quantize.input[0])
    if earlier is not None and result.steps.get(root) is not None and step is not None:
        result.steps[root] = min(step, result.steps[root] or step)  # rounded twice: the narrower range clips
    elif root in result.steps and result.steps[root] is not None and step is not None:
        result.steps[root] = max(step, result.steps[root] or step)  # a pair for each reader: one that covers all
    else:
        result.steps[root] = step if step is not None else result.steps.get(root)


def _covering_step(graph: QdqGraph, quantize: NodeProto, dequantize: NodeProto) -> float | None:
    """Return the step of a symmetric INT8 that covers a pair's range."""
    scale = graph.scale(quantize)
    kind = graph.integer_type(quantize) or graph.integer_type(dequantize) or TensorProto.UINT8
    runtime = len(quantize.input) > 2 and quantize.input[2] and graph.zero_point(quantize) is None
    if scale is None or runtime or kind not in _LIMITS:
        return None
    steps = np.abs(scale.astype(np.float64))
    if not np.all(np.isfinite(steps)) or not np.all(steps > 0):
        return None
    zero_point = graph.zero_point(quantize)
    shift = np.zeros(1) if zero_point is None else zero_point.astype(np.float64)
    if kind == TensorProto.INT8 and not np.any(shift):
        return float(steps.max())  # as it is
    low, high = _LIMITS[kind]
    reach = np.maximum(np.abs(low - shift), np.abs(high - shift)).max()
    return float(reach * steps.max() / _QMAX)


def _rewire(graph: GraphProto, gone: set[str], renamed: dict[str, str], result: Stripped) -> None:
    outputs = {value.name for value in graph.output}
    kept = [node for node in graph.node if node.output[0] not in gone]
    for node in kept:
        for slot, name in enumerate(node.input):
            if name in renamed:
                node.input[slot] = renamed[name]
                result.reads[node.output[0], slot] = renamed[name]
    kept += [
        NodeProto(op_type="Identity", input=[root], output=[name], name=f"{name}_as_output")
        for name, root in renamed.items()
        if name in outputs and name != root
    ]
    replace_nodes(graph, kept)
    used = outputs | {name for part in walk_graphs(graph) for node in part.node for name in node.input}
    kept_tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept_tensors)
