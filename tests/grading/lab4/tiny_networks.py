"""Tiny convolutional networks for the exercises about engines: built in well under a second, with a detector's shapes.

Random weights, names like those of an exported YOLO, the fusions a real network offers (Conv+SiLU, Conv+ReLU,
Conv+Sigmoid, a residual Add), and, where asked, several inputs, an upsampling layer, or Q/DQ nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.types import Array

OPSET = 17
SIDE = 16
"""Height and width of the networks' images."""
_WORDS = ("stem", "neck", "trunk", "branch", "fork", "bridge", "ladder", "spine")


class NetworkBuilder:
    """Collects nodes and constants of a small graph; every node's name says what it does, as an exporter would.

    Args:
        rng: Where the weights come from.
        prefix: In front of every node's name, such as "/model.3".
    """

    def __init__(self, rng: np.random.Generator, *, prefix: str) -> None:
        self.rng = rng
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0

    def node(self, operator: str, inputs: list[str], place: str, **attributes: Any) -> str:
        """Append a node `<prefix>/<place>/<operator>` and return the name of its output."""
        name = f"{self.prefix}/{place}/{operator}"
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, values: Array, label: str) -> str:
        """Append a constant and return its name."""
        self._count += 1
        name = f"{label}_{self._count}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(self, source: str, place: str, channels: tuple[int, int], *, kernel: int = 3, stride: int = 1) -> str:
        """Append a convolution with bias, (inputs, outputs) channels, that keeps the size of its values."""
        fan_in = channels[0] * kernel * kernel
        weights = self.rng.normal(size=(channels[1], channels[0], kernel, kernel)) * np.sqrt(2.0 / fan_in)
        bias = self.rng.normal(size=channels[1]) * 0.2
        names = [
            self.constant(values.astype(np.float32), label)
            for values, label in ((weights, f"{place}.weight"), (bias, f"{place}.bias"))
        ]
        return self.node("Conv", [source, *names], f"{place}/conv", pads=[kernel // 2] * 4, strides=[stride] * 2)

    def silu(self, source: str, place: str) -> str:
        """Append x times sigmoid(x)."""
        gate = self.node("Sigmoid", [source], f"{place}/act")
        return self.node("Mul", [source, gate], f"{place}/act")

    def model(self, inputs: Mapping[str, tuple[Any, ...]], outputs: Mapping[str, tuple[Any, ...]]) -> onnx.ModelProto:
        """Return the model; the nodes already write the outputs by these names.

        Args:
            inputs: Name to shape; a text stands for a dynamic dimension.
            outputs: The same.
        """

        def values(entries: Mapping[str, tuple[Any, ...]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(s)) for name, s in entries.items()]

        graph = helper.make_graph(self.nodes, "tiny", values(inputs), values(outputs), self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(made)
        return made

    def name_output(self, tensor: str, name: str) -> None:
        """Give a tensor the name of an output."""
        for node in self.nodes:
            node.output[:] = [name if output == tensor else output for output in node.output]
            node.input[:] = [name if source == tensor else source for source in node.input]


def random_prefix(rng: np.random.Generator) -> str:
    """Return a name such as "/bridge.3": so that nobody's answer can know the names beforehand."""
    return f"/{_WORDS[int(rng.integers(len(_WORDS)))]}.{int(rng.integers(2, 40))}"


def detector(
    rng: np.random.Generator,
    *,
    batch: int | str = 1,
    width: int = 8,
    upsample: bool = False,
    halving: bool = False,
    second_input: bool = False,
    prefix: str | None = None,
) -> onnx.ModelProto:
    """Return a network with a stem (Conv, SiLU), a residual block (Conv, ReLU, Add) and a head (Conv, Sigmoid).

    Args:
        rng: Where weights and names come from.
        batch: Size of the first dimension, or its name if it is dynamic.
        width: Channels inside.
        upsample: Whether a Resize stands before the head.
        halving: Whether the values are multiplied by what a Constant node gives.
        second_input: Whether there is an input `gain`, (batch, 1, 1, 1), that multiplies the image.
        prefix: Of the nodes' names; random if None.
    """
    made = NetworkBuilder(rng, prefix=random_prefix(rng) if prefix is None else prefix)
    image = "images"
    if second_input:
        image = made.node("Mul", ["images", "gain"], "gain")
    stem = made.silu(made.conv(image, "stem", (3, width), stride=2), "stem")
    inner = made.node("Relu", [made.conv(stem, "block", (width, width))], "block/act")
    joined = made.node("Add", [stem, inner], "block")
    if halving:
        factor = numpy_helper.from_array(np.full(1, 0.5, np.float32))
        joined = made.node("Mul", [joined, made.node("Constant", [], "halve", value=factor)], "halve")
    side = SIDE // 2
    if upsample:
        scales = made.constant(np.array([1, 1, 2, 2], np.float32), "upsample.scales")
        joined = made.node("Resize", [joined, "", scales], "up", mode="nearest")
        side = SIDE
    scores = made.node("Sigmoid", [made.conv(joined, "head", (width, 5), kernel=1)], "head/act")
    made.name_output(scores, "output0")
    inputs: dict[str, tuple[Any, ...]] = {"images": (batch, 3, SIDE, SIDE)}
    if second_input:
        inputs["gain"] = (batch, 1, 1, 1)
    return made.model(inputs, {"output0": (batch, 5, side, side)})


def feeds_for(model: onnx.ModelProto, rng: np.random.Generator, *, batch: int = 1) -> dict[str, Array]:
    """Return inputs in [0, 1) for every input of a model."""
    feeds = {}
    for value in model.graph.input:
        shape = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        feeds[value.name] = rng.random(shape, dtype=np.float32)
    return feeds


def compute_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that do most of the arithmetic, in the order of the graph."""
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]


def reference(model: onnx.ModelProto | bytes | Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return what ONNX Runtime computes in FP32 on the CPU, by output name."""
    return dict(zip(*_run(model, feeds, extra=()), strict=True))


def _run(
    model: onnx.ModelProto | bytes | Path, feeds: Mapping[str, Array], *, extra: Collection[str]
) -> tuple[list[str], list[Array]]:
    import onnxruntime

    if isinstance(model, Path):
        model = onnx.load(model)
    if isinstance(model, onnx.ModelProto):
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in extra)
        model = watched.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [output.name for output in session.get_outputs()], session.run(None, dict(feeds))


def quantized(model: onnx.ModelProto, rng: np.random.Generator, *, nodes: Collection[str]) -> onnx.ModelProto:
    """Return a copy with Q/DQ pairs before the inputs and weights of some convolutions, by TensorRT's rules.

    Args:
        model: An FP32 network without Q/DQ nodes.
        rng: Makes the images that the scales are taken from.
        nodes: Names of the convolutions.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    chosen = [node for node in made.graph.node if node.name in nodes]
    given = {value.name for value in made.graph.input}
    watched = sorted({node.input[0] for node in chosen} - given)
    feeds = feeds_for(model, rng, batch=2)
    seen = {**feeds, **dict(zip(*_run(model, feeds, extra=watched), strict=True))}
    zero = numpy_helper.from_array(np.zeros((), np.int8), "zero_point")
    made.graph.initializer.append(zero)
    for node in chosen:
        scale = np.float32(np.abs(seen[node.input[0]]).max() / 127)
        node.input[0] = _pair(made, f"{node.name}_input", node.input[0], scale)
        values = numpy_helper.to_array(weights[node.input[1]])
        per_channel = (np.abs(values).max(axis=(1, 2, 3)) / 127).astype(np.float32)
        integers = np.rint(values / per_channel[:, None, None, None]).astype(np.int8)
        node.input[1] = _dequantized(made, f"{node.name}_weight", integers, per_channel)
    onnx.checker.check_model(made)
    return made


def _place(model: onnx.ModelProto, new: onnx.NodeProto, reader: str) -> None:
    """Put a node in front of the first node named `reader`."""
    nodes = list(model.graph.node)
    index = next(index for index, node in enumerate(nodes) if node.name == reader)
    model.graph.node.insert(index, new)


def _pair(model: onnx.ModelProto, label: str, source: str, scale: np.float32) -> str:
    reader = label.removesuffix("_input")
    name = f"{label}_scale"
    zero_point = "zero_point"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(scale), name))
    integer, real = f"{label}_quantized", f"{label}_dequantized"
    for operator, tensors in (("QuantizeLinear", (source, integer)), ("DequantizeLinear", (integer, real))):
        node = helper.make_node(operator, [tensors[0], name, zero_point], [tensors[1]], name=f"{label}/{operator}")
        _place(model, node, reader)
    return real


def _dequantized(model: onnx.ModelProto, label: str, integers: Array, scales: Array) -> str:
    reader = label.removesuffix("_weight")
    names = [f"{label}_quantized", f"{label}_scale", f"{label}_zero"]
    for name, values in zip(names, (integers, scales, np.zeros(len(scales), np.int8)), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    real = f"{label}_dequantized"
    node = helper.make_node("DequantizeLinear", names, [real], name=f"{label}/DequantizeLinear", axis=0)
    _place(model, node, reader)
    return real


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model, the same bytes every time, and return the path."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
