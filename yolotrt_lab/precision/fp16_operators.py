"""Which operators stay in FP32 in an FP16 network, and why.

FP16 has 11 bits of mantissa and ends at 65504; below 6.1e-5 it loses bits, below 6e-8 it is zero. Three kinds of
operators suffer from that however small their inputs are:

- those that square or raise to a power, as the variance in a normalization does: 256 squared is beyond the end;
- long sums in FP16: 2048 + 1 is 2048, so after 2048 equal terms a sum stands still;
- coordinates and orderings: between 512 and 1024 FP16 counts in halves, and scores closer than 2^-11 become equal.

Softmax is not among them: implementations subtract the largest value first, and its results lie between 0 and 1.
Operators that have no FP16 form in the standard at all are found from the standard itself (`casting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types

__all__ = ["BLOCKED_OPERATORS", "LONG_SUM", "accumulated_terms", "blocked_nodes"]

_SQUARES = "squares its input, and 256 squared is beyond FP16's 65504"
_COORDINATES = "reads coordinates, and FP16 counts in halves from 512 on"
_EXPONENTIAL = "grows beyond FP16's 65504 from an input of 11.1 on"

BLOCKED_OPERATORS: Mapping[str, str] = {
    "Pow": _SQUARES,
    "ReduceSumSquare": _SQUARES,
    "ReduceL2": _SQUARES,
    "LayerNormalization": _SQUARES,
    "GroupNormalization": _SQUARES,
    "InstanceNormalization": _SQUARES,
    "LpNormalization": _SQUARES,
    "MeanVarianceNormalization": _SQUARES,
    "RMSNormalization": _SQUARES,
    "Exp": _EXPONENTIAL,
    "ReduceLogSumExp": _EXPONENTIAL,
    "ReduceProd": "multiplies many values, and leaves FP16's range after a few",
    "CumSum": "adds up along an axis, and in FP16 2048 + 1 is 2048",
    "GridSample": _COORDINATES,
    "RoiAlign": _COORDINATES,
    "MaxRoiPool": _COORDINATES,
    "NonMaxSuppression": "compares boxes in pixels, and FP16 counts in halves from 512 on",
    "TopK": "orders values, and those closer than one part in 2048 become equal",
}
"""Operator to the reason; the subject of the sentence is the operator."""

LONG_SUM = 2048
"""Terms from which on a sum in FP16 arithmetic can stand still: 2^11, the first number whose neighbour is 2 away."""

_SUMS = ("ReduceSum", "ReduceMean", "ReduceL1", "ReduceLogSum", "GlobalAveragePool")
_EPSILON_USERS = ("Add", "Div", "Max", "Clip", "Sub")


def blocked_nodes(model: ModelProto, operators: Mapping[str, str] = BLOCKED_OPERATORS) -> dict[str, str]:
    """Return the nodes that must stay in FP32, by first output, with the reason.

    Besides the operators in the table: sums of `LONG_SUM` terms or more outside of convolutions and matrix products
    (whose kernels add up in FP32), and additions or divisions whose small constant FP16 makes zero.
    """
    index = GraphIndex(model.graph)
    terms = accumulated_terms(model)
    found: dict[str, str] = {}
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type in operators:
            found[output] = f"{node.op_type} {operators[node.op_type]}"
        elif node.op_type in _SUMS and terms.get(output, 0) >= LONG_SUM:
            found[output] = f"{node.op_type} adds {terms[output]} terms, and in FP16 2048 + 1 is 2048"
        elif (vanished := _vanishing_constant(node, index)) is not None:
            found[output] = f"{node.op_type} has the constant {vanished:.3g}, which is 0 in FP16"
    return found


def _vanishing_constant(node: NodeProto, index: GraphIndex) -> float | None:
    """Return a node's guard against zero, such as the 1e-12 added before a division, if FP16 makes it zero."""
    if node.op_type not in _EPSILON_USERS:
        return None
    for name in node.input:
        value = index.constant(name) if name else None
        if value is None or value.dtype != np.float32 or value.size == 0 or not np.all(value):
            continue
        with np.errstate(under="ignore", over="ignore"):
            if not np.any(value.astype(np.float16)):
                return float(np.abs(value).max())
    return None


def accumulated_terms(model: ModelProto) -> dict[str, int]:
    """Return how many terms each node adds up for one value, by first output; only for nodes whose sizes are known."""
    types = infer_tensor_types(model)
    index = GraphIndex(model.graph)
    shapes = {name: shape for name, (_, shape) in types.items() if shape is not None}
    found = {}
    for node in model.graph.node:
        terms = _terms(node, shapes, index)
        if terms is not None:
            found[node.output[0]] = terms
    return found


def _terms(node: NodeProto, shapes: Mapping[str, tuple[int | None, ...]], index: GraphIndex) -> int | None:
    first = shapes.get(node.input[0]) if node.input else None
    second = shapes.get(node.input[1]) if len(node.input) > 1 else None
    if node.op_type == "Conv" and second is not None:
        return _product(second[1:])
    if node.op_type == "ConvTranspose" and second is not None:
        return second[0]
    if node.op_type in ("MatMul", "Gemm") and first:
        transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
        return first[0 if transposed else -1]
    if node.op_type == "GlobalAveragePool" and first is not None:
        return _product(first[2:])
    if node.op_type in _SUMS and first is not None:
        return _product([first[axis] for axis in _axes(node, index, len(first)) if -len(first) <= axis < len(first)])
    return None


def _axes(node: NodeProto, index: GraphIndex, rank: int) -> list[int]:
    """Return the axes of a reduction, an attribute before operator set 13 or 18 and an input since."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            return list(attribute.ints)
    given = index.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    return list(range(rank)) if given is None else [int(axis) for axis in given.ravel()]


def _product(sizes: tuple[int | None, ...] | list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
