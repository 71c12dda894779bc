"""Checks of where pairs stand: at the inputs of convolutions and residual additions, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto, TensorProto

from yolotrt_lab.export.graph import node_label
from yolotrt_lab.precision.lint.graph import (
    ACTIVATIONS,
    DEQUANTIZE,
    MOVERS,
    QUANTIZE,
    WEIGHTED,
    QdqGraph,
    same_values,
)
from yolotrt_lab.precision.lint.parameters import weight_scales_fit
from yolotrt_lab.precision.lint.rule import Finding, Severity
from yolotrt_lab.precision.structure import is_dfl_conv

__all__ = [
    "activation_per_channel",
    "before_activation",
    "biases",
    "concat_scales",
    "decode",
    "final_convs",
    "logits",
    "movers",
    "one_input",
    "residual_adds",
    "weight_scales",
]


def activation_per_channel(graph: QdqGraph) -> Iterator[Finding]:
    """Several scales for one activation."""
    for node in graph.of_type(QUANTIZE):
        scale = graph.scale(node)
        if scale is not None and scale.size > 1 and not graph.index.is_constant(node.input[0]):
            yield Finding(node_label(node), f"{scale.size} scales for an activation; TensorRT takes one")


def weight_scales(graph: QdqGraph) -> Iterator[Finding]:
    """Weights with one scale for all channels, or with scales along the wrong axis."""
    for node in graph.of_type(*WEIGHTED):
        dequantize = graph.dequantized(node.input[1])
        if dequantize is not None:
            yield from weight_scales_fit(graph, node, dequantize)


def one_input(graph: QdqGraph) -> Iterator[Finding]:
    """A convolution of which only the input, or only the weights, are INT8."""
    for node in graph.of_type("Conv"):
        quantized = [graph.dequantized(name) is not None for name in node.input[:2]]
        if quantized[0] != quantized[1]:
            missing = "weights" if quantized[0] else "input"
            yield Finding(node_label(node), f"its {missing} are not quantized, so it cannot run in INT8")


def biases(graph: QdqGraph) -> Iterator[Finding]:
    """A bias behind a DequantizeLinear."""
    for node in graph.of_type("Conv", "ConvTranspose", "Gemm"):
        pair = graph.dequantized(node.input[2]) if len(node.input) > 2 else None
        if pair is not None:
            if graph.integer_type(pair) == TensorProto.INT32:
                message = "its bias is quantized, which the TensorRT parser refuses; leave biases alone"
                yield Finding(node_label(node), message, answer=f"Invalid Node - {node_label(pair)}")
            else:
                message = "its bias is quantized, for no gain: it is added to INT32 sums; leave biases alone"
                yield Finding(node_label(node), message, answer="", severity=Severity.INACCURATE)


def residual_adds(graph: QdqGraph) -> Iterator[Finding]:
    """A residual Add of which one branch is INT8 and the other is neither that nor a bare convolution."""
    for node in graph.of_type("Add"):
        if node.output[0] in graph.head.decode or any(graph.index.is_constant(name) for name in node.input):
            continue
        if any(graph.ranks.get(name, 4) != 4 for name in node.output):
            continue
        quantized = [graph.dequantized(name) is not None for name in node.input]
        if quantized[0] == quantized[1]:
            continue
        other = node.input[1 if quantized[0] else 0]
        maker = graph.index.producer(other)
        if maker is None or maker.op_type not in ("Conv", "ConvTranspose"):
            kind = "the network's input" if maker is None else node_label(maker)
            yield Finding(node_label(node), f"one branch is quantized, the other, from {kind}, is not")


def concat_scales(graph: QdqGraph) -> Iterator[Finding]:
    """A Concat whose inputs come in different steps."""
    for node in graph.of_type("Concat"):
        pairs = [graph.carried(name) for name in node.input]
        found = [pair for pair in pairs if pair is not None]
        if not found or node.output[0] in graph.head.decode:
            continue  # in the decode another rule speaks
        label = node_label(node)
        scales = [graph.scale(pair) for pair in found]
        if len(found) < len(pairs):
            message = f"{len(found)} of its {len(pairs)} inputs are quantized; it then joins in high precision"
            yield Finding(label, message)
        elif not all(same_values(scales[0], scale) for scale in scales[1:]):
            numbers = ", ".join(f"{float(scale.ravel()[0]):.4g}" for scale in scales if scale is not None)
            yield Finding(label, f"its inputs have the scales {numbers}; one tensor can only have one")


def movers(graph: QdqGraph) -> Iterator[Finding]:
    """A pair of its own in front of what only moves values."""
    for node in graph.of_type(*MOVERS):
        pair = graph.dequantized(node.input[0]) if node.input else None
        if pair is None or graph.index.is_constant(pair.input[0]) or node.output[0] in graph.head.decode:
            continue
        readers = [reader for name in node.output for reader in graph.readers_past_movers(name)]
        kept = [r.op_type == QUANTIZE and same_values(graph.scale(r), graph.scale(pair)) for r in readers]
        if not readers or not all(kept):
            message = f"{node.op_type} reads a pair, and what it makes is not quantized with the same scale"
            yield Finding(node_label(node), message)


def before_activation(graph: QdqGraph) -> Iterator[Finding]:
    """Convolution, pair, activation: a rounding where the fused kernel has none."""
    for node, maker in _behind_weighted(graph):
        if _feeds_activation(graph, node):
            message = f"the output of {node_label(maker)} is quantized before its activation; quantize inputs instead"
            yield Finding(node_label(node), message)


def logits(graph: QdqGraph) -> Iterator[Finding]:
    """Pairs behind the last convolutions of the head."""
    for node, maker in _behind_weighted(graph):
        if maker.output[0] in graph.head.final_convs and not _feeds_activation(graph, node):
            message = f"the logits of {node_label(maker)} are quantized; keep them in high precision"
            yield Finding(node_label(node), message)


def decode(graph: QdqGraph) -> Iterator[Finding]:
    """Pairs between the operations that make boxes of logits."""
    for node in graph.of_type(QUANTIZE):
        maker = graph.index.producer(node.input[0])
        if maker is None or maker.op_type in (*WEIGHTED, DEQUANTIZE):
            continue
        if maker.output[0] in graph.head.decode:
            message = f"{node_label(maker)} belongs to the decode, which is to stay in high precision"
            yield Finding(node_label(node), message)


def final_convs(graph: QdqGraph) -> Iterator[Finding]:
    """Last convolutions of the head, or DFL's, in INT8."""
    for node in graph.of_type("Conv"):
        last = node.output[0] in graph.head.final_convs or is_dfl_conv(node, graph.index)
        if last and graph.dequantized(node.input[0]) is not None:
            yield Finding(node_label(node), "the end of the head is quantized; scores and boxes lose precision")


def _behind_weighted(graph: QdqGraph) -> Iterator[tuple[NodeProto, NodeProto]]:
    """Yield (QuantizeLinear, the weighted node whose output it quantizes)."""
    for node in graph.of_type(QUANTIZE):
        maker = graph.index.producer(node.input[0])
        if maker is not None and maker.op_type in WEIGHTED:
            yield node, maker


def _feeds_activation(graph: QdqGraph, quantize: NodeProto) -> bool:
    readers = [reader for reader, _ in graph.index.consumers(quantize.input[0])]
    return any(reader.op_type in ACTIVATIONS for reader in (*readers, *graph.behind_pairs(quantize)))
