"""Reading ONNX graphs: who makes a tensor, who uses it, what is constant, and how to look inside."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, TensorSpec

__all__ = [
    "GraphIndex",
    "all_tensors",
    "expose_tensors",
    "float_tensors",
    "infer_tensor_types",
    "node_label",
    "op_histogram",
    "opset_version",
    "replace_nodes",
    "tensor_specs",
    "topological_order",
    "walk_graphs",
]


class GraphIndex:
    """Fast look-ups in one graph; a snapshot, so make a new one after changing the graph.

    Args:
        graph: The graph; subgraphs of If and Loop are not indexed.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.producers: dict[str, NodeProto] = {output: node for node in graph.node for output in node.output if output}
        self._consumers: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in graph.node:
            for slot, name in enumerate(node.input):
                if name:
                    self._consumers.setdefault(name, []).append((node, slot))
        self.output_names = frozenset(value.name for value in graph.output)

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that makes a tensor, or None for inputs and initializers."""
        return self.producers.get(tensor)

    def consumers(self, tensor: str) -> Sequence[tuple[NodeProto, int]]:
        """Return the (node, input slot) pairs that read a tensor, in graph order."""
        return self._consumers.get(tensor, ())

    def constant(self, tensor: str) -> Array | None:
        """Return the value of an initializer or of a Constant node's tensor, else None."""
        if tensor in self.initializers:
            return np.asarray(numpy_helper.to_array(self.initializers[tensor]))
        node = self.producers.get(tensor)
        if node is not None and node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    return np.asarray(numpy_helper.to_array(attribute.t))
        return None

    def is_constant(self, tensor: str) -> bool:
        """Return whether a tensor is an initializer or a Constant node's output."""
        node = self.producers.get(tensor)
        return tensor in self.initializers or (node is not None and node.op_type == "Constant")


def node_label(node: NodeProto) -> str:
    """Return a node's name, or its operator and first output when it has none."""
    return node.name or f"{node.op_type} -> {node.output[0] if node.output else '?'}"


def op_histogram(graph: GraphProto) -> dict[str, int]:
    """Return how often each operator occurs, most frequent first; custom domains are prefixed ("com.x::Op")."""
    counts: Counter[str] = Counter()
    for part in walk_graphs(graph):
        counts.update(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in part.node)
    return dict(counts.most_common())


def opset_version(model: ModelProto) -> int:
    """Return the version of the standard operator set, or 0 when the model does not say."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def walk_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield the graph and every subgraph in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from walk_graphs(attribute.g)
            for child in attribute.graphs:
                yield from walk_graphs(child)


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every stored tensor: initializers, sparse ones, and node attributes, subgraphs and functions included."""
    for graph in walk_graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _attribute_tensors(graph.node)
    for function in model.functions:
        yield from _attribute_tensors(function.node)


def _attribute_tensors(nodes: Collection[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)


def tensor_specs(values: Collection[ValueInfoProto]) -> tuple[TensorSpec, ...]:
    """Return name, NumPy dtype name and shape of graph inputs or outputs; symbolic and unknown axes become None."""
    specs = []
    for value in values:
        tensor = value.type.tensor_type
        dims = tensor.shape.dim if tensor.HasField("shape") else []
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
        specs.append(TensorSpec(value.name, _dtype_name(tensor.elem_type), shape))
    return tuple(specs)


def _dtype_name(element_type: int) -> str:
    try:
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(element_type)).name)
    except (KeyError, TypeError):
        return f"unknown ({element_type})"


def topological_order(graph: GraphProto) -> list[NodeProto]:
    """Return the nodes so that each comes after those it reads from, otherwise in their given order.

    Raises:
        InputError: The graph has a cycle.
    """
    made_later = {output for node in graph.node for output in node.output if output}
    waiting: dict[str, list[int]] = {}
    missing: list[int] = []
    for position, node in enumerate(graph.node):
        needed = {name for name in node.input if name in made_later}
        missing.append(len(needed))
        for name in needed:
            waiting.setdefault(name, []).append(position)
    ready = [position for position, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:  # a heap, as positions start out sorted
        position = heapq.heappop(ready)
        order.append(position)
        for output in graph.node[position].output:
            for follower in waiting.pop(output, ()):
                missing[follower] -= 1
                if missing[follower] == 0:
                    heapq.heappush(ready, follower)
    if len(order) < len(graph.node):
        stuck = next(node for position, node in enumerate(graph.node) if missing[position] > 0)
        raise InputError(
            "The ONNX graph has a cycle.",
            expected="every node reads only from nodes before it",
            got=f"{node_label(stuck)} waits for its own result",
            fix="Export the model again; an exporter does not write cycles.",
        )
    return [graph.node[position] for position in order]


def infer_tensor_types(model: ModelProto) -> dict[str, tuple[int, tuple[int | None, ...] | None]]:
    """Return element type and shape of every tensor that ONNX's shape inference can name.

    Returns:
        Tensor name to (TensorProto element type, shape); the shape is None when the rank is unknown.
    """
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types: dict[str, tuple[int, tuple[int | None, ...] | None]] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        shape: tuple[int | None, ...] | None = None
        if tensor.HasField("shape"):
            shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
        types[value.name] = (tensor.elem_type, shape)
    for constant in inferred.graph.initializer:
        types.setdefault(constant.name, (constant.data_type, tuple(constant.dims)))
    return types


_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)


def float_tensors(model: ModelProto) -> list[str]:
    """Return the names of all float tensors that nodes make, in topological order."""
    types = infer_tensor_types(model)
    return [
        name
        for node in topological_order(model.graph)
        for name in node.output
        if name and types.get(name, (0, None))[0] in _FLOAT_TYPES
    ]


def expose_tensors(model: ModelProto, names: Collection[str]) -> ModelProto:
    """Return a copy of the model in which the named tensors are graph outputs too.

    Raises:
        InputError: A name is no tensor of the graph.
    """
    index = GraphIndex(model.graph)
    types = infer_tensor_types(model)
    exposed = ModelProto()
    exposed.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    for name in names:
        if name in index.output_names:
            continue
        if name not in index.producers and name not in inputs:
            raise InputError(f"The graph has no tensor {name!r}.", expected="the name of a node's output", got=name)
        if name in inputs:
            continue
        element_type, _ = types.get(name, (TensorProto.FLOAT, None))
        exposed.graph.output.append(helper.make_tensor_value_info(name, element_type, None))
    return exposed


def replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Give a graph other nodes, sorted so that each comes after those it reads from.

    Recorded intermediate shapes and types are dropped, because they may no longer hold.

    Raises:
        InputError: The nodes form a cycle.
    """
    changed = GraphProto()
    changed.node.extend(nodes)  # copies, so the old ones may go
    ordered = topological_order(changed)
    del graph.node[:]
    graph.node.extend(ordered)
    del graph.value_info[:]
