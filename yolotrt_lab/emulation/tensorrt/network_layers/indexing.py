"""Layers that find or place elements by index: gather, scatter, one-hot, non-zero, reversal, suppression."""

from __future__ import annotations

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import enum_setting, integer_setting
from yolotrt_lab.emulation.tensorrt.network_layers.writer import GraphWriter
from yolotrt_lab.errors import EmulationError

__all__ = [
    "EMITTERS",
    "IGatherLayer",
    "INMSLayer",
    "INonZeroLayer",
    "IOneHotLayer",
    "IReverseSequenceLayer",
    "IScatterLayer",
]

_INTEGERS = ("INT32", "INT64")
_SOME_OVERLAP = 1e-6


class IGatherLayer(ILayer):
    """Takes elements by index."""

    axis = integer_setting("axis", "The axis.")
    mode = enum_setting("mode", "GatherMode", "How indices are read.")
    num_elementwise_dims = integer_setting("num_elementwise_dims", "How many leading dimensions go together.")


class IScatterLayer(ILayer):
    """Puts elements at indices."""

    axis = integer_setting("axis", "The axis.")
    mode = enum_setting("mode", "ScatterMode", "How indices are read.")


class IOneHotLayer(ILayer):
    """Writes indices as vectors."""

    axis = integer_setting("axis", "The new axis.")


class INonZeroLayer(ILayer):
    """The places of elements that are not zero."""

    indices_type = enum_setting("indices_type", "DataType", "The type of the places.")


class IReverseSequenceLayer(ILayer):
    """Reverses the start of each sequence."""

    batch_axis = integer_setting("batch_axis", "The axis of the sequences.")
    sequence_axis = integer_setting("sequence_axis", "The axis along them.")


class INMSLayer(ILayer):
    """Non-maximum suppression."""

    bounding_box_format = enum_setting("bounding_box_format", "BoundingBoxFormat", "How boxes are given.")
    topk_box_limit = integer_setting("topk_box_limit", "How many boxes of a class are looked at.")
    indices_type = enum_setting("indices_type", "DataType", "The type of the places.")


def _check_indices(out: GraphWriter, index: int = 1) -> None:
    if out.dtype(index) not in _INTEGERS:
        raise out.problem("indices must have type Int32 or Int64", kind="API Usage Error")


def _gather(out: GraphWriter) -> str:
    mode, axis, together = (out.layer.get(key) for key in ("mode", "axis", "num_elementwise_dims"))
    _check_indices(out)
    names = [out.input(0), out.input(1)]
    if mode == "ND":
        return out.add("GatherND", [out.input(0), out.indices(1)], main=True, batch_dims=together)
    if not 0 <= axis < len(out.shape(0)):
        raise out.problem(f"gather axis {axis} is not an axis of the input")
    if mode == "ELEMENT":
        return out.add("GatherElements", names, axis=axis)
    if together:
        return _gather_together(out, axis, together)
    return out.add("Gather", names, axis=axis)


def _gather_together(out: GraphWriter, axis: int, together: int) -> str:
    """Take elements of each batch item with indices of its own."""
    if together != 1 or axis == 0:
        raise out.problem(f"gather axis {axis} does not fit num_elementwise_dims {together}, which can be 0 or 1")
    rank, new = len(out.shape(0)), len(out.shape(1)) - 1
    front = [0, axis, *(other for other in range(1, rank) if other != axis)]
    data = out.add("Transpose", [out.input(0)], perm=front)
    places = out.add("Unsqueeze", [out.indices(1), out.integers([-1])])
    found = out.add("GatherND", [data, places], main=True, batch_dims=1)
    before, after = range(new + 1, new + axis), range(new + axis, new + rank - 1)
    return out.add("Transpose", [found], perm=[0, *before, *range(1, new + 1), *after])


def _scatter(out: GraphWriter) -> str:
    _check_indices(out)
    names = [out.input(0), out.indices(1), out.input(2)]
    if out.layer.get("mode") == "ND":
        return out.add("ScatterND", names, main=True)
    return out.add("ScatterElements", names, main=True, axis=out.layer.get("axis"))


def _one_hot(out: GraphWriter) -> str:
    _check_indices(out, 0)
    depth = out.known(2)
    third = out.input(2) if depth is None else out.constant(np.array(int(depth.ravel()[0]), np.int64))
    return out.add("OneHot", [out.input(0), third, out.input(1)], axis=out.layer.get("axis"))


def _non_zero(out: GraphWriter) -> str:
    found = out.add("NonZero", [out.input(0)], main=True)
    wanted = out.layer.get("indices_type")
    return found if wanted == "INT64" else out.cast(found, wanted)


def _reverse_sequence(out: GraphWriter) -> str:
    get = out.layer.get
    return out.add(
        "ReverseSequence",
        [out.input(0), out.int64_input(1)],
        batch_axis=get("batch_axis"),
        time_axis=get("sequence_axis"),
    )


def _nms(out: GraphWriter) -> list[str]:
    """TensorRT has boxes (batch, boxes, 1 or classes, 4) and scores (batch, boxes, classes); ONNX other orders."""
    boxes = out.shape(0)
    if len(boxes) == 4 and boxes[2] != 1:
        raise EmulationError(
            "NMS with boxes of each class is not emulated.", got=boxes, fix="Share them: [b, n, 1, 4]."
        )
    if not 0 <= boxes[1] <= out.layer.get("topk_box_limit"):
        raise EmulationError(
            "NMS that looks at the best boxes only is not emulated.",
            expected=f"at most {out.layer.get('topk_box_limit')} boxes: topk_box_limit",
            got=boxes[1],
            fix="Select them with add_topk.",
        )
    flat = out.add("Squeeze", [out.input(0), out.integers([2])]) if len(boxes) == 4 else out.input(0)
    scores = out.add("Transpose", [out.input(1)], perm=[0, 2, 1])
    most = out.known(2)
    limit = out.int64_input(2) if most is None else out.integers([int(most.ravel()[0])])
    overlap, least = (out.input(index) if out.given(index) else out.constant(0.0, "FLOAT") for index in (3, 4))
    # OpenVINO suppresses boxes that overlap as much as the threshold, so at 0 also those that do not overlap.
    overlap = out.add("Max", [overlap, out.constant(_SOME_OVERLAP, out.dtype(3) if out.given(3) else "FLOAT")])
    thresholds = [overlap, least]
    centred = int(out.layer.get("bounding_box_format") == "CENTER_SIZES")
    found = out.add("NonMaxSuppression", [flat, scores, limit, *thresholds], main=True, center_point_box=centred)
    wanted = out.layer.get("indices_type")
    count = out.add("Gather", [out.add("Shape", [found]), out.constant(np.array(0, np.int64))], axis=0)
    return [found if wanted == "INT64" else out.cast(found, wanted), out.cast(count, "INT32")]


EMITTERS = {
    "GATHER": _gather, "SCATTER": _scatter, "ONE_HOT": _one_hot, "NON_ZERO": _non_zero,
    "REVERSE_SEQUENCE": _reverse_sequence, "NMS": _nms,
}  # fmt: skip
