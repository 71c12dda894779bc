"""Layers that resample or quantize: resize, grid sample, quantize, dequantize."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    dims_setting,
    enum_setting,
    flag_setting,
    float_setting,
    integer_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import ONNX_TYPES, GraphWriter
from yolotrt_lab.errors import EmulationError

__all__ = ["EMITTERS", "IDequantizeLayer", "IGridSampleLayer", "IQuantizeLayer", "IResizeLayer"]

_COORDINATES = {"ALIGN_CORNERS": "align_corners", "ASYMMETRIC": "asymmetric", "HALF_PIXEL": "half_pixel"}
_ROUNDING = {"HALF_UP": "round_prefer_ceil", "HALF_DOWN": "round_prefer_floor", "FLOOR": "floor", "CEIL": "ceil"}
_MODES = {"NEAREST": "nearest", "LINEAR": "linear", "CUBIC": "cubic"}
_GRID_SAMPLE_OPSET = 16
_LEADING = 2
_BORDERS = {"FILL": "zeros", "CLAMP": "border", "REFLECT": "reflection"}


class IResizeLayer(ILayer):
    """Resizes."""

    resize_mode = enum_setting("mode", "InterpolationMode", "How values between elements are found.")
    coordinate_transformation = enum_setting(
        "coordinates", "ResizeCoordinateTransformation", "How places of the output map to places of the input."
    )
    selector_for_single_pixel = enum_setting("selector", "ResizeSelector", "What a single output element takes.")
    nearest_rounding = enum_setting("rounding", "ResizeRoundMode", "Which element is nearest.")
    cubic_coeff = float_setting("cubic_coeff", "The coefficient of cubic interpolation.")
    exclude_outside = flag_setting("exclude_outside", "Whether weights outside the input are zero.")

    @property
    def shape(self) -> Any:
        """The output's dimensions."""
        return self._api.Dims(self._state.get("shape") or ())

    @shape.setter
    def shape(self, value: Any) -> None:
        self._state.settings["scales"] = None
        self._state.change("shape", tuple(int(size) for size in value))

    @property
    def scales(self) -> list[float]:
        """The factors of the dimensions."""
        return list(self._state.get("scales") or ())

    @scales.setter
    def scales(self, value: Any) -> None:
        self._state.settings["shape"] = None
        self._state.change("scales", tuple(float(np.float32(item)) for item in value))


class IGridSampleLayer(ILayer):
    """Samples at given places."""

    interpolation_mode = enum_setting("mode", "InterpolationMode", "How values between elements are found.")
    align_corners = flag_setting("align_corners", "Whether -1 and 1 are the centres of the corner elements.")
    sample_mode = enum_setting("sample_mode", "SampleMode", "What is taken from outside the input.")


class IQuantizeLayer(ILayer):
    """Quantizes."""

    axis = integer_setting("axis", "The axis of the scales.")
    block_shape = dims_setting("block_shape", "The size of blocks that share a scale.")
    to_type = enum_setting("to_type", "DataType", "The quantized type.")


class IDequantizeLayer(ILayer):
    """Undoes a quantization."""

    axis = integer_setting("axis", "The axis of the scales.")
    block_shape = dims_setting("block_shape", "The size of blocks that share a scale.")
    to_type = enum_setting("to_type", "DataType", "The type afterwards.")


def _resize(out: GraphWriter) -> str:
    get, rank = out.layer.get, len(out.shape(0))
    coordinates = _COORDINATES[get("coordinates")]
    if get("selector") == "UPPER" and coordinates == "half_pixel":
        coordinates = "pytorch_half_pixel"  # a single output element takes the first input element
    attributes: dict[str, Any] = {
        "mode": _MODES[get("mode")],
        "coordinate_transformation_mode": coordinates,
        "nearest_mode": _ROUNDING[get("rounding")] if get("mode") == "NEAREST" else None,
        "cubic_coeff_a": get("cubic_coeff") if get("mode") == "CUBIC" else None,
        "exclude_outside": int(get("exclude_outside")) or None,
    }
    if out.given(1) and out.known(1) is None:
        return out.add("Resize", [out.input(0), "", "", out.int64_input(1)], main=True, **attributes)
    known, scales = out.known(1), get("scales") or (1.0,) * rank  # without either, the input's own sizes
    sizes = get("shape") if known is None else tuple(int(size) for size in known.ravel())
    if len(scales if sizes is None else sizes) != rank:
        raise out.problem(f"resize needs a shape or scales with {rank} values")
    data, shape = out.input(0), out.shape(0)
    if get("mode") == "NEAREST" and rank > _LEADING and -1 not in shape:
        target = sizes or _scaled(shape, scales)
        if target[:_LEADING] != shape[:_LEADING]:
            data, sizes = _resize_leading(out, target), target
    if sizes is not None:
        return out.add("Resize", [data, "", "", out.integers(sizes)], main=True, **attributes)
    return out.add("Resize", [data, "", out.constant(scales, "FLOAT")], main=True, **attributes)


def _scaled(shape: Sequence[int], scales: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.floor(size * scale) for size, scale in zip(shape, scales, strict=True))


def _resize_leading(out: GraphWriter, sizes: tuple[int, ...]) -> str:
    """Pick the nearest elements along the first two axes, which OpenVINO does not resize."""
    data = out.input(0)
    for axis in range(_LEADING):
        have, wanted = out.shape(0)[axis], sizes[axis]
        if have != wanted:
            data = out.add("Gather", [data, out.integers(_nearest(out, have, wanted))], axis=axis)
    return data


def _nearest(out: GraphWriter, have: int, wanted: int) -> list[int]:
    """Return which element of an axis each element of the result takes."""
    places = np.arange(wanted)
    coordinates = {
        "ALIGN_CORNERS": places * ((have - 1) / max(wanted - 1, 1)),
        "ASYMMETRIC": places * (have / wanted),
        "HALF_PIXEL": (places + 0.5) * (have / wanted) - 0.5,
    }[out.layer.get("coordinates")]
    if wanted == 1 and out.layer.get("selector") == "UPPER":
        coordinates = np.zeros(1)
    rounded = {
        "HALF_UP": np.floor(coordinates + 0.5),
        "HALF_DOWN": np.ceil(coordinates - 0.5),
        "FLOOR": np.floor(coordinates),
        "CEIL": np.ceil(coordinates),
    }[out.layer.get("rounding")]
    return [int(place) for place in np.clip(rounded, 0, have - 1)]


def _grid_sample(out: GraphWriter) -> str:
    get = out.layer.get
    if out.opset < _GRID_SAMPLE_OPSET:
        raise EmulationError(
            "Grid sampling behind a parsed model of an old opset is not emulated.",
            expected=f"opset {_GRID_SAMPLE_OPSET} or later",
            got=out.opset,
            fix="Export the model with a later opset.",
        )
    mode = {"NEAREST": "nearest", "LINEAR": "bilinear", "CUBIC": "bicubic"}[get("mode")]
    if out.opset >= 20:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if get("sample_mode") not in _BORDERS:
        raise out.problem(f"sample mode {get('sample_mode')} is not supported by grid sample")
    names = out.alike(0, 1)
    border = _BORDERS[get("sample_mode")]
    return out.add("GridSample", names, mode=mode, padding_mode=border, align_corners=int(get("align_corners")))


def _scale(out: GraphWriter) -> tuple[str, Any, int | None]:
    """Return the scale's name, its shape and its axis; TensorRT wants a constant."""
    value = out.known(1)
    if value is None:
        raise out.problem("scale must be a build-time constant")
    if not np.all(value > 0):
        raise out.problem("scale coefficients must all be positive")
    dtype = out.dtype(1)
    if value.size == 1:
        return out.constant(np.reshape(value, ()), dtype), (), None
    axis, shape = out.layer.get("axis"), out.shape(0)
    if not -len(shape) <= axis < len(shape) or shape[axis] != value.size:
        raise out.problem(f"{value.size} scales do not fit axis {axis} of the input: set the axis")
    return out.constant(value.ravel(), dtype), (value.size,), axis


def _quantize(out: GraphWriter) -> str:
    wanted = out.layer.get("to_type")
    if wanted != "INT8":
        raise EmulationError(f"Quantization to {wanted} is not emulated.", expected="INT8", got=wanted)
    scale, shape, axis = _scale(out)
    zero = out.constant(np.zeros(shape, np.int8))
    return out.add("QuantizeLinear", [out.input(0), scale, zero], axis=axis)


def _dequantize(out: GraphWriter) -> str:
    if out.dtype(0) != "INT8":
        raise out.problem(f"only INT8 can be dequantized here, not {out.dtype(0)}", kind="API Usage Error")
    scale, shape, axis = _scale(out)
    zero = out.constant(np.zeros(shape, np.int8))
    result = out.add("DequantizeLinear", [out.input(0), scale, zero], main=True, axis=axis)
    wanted = out.layer.get("to_type")
    same = wanted == out.dtype(1) or not out.layer.network._strongly_typed
    return result if same else out.add("Cast", [result], to=ONNX_TYPES[wanted])


EMITTERS = {"RESIZE": _resize, "GRID_SAMPLE": _grid_sample, "QUANTIZE": _quantize, "DEQUANTIZE": _dequantize}
