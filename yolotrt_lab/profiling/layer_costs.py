"""What every node of an ONNX graph costs: operations, and bytes that have to move.

A multiply-add counts as two operations. Elementwise arithmetic counts one per value that it makes, transcendental
functions too, as in PyTorch's, fvcore's and thop's counts; moving data (Concat, Slice, Transpose, …) counts none. Bytes
are what must cross the memory bus at least once if no cache helps: a tensor written by one layer and read by another
counts at both. Inside a fused group (`GraphCosts.group`) tensors pass through registers and count nowhere, which is
what fusion is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, shape_inference

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import GraphIndex, node_label
from yolotrt_lab.files import require_file

__all__ = ["BYTES_PER_VALUE", "GraphCosts", "LayerCost", "graph_costs", "inferred_graph", "static_shapes"]

BYTES_PER_VALUE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
"""Size of a number, by the arithmetic's name."""

# Operations per value of the output, for what is computed value by value.
_PER_OUTPUT: dict[str, float] = dict.fromkeys(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "And", "Or", "Not", "Equal", "Greater", "Less"),
        *("Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Erf", "Abs", "Neg", "Reciprocal", "Floor", "Ceil", "Round", "Sign"),
        *("Relu", "LeakyRelu", "PRelu", "Clip", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Gelu", "Mish", "Where"),
        *("DequantizeLinear", "Sin", "Cos", "GreaterOrEqual", "LessOrEqual", "Softsign", "ThresholdedRelu"),
    ),
    1.0,
)
# Largest, difference, exponential, sum, quotient; mean, difference, square, sum, root and quotient, scale, shift.
_PER_OUTPUT |= {"Softmax": 5.0, "LogSoftmax": 5.0, "BatchNormalization": 2.0, "QuantizeLinear": 2.0}
_PER_OUTPUT |= dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), 8.0)
_PER_INPUT = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ArgMax", "ArgMin", "GlobalAveragePool", "GlobalMaxPool", "CumSum")  # fmt: skip
_MOVING = ("Concat", "Slice", "Split", "Transpose", "Gather", "GatherElements", "GatherND", "ScatterND",
           "ScatterElements", "Pad", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Cast", "TopK")  # fmt: skip
# They give another name or shape to the same bytes, or look at shapes only.
_FREE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size", "Constant",
         "ConstantOfShape", "Range")  # fmt: skip
_RESIZE_TAPS = {"nearest": 0, "linear": 2, "cubic": 4}


@dataclass(frozen=True)
class LayerCost:
    """What a node, or a group of nodes done as one layer, takes.

    Attributes:
        flops: Operations; a multiply-add is two.
        product_flops: Those of convolutions and matrix products, which tensor cores and INT8 units speed up.
        read_bytes: Of activations.
        weight_bytes: Of weights and other constants.
        write_bytes: Of results.
    """

    flops: float
    product_flops: float
    read_bytes: float
    weight_bytes: float
    write_bytes: float

    @property
    def moved_bytes(self) -> float:
        """All bytes that cross the memory bus."""
        return self.read_bytes + self.weight_bytes + self.write_bytes

    @property
    def intensity(self) -> float:
        """Operations per byte; infinite where nothing moves."""
        return self.flops / self.moved_bytes if self.moved_bytes else math.inf


class GraphCosts:
    """Costs of all nodes of a graph, for one batch size.

    Nodes are known by their names, or as `node_label` calls them.

    Args:
        model: The graph; its height and width must be known.
        batch: Used where the graph leaves the batch open.

    Raises:
        InputError: A size cannot be known.
    """

    def __init__(self, model: ModelProto, *, batch: int = 1) -> None:
        graph = inferred_graph(model, batch=batch)
        self.batch = batch
        self.graph = graph
        self.index = GraphIndex(graph)
        self.nodes: dict[str, NodeProto] = {node_label(node): node for node in graph.node}
        self.shapes = static_shapes(graph)
        self.operators: dict[str, str] = {label: node.op_type for label, node in self.nodes.items()}
        self._types = {
            value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self._types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        self._folded = self._constant_tensors()
        self.is_quantized = any(node.op_type == "DequantizeLinear" for node in graph.node)
        self.unknown_operators = tuple(sorted({node.op_type for node in graph.node if not _is_known(node)}))

    def node(self, name: str, *, precision: str = "fp32") -> LayerCost:
        """Return the cost of one node by itself.

        Raises:
            InputError: The graph has no such node.
        """
        return self.group([name], precision=precision)

    def total(self, *, precision: str = "fp32") -> LayerCost:
        """Return the sum over all nodes, each by itself: the bytes of an engine that fuses nothing."""
        costs = [self.node(name, precision=precision) for name in self.nodes]
        sums = (sum(getattr(cost, key) for cost in costs) for key in LayerCost.__dataclass_fields__)
        return LayerCost(*sums)

    def group(self, names: Iterable[str], *, precision: str = "fp32") -> LayerCost:
        """Return the cost of nodes that are done as one layer: only what enters and leaves the group moves.

        Args:
            names: Nodes of the graph.
            precision: What the layer computes in. A tensor behind a Q/DQ pair counts one byte per value whatever
                this says; in a graph that has such pairs, any other tensor counts what its type in the graph says.

        Raises:
            InputError: The graph has no such node.
        """
        members = [self._find(name) for name in names]
        live = [node for node in members if self.depends_on_input(node)]
        made = {name for node in live for name in node.output}
        flops = {node.output[0]: self._flops(node) for node in live}
        moving = [node for node in live if node.op_type not in _FREE]
        read = dict.fromkeys(name for node in moving for name in _data_inputs(node) if name and name not in made)
        leaving = dict.fromkeys(
            name for node in moving for name in node.output
            if name in self.index.output_names or any(reader.output[0] not in made
                                                      for reader, _ in self.index.consumers(name))
        )  # fmt: skip
        # A compiler lets the maker of a tensor quantize it; only a layer that does nothing else reads it unquantized.
        quantizes_only = all(node.op_type in _CONVERSIONS for node in live)
        products = sum(flops[node.output[0]] for node in live if node.op_type in _PRODUCTS)
        return LayerCost(
            flops=float(sum(flops.values())),
            product_flops=float(products),
            read_bytes=float(
                sum(self._bytes(name, precision, raw=quantizes_only) for name in read if name not in self._folded)
            ),
            weight_bytes=float(sum(self._bytes(name, precision) for name in read if name in self._folded)),
            write_bytes=float(sum(self._bytes(name, precision) for name in leaving)),
        )

    def depends_on_input(self, node: NodeProto) -> bool:
        """Return whether a node works on activations; a compiler computes the others once."""
        return any(name not in self._folded for name in node.output)

    def node_named(self, name: str) -> str:
        """Return the node that makes a tensor of this name, for compilers that call nodes by their results."""
        maker = None if name in self.nodes else self.index.producer(name)
        return name if maker is None else node_label(maker)

    def is_constant(self, tensor: str) -> bool:
        """Return whether a tensor does not depend on the input."""
        return tensor in self._folded

    def label(self, node: NodeProto) -> str:
        """Return the name under which a node is known here."""
        return node_label(node)

    def _find(self, name: str) -> NodeProto:
        if name not in self.nodes:
            raise InputError(f"The graph has no node {name!r}.", expected="the name of a node", got=name)
        return self.nodes[name]

    def _constant_tensors(self) -> frozenset[str]:
        """Return tensors that do not depend on the input: a compiler computes them once."""
        constant = set(self.index.initializers)
        for node in self.index.graph.node:
            if node.op_type in ("Shape", "Size") or all(not name or name in constant for name in node.input):
                constant.update(node.output)
        return frozenset(constant)

    def _bytes(self, name: str, precision: str, *, raw: bool = False) -> float:
        values = math.prod(self._shape(name))
        stored = self._stored_bytes(name, raw=raw)
        if stored is None or (not self.is_quantized and self._types.get(name) == TensorProto.FLOAT):
            return values * BYTES_PER_VALUE.get(precision, 4)
        return values * stored

    def _stored_bytes(self, name: str, *, raw: bool) -> int | None:
        """Return the bytes of a value in memory, by the graph's types; next to a Q/DQ pair it is INT8."""
        maker = self.index.producer(name)
        readers = [reader.op_type for reader, _ in self.index.consumers(name)]
        if maker is not None and not raw:
            is_quantized = bool(readers) and all(kind == "QuantizeLinear" for kind in readers)
            if is_quantized or maker.op_type == "DequantizeLinear":
                return 1
        try:
            return int(helper.tensor_dtype_to_np_dtype(self._types[name]).itemsize)
        except (KeyError, TypeError):
            return None

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise InputError(
                f"The size of tensor {name!r} is not known.",
                expected="a model with fixed height and width",
                got="a size that shape inference cannot find",
                fix="Export it again with `yolotrt export`.",
            )
        return self.shapes[name]

    def _flops(self, node: NodeProto) -> float:
        if not self.depends_on_input(node) or node.op_type in (*_FREE, *_MOVING):
            return 0.0
        output = math.prod(self._shape(node.output[0]))
        if node.op_type in _PRODUCTS:
            return self._product_flops(node, output)
        if node.op_type in _PER_INPUT:
            return float(math.prod(self._shape(node.input[0])))
        if node.op_type in ("MaxPool", "AveragePool"):
            return float(output * math.prod(_attributes(node)["kernel_shape"]))
        if node.op_type in ("Resize", "Upsample"):
            return self._resize_flops(node, output)
        return output * _PER_OUTPUT.get(node.op_type, 1.0)

    def _product_flops(self, node: NodeProto, output: int) -> float:
        first, second = self._shape(node.input[0]), self._shape(node.input[1])
        has_bias = len(node.input) > 2 and bool(node.input[2])
        if node.op_type == "Conv":  # weights: (out, in / groups, kernel ...)
            flops = 2 * output * math.prod(second[1:])
        elif node.op_type == "ConvTranspose":  # weights: (in, out / groups, kernel ...)
            flops = 2 * math.prod(first) * math.prod(second[1:])
        elif node.op_type == "Gemm":
            flops = 2 * output * first[0 if _attributes(node).get("transA") else 1]
        else:
            flops = 2 * output * first[-1]
        return float(flops + has_bias * output)

    def _resize_flops(self, node: NodeProto, output: int) -> float:
        """Count a multiply-add for every tap along every axis that changes."""
        mode = _attributes(node).get("mode", b"nearest").decode()
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        changed = sum(old != new for old, new in zip(before, after, strict=True))
        taps = _RESIZE_TAPS.get(mode, 0)
        return float(2 * output * (taps**changed if taps and changed else 0))


_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def _is_known(node: NodeProto) -> bool:
    special = (*_PRODUCTS, *_PER_INPUT, *_MOVING, *_FREE, "MaxPool", "AveragePool", "Resize", "Upsample")
    return node.op_type in _PER_OUTPUT or node.op_type in special


def _data_inputs(node: NodeProto) -> list[str]:
    """Return a node's inputs without a quantization's scales, which become part of the kernel."""
    return list(node.input[:1] if node.op_type in ("QuantizeLinear", "DequantizeLinear") else node.input)


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def graph_costs(onnx_path: Path, *, batch: int = 1) -> GraphCosts:
    """Return the costs of an ONNX file's nodes.

    Args:
        onnx_path: The model; its height and width must be known.
        batch: The batch to count with, where the model leaves it open.

    Raises:
        InputError: Not a readable ONNX model, or sizes that cannot be known.
    """
    require_file(onnx_path, kind="ONNX model")
    try:
        model = onnx.load(onnx_path)
    except Exception as error:  # protobuf raises classes of its own
        raise InputError(f"{onnx_path} cannot be read.", expected="an ONNX model", got=error) from error
    return GraphCosts(model, batch=batch)


def inferred_graph(model: ModelProto, *, batch: int) -> onnx.GraphProto:
    """Return the graph with the shapes of all its tensors, computed for a batch.

    Raises:
        InputError: The shapes contradict each other.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and not dimensions[0].dim_value:
            dimensions[0].dim_value = batch
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")  # it may name the batch that is now a number
    del copy.graph.value_info[:]  # they were inferred for another batch
    try:
        return shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True).graph
    except Exception as error:  # onnx raises classes of its own
        raise InputError(
            "The shapes inside the graph cannot be found.", expected="a sound ONNX model", got=error
        ) from error


def static_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors whose every size is known."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(size.HasField("dim_value") for size in tensor.shape.dim):
            shapes[value.name] = tuple(size.dim_value for size in tensor.shape.dim)
    return shapes
