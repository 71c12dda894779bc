"""Layers that move elements without computing: shuffle, concatenation, slice, squeeze, padding, shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    dims_setting,
    enum_setting,
    flag_setting,
    integer_setting,
    permutation_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import GraphWriter
from yolotrt_lab.errors import EmulationError

__all__ = [
    "EMITTERS",
    "IConcatenationLayer",
    "IPaddingLayer",
    "IShapeLayer",
    "IShuffleLayer",
    "ISliceLayer",
    "ISqueezeLayer",
    "IUnsqueezeLayer",
]

_SLICE_INPUTS = ((1, "start"), (2, "shape"), (3, "stride"))
_FAR = np.iinfo(np.int64).min + 1


class IShuffleLayer(ILayer):
    """Transposes, reshapes, and transposes again."""

    first_transpose = permutation_setting("first_transpose", "The order of the axes before reshaping.")
    second_transpose = permutation_setting("second_transpose", "The order of the axes after reshaping.")
    zero_is_placeholder = flag_setting("zero_is_placeholder", "Whether 0 copies a dimension of the input.")

    @property
    def reshape_dims(self) -> Any:
        """The new dimensions: 0 copies the input's, -1 is what is left."""
        return self._api.Dims(self._state.get("reshape_dims") or ())

    @reshape_dims.setter
    def reshape_dims(self, value: Any) -> None:
        del self._state.inputs[1:]
        self._state.change("reshape_dims", tuple(int(item) for item in value))


class IConcatenationLayer(ILayer):
    """Joins tensors along an axis."""

    axis = integer_setting("axis", "The axis.")


class ISliceLayer(ILayer):
    """Takes a part."""

    start = dims_setting("start", "Where it starts.")
    shape = dims_setting("shape", "Its size.")
    stride = dims_setting("stride", "Its steps.")
    axes = dims_setting("axes", "The axes it is about, None for all.")
    mode = enum_setting("mode", "SampleMode", "What is taken from outside the input.")


class ISqueezeLayer(ILayer):
    """Removes dimensions of size one."""


class IUnsqueezeLayer(ILayer):
    """Adds dimensions of size one."""


class IShapeLayer(ILayer):
    """The input's dimensions as a tensor."""


class IPaddingLayer(ILayer):
    """Pads the last two dimensions with zeros, or crops them."""

    pre_padding_nd = dims_setting("pre_padding", "How much at the start.")
    post_padding_nd = dims_setting("post_padding", "How much at the end.")


def shown(shape: Any) -> str:
    """Return dimensions as TensorRT's messages write them."""
    return "[" + ",".join(str(size) for size in shape) + "]"


def _shuffle(out: GraphWriter) -> str:
    get = out.layer.get
    shape = out.shape(0)
    name = _transposed(out, out.input(0), get("first_transpose"), len(shape))
    order = get("first_transpose") or tuple(range(len(shape)))
    shape = tuple(shape[axis] for axis in order[: len(shape)])
    rank = len(shape)
    if out.given(1):
        name = out.add("Reshape", [name, out.int64_input(1)], main=True)
        rank = out.shape(1)[0]
    elif get("reshape_dims") is not None:
        _check_reshape(out, shape)
        target = get("reshape_dims")
        rank = len(target)
        zeros = int(not get("zero_is_placeholder"))
        name = out.add("Reshape", [name, out.integers(target)], main=True, allowzero=zeros or None)
    name = _transposed(out, name, get("second_transpose"), rank)
    return name if out.fragment.nodes else out.add("Identity", [name])


def _transposed(out: GraphWriter, name: str, order: Any, rank: int) -> str:
    if order is None:
        return name
    order = list(order[:rank])
    if sorted(order) != list(range(rank)):
        raise out.problem(f"{shown(order)} is no permutation of {rank} axes")
    return name if order == sorted(order) else out.add("Transpose", [name], perm=order)


def _check_reshape(out: GraphWriter, shape: tuple[int, ...]) -> None:
    target = out.layer.get("reshape_dims")
    copied = out.layer.get("zero_is_placeholder")
    if any(size < -1 for size in target) or sum(size == -1 for size in target) > 1:
        raise out.problem(f"invalid reshape dimensions {shown(target)}: at most one may be -1")
    if copied and any(size == 0 and axis >= len(shape) for axis, size in enumerate(target)):
        raise out.problem(
            f"reshape dimension 0 has no input dimension to copy. Reshaping {shown(shape)} to {shown(target)}."
        )
    full = [shape[axis] if size == 0 and copied else size for axis, size in enumerate(target)]
    if -1 in shape:
        return
    volume, known = math.prod(shape), math.prod(size for size in full if size != -1)
    if (-1 in full and (not known or volume % known)) or (-1 not in full and volume != known):
        raise out.problem(f"reshape changes volume. Reshaping {shown(shape)} to {shown(full)}.")


def _concatenation(out: GraphWriter) -> str:
    axis = out.layer.get("axis")
    count = len(out.layer.inputs)
    shapes = [out.shape(index) for index in range(count)]
    types = {out.dtype(index) for index in range(count)}
    if len(types) > 1 and (out.layer.network._strongly_typed or not types <= {"FLOAT", "HALF", "BF16"}):
        raise out.problem("all concat inputs must have the same type", kind="API Usage Error")
    for index, shape in enumerate(shapes[1:], 1):
        before = f"Input 0 shape: {shown(shapes[0])}, Input {index} shape: {shown(shape)}"
        if len(shape) != len(shapes[0]):
            raise out.problem(
                f"all concat input tensors must have the same number of dimensions, but mismatch at input {index}. "
                f"{before}"
            )
        for place, (one, other) in enumerate(zip(shapes[0], shape, strict=True)):
            if place != axis and one != other and -1 not in (one, other):
                raise out.problem(
                    f"all concat input tensors must have the same dimensions except on the concatenation axis "
                    f"({axis}), but dimensions mismatched at index {place}. {before}"
                )
    if not 0 <= axis < len(shapes[0]):
        raise out.problem(f"concatenation axis {axis} is not an axis of {shown(shapes[0])}")
    return out.add("Concat", out.alike(*range(count)), axis=axis)


def _slice(out: GraphWriter) -> str:
    get, shape = out.layer.get, out.shape(0)
    given = [out.known(index) if out.given(index) else np.array(get(key)) for index, key in _SLICE_INPUTS]
    if any(values is None for values in given):
        return _dynamic_slice(out)
    start, size, step = ([int(item) for item in np.ravel(values)] for values in given if values is not None)
    axes = list(range(len(shape))) if get("axes") is None else [axis % len(shape) for axis in get("axes")]
    if not len(start) == len(size) == len(step) == len(axes):
        raise out.problem(f"slice start, size and stride must have {len(axes)} dimensions")
    parts = list(zip(start, size, step, strict=True))
    if get("mode") != "STRICT_BOUNDS":
        return _gathered_slice(out, axes, parts)
    last = [a + (n - 1) * s for a, n, s in parts]
    pairs = [(place, shape[axis]) for ends in (start, last) for axis, place in zip(axes, ends, strict=True)]
    if 0 not in size and any(length >= 0 and not 0 <= place < length for place, length in pairs):
        sizes = f"start = {shown(start)}, size = {shown(size)}, stride = {shown(step)}."
        raise out.problem(f"out of bounds slice, input = {shown(shape)}, {sizes}")
    ends = [end if (end := a + n * s) >= 0 else _FAR for a, n, s in parts]
    lists = [start, ends, axes, [stride or 1 for stride in step]]
    return out.add("Slice", [out.input(0), *(out.integers(values) for values in lists)])


def _dynamic_slice(out: GraphWriter) -> str:
    """Slice by tensors: where, how much, in which steps."""
    get = out.layer.get
    if get("mode") != "STRICT_BOUNDS":
        raise EmulationError(
            f"Slices with tensors for start or size in mode {get('mode')} are not emulated.",
            fix="Use the mode STRICT_BOUNDS.",
        )
    start, size, stride = (
        out.int64_input(index) if out.given(index) else out.integers(get(key)) for index, key in _SLICE_INPUTS
    )
    end = out.add("Add", [start, out.add("Mul", [size, stride])])
    axes = out.integers(range(len(out.shape(0))) if get("axes") is None else get("axes"))
    return out.add("Slice", [out.input(0), start, end, axes, stride], main=True)


def _gathered_slice(out: GraphWriter, axes: list[int], parts: list[tuple[int, int, int]]) -> str:
    """Slice with a rule for places outside the input: gather, axis by axis."""
    mode, shape = out.layer.get("mode"), out.shape(0)
    name = out.input(0)
    outside: list[Any] = []
    for axis, (start, size, step) in zip(axes, parts, strict=True):
        length = shape[axis]
        if length < 0:
            raise EmulationError(
                f"Slices of dynamic dimensions in mode {mode} are not emulated.", fix="Fix the dimension."
            )
        places = start + step * np.arange(size, dtype=np.int64)
        view = [1] * len(shape)
        view[axis] = size
        outside.append(((places < 0) | (places >= length)).reshape(view))
        name = out.add("Gather", [name, out.constant(_inside(places, length, mode))], main=True, axis=axis)
    if mode != "FILL":
        return name
    mask = outside[0]
    for more in outside[1:]:
        mask = mask | more
    fill = out.input(4) if out.given(4) else out.constant(0, out.dtype(0))
    return out.add("Where", [out.constant(mask), fill, name])


def _inside(places: Any, length: int, mode: str) -> Any:
    if mode == "WRAP":
        return places % length
    if mode == "REFLECT" and length > 1:
        period = 2 * (length - 1)
        folded = places % period
        return np.where(folded < length, folded, period - folded)
    return np.clip(places, 0, length - 1)


def _squeeze(out: GraphWriter) -> str:
    if not out.given(1):
        return out.add("Squeeze", [out.input(0)])
    axes = _constant_axes(out)
    shape = out.shape(0)
    wrong = [axis for axis in axes if not -len(shape) <= axis < len(shape) or shape[axis] not in (1, -1)]
    if wrong:
        raise out.problem(f"squeezed dimension {wrong[0]} of {shown(shape)} is not 1")
    return out.add("Squeeze", [out.input(0), out.integers(axes)])


def _unsqueeze(out: GraphWriter) -> str:
    return out.add("Unsqueeze", [out.input(0), out.integers(_constant_axes(out))])


def _constant_axes(out: GraphWriter) -> list[int]:
    value = out.known(1)
    if value is None:
        raise out.problem("axes must be a build-time constant")
    return [int(axis) for axis in value.ravel()]


def _shape(out: GraphWriter) -> str:
    return out.add("Shape", [out.input(0)])


def _padding(out: GraphWriter) -> str:
    pre, post = out.layer.get("pre_padding"), out.layer.get("post_padding")
    rank = len(out.shape(0))
    if len(pre) != 2 or len(post) != 2 or rank < 4:
        raise out.problem("padding needs two dimensions and an input with at least four")
    zeros = [0] * (rank - 2)
    pads = out.integers([*zeros, *pre, *zeros, *post])
    return out.add("Pad", [out.input(0), pads, out.constant(0, out.dtype(0))])


EMITTERS = {
    "SHUFFLE": _shuffle, "CONCATENATION": _concatenation, "SLICE": _slice, "SQUEEZE": _squeeze,
    "UNSQUEEZE": _unsqueeze, "SHAPE": _shape, "PADDING": _padding,
}  # fmt: skip
