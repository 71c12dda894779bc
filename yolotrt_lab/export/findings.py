"""What can be said about an ONNX graph without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from yolotrt_lab.export.graph import GraphIndex, op_histogram, opset_version, tensor_specs
from yolotrt_lab.export.metadata import metadata_from_model
from yolotrt_lab.types import Precision

__all__ = ["YOLO_OPERATORS", "Finding", "graph_precision", "static_findings", "unexpected_operators"]

# "ONNX Opset Guide", NVIDIA TensorRT documentation: 9 is the oldest for both; the newest grows with each release.
TENSORRT_OPSETS = {10: (9, 22), 11: (9, 25)}

_OPERATOR_NAMES = (
    # backbone and neck
    "Conv ConvTranspose BatchNormalization Sigmoid Mul Add Relu LeakyRelu HardSwish HardSigmoid Clip Mish Gelu Erf",
    "Tanh Softplus Concat Split Slice MaxPool AveragePool GlobalAveragePool Resize Pad Identity",
    # attention blocks
    "MatMul Gemm Softmax Transpose Reshape Flatten Squeeze Unsqueeze ReduceMean ReduceMax ReduceSum Sqrt Pow",
    # decode, also with the grid computed at run time
    "Sub Div Neg Exp Min Max Shape Gather Range Expand Tile Cast Constant ConstantOfShape Floor Mod Equal Where",
    # top-k selection of end-to-end heads
    "TopK GatherElements GatherND ArgMax",
    # precision
    "QuantizeLinear DequantizeLinear",
)

YOLO_OPERATORS = frozenset(name for line in _OPERATOR_NAMES for name in line.split())
"""What exporters of YOLO detectors (v3 to 26) write. Anything else deserves a look."""

_FORBIDDEN = {
    "If": "control flow: TensorRT may refuse it and cannot fuse across it; export with fixed height and width",
    "Loop": "control flow: TensorRT may refuse it and cannot fuse across it; export with fixed height and width",
    "Scan": "control flow: TensorRT may refuse it",
    "NonMaxSuppression": "NMS inside the model gives outputs of varying length; export without NMS and do it outside",
}


@dataclass(frozen=True)
class Finding:
    """One thing noticed.

    Attributes:
        is_problem: Whether it makes the verdict negative; otherwise it is worth knowing only.
        text: What, and what to do about it.
    """

    is_problem: bool
    text: str


def graph_precision(model: ModelProto) -> Precision:
    """Return the precision most convolutions are written in: Q/DQ in front means INT8, FP16 weights mean FP16."""
    index = GraphIndex(model.graph)
    counts = dict.fromkeys((Precision.INT8, Precision.FP16, Precision.FP32), 0)
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        source = index.producer(node.input[1])
        weights = index.initializers.get(node.input[1])
        if source is not None and source.op_type == "DequantizeLinear":
            counts[Precision.INT8] += 1
        elif weights is not None and weights.data_type == TensorProto.FLOAT16:
            counts[Precision.FP16] += 1
        else:
            counts[Precision.FP32] += 1
    return max(counts, key=lambda precision: counts[precision])


def unexpected_operators(model: ModelProto) -> tuple[str, ...]:
    """Return the operators that exporters of YOLO detectors do not write."""
    return tuple(name for name in op_histogram(model.graph) if name not in YOLO_OPERATORS)


def static_findings(model: ModelProto) -> tuple[Finding, ...]:
    """Return everything noticed in a loaded, valid detector graph."""
    return (
        *_operator_findings(model),
        *_opset_findings(model),
        *_axis_findings(model),
        *_constant_findings(model),
        *_metadata_findings(model),
    )


def _operator_findings(model: ModelProto) -> Iterator[Finding]:
    for name in unexpected_operators(model):
        if name in _FORBIDDEN:
            yield Finding(True, f"Operator {name}: {_FORBIDDEN[name]}.")
        else:
            yield Finding(False, f"Operator {name} is unusual in a YOLO detector; check that TensorRT supports it.")


def _opset_findings(model: ModelProto) -> Iterator[Finding]:
    opset = opset_version(model)
    for release, (oldest, newest) in TENSORRT_OPSETS.items():
        if not oldest <= opset <= newest:
            text = f"Operator set {opset} is outside what TensorRT {release} documents, {oldest} to {newest}"
            yield Finding(release == max(TENSORRT_OPSETS), f"{text}; export with --opset 17.")


def _axis_findings(model: ModelProto) -> Iterator[Finding]:
    stored = {tensor.name for tensor in model.graph.initializer}
    for spec in tensor_specs([value for value in model.graph.input if value.name not in stored]):
        if any(length is None for length in spec.shape[2:]):
            text = "Height or width is dynamic: the anchor grid is computed on every run"
            yield Finding(False, f"{text}; `yolotrt export` fixes them.")
        if spec.shape and spec.shape[0] is not None:
            yield Finding(False, f"The batch is fixed to {spec.shape[0]}; export with a dynamic batch for other sizes.")


def _constant_findings(model: ModelProto) -> Iterator[Finding]:
    index = GraphIndex(model.graph)
    for name, tensor in index.initializers.items():
        if tensor.data_type == TensorProto.DOUBLE:
            yield Finding(False, f"Constant {name} is float64; TensorRT casts it to float32.")
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind == "f" and not np.isfinite(value.astype(np.float32)).all():
            yield Finding(True, f"Constant {name} holds NaN or infinity: the weights are broken; train again.")
        if value.dtype == np.int64 and value.size and np.abs(value).max() > np.iinfo(np.int32).max:
            # INT64_MAX is how exporters write "to the end" of a Slice, which every parser understands.
            if all(reader.op_type == "Slice" for reader, _ in index.consumers(name)):
                continue
            yield Finding(False, f"Constant {name} does not fit int32, which older TensorRT casts int64 to.")
        if not index.consumers(name) and name not in index.output_names:
            yield Finding(False, f"Constant {name} is never used.")


def _metadata_findings(model: ModelProto) -> Iterator[Finding]:
    metadata = metadata_from_model(model)
    if not metadata.class_names:
        yield Finding(False, "The model does not name its classes; `yolotrt export` keeps the names.")
    if metadata.task not in (None, "detect"):
        yield Finding(True, f"The model says its task is {metadata.task}, not detect.")
