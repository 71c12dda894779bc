"""Opening ONNX files from strangers: everything that can be wrong is noticed before anything runs.

External data are the sharp edge of the format: a model may name any path as the place of its weights. Paths that leave
the model's folder are refused before a byte of them is read.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import (
    all_tensors,
    node_label,
    opset_version,
    tensor_specs,
    topological_order,
    walk_graphs,
)
from yolotrt_lab.export.metadata import parse_model
from yolotrt_lab.types import TensorSpec

__all__ = ["MIN_OPSET", "detector_io", "load_onnx_any", "load_onnx_checked"]

MIN_OPSET = 11
_STANDARD_DOMAINS = ("", "ai.onnx")
_EXPORT_AGAIN = "Export the model again with `yolotrt export`."


def load_onnx_checked(path: Path) -> ModelProto:
    """Load an ONNX detector, with its external data, or say what is wrong with it.

    Args:
        path: An `.onnx` file.

    Raises:
        InputError: Missing, empty, truncated or no ONNX; external data outside the folder, missing or too short;
            operators that no standard runtime knows; a cycle; inconsistent shapes; not a YOLO detector.
    """
    model = load_onnx_any(path)
    _check_operators(model, path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and TypeError or ValueError out of the C++ side
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"{path} is not a valid ONNX model.",
            expected="a model that passes onnx.checker",
            got=lines[0] if lines else type(error).__name__,
            fix=_EXPORT_AGAIN,
        ) from error
    detector_io(model, path)
    return model


def load_onnx_any(path: Path) -> ModelProto:
    """Load any ONNX model, with its external data, whatever it computes: for looking at it, not for running it.

    Raises:
        InputError: Missing, empty, truncated or no ONNX; external data outside the folder, missing or too short; a
            cycle.
    """
    model = parse_model(path)
    _check_external_data(model, path)
    onnx.load_external_data_for_model(model, str(path.parent))
    _check_stored_sizes(model, path)
    topological_order(model.graph)
    return model


def _check_external_data(model: ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in all_tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        resolved = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not resolved.is_relative_to(folder):
            raise InputError(
                f"{path} wants to read its weights from outside its folder.",
                expected="external data in files beside the model",
                got=f"tensor {tensor.name!r} at {location!r}",
                fix="Do not use this file unless you know where it comes from. " + _EXPORT_AGAIN,
            )
        if not resolved.is_file():
            raise InputError(
                f"{path} comes without its weights.",
                expected=f"the external data file {location!r} beside the model",
                got=f"nothing there (tensor {tensor.name!r})",
                fix="Copy the data file along with the model.",
            )
        _check_extent(entries, resolved, tensor, path)


def _check_extent(entries: dict[str, str], resolved: Path, tensor: TensorProto, path: Path) -> None:
    size = resolved.stat().st_size
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
    except ValueError:
        offset, length = -1, -1
    if offset < 0 or length < 0 or offset + length > size:
        raise InputError(
            f"{path}: the external data of tensor {tensor.name!r} do not fit their file.",
            expected=f"offset and length within the {size} bytes of {resolved.name}",
            got=f"offset {entries.get('offset', '0')}, length {entries.get('length', 'to the end')}",
            fix="Copy the data file again; it may be truncated.",
        )


def _check_stored_sizes(model: ModelProto, path: Path) -> None:
    for tensor in all_tensors(model):
        if not tensor.raw_data or tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
            continue
        try:
            item_bytes = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, TypeError):
            continue  # onnx.checker names unknown types
        expected = math.prod(tensor.dims) * item_bytes
        packed = tensor.data_type in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1)
        if not packed and len(tensor.raw_data) != expected:
            raise InputError(
                f"{path}: tensor {tensor.name!r} does not hold the data its shape needs.",
                expected=f"{expected} bytes for shape {tuple(tensor.dims)}",
                got=f"{len(tensor.raw_data)} bytes",
                fix=_EXPORT_AGAIN,
            )


def _check_operators(model: ModelProto, path: Path) -> None:
    opset = opset_version(model)
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise InputError(
            f"{path} uses an operator set this program does not handle.",
            expected=f"version {MIN_OPSET} to {newest} of the standard operators",
            got=opset or "none",
            fix=_EXPORT_AGAIN,
        )
    for graph in walk_graphs(model.graph):
        for node in graph.node:
            standard = node.domain in _STANDARD_DOMAINS
            if standard and onnx.defs.has(node.op_type, "") and _known_at(node.op_type, opset):
                continue
            raise InputError(
                f"{path} uses an operator that is not in the ONNX standard.",
                expected=f"operators of the standard set, version {opset}",
                got=f"{node.domain or 'ai.onnx'}::{node.op_type} (node {node_label(node)})",
                fix=_EXPORT_AGAIN + " Custom operators need a plugin that TensorRT and OpenVINO would have to load.",
            )


def _known_at(op_type: str, opset: int) -> bool:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return not schema.deprecated


def detector_io(model: ModelProto, path: Path) -> tuple[TensorSpec, TensorSpec]:
    """Return the input and output of a detector graph.

    Raises:
        InputError: The graph does not take one image batch and give one (N, ., .) tensor of predictions.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = tensor_specs([value for value in model.graph.input if value.name not in stored])
    outputs = tensor_specs(model.graph.output)
    floats = ("float32", "float16")
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3 or inputs[0].dtype not in floats:
        raise InputError(
            f"{path} does not take images as a YOLO detector does.",
            expected="one input of floats, (batch, 3, height, width)",
            got=_described(inputs),
            fix="Use a detector exported with `yolotrt export`.",
        )
    if len(outputs) != 1 or len(outputs[0].shape) != 3 or outputs[0].dtype not in floats:
        raise InputError(
            f"{path} is not a YOLO detector.",
            expected="one output of floats, (batch, 4 + classes, anchors) or (batch, boxes, values)",
            got=_described(outputs),
            fix="Use a detector exported with `yolotrt export`; classifiers and segmenters are not supported.",
        )
    return inputs[0], outputs[0]


def _described(specs: tuple[TensorSpec, ...]) -> str:
    texts = [
        f"{spec.name} {spec.dtype} ({', '.join('?' if length is None else str(length) for length in spec.shape)})"
        for spec in specs
    ]
    return "; ".join(texts) or "none"
