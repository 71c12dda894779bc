"""Finding the first node at which a graph stops computing what its reference computes.

Every tensor inside the suspected graph is looked up in the reference: by name where both graphs have it, else by value
among the reference's tensors of that shape. A tensor with a counterpart agrees. The culprit is the first node, in
topological order, from which a chain of tensors without counterpart leads to a wrong output: everything it reads
agrees, what it makes does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.export.graph import GraphIndex, expose_tensors, float_tensors, node_label, topological_order
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.optional import require
from yolotrt_lab.types import Array, Precision

__all__ = ["Divergence", "first_divergence", "locate_divergence", "make_session", "module_from_node_name", "run_all"]

_QUIET = 1e-4
"""Root mean square below which a tensor's relative error says nothing: float32 rounding would fill it."""


@dataclass(frozen=True)
class Divergence:
    """Where two computations part.

    Attributes:
        node: Name of the first node whose output has no counterpart in the reference.
        op_type: Its operator.
        tensor: Its output.
        module: The PyTorch module the node was exported from, when its name tells.
        relative_l2: Relative L2 error against the nearest tensor of the same shape in the reference; infinite when
            there is none of that shape.
        agreeing_nodes: Nodes before it whose outputs agree.
    """

    node: str
    op_type: str
    tensor: str
    module: str | None
    relative_l2: float
    agreeing_nodes: int


def first_divergence(
    onnx_a: Path | ModelProto,
    onnx_b: Path | ModelProto,
    feeds: Mapping[str, Array],
    *,
    tolerance: float = TOLERANCES[Precision.FP32].relative_l2,
) -> Divergence | None:
    """Return the first node of A whose output differs from that of B, or None when the outputs agree.

    Args:
        onnx_a: The suspected graph.
        onnx_b: The reference.
        feeds: Inputs by name; both graphs take the same.
        tolerance: Relative L2 error up to which tensors agree.

    Raises:
        InputError: A graph cannot be loaded.
    """
    model_a, model_b = (
        source if isinstance(source, ModelProto) else load_onnx_checked(source) for source in (onnx_a, onnx_b)
    )
    reference = run_all(model_b, feeds)
    return locate_divergence(
        model_a, run_all(model_a, feeds), named=reference, others=reference.values(), tolerance=tolerance
    )


def make_session(model: ModelProto, *, threads: int | None = None, optimize: bool = True) -> Any:
    """Return an ONNX Runtime session for a model, on the CPU.

    Args:
        model: The model.
        threads: CPU threads; by default all.
        optimize: Let ONNX Runtime fuse nodes.
    """
    runtime = require("onnxruntime", purpose="run ONNX models")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_all(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return every float tensor the nodes of a model make, unfused, in topological order."""
    names = float_tensors(model)
    session = make_session(expose_tensors(model, names), optimize=False)
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def locate_divergence(
    model: ModelProto,
    actual: Mapping[str, Array],
    *,
    named: Mapping[str, Array],
    others: Iterable[Array],
    tolerance: float,
) -> Divergence | None:
    """Return the first node of a model whose output has no counterpart in the reference.

    Args:
        model: The suspected graph.
        actual: Its float tensors by name.
        named: Tensors of the reference by name.
        others: Tensors of the reference without names.
        tolerance: Relative L2 error up to which tensors agree.
    """
    pool = _Pool(others, tolerance)
    errors = {name: _error(name, value, named, pool) for name, value in actual.items()}
    wrong = {name for name, error in errors.items() if not error <= tolerance}
    on_path = _wrong_ancestors(GraphIndex(model.graph), wrong)
    agreeing = 0
    for node in topological_order(model.graph):
        tensor = next((name for name in node.output if name in on_path), None)
        if tensor is not None:
            module = module_from_node_name(node.name)
            return Divergence(node_label(node), node.op_type, tensor, module, errors[tensor], agreeing)
        agreeing += any(name in errors and name not in wrong for name in node.output)
    return None


def _wrong_ancestors(index: GraphIndex, wrong: set[str]) -> set[str]:
    """Return the wrong tensors from which only wrong tensors lead to an output.

    A Concat may agree although one of its inputs does not: box coordinates outweigh the scores beside them.
    """
    found: set[str] = set()
    waiting = list(index.output_names)
    while waiting:
        name = waiting.pop()
        maker = index.producer(name)
        if name in found or maker is None or not (name in wrong or maker.op_type == "Concat"):
            continue
        if name in wrong:
            found.add(name)
        waiting.extend(source for source in maker.input if source in wrong)
    return found


def _error(name: str, value: Array, named: Mapping[str, Array], pool: _Pool) -> float:
    twin = named.get(name)
    if twin is not None and twin.shape == value.shape:
        return _relative_l2(value, twin)
    return pool.nearest(value)


def _relative_l2(actual: Array, expected: Array) -> float:
    """Return ‖a - e‖ / ‖e‖; where e is all but zero, such as scores without any object, relative to _QUIET instead."""
    difference = float(np.linalg.norm(actual.astype(np.float64) - expected.astype(np.float64)))
    size = float(np.linalg.norm(expected.astype(np.float64)))
    return difference / max(size, _QUIET * float(np.sqrt(expected.size)), 1e-300)


class _Pool:
    """Tensors to find by value; a sample of the values rules most candidates out."""

    def __init__(self, tensors: Iterable[Array], tolerance: float) -> None:
        self._by_shape: dict[tuple[int, ...], list[tuple[Array, Array]]] = {}
        for tensor in tensors:
            self._by_shape.setdefault(tensor.shape, []).append((_sample(tensor), tensor))
        self._tolerance = tolerance

    def nearest(self, value: Array) -> float:
        """Return the relative L2 error against the nearest tensor of the same shape."""
        best = float("inf")
        ours = _sample(value)
        for theirs, candidate in self._by_shape.get(value.shape, ()):
            error = _relative_l2(ours, theirs)
            if error <= 10 * self._tolerance:
                error = _relative_l2(value, candidate)
            best = min(best, error)
            if best <= self._tolerance:
                break
        return best


def _sample(tensor: Array) -> Array:
    """Return about 5000 values spread over a tensor; a prime step, so that no axis is met at one place only."""
    flat = tensor.reshape(-1)
    return flat if flat.size <= 5003 else flat[:: max(flat.size // 5003 | 1, 1)]


def module_from_node_name(name: str) -> str | None:
    """Return the PyTorch module a node came from, as PyTorch's exporter writes it into node names.

    Example:
        >>> module_from_node_name("/model.24/cv2.1/cv2.1.0/conv/Conv")
        'model.24.cv2.1.0.conv'
    """
    scopes = name.strip("/").split("/")[:-1]
    if not name.startswith("/") or not scopes:
        return None
    parts: list[str] = []
    for scope in scopes:
        if parts and scope.startswith(parts[-1] + "."):  # a member of a list repeats the name of the list
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)
