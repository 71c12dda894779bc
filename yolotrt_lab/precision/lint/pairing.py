"""Checks of how Q and DQ nodes follow each other, and of operators that quantize in other ways."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto, TensorProto

from yolotrt_lab.export.graph import node_label
from yolotrt_lab.precision.lint.graph import DEQUANTIZE, QUANTIZE, QdqGraph, same_values
from yolotrt_lab.precision.lint.rule import Finding, Severity

__all__ = ["contrib_pairs", "dangling", "double", "integer_readers", "integer_sources", "pair_mismatch", "qoperators"]

_QOPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_STANDARD = ("", "ai.onnx")


def qoperators(graph: QdqGraph) -> Iterator[Finding]:
    """Operators that compute on integers themselves."""
    for node in graph.nodes:
        if _is_qoperator(node):
            yield Finding(node_label(node), f"{node.op_type} computes on integers itself; TensorRT takes Q/DQ pairs")


def _is_qoperator(node: NodeProto) -> bool:
    foreign = node.domain not in _STANDARD and node.op_type.startswith(("QLinear", "QGemm", "DynamicQuant"))
    return foreign or node.op_type in _QOPERATORS


def contrib_pairs(graph: QdqGraph) -> Iterator[Finding]:
    """Q and DQ nodes of a vendor's own domain."""
    for node in graph.of_type(QUANTIZE, DEQUANTIZE):
        if node.domain not in _STANDARD:
            message = f"{node.op_type} of {node.domain!r}, not of the ONNX standard"
            yield Finding(node_label(node), message)


def pair_mismatch(graph: QdqGraph) -> Iterator[Finding]:
    """A DequantizeLinear that undoes something else than its QuantizeLinear did."""
    for node in graph.of_type(DEQUANTIZE):
        quantize = graph.quantizer(node)
        if quantize is None:
            continue  # weights stored as integers
        for slot, what in ((1, "scale"), (2, "zero point")):
            if not same_values(graph.parameter(node, slot), graph.parameter(quantize, slot)):
                yield Finding(node_label(node), f"its {what} differs from that of its QuantizeLinear")


def integer_readers(graph: QdqGraph) -> Iterator[Finding]:
    """Integers that go anywhere but to a DequantizeLinear."""
    for node in graph.of_type(QUANTIZE):
        for reader, _ in graph.index.consumers(node.output[0]):
            if reader.op_type != DEQUANTIZE and not _is_qoperator(reader):
                message = f"its INT8 output goes to {reader.op_type}; a DequantizeLinear must follow"
                yield Finding(node_label(node), message)


def integer_sources(graph: QdqGraph) -> Iterator[Finding]:
    """A DequantizeLinear on an activation that no QuantizeLinear made."""
    inputs = {value.name for value in graph.model.graph.input}
    for node in graph.of_type(DEQUANTIZE):
        source = node.input[0]
        if graph.index.is_constant(source) or source in inputs or graph.quantizer(node) is not None:
            continue
        maker = graph.index.producer(source)
        kind = "nothing" if maker is None else maker.op_type
        yield Finding(node_label(node), f"it dequantizes what {kind} made; there is no QuantizeLinear in front of it")


def dangling(graph: QdqGraph) -> Iterator[Finding]:
    """Q or DQ nodes that nobody reads, or that end in the network's output."""
    outputs = graph.index.output_names
    for node in graph.of_type(QUANTIZE, DEQUANTIZE):
        result = node.output[0]
        if not graph.index.consumers(result) and result not in outputs:
            yield Finding(node_label(node), "nobody reads what it makes")
        elif node.op_type == QUANTIZE and result in outputs:
            message = "the network puts out bare integers, without their scale"
            yield Finding(node_label(node), message, severity=Severity.INACCURATE)


def double(graph: QdqGraph) -> Iterator[Finding]:
    """A pair right behind a pair."""
    for node in graph.of_type(QUANTIZE):
        first = graph.dequantized(node.input[0])
        if first is None or graph.integer_type(first) == TensorProto.INT32:
            continue
        if same_values(graph.scale(first), graph.scale(node)):
            message = f"quantizes what {node_label(first)} has just dequantized, with the same scale"
            yield Finding(node_label(node), message, severity=Severity.SLOW)
        else:
            message = f"rounds what {node_label(first)} has just dequantized again, with another scale"
            yield Finding(node_label(node), message)
