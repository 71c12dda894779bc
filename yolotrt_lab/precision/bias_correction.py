"""Bias correction: take back the shift that rounding gives to the mean of every channel.

Rounding and clipping errors need not average out. Over the calibration images, output channel c of a convolution moves
by

    E[y'_c] - E[y_c]        y' = conv(Q(x), Q(W)), y = conv(x, W), over images and places,

and what is constant can be subtracted from the bias: b_c <- b_c - (E[y'_c] - E[y_c]). Source: Nagel, van Baalen,
Blankevoort and Welling, "Data-free quantization through weight equalization and bias correction", ICCV 2019, section
4.2 and appendix D (the empirical variant, which needs images but no assumption about the activations).

Both sides read the same x, that of the network without rounding, so every layer answers for its own rounding only and
one pass over the images corrects all. Comparing the quantized network with the other one instead counts what earlier
layers pass on once more in every later layer; corrected all at once, a YOLOv5n fell from 0.61 to 0.35 mAP50-95.

Each quantized convolution is computed beside the original in one graph, and the mean of the difference formed there: an
image leaves one number per channel behind, so memory does not depend on how many there are.

Does it pay? On a YOLOv5n not reliably: with one scale per output channel the shifts are small, the output error fell by
0 to 12 %, and mAP moved both ways. `benchmarks/quantization_refinements.py` measures it; quantization does not use it
by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from yolotrt_lab.precision.switchable import SwitchableGraph, drop_unused_constants
from yolotrt_lab.types import Array, FloatArray

__all__ = ["BiasCorrectionReport", "correct_biases"]

_CORRECTED = "__corrected_bias"


@dataclass(frozen=True)
class BiasCorrectionReport:
    """What was corrected.

    Attributes:
        path: The written file.
        shifts: Convolution to what was subtracted from its bias, (out channels,) float64.
        image_count: Images used.
    """

    path: Path
    shifts: Mapping[str, Array]
    image_count: int


def correct_biases(
    qdq_in: Path, onnx_out: Path, *, batches: Iterable[FloatArray], threads: int | None = None
) -> BiasCorrectionReport:
    """Write a Q/DQ graph with corrected biases; nothing else changes.

    Args:
        qdq_in: A model that `quantize_onnx` wrote; its base may be FP32 or FP16.
        onnx_out: Where the corrected model goes.
        batches: Preprocessed images, (n, 3, H, W) float32; a generator is fine.
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: Nothing is quantized, the biases are corrected already, or there are no images.
        OutputError: The file cannot be written.
    """
    model = load_onnx_checked(qdq_in)
    if any(tensor.name.endswith(_CORRECTED) for tensor in model.graph.initializer):
        raise InputError(
            f"The biases of {qdq_in} are corrected already; once more would be once too often.",
            expected="what `quantize_onnx` wrote",
            got="corrected biases",
        )
    shifts, image_count = _measured_shifts(model, batches, threads)
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        bias = index.constant(node.input[2]) if len(node.input) > 2 else None
        if node.op_type != "Conv" or bias is None or node_label(node) not in shifts:
            continue
        name = f"{node_label(node)}{_CORRECTED}"  # its own, as exporters let layers with equal biases share one
        corrected = (bias - shifts[node_label(node)]).astype(bias.dtype)
        model.graph.initializer.append(numpy_helper.from_array(corrected, name))
        node.input[2] = name
    drop_unused_constants(model.graph)
    with atomic_path(onnx_out) as target:
        check_result(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
    return BiasCorrectionReport(onnx_out, shifts, image_count)


def _measured_shifts(
    model: ModelProto, batches: Iterable[FloatArray], threads: int | None
) -> tuple[dict[str, Array], int]:
    both, layers = _side_by_side(SwitchableGraph(model))
    session = make_session(both, threads=threads)
    names = list(layers.values())
    sums: list[Array] = [np.zeros(1) for _ in names]
    count = 0
    for batch in batches:
        for image in batch:
            values = session.run(names, {model.graph.input[0].name: image[None]})
            sums = [total + value.astype(np.float64) for total, value in zip(sums, values, strict=True)]
            count += 1
    if count == 0:
        raise InputError("There are no images to correct biases with.", expected="at least one, better 64", got="0")
    return {layer: total / count for layer, total in zip(layers, sums, strict=True)}, count


def _side_by_side(graph: SwitchableGraph) -> tuple[ModelProto, dict[str, str]]:
    """Return a graph that computes each quantized convolution twice, and the output that holds the mean difference."""
    model, quantized = graph.plain(), graph.variant(graph.layers)
    known = {tensor.name for tensor in model.graph.initializer}
    model.graph.initializer.extend(tensor for tensor in quantized.graph.initializer if tensor.name not in known)
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "__flat"))
    added = [node for node in quantized.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    layers = {}
    for node in quantized.graph.node:
        layer, output = node_label(node), node.output[0]
        if node.op_type != "Conv" or layer not in graph.layers or len(node.input) < 3:
            continue
        twin = NodeProto()
        twin.CopyFrom(node)
        twin.name, twin.output[0] = f"{layer}__twin", f"{output}__twin"
        steps = {name: f"{output}__{name}" for name in ("difference", "float", "mean4", "mean")}
        added += [
            twin,
            helper.make_node("Sub", [twin.output[0], output], [steps["difference"]]),
            helper.make_node("Cast", [steps["difference"]], [steps["float"]], to=TensorProto.FLOAT),
            helper.make_node("GlobalAveragePool", [steps["float"]], [steps["mean4"]]),
            helper.make_node("Reshape", [steps["mean4"], "__flat"], [steps["mean"]]),
        ]
        model.graph.output.append(helper.make_tensor_value_info(steps["mean"], TensorProto.FLOAT, [None]))
        layers[layer] = steps["mean"]
    replace_nodes(model.graph, [*model.graph.node, *added])
    drop_unused_constants(model.graph)
    return model, layers
