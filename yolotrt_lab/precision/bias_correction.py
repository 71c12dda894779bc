"""Bias correction: take back the shift that rounding gives to the mean of every channel.

Rounding errors of weights and activations need not average out. Over the calibration images, output channel c of a
convolution moves by

    E[y'_c] - E[y_c]        y' of the quantized network, y of the FP32 one, over images and places,

and what is constant can be subtracted from the bias: b_c <- b_c - (E[y'_c] - E[y_c]). Source: Nagel, van Baalen,
Blankevoort and Welling, "Data-free quantization through weight equalization and bias correction", ICCV 2019, section
4.2 and appendix D (the empirical variant, which needs images but no assumption about the activations).

A layer's shift includes what the layers before it pass on, which goes away once these are corrected. Correcting all at
once therefore overshoots; measuring again and correcting again settles it: after sweep n, every layer with fewer than
n quantized layers before it is exact. Means are formed inside the graph, so an image leaves one number per channel
behind, and memory does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import GraphIndex, node_label
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import check_result
from yolotrt_lab.precision.switchable import drop_unused_constants
from yolotrt_lab.types import Array, FloatArray, ProgressCallback

__all__ = ["BiasCorrectionReport", "correct_biases", "mean_shifts"]

DEFAULT_SWEEPS = 3


@dataclass(frozen=True)
class BiasCorrectionReport:
    """What was corrected.

    Attributes:
        path: The written file.
        corrected: Names of the convolutions whose biases changed.
        shift_before: Root mean square of the shifts of all channels, each in units of its layer's standard deviation
            over channels of the FP32 means; of the first sweep.
        shift_after: The same, measured after the last sweep.
        image_count: Images used.
    """

    path: Path
    corrected: tuple[str, ...]
    shift_before: float
    shift_after: float
    image_count: int


def correct_biases(
    qdq_in: Path,
    onnx_out: Path,
    *,
    reference: Path,
    batches: Iterable[FloatArray],
    sweeps: int = DEFAULT_SWEEPS,
    threads: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> BiasCorrectionReport:
    """Write a Q/DQ graph with corrected biases; nothing else changes.

    Args:
        qdq_in: A quantized model; its base may be FP32 or FP16.
        onnx_out: Where the corrected model goes.
        reference: The FP32 model it was made from.
        batches: Preprocessed images, (n, 3, H, W) float32; iterated over anew for every sweep, so no generator.
        sweeps: How often to measure and correct.
        threads: CPU threads for ONNX Runtime; by default all.
        on_progress: Called with (passes over the images done, passes).

    Raises:
        InputError: The models do not belong together, nothing is quantized, or there are no images.
        OutputError: The file cannot be written.
    """
    if sweeps < 1:
        raise InputError("Nothing to correct.", expected="at least one sweep", got=sweeps)
    model, plain = load_onnx_checked(qdq_in), load_onnx_checked(reference)
    layers = _correctable(model, plain)
    wanted, image_count = _channel_means(plain, layers, batches, threads)
    scale = {layer: float(np.std(means)) or 1.0 for layer, means in wanted.items()}
    sizes = []
    for sweep in range(sweeps + 1):
        found, _ = _channel_means(model, layers, batches, threads)
        shifts = {layer: found[layer] - wanted[layer] for layer in layers}
        sizes.append(_size(shifts, scale))
        if on_progress is not None:
            on_progress(sweep + 1, sweeps + 1)
        if sweep < sweeps:
            _subtract(model, layers, shifts)
    with atomic_path(onnx_out) as target:
        check_result(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
    return BiasCorrectionReport(onnx_out, tuple(layers), sizes[0], sizes[-1], image_count)


def mean_shifts(
    qdq: Path, *, reference: Path, batches: Iterable[FloatArray], threads: int | None = None
) -> dict[str, Array]:
    """Return E[y'] - E[y] of every quantized convolution, (out channels,) float64, by node name.

    Args:
        qdq: A quantized model.
        reference: The FP32 model it was made from.
        batches: Preprocessed images, (n, 3, H, W) float32, iterated over twice.
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: The models do not belong together, nothing is quantized, or there are no images.
    """
    model, plain = load_onnx_checked(qdq), load_onnx_checked(reference)
    layers = _correctable(model, plain)
    wanted, _ = _channel_means(plain, layers, batches, threads)
    found, _ = _channel_means(model, layers, batches, threads)
    return {layer: found[layer] - wanted[layer] for layer in layers}


def _correctable(model: ModelProto, plain: ModelProto) -> dict[str, str]:
    """Return the quantized convolutions with a stored bias, by name, with the name of their output."""
    index = GraphIndex(model.graph)
    known = {node.output[0] for node in plain.graph.node if node.op_type == "Conv"}
    layers = {}
    for node in model.graph.node:
        maker = index.producer(node.input[0]) if node.op_type == "Conv" else None
        if maker is not None and maker.op_type == "DequantizeLinear" and len(node.input) > 2:
            layers[node_label(node)] = node.output[0]
    if not layers or not known.issuperset(layers.values()):
        raise InputError(
            "There is nothing to correct." if not layers else "The quantized model was not made from this reference.",
            expected="a model that `quantize_onnx` wrote, and the FP32 model it was made from",
            got="no quantized convolution with a bias" if not layers else sorted(set(layers.values()) - known)[0],
        )
    return layers


def _channel_means(
    model: ModelProto, layers: dict[str, str], batches: Iterable[FloatArray], threads: int | None
) -> tuple[dict[str, Array], int]:
    """Return the mean of every channel of every layer's output, and the number of images."""
    session = make_session(_with_means(model, layers), threads=threads)
    names = [f"{output}__mean" for output in layers.values()]
    sums = {layer: np.zeros(0) for layer in layers}
    count = 0
    if iter(batches) is batches:
        raise InputError("The images are needed several times.", expected="a list or ImageBatches", got="a generator")
    for batch in batches:
        for image in batch:
            values = session.run(names, {model.graph.input[0].name: image[None]})
            for layer, means in zip(layers, values, strict=True):
                previous = sums[layer]
                sums[layer] = means.astype(np.float64) + (previous if previous.size else 0.0)
            count += 1
    if count == 0:
        raise InputError("There are no images to correct biases with.", expected="at least one, better 64", got="0")
    return {layer: total / count for layer, total in sums.items()}, count


def _with_means(model: ModelProto, layers: dict[str, str]) -> ModelProto:
    """Return a copy that puts out the mean over batch and places of each layer's output, in FP32."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for output in layers.values():
        in_float, mean = f"{output}__float", f"{output}__mean"
        copy.graph.node.extend(
            [
                helper.make_node("Cast", [output], [in_float], to=TensorProto.FLOAT),
                # A global mean in two steps of known opset behaviour: ReduceMean's axes moved between versions.
                helper.make_node("GlobalAveragePool", [in_float], [f"{mean}4"]),
                helper.make_node("Reshape", [f"{mean}4", "__flat"], [mean]),
            ]
        )
        copy.graph.output.append(helper.make_tensor_value_info(mean, TensorProto.FLOAT, [None]))
    copy.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "__flat"))
    return copy


def _size(shifts: dict[str, Array], scale: dict[str, float]) -> float:
    values = np.concatenate([shifts[layer] / scale[layer] for layer in shifts])
    return float(np.sqrt(np.mean(values**2)))


def _subtract(model: ModelProto, layers: dict[str, str], shifts: dict[str, Array]) -> None:
    """Subtract the shifts from the biases in place, each bias stored anew in its own type."""
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        layer = node_label(node)
        if node.op_type != "Conv" or layer not in layers:
            continue
        bias = index.constant(node.input[2])
        if bias is None:
            continue
        name = f"{layer}__corrected_bias"  # its own, as exporters let layers with equal biases share one
        corrected = numpy_helper.from_array((bias - shifts[layer]).astype(bias.dtype), name)
        if node.input[2] == name:
            index.initializers[name].CopyFrom(corrected)
        else:
            model.graph.initializer.append(corrected)
            node.input[2] = name
    drop_unused_constants(model.graph)
