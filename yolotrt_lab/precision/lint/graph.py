"""A model as the linter sees it: pairs, what stands behind and before them, and what they say about numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types, opset_version
from yolotrt_lab.precision.structure import HeadStructure, find_head
from yolotrt_lab.types import Array

__all__ = [
    "ACTIVATIONS",
    "DEQUANTIZE",
    "MOVERS",
    "QUANTIZE",
    "WEIGHTED",
    "QdqGraph",
    "channel_axis",
    "same_values",
    "type_name",
]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
ACTIVATIONS = ("Sigmoid", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Clip", "Mul", "Tanh", "Mish", "Gelu")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVERS = ("MaxPool", "Resize", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
"""They move values about or pick among them; Concat, which joins several tensors, is treated by itself."""


class QdqGraph:
    """Look-ups for the rules; a snapshot of one graph.

    Args:
        model: Any ONNX model.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.index = GraphIndex(model.graph)
        self.opset = opset_version(model)
        self.nodes = list(model.graph.node)

    @functools.cached_property
    def head(self) -> HeadStructure:
        """Where the detector's head ends."""
        return find_head(self.model)

    @functools.cached_property
    def ranks(self) -> dict[str, int]:
        """Rank of every tensor that ONNX's shape inference can name."""
        try:
            types = infer_tensor_types(self.model)
        except Exception:  # inference stops at what is not in the standard; the rules that need ranks then say nothing
            return {}
        return {name: len(shape) for name, (_, shape) in types.items() if shape is not None}

    def of_type(self, *kinds: str) -> Iterator[NodeProto]:
        """Yield the nodes with one of these operators, in graph order."""
        return (node for node in self.nodes if node.op_type in kinds)

    def scale(self, node: NodeProto) -> Array | None:
        """Return the scale of a Q or DQ node, None when it is computed at run time."""
        return self.parameter(node, 1)

    def zero_point(self, node: NodeProto) -> Array | None:
        """Return the zero point of a Q or DQ node, None when there is none or it is computed at run time."""
        return self.parameter(node, 2)

    def parameter(self, node: NodeProto, slot: int) -> Array | None:
        """Return a constant input of a node, None when it is missing or computed at run time."""
        return self.index.constant(node.input[slot]) if slot < len(node.input) and node.input[slot] else None

    def depends_on_input(self, name: str) -> bool:
        """Return whether a tensor is computed from the network's input, not only from constants."""
        inputs = {value.name for value in self.model.graph.input} - set(self.index.initializers)
        waiting, seen = [name], {name}
        while waiting:
            tensor = waiting.pop()
            maker = self.index.producer(tensor)
            if tensor in inputs:
                return True
            waiting.extend(source for source in (maker.input if maker is not None else ()) if source not in seen)
            seen.update(waiting)
        return False

    def integer_type(self, node: NodeProto) -> int | None:
        """Return the ONNX element type a Q or DQ node works with, None when nothing says it."""
        zero_point = node.input[2] if len(node.input) > 2 else ""
        stored = node.input[0] if node.op_type == DEQUANTIZE else ""
        for name in (zero_point, stored):
            found = self.element_type(name) if name else None
            if found is not None:
                return found
        declared = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
        return int(declared) if declared and node.op_type == QUANTIZE else None

    def element_type(self, name: str) -> int | None:
        """Return the element type of a constant, None for what is computed."""
        if name in self.index.initializers:
            return int(self.index.initializers[name].data_type)
        maker = self.index.producer(name)
        if maker is not None and maker.op_type == "Constant":
            return next((int(a.t.data_type) for a in maker.attribute if a.name == "value"), None)
        return None

    def dequantized(self, name: str) -> NodeProto | None:
        """Return the DequantizeLinear that makes a tensor, if one does."""
        maker = self.index.producer(name)
        return maker if maker is not None and maker.op_type == DEQUANTIZE else None

    def carried(self, name: str) -> NodeProto | None:
        """Return the DequantizeLinear whose values a tensor holds, moved about at most."""
        for _ in range(len(self.nodes)):
            maker = self.index.producer(name)
            if maker is None or maker.op_type not in MOVERS:
                break
            name = maker.input[0]
        return self.dequantized(name)

    def readers_past_movers(self, name: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, with those of what moves or joins it in their place."""
        found, waiting, seen = [], [name], set()
        while waiting:
            for reader, _ in self.index.consumers(waiting.pop()):
                if reader.op_type not in (*MOVERS, "Concat"):
                    found.append(reader)
                elif reader.output[0] not in seen:
                    seen.add(reader.output[0])
                    waiting.extend(reader.output)
        return found

    def quantizer(self, dequantize: NodeProto) -> NodeProto | None:
        """Return the QuantizeLinear in front of a DequantizeLinear, if there is one."""
        maker = self.index.producer(dequantize.input[0])
        return maker if maker is not None and maker.op_type == QUANTIZE else None

    def behind_pairs(self, quantize: NodeProto) -> list[NodeProto]:
        """Return the nodes that read what a QuantizeLinear made, dequantized."""
        return [
            reader
            for dequantize, _ in self.index.consumers(quantize.output[0])
            if dequantize.op_type == DEQUANTIZE
            for reader, _ in self.index.consumers(dequantize.output[0])
        ]

    def weights_behind(self, dequantize: NodeProto) -> Array | None:
        """Return the constant that a pair, or a lone DequantizeLinear, makes weights of."""
        quantize = self.quantizer(dequantize)
        return self.index.constant(dequantize.input[0] if quantize is None else quantize.input[0])

    @staticmethod
    def axis(node: NodeProto) -> int:
        """Return the axis attribute of a Q or DQ node; ONNX's default is 1."""
        return next((int(a.i) for a in node.attribute if a.name == "axis"), 1)


def channel_axis(node: NodeProto) -> int:
    """Return the axis of a weighted node's output channels in its weights."""
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def type_name(element_type: int) -> str:
    """Return the name of an ONNX element type in lower case, as NumPy has it."""
    return str(TensorProto.DataType.Name(element_type)).lower()


def same_values(ours: Array | None, theirs: Array | None) -> bool:
    """Return whether two parameters are the same, or one of them is unknown."""
    return ours is None or theirs is None or np.array_equal(ours, theirs, equal_nan=True)
