"""What an exported model says about itself: class names, input size, stride, task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import tensor_specs
from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata, parsed_literal
from yolotrt_lab.files import require_file

__all__ = ["ModelMetadata", "fixed_input_hw", "metadata_from_model", "onnx_metadata", "parse_model"]


@dataclass(frozen=True)
class ModelMetadata:
    """What the metadata and the signature of an ONNX model tell.

    Attributes:
        class_names: In order of class id; empty when the model does not name its classes.
        input_hw: Height and width in pixels, or None when they are dynamic and not recorded.
        stride: Largest stride of the detector in pixels, or None.
        task: "detect" for detectors, or None when not recorded.
        properties: All metadata as text, as stored.
    """

    class_names: tuple[str, ...]
    input_hw: tuple[int, int] | None
    stride: int | None
    task: str | None
    properties: Mapping[str, str] = field(repr=False)


def parse_model(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file without reading external data.

    Raises:
        InputError: Missing, empty, truncated, or not ONNX.
    """
    require_file(path, kind="ONNX model")
    fix = "Export the model again with `yolotrt export`, or copy the file again."
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError, which ships no types
        raise InputError(
            f"{path} is not a readable ONNX model.",
            expected="an ONNX file (protobuf)",
            got=f"{path.stat().st_size} bytes that do not parse ({error}); truncated or another format",
            fix=fix,
        ) from error
    if not model.graph.node or not model.opset_import:
        raise InputError(
            f"{path} is not a readable ONNX model.",
            expected="a graph with nodes and an operator set version",
            got=f"{len(model.graph.node)} nodes, {len(model.opset_import)} operator sets; truncated or another format",
            fix=fix,
        )
    return model


def onnx_metadata(path: Path) -> ModelMetadata:
    """Return the metadata of an ONNX file; external data are not read.

    Raises:
        InputError: Missing, empty, truncated, or not ONNX.
    """
    return metadata_from_model(parse_model(path))


def metadata_from_model(model: onnx.ModelProto) -> ModelMetadata:
    """Return the metadata of a parsed model; malformed entries count as absent."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    stride = parsed_literal(properties.get("stride"))
    return ModelMetadata(
        class_names=class_names_from_metadata(properties),
        input_hw=_input_hw_from_signature(model) or input_hw_from_metadata(properties),
        stride=stride if type(stride) is int and stride > 0 else None,
        task=properties.get("task"),
        properties=properties,
    )


def _input_hw_from_signature(model: onnx.ModelProto) -> tuple[int, int] | None:
    stored = {tensor.name for tensor in model.graph.initializer}
    specs = tensor_specs([value for value in model.graph.input if value.name not in stored])
    if len(specs) != 1 or len(specs[0].shape) != 4:
        return None
    height, width = specs[0].shape[2:]
    return None if height is None or width is None else (height, width)


def fixed_input_hw(path: Path) -> tuple[int, int]:
    """Return the height and width in pixels that a model was exported for.

    Raises:
        InputError: The model is unreadable, or takes any size and names none.
    """
    input_hw = onnx_metadata(path).input_hw
    if input_hw is None:
        raise InputError(
            f"{path} does not fix its input size.",
            expected="static height and width",
            got="dynamic",
            fix="Export with `yolotrt export`.",
        )
    return input_hw
