"""Smoothing: moving the spread between channels from activations, with their one scale, to weights, which have many.

One channel with a large range coarsens the step of all others. Dividing input channel c of a convolution by s_c and
multiplying its weights for that channel by s_c changes nothing in real numbers:

    conv(x, W) = conv(x / s, W s),        s_c = max|x_c|^alpha / max|W_c|^(1 - alpha)

with alpha = 0.5 sharing the difficulty evenly. Source: Xiao et al., "SmoothQuant", ICML 2023; for convolutions in
series, Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019.

Where is that exact without extra work? The division has to go somewhere. Behind a ReLU, max(0, z) / s = max(0, z / s),
so it folds into the convolution before: weights and bias of its output channel c are divided by s_c. SiLU is not
homogeneous, SiLU(z) / s != SiLU(z / s), so in a SiLU network folding is wrong everywhere but between convolutions with
nothing but Concat, Resize and the like in between, and YOLO has no such pair. What stays exact is a multiplication by
the constant 1 / s behind the SiLU. It is elementwise, so compilers can append it to the epilogue that computes the
SiLU. That is done here, and only where it can be appended: where the tensor comes straight from an activation and
convolutions alone read it. Behind a Concat or beside a residual addition it would be a pass over memory of its own.

Does it pay? On a YOLOv5n hardly: its channels differ by a factor of 6 at most (the language models SmoothQuant was made
for have factors of 100). `benchmarks/quantization_refinements.py` measures it; quantization does not use it by default.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import GraphIndex, node_label, replace_nodes
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import check_result
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.precision.switchable import drop_unused_constants
from yolotrt_lab.types import Array, FloatArray

__all__ = ["SmoothingReport", "smooth_onnx", "smoothable_tensors"]

_ACTIVATIONS = ("Mul", "Relu", "LeakyRelu", "HardSwish", "Mish", "Gelu", "Clip", "Sigmoid", "Tanh")
_LIMIT = 2.0**10


@dataclass(frozen=True)
class SmoothingReport:
    """What was smoothed.

    Attributes:
        path: The written file.
        tensors: Activations that are divided, in graph order.
        convs: Names of the convolutions that read them.
        spread: Tensor to its largest channel's range over the median channel's, before.
    """

    path: Path
    tensors: tuple[str, ...]
    convs: tuple[str, ...]
    spread: dict[str, float]


def smoothable_tensors(model: ModelProto) -> dict[str, tuple[NodeProto, ...]]:
    """Return the activations whose division an epilogue can take, with the convolutions that read them."""
    index = GraphIndex(model.graph)
    quantized = frozenset(plan_placement(model).convs)
    found = {}
    for node in model.graph.node:
        tensor = node.output[0]
        readers = [reader for reader, _ in index.consumers(tensor)]
        if node.op_type in _ACTIVATIONS and readers and tensor not in index.output_names:
            plain = all(reader.output[0] in quantized and _groups(reader) == 1 for reader in readers)
            if plain:
                found[tensor] = tuple(readers)
    return found


def smooth_onnx(
    onnx_in: Path,
    onnx_out: Path,
    *,
    batches: Iterable[FloatArray],
    layers: Collection[str] | None = None,
    alpha: float = 0.5,
    threads: int | None = None,
) -> SmoothingReport:
    """Write an FP32 detector that computes the same and is easier to quantize; calibrate and quantize that one.

    Args:
        onnx_in: The FP32 model.
        onnx_out: Where the smoothed FP32 model goes.
        batches: Preprocessed images, (n, 3, H, W) float32; 16 show the channels' ranges.
        layers: Convolutions to smooth the inputs of, by name; by default all that can be.
        alpha: How much of the spread goes to the weights, 0 to 1.
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: `alpha` is out of range, there are no images, or nothing can be smoothed.
        OutputError: The file cannot be written.
    """
    if not 0 <= alpha <= 1:
        raise InputError("The strength of smoothing is out of range.", expected="0 to 1", got=alpha)
    model = load_onnx_checked(onnx_in)
    places = {
        tensor: readers
        for tensor, readers in smoothable_tensors(model).items()
        if layers is None or any(node_label(reader) in layers for reader in readers)
    }
    if not places:
        raise InputError(
            "No layer can be smoothed.",
            expected="a convolution that reads an activation nothing else but convolutions reads",
            got=f"{len(layers)} layers, none of that kind" if layers is not None else "no such convolution",
        )
    amax = _channel_amax(model, list(places), batches, threads)
    spread = {tensor: float(values.max() / max(float(np.median(values)), 1e-12)) for tensor, values in amax.items()}
    for tensor, readers in places.items():
        _divide(model, tensor, [reader.output[0] for reader in readers], amax[tensor], alpha)
    with atomic_path(onnx_out) as target:
        check_result(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
    convs = tuple(node_label(reader) for readers in places.values() for reader in readers)
    return SmoothingReport(onnx_out, tuple(places), convs, spread)


def _groups(node: NodeProto) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "group"), 1)


def _channel_amax(
    model: ModelProto, tensors: list[str], batches: Iterable[FloatArray], threads: int | None
) -> dict[str, Array]:
    """Return the largest magnitude of every channel, formed inside the graph: memory does not grow with images."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in tensors:
        copy.graph.node.append(helper.make_node("Abs", [tensor], [f"{tensor}__abs"]))
        copy.graph.node.append(helper.make_node("GlobalMaxPool", [f"{tensor}__abs"], [f"{tensor}__amax"]))
        copy.graph.output.append(helper.make_tensor_value_info(f"{tensor}__amax", TensorProto.FLOAT, None))
    session = make_session(copy, threads=threads)
    names = [f"{tensor}__amax" for tensor in tensors]
    amax: dict[str, Array] = {}
    for batch in batches:
        for image in batch:
            values = session.run(names, {model.graph.input[0].name: image[None]})
            for tensor, value in zip(tensors, values, strict=True):
                flat = value.reshape(-1)
                amax[tensor] = np.maximum(amax[tensor], flat) if tensor in amax else flat
    if not amax:
        raise InputError("There are no images to smooth with.", expected="at least one, better 16", got="0")
    return amax


def _divide(model: ModelProto, tensor: str, readers: list[str], amax: Array, alpha: float) -> None:
    """Put x / s in front of the readers and s into their weights, in place."""
    index = GraphIndex(model.graph)
    nodes = [node for node in model.graph.node if node.output[0] in readers]
    weights = [index.constant(node.input[1]) for node in nodes]
    stored = [values for values in weights if values is not None]
    weight_amax = np.max([np.abs(values).max(axis=(0, 2, 3)) for values in stored], axis=0)
    factor = np.maximum(amax, 1e-6) ** alpha / np.maximum(weight_amax, 1e-6) ** (1 - alpha)
    factor = np.clip(factor / np.exp(np.log(factor).mean()), 1 / _LIMIT, _LIMIT)
    # A power of two divides without rounding, so the smoothed model gives the same numbers bit by bit.
    factor = np.exp2(np.rint(np.log2(factor))).astype(np.float32)
    constant, divided = f"{tensor}__smoothing", f"{tensor}__smoothed"
    model.graph.initializer.append(numpy_helper.from_array(1 / factor.reshape(1, -1, 1, 1), constant))
    divide = helper.make_node("Mul", [tensor, constant], [divided], f"{tensor}_smooth")
    for node, values in zip(nodes, stored, strict=True):
        name = f"{node.input[1]}__smoothed_{node_label(node)}"
        model.graph.initializer.append(numpy_helper.from_array(values * factor.reshape(1, -1, 1, 1), name))
        node.input[0], node.input[1] = divided, name
    replace_nodes(model.graph, [*model.graph.node, divide])
    drop_unused_constants(model.graph)
