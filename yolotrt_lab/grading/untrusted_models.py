"""ONNX files from strangers: what could read other files, never end, or take all memory is refused unopened.

Everything is looked at as data, before a checker, a runtime or a test gets the model. What is merely wrong is left to
the tests, which say what is wrong with it; what a model does when it runs is left to the limits of the judge's process.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolotrt_lab.errors import InputError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

__all__ = ["require_harmless_model"]

_MAX_BYTES = 200_000_000
_MAX_NODES = 50_000
_MAX_DEPTH = 10
_MAX_SPARSE_ELEMENTS = 1 << 24
_LISTS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def require_harmless_model(path: Path) -> None:
    """Return if a file can be given to a checker or a runtime; a file that is no ONNX model can.

    Raises:
        InputError: It is too large, names files outside of itself, is a cycle, is nested or expands without measure, or
            declares tensors that it does not hold.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise _refusal(f"at most {_MAX_BYTES // 10**6} MB", f"{size / 1e6:.0f} MB")
    model = _parsed(path)
    if model is None:
        return
    if model.training_info:
        raise _refusal("a model for inference", "one with training information")
    blocks = [(model.graph.node, 0), *((function.node, 0) for function in model.functions)]
    nodes = _checked_blocks(model.graph, blocks)
    _require_functions_end(model, nodes)
    for graph in _graphs(model.graph):
        _require_order(graph.node)
    for function in model.functions:
        _require_order(function.node)


def _refusal(expected: str, got: str) -> InputError:
    return InputError("This model is not opened.", expected=expected, got=got)


def _parsed(path: Path) -> ModelProto | None:
    import onnx

    model = onnx.ModelProto()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's DecodeError, which ships no types; its depth is limited by protobuf
        return None
    return model


def _checked_blocks(graph: GraphProto, blocks: list[tuple[Sequence[NodeProto], int]]) -> int:
    """Look at all nodes and tensors, those in subgraphs included, and return how many nodes there are."""
    nodes = 0
    _check_tensors(graph)
    while blocks:
        block, depth = blocks.pop()
        nodes += len(block)
        if nodes > _MAX_NODES:
            raise _refusal(f"at most {_MAX_NODES} nodes", "more")
        if depth > _MAX_DEPTH:
            raise _refusal(f"at most {_MAX_DEPTH} graphs within each other", "more")
        for node in block:
            for attribute in node.attribute:
                _check_attribute(attribute)
                for inner in _subgraphs(attribute):
                    _check_tensors(inner)
                    blocks.append((inner.node, depth + 1))
    return nodes


def _check_tensors(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for sparse in graph.sparse_initializer:
        _check_sparse(sparse)


def _check_attribute(attribute: AttributeProto) -> None:
    for tensor in (attribute.t, *attribute.tensors):
        _check_tensor(tensor)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        _check_sparse(sparse)


def _check_sparse(sparse: SparseTensorProto) -> None:
    _check_tensor(sparse.values)
    _check_tensor(sparse.indices)
    if any(size < 0 for size in sparse.dims) or math.prod(sparse.dims) > _MAX_SPARSE_ELEMENTS:
        raise _refusal(f"sparse tensors of at most {_MAX_SPARSE_ELEMENTS} elements", f"shape {_short(sparse.dims)}")


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.external_data or tensor.data_location == 1:  # TensorProto.EXTERNAL
        raise _refusal("one file that holds all its weights", f"the tensor {tensor.name[:60]!r} kept in another file")
    if any(size < 0 for size in tensor.dims):
        raise _refusal("tensors with sizes from 0", f"{tensor.name[:60]!r} of shape {_short(tensor.dims)}")
    # No type packs more than eight elements into a byte, or four into a number of a list.
    most = 8 * len(tensor.raw_data) + 8 * sum(len(getattr(tensor, name)) for name in _LISTS)
    if tensor.dims and math.prod(tensor.dims) > most:
        raise _refusal(
            "tensors that hold what they declare",
            f"{tensor.name[:60]!r} of shape {_short(tensor.dims)} without its data",
        )


def _short(dims: Sequence[int]) -> str:
    return str(tuple(dims))[:80]


def _subgraphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and those within it; how deep they go has been checked."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in _subgraphs(attribute):
                yield from _graphs(inner)


def _require_functions_end(model: ModelProto, nodes: int) -> None:
    """Refuse functions that call themselves, or that grow beyond measure when they are put in place of their calls."""
    calls = {(function.domain, function.name): list(_calls(function.node)) for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    waiting = list(calls)
    opened: set[tuple[str, str]] = set()
    while waiting:
        name = waiting[-1]
        inner = [call for call in calls[name] if call in calls]
        unknown = [call for call in inner if call not in sizes]
        if name in sizes or not unknown:
            sizes[name] = min(len(calls[name]) + sum(sizes[call] for call in inner), _MAX_NODES + 1)
            waiting.pop()
            continue
        if name in opened and any(call in opened for call in unknown):
            raise _refusal("functions that come to an end", f"{name[1][:60]!r}, which calls itself")
        opened.add(name)
        waiting += unknown
    used = sum(sizes.get(call, 0) for graph in _graphs(model.graph) for call in _own_calls(graph.node))
    if used + nodes > _MAX_NODES:
        raise _refusal(f"at most {_MAX_NODES} nodes", "functions that make more of them")


def _calls(nodes: Sequence[NodeProto]) -> Iterator[tuple[str, str]]:
    """Yield what nodes call, those in subgraphs included."""
    yield from _own_calls(nodes)
    for node in nodes:
        for attribute in node.attribute:
            for inner in _subgraphs(attribute):
                yield from _calls(inner.node)


def _own_calls(nodes: Sequence[NodeProto]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        yield node.domain, node.op_type


def _require_order(nodes: Sequence[NodeProto]) -> None:
    """Refuse nodes that wait for each other."""
    made = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    waits = [{made[name] for name in _read_by(node) if name in made} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for number, sources in enumerate(waits):
        for source in sources:
            users[source].append(number)
    open_sources = [len(sources) for sources in waits]
    ready = deque(number for number, count in enumerate(open_sources) if not count)
    done = 0
    while ready:
        done += 1
        for user in users[ready.popleft()]:
            open_sources[user] -= 1
            if not open_sources[user]:
                ready.append(user)
    if done < len(nodes):
        raise _refusal("a graph without cycles", f"{len(nodes) - done} nodes that wait for each other")


def _read_by(node: NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, its subgraphs included, which may read what is around them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in _subgraphs(attribute):
            own = {name for each in inner.node for name in each.output} | {value.name for value in inner.input}
            own |= {tensor.name for tensor in inner.initializer}
            yield from (name for each in inner.node for name in _read_by(each) if name not in own)
