"""Layers that reduce or order along axes: reduction, softmax, top k, running sums, normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    enum_setting,
    flag_setting,
    float_setting,
    integer_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import GraphWriter

__all__ = [
    "EMITTERS",
    "REDUCE_OPS",
    "ICumulativeLayer",
    "INormalizationLayer",
    "IReduceLayer",
    "ISoftMaxLayer",
    "ITopKLayer",
    "axes_from_mask",
    "mask_from_axes",
]

REDUCE_OPS = {"SUM": "ReduceSum", "PROD": "ReduceProd", "MAX": "ReduceMax", "MIN": "ReduceMin", "AVG": "ReduceMean"}
_LARGEST_K = 3840


class IReduceLayer(ILayer):
    """Reduces along axes."""

    op = enum_setting("op", "ReduceOperation", "The operation.")
    axes = integer_setting("axes", "The axes as bits.")
    keep_dims = flag_setting("keep_dims", "Whether reduced axes stay, with size one.")


class ISoftMaxLayer(ILayer):
    """Softmax along one axis."""

    axes = integer_setting("axes", "The axis as a bit.")


class ITopKLayer(ILayer):
    """The greatest or least elements along one axis, and where they were."""

    op = enum_setting("op", "TopKOperation", "Which are wanted.")
    k = integer_setting("k", "How many.")
    axes = integer_setting("axes", "The axis as a bit.")
    indices_type = enum_setting("indices_type", "DataType", "The type of the places.")


class ICumulativeLayer(ILayer):
    """Running sums."""

    op = enum_setting("op", "CumulativeOperation", "The operation: a sum.")
    exclusive = flag_setting("exclusive", "Whether an element's own value is left out.")
    reverse = flag_setting("reverse", "Whether it runs from the end.")


class INormalizationLayer(ILayer):
    """Normalization over axes: of layers, instances or groups."""

    epsilon = float_setting("epsilon", "What keeps the division finite.")
    axes = integer_setting("axes", "The axes as bits.")
    num_groups = integer_setting("num_groups", "The number of groups of channels.")
    compute_precision = enum_setting("compute_precision", "DataType", "The type computed in.")

    @property
    def is_v2(self) -> bool:
        """Whether scale and bias are for each channel also when there are groups."""
        return bool(self._state.get("v2"))


def axes_from_mask(mask: int, rank: int) -> list[int]:
    """Return the axes whose bits are set.

    Example:
        >>> axes_from_mask(0b1010, 4)
        [1, 3]
    """
    return [axis for axis in range(rank) if mask >> axis & 1]


def mask_from_axes(axes: Any, rank: int) -> int:
    """Return axes, negative ones counted from the end, as bits.

    Example:
        >>> mask_from_axes([1, -1], 4)
        10
    """
    return sum(1 << (axis % rank) for axis in axes)


def _axes(out: GraphWriter) -> list[int]:
    rank, mask = len(out.shape(0)), out.layer.get("axes")
    axes = axes_from_mask(mask, rank)
    if not axes or mask >> rank:
        raise out.problem(f"axes {mask:#b} are not axes of an input with {rank} dimensions")
    return axes


def _one_axis(out: GraphWriter) -> int:
    axes = _axes(out)
    if len(axes) != 1:
        raise out.problem("exactly one axis must be given")
    return axes[0]


def reduced(out: GraphWriter, op: str, name: str, axes: list[int], *, keep: bool = True, main: bool = False) -> str:
    """Reduce along axes; ONNX moved the axes from an attribute to an input over time."""
    if op == "ReduceSum" or out.opset >= 18:
        return out.add(op, [name, out.integers(axes)], main=main, keepdims=int(keep))
    return out.add(op, [name], main=main, axes=axes, keepdims=int(keep))


def _reduce(out: GraphWriter) -> str:
    op = out.layer.get("op")
    if op not in REDUCE_OPS:
        raise out.problem(f"reduce operation {op} is not supported")
    if out.dtype(0) == "BOOL":
        raise out.problem("reduce does not support Bool", kind="API Usage Error")
    return reduced(out, REDUCE_OPS[op], out.input(0), _axes(out), keep=out.layer.get("keep_dims"), main=True)


def _softmax(out: GraphWriter) -> str:
    return out.add("Softmax", [out.input(0)], axis=_one_axis(out))


def _topk(out: GraphWriter) -> list[str]:
    get = out.layer.get
    axis, size = _one_axis(out), out.shape(0)[_one_axis(out)]
    k = out.int64_input(1) if out.given(1) else out.integers([get("k")])
    if not out.given(1) and (not 1 <= get("k") <= _LARGEST_K or 0 <= size < get("k")):
        raise out.problem(f"K value {get('k')} must be between 1 and the size {size} of the axis, at most {_LARGEST_K}")
    k = out.add("Reshape", [k, out.integers([1])]) if out.given(1) and not _is_list(out, 1) else k
    values, places = out.add_many(
        "TopK", [out.input(0), k], 2, main=True, axis=axis, largest=int(get("op") == "MAX"), sorted=1
    )
    return [values, places if get("indices_type") == "INT64" else out.cast(places, get("indices_type"))]


def _is_list(out: GraphWriter, index: int) -> bool:
    return len(out.shape(index)) == 1 or out.known(index) is not None


def _cumulative(out: GraphWriter) -> str:
    axis = out.known(1)
    if axis is None:
        raise out.problem("the axis must be a build-time constant")
    get = out.layer.get
    return out.add(
        "CumSum",
        [out.input(0), out.constant(np.array(int(axis.ravel()[0]), np.int64))],
        exclusive=int(get("exclusive")),
        reverse=int(get("reverse")),
    )


def _normalization(out: GraphWriter) -> str:
    groups, shape = out.layer.get("num_groups"), out.shape(0)
    scale, bias = out.alike(0, 1)[1], out.alike(0, 2)[1]
    if groups == 1:
        return _scaled(out, _normalized(out, out.input(0), _axes(out)), scale, bias)
    if shape[1] < 0 or shape[1] % groups:
        raise out.problem(f"{shape[1]} channels cannot be divided into {groups} groups")
    folded = out.add("Reshape", [out.input(0), out.integers([0, groups, -1])])
    normal = _normalized(out, folded, [2])
    if not out.layer.get("v2"):
        flat = out.integers([1, groups, 1])
        normal = _scaled(out, normal, out.add("Reshape", [scale, flat]), out.add("Reshape", [bias, flat]))
    full = out.add("Shape", [out.input(0)]) if -1 in shape else out.integers(shape)
    back = out.add("Reshape", [normal, full])
    return _scaled(out, back, scale, bias) if out.layer.get("v2") else back


def _normalized(out: GraphWriter, name: str, axes: list[int]) -> str:
    centred = out.add("Sub", [name, reduced(out, "ReduceMean", name, axes)])
    variance = reduced(out, "ReduceMean", out.add("Mul", [centred, centred]), axes)
    spread = out.add("Sqrt", [out.add("Add", [variance, out.constant(out.layer.get("epsilon"), out.dtype(0))])])
    return out.add("Div", [centred, spread], main=True)


def _scaled(out: GraphWriter, name: str, scale: str, bias: str) -> str:
    return out.add("Add", [out.add("Mul", [name, scale]), bias])


EMITTERS = {
    "REDUCE": _reduce, "SOFTMAX": _softmax, "TOPK": _topk, "CUMULATIVE": _cumulative, "NORMALIZATION": _normalization,
}  # fmt: skip
