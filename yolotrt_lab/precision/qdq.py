"""INT8 as explicit Q/DQ pairs in the ONNX graph, the form TensorRT 10 and 11, OpenVINO and ONNX Runtime all take.

ONNX Runtime's own quantizer is not used: its defaults are refused by TensorRT (INT32 bias with DQ, asymmetric
activations), it writes a pair behind every convolution, where TensorRT wants none, and it offers no way to share scales
across a Concat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.graph import GraphIndex, node_label, opset_version, replace_nodes
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import cast_graph_to_fp16, check_result
from yolotrt_lab.precision.fp16 import DECODE_REASON
from yolotrt_lab.precision.placement import Placement, plan_placement
from yolotrt_lab.precision.rules import RuleViolation, check_qdq_rules
from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.precision.table import CalibrationTable
from yolotrt_lab.types import Array, Precision

__all__ = [
    "QdqReport",
    "RuleViolation",
    "add_pair",
    "check_qdq_rules",
    "quantize_onnx",
    "raised_opset",
    "weight_scales",
]

QMAX = 127
PER_CHANNEL_OPSET = 13
FP16_SCALE_OPSET = 19
FP16_SMALLEST_NORMAL = 2.0**-14
"""Below this FP16 loses bits, and a scale must not."""


@dataclass(frozen=True)
class QdqReport:
    """What became INT8 and what did not.

    Attributes:
        path: The written file.
        base: Precision of everything outside the pairs.
        convs: Names of the quantized convolutions.
        adds: Names of the residual additions that read INT8.
        kept: Convolution or Add to the reason it stays in `base` or higher.
        activation_count: Activation tensors with a pair.
        scale_count: Distinct activation scales; tensors joined by Concat and the like share one.
        size_bytes: Size of the file. Weights are stored in `base` with their pair behind them, as TensorRT wants
            them, so the file is not smaller; the engine is.
    """

    path: Path
    base: Precision
    convs: tuple[str, ...]
    adds: tuple[str, ...]
    kept: Mapping[str, str]
    activation_count: int
    scale_count: int
    size_bytes: int


def quantize_onnx(
    onnx_in: Path,
    onnx_out: Path,
    *,
    table: CalibrationTable,
    high_precision_nodes: Collection[str] = (),
    base: Precision = Precision.FP32,
) -> QdqReport:
    """Write an INT8 version of an FP32 detector.

    Symmetric INT8 with zero point 0 throughout; activations with one scale per tensor, weights with one per output
    channel; biases stay as they are. Scale and rounding are those of ONNX: q = clip(round(x / scale), -128, 127).

    Args:
        onnx_in: The FP32 model the table was made from.
        onnx_out: Where the INT8 model goes.
        table: Ranges of the activations.
        high_precision_nodes: Names of convolutions or Adds to leave alone, besides the end of the head.
        base: FP32, or FP16 for what is usually built: INT8 convolutions in an otherwise FP16 network. FP16 scales
            exist from operator set 19 on, to which the model is raised.

    Raises:
        InputError: The model is broken or quantized already, its operator set is too old, the table lacks tensors, or
            `high_precision_nodes` names no node.
        OutputError: The file cannot be written.
    """
    if base not in (Precision.FP32, Precision.FP16):
        raise InputError("The base precision is not supported.", expected="fp32 or fp16", got=base)
    model = load_onnx_checked(onnx_in)
    _check_quantizable(model, onnx_in)
    if base is Precision.FP16:
        model = raised_opset(model, FP16_SCALE_OPSET)
    placement = _placement(model, table, high_precision_nodes)
    labels = {node.output[0]: node_label(node) for node in model.graph.node}
    amax = _shared_amax(placement, table)
    _insert_pairs(model, placement, amax, fp16=base is Precision.FP16)
    if base is Precision.FP16:
        decode = find_head(model).decode
        cast_graph_to_fp16(model, kept=dict.fromkeys(decode, DECODE_REASON), keep_io=True)
    for key, value in (("calibration_method", table.method), ("calibration_digest", table.digest)):
        model.metadata_props.add(key=key, value=value)  # an engine's provenance takes them over
    with atomic_path(onnx_out) as target:
        check_result(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
    return QdqReport(
        path=onnx_out,
        base=base,
        convs=tuple(labels[output] for output in placement.convs),
        adds=tuple(labels[output] for output in placement.adds),
        kept=placement.kept,
        activation_count=len(placement.activations),
        scale_count=len(placement.groups),
        size_bytes=onnx_out.stat().st_size,
    )


def _check_quantizable(model: ModelProto, path: Path) -> None:
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise InputError(
            f"{path} is quantized already.",
            expected="an FP32 model",
            got="Q/DQ nodes",
            fix="Start from what `yolotrt export` wrote.",
        )
    if opset_version(model) < PER_CHANNEL_OPSET:
        raise InputError(
            f"{path} uses an operator set without per-channel quantization.",
            expected=f"version {PER_CHANNEL_OPSET} or newer",
            got=opset_version(model),
            fix="Export again with `yolotrt export --opset 17`.",
        )


def raised_opset(model: ModelProto, version: int) -> ModelProto:
    """Return the model in at least this operator set.

    Raises:
        LabError: ONNX's converter does not manage.
    """
    if opset_version(model) >= version:
        return model
    try:
        raised = onnx.version_converter.convert_version(model, version)
    except Exception as error:  # ConvertError and RuntimeError out of the C++ side
        raise LabError(
            f"ONNX cannot raise the model to operator set {version}, which FP16 scales need.",
            got=str(error).splitlines()[0],
            fix=f"Export again with `yolotrt export --opset {version}`, or quantize with --base fp32.",
        ) from error
    del raised.metadata_props[:]  # some versions of the converter drop them, some do not
    raised.metadata_props.extend(model.metadata_props)
    raised.ir_version = max(raised.ir_version, 9)  # the first that knows operator set 19
    return raised


def _placement(model: ModelProto, table: CalibrationTable, high_precision_nodes: Collection[str]) -> Placement:
    dead = [name for name, value in table.amax.items() if value == 0.0]
    placement = plan_placement(model, high_precision_nodes=high_precision_nodes, dead_tensors=dead)
    missing = [name for name in placement.activations if name not in table.amax]
    if missing:
        raise InputError(
            "The calibration table does not belong to this model.",
            expected=f"ranges for {len(placement.activations)} tensors",
            got=f"none for {len(missing)} of them, such as {missing[0]}",
            fix="Calibrate with this ONNX file.",
        )
    return placement


def _shared_amax(placement: Placement, table: CalibrationTable) -> dict[str, float]:
    amax: dict[str, float] = {}
    for group in placement.groups:
        largest = max(table.amax[name] for name in group)
        amax |= dict.fromkeys(group, largest)
    return amax


def weight_scales(weights: Array, *, fp16: bool = False) -> Array:
    """Return the quantization step of every output channel, max |w| / 127.

    Args:
        weights: (out channels, ...) float32.
        fp16: Round the steps to what FP16 can hold.

    Returns:
        (out channels,) float32, all positive: a channel of zeros gets a step too, as 0 / 0 would be NaN.
    """
    amax = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    return _storable((amax / QMAX).astype(np.float32), fp16=fp16)


def _storable(scales: Array, *, fp16: bool) -> Array:
    if not fp16:
        return np.where(scales > np.finfo(np.float32).tiny, scales, np.float32(1.0)).astype(np.float32)
    result: Array = np.maximum(scales, FP16_SMALLEST_NORMAL).astype(np.float16).astype(np.float32)
    return result


def _insert_pairs(model: ModelProto, placement: Placement, amax: Mapping[str, float], *, fp16: bool) -> None:
    """Insert the pairs in place, scales in float32 (of values that FP16 can hold if `fp16`)."""
    graph = model.graph
    index = GraphIndex(graph)
    nodes = {node.output[0]: node for node in graph.node}
    added: list[NodeProto] = []
    for tensor, places in placement.reads.items():
        scale = _storable(np.asarray(amax[tensor] / QMAX, np.float32), fp16=fp16)
        dequantized = add_pair(graph, added, tensor, scale)
        for output, slot in places:
            nodes[output].input[slot] = dequantized
    weight_pairs: dict[str, str] = {}
    for output in placement.convs:
        name = nodes[output].input[1]
        if name not in weight_pairs:
            weights = index.constant(name)
            if weights is None:
                raise LabError(f"The weights of {node_label(nodes[output])} vanished.")
            weight_pairs[name] = add_pair(graph, added, name, weight_scales(weights, fp16=fp16))
        nodes[output].input[1] = weight_pairs[name]
    replace_nodes(graph, [*graph.node, *added])


def add_pair(
    graph: onnx.GraphProto, added: list[NodeProto], tensor: str, scale: Array, *, axis: int = 0, stem: str = ""
) -> str:
    """Add a pair behind a tensor and return the name of the dequantized copy.

    Args:
        graph: Gets the scale and the zero point.
        added: Gets the two nodes.
        tensor: What is quantized.
        scale: () for one step, (channels,) for one per slice along `axis`; of the tensor's type.
        axis: The axis of the channels.
        stem: What the new names begin with; the tensor's name by default.
    """
    stem = stem or tensor
    parameters = [f"{stem}_scale", f"{stem}_zero_point"]
    graph.initializer.append(numpy_helper.from_array(scale, parameters[0]))
    graph.initializer.append(
        helper.make_tensor(parameters[1], TensorProto.INT8, scale.shape, np.zeros(scale.size, np.int8))
    )
    quantized, dequantized = f"{stem}_quantized", f"{stem}_dequantized"
    pair = (
        helper.make_node("QuantizeLinear", [tensor, *parameters], [quantized], f"{stem}_QuantizeLinear"),
        helper.make_node("DequantizeLinear", [quantized, *parameters], [dequantized], f"{stem}_DequantizeLinear"),
    )
    if scale.ndim:
        for node in pair:
            node.attribute.append(helper.make_attribute("axis", axis))
    added.extend(pair)
    return dequantized
