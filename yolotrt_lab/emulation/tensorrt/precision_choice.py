"""Decides in which arithmetic an emulated engine runs, by TensorRT's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yolotrt_lab.emulation.tensorrt.layer_precision import missing_scale, precision_complaint
from yolotrt_lab.errors import EmulationError

__all__ = ["PrecisionChoice", "choose_precision"]

_COMPUTE_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_HINTS = {"HALF": "f16", "BF16": "bf16", "FLOAT": "f32"}
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_PRECISION_FLAGS = ("FP16", "BF16", "INT8")


@dataclass(frozen=True)
class PrecisionChoice:
    """How a network is to be compiled.

    Attributes:
        hint: OpenVINO's `INFERENCE_PRECISION_HINT`.
        mixed: Whether a strongly typed network says itself what is computed in 16 bits and what in FP32.
        calibrate: Whether the program's calibrator has to be asked for scales first.
        by_ranges: Whether the dynamic ranges the program gave its tensors are the scales.
        complaint: Why TensorRT would refuse, None if it would not.
        warnings: What TensorRT would warn about.
    """

    hint: str
    mixed: bool = False
    calibrate: bool = False
    by_ranges: bool = False
    complaint: str | None = None
    warnings: tuple[str, ...] = ()


def choose_precision(network: Any, config: Any) -> PrecisionChoice:
    """Return the choice for a network and a configuration.

    In a strongly typed network the types in the ONNX graph decide. In a weakly typed one, which TensorRT 10 has, the
    builder flags do.
    """
    types = network._precisions()
    for name in ("FP8", "INT4", "FP4"):
        if name in types:
            raise EmulationError(
                f"The network has {name} tensors; {name} is not emulated.", fix="Use FP16 or INT8 (Q/DQ nodes)."
            )
    return _strongly_typed(network, config) if network._strongly_typed else _weakly_typed(network, config)


def _strongly_typed(network: Any, config: Any) -> PrecisionChoice:
    flags = [name for name in _PRECISION_FLAGS if config._has_flag(name)]
    if flags:
        text = f"Precision flags are not allowed for a strongly typed network, but these are set: {', '.join(flags)}."
        return PrecisionChoice("f32", complaint=text)
    found: set[str] = set()
    expectations = _expectations(network)
    for node in network._model.graph.node:
        tensor = network._tensors.get(node.output[0]) if node.output else None
        counts = node.op_type in _COMPUTE_OPS and not (node.output and node.output[0] in expectations)
        if counts and tensor is not None and tensor._dtype in _HINTS:
            found.add(tensor._dtype)
    found = found or network._precisions() & {"HALF", "BF16"}
    if not found:
        return PrecisionChoice("f32")
    if len(found) == 1:
        return PrecisionChoice(_HINTS[next(iter(found))])
    lower = next(name for name in ("HALF", "BF16") if name in found)
    return PrecisionChoice(_HINTS[lower], mixed=True)


def _expectations(network: Any) -> set[str]:
    """Return the outputs of DFL's convolutions in a network with Q/DQ nodes; see `spare_expectations`.

    OpenVINO loses its INT8 kernels where 16-bit types are written into a quantized graph, so its hint for the whole
    network has to do, and does: behind the last convolution it leaves everything in FP32, DFL's sums included.
    """
    graph = network._model.graph
    if not any(node.op_type in _QUANTIZERS for node in graph.node):
        return set()
    one_channel = {
        tensor.name
        for tensor in graph.initializer
        if len(tensor.dims) == 4 and [*tensor.dims[::2], tensor.dims[3]] == [1, 1, 1]
    }
    return {node.output[0] for node in graph.node if node.op_type == "Conv" and node.input[1] in one_channel}


def _weakly_typed(network: Any, config: Any) -> PrecisionChoice:
    hint = "f16" if config._has_flag("FP16") else "bf16" if config._has_flag("BF16") else "f32"
    explicit = any(node.op_type in _QUANTIZERS for node in network._model.graph.node)
    int8 = config._has_flag("INT8")
    constraint = precision_complaint(network, config)
    if constraint is not None:
        return PrecisionChoice(hint, complaint=constraint)
    if explicit and not int8:
        text = "Int8 precision has been set for a layer or layer output, but int8 is not configured in the builder"
        return PrecisionChoice(hint, complaint=text)
    if explicit or not int8:
        return PrecisionChoice(hint)
    if config._int8_calibrator is not None:
        return PrecisionChoice(hint, calibrate=True)
    general = (
        "Calibrator is not being used. Users must provide dynamic range for all tensors that are not Int32 or Bool."
    )
    if any(tensor._range is not None for tensor in network._tensors.values()):
        return PrecisionChoice(hint, by_ranges=True, warnings=(general,))
    missing = tuple(missing_scale(tensor.name) for tensor in network._inputs)
    return PrecisionChoice(hint, warnings=(general, *missing))
