"""Where a detector's head ends and its decode begins, found from the graph's structure, not from names."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import GraphIndex, node_label
from yolotrt_lab.types import Array

__all__ = ["HeadStructure", "find_head", "is_dfl_conv", "match_nodes"]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
# Their output depends on the shape of what they read, not on its values.
_SHAPE_ONLY = ("Shape", "Size")


@dataclass(frozen=True)
class HeadStructure:
    """The end of a detector. Nodes are named by their first output, which is always unique.

    Attributes:
        final_convs: The last convolutions of the head: their outputs are logits and go to the decode without an
            activation in between.
        decode: Everything after them: DFL's softmax and expectation, anchors, strides, class sigmoid, concatenation.
    """

    final_convs: frozenset[str]
    decode: frozenset[str]


def is_dfl_conv(node: NodeProto, index: GraphIndex) -> bool:
    """Return whether a convolution is DFL's expectation: one output channel with the fixed weights 0, 1, 2, ….

    Weights behind a quantize/dequantize pair, or stored as integers, are looked at as well, rounding allowed for.
    """
    if node.op_type != "Conv" or len(node.input) > 2:
        return False
    weights = _weights(node.input[1], index)
    if weights is None or weights.shape[0] != 1:
        return False
    half_step = weights.size / 250  # of INT8; it is (n - 1) / 254
    return bool(np.allclose(weights.ravel(), np.arange(weights.size), rtol=0.0, atol=half_step))


def _weights(name: str, index: GraphIndex) -> Array | None:
    """Return constant weights, dequantized where they are quantized."""
    maker = index.producer(name)
    if maker is None or maker.op_type != "DequantizeLinear":
        return index.constant(name)
    quantize = index.producer(maker.input[0])
    if quantize is not None and quantize.op_type == "QuantizeLinear":
        return index.constant(quantize.input[0])
    stored, scale = (index.constant(part) for part in maker.input[:2])
    zero_point = index.constant(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else np.zeros(1)
    if stored is None or scale is None or zero_point is None or scale.size > 1:
        return None
    result: Array = (stored.astype(np.float32) - zero_point.astype(np.float32).ravel()[0]) * scale.astype(np.float32)
    return result


def find_head(model: ModelProto) -> HeadStructure:
    """Walk back from the outputs to the first weighted operator on every path.

    DFL's own convolution holds no learned weights and counts as decode.
    """
    index = GraphIndex(model.graph)
    final: set[str] = set()
    decode: set[str] = set()
    waiting = [value.name for value in model.graph.output]
    while waiting:
        node = index.producer(waiting.pop())
        if node is None or node.output[0] in decode or node.output[0] in final:
            continue
        if node.op_type in _WEIGHTED and not is_dfl_conv(node, index):
            final.add(node.output[0])
            continue
        decode.add(node.output[0])
        if node.op_type not in _SHAPE_ONLY:
            waiting.extend(name for name in node.input if name)
    return HeadStructure(final_convs=frozenset(final), decode=frozenset(decode))


def match_nodes(model: ModelProto, names: Collection[str]) -> list[str]:
    """Return the first outputs of the nodes with these names, first outputs, or labels (see `node_label`).

    Raises:
        InputError: A name is no node of the graph.
    """
    by_name = {node_label(node): node.output[0] for node in model.graph.node}
    by_name |= {node.output[0]: node.output[0] for node in model.graph.node}
    unknown = sorted(set(names) - set(by_name))
    if unknown:
        close = difflib.get_close_matches(unknown[0], list(by_name), n=3, cutoff=0.4)
        raise InputError(
            f"The graph has no node {unknown[0]!r}.",
            expected="names of nodes",
            got=unknown[0],
            fix=f"Did you mean {' or '.join(close)}?" if close else "List them with `yolotrt verify --json`.",
        )
    return [by_name[name] for name in names]
