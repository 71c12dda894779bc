"""Quantizes networks of any kind: scales for what convolutions and matrix products read, and Q/DQ nodes with them.

Detectors have rules of their own in `yolotrt_lab.precision`; here every convolution and matrix product with constant
weights becomes INT8: activations per tensor, weights per output channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.errors import EmulationError, InputError
from yolotrt_lab.types import Array

if TYPE_CHECKING:
    from yolotrt_lab.precision.table import CalibrationTable

__all__ = ["calibrate_network", "insert_pairs", "quantizable"]

_LEAST_OPSET = 13
_FLOAT = 1  # TensorProto.FLOAT


@dataclass(frozen=True)
class _Site:
    """A node to be quantized, by its index: what it reads, its weights, and the axis of their output channels."""

    node: int
    activation: str
    weights: str
    axis: int


def quantizable(model: Any) -> list[str]:
    """Return the activations of a `ModelProto` that need a scale, in the order of their use."""
    return list(dict.fromkeys(site.activation for site in _sites(model)))


def _sites(model: Any) -> Iterator[_Site]:
    from yolotrt_lab.export.graph import infer_tensor_types

    types = {name: element for name, (element, _) in infer_tensor_types(model).items()}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.input[0] in constants:
            continue
        weights = constants.get(node.input[1])
        if weights is None:
            continue
        axis = _channel_axis(node, len(weights.dims))
        if axis is not None and weights.data_type == _FLOAT and types.get(node.input[0]) == _FLOAT:
            yield _Site(index, node.input[0], node.input[1], axis)


def _channel_axis(node: Any, rank: int) -> int | None:
    """Return the axis of the output channels of a node's weights, None if they have none."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attributes.get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return None if attributes.get("transA") else 1 - attributes.get("transB", 0)
    return 1 if rank == 2 else None


def calibrate_network(model: Any, feeds: Iterable[Mapping[str, Array]], *, method: str) -> CalibrationTable:
    """Run a `ModelProto` on a program's batches and return the range of every activation that needs one.

    Raises:
        InputError: There are no batches, or values are not finite.
    """
    from yolotrt_lab.export.divergence import make_session
    from yolotrt_lab.export.graph import expose_tensors
    from yolotrt_lab.precision.calibrators import make_calibrator
    from yolotrt_lab.precision.table import CalibrationTable

    names = quantizable(model)
    calibrators = {name: make_calibrator(method) for name in names}
    session = make_session(expose_tensors(model, names))
    inputs = {value.name for value in model.graph.input}
    outputs = [name for name in names if name not in inputs]
    digest, batches = hashlib.sha256(), 0
    for feed in feeds:
        batches += 1
        found = dict(zip(outputs, session.run(outputs, dict(feed)), strict=True)) if outputs else {}
        for values in feed.values():
            digest.update(values.tobytes())
        for name, calibrator in calibrators.items():
            calibrator.update({**feed, **found}[name])
    if batches == 0:
        raise InputError("There are no calibration images.", expected="at least one batch", got="0")
    amax = {name: calibrator.compute_amax() for name, calibrator in calibrators.items()}
    return CalibrationTable(amax=amax, method=method, image_count=batches, digest=digest.hexdigest())


def insert_pairs(model: Any, scales: Mapping[str, float]) -> int:
    """Put Q/DQ nodes in front of what can be quantized with these scales, and return how many nodes that are.

    Raises:
        EmulationError: The model's operator set is too old for scales per channel.
    """
    from onnx import numpy_helper

    sites = [site for site in _sites(model) if scales.get(site.activation, 0.0) > 0.0]
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if sites and version < _LEAST_OPSET:
        raise EmulationError(
            "Calibration is emulated for newer operator sets only.", expected=f"opset {_LEAST_OPSET}", got=version
        )
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = _Pairs(model.graph)
    before: dict[int, list[Any]] = {}
    for site in sites:
        new = before.setdefault(site.node, [])
        inputs = model.graph.node[site.node].input
        inputs[0] = pairs.name(site.activation, np.float32(scales[site.activation]), None, new)
        inputs[1] = pairs.name(site.weights, _weight_scales(weights[site.weights], site.axis), site.axis, new)
    nodes = [new for index, node in enumerate(model.graph.node) for new in (*before.get(index, ()), node)]
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return len(sites)


class _Pairs:
    """Makes one pair of Q/DQ nodes for each tensor and axis."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._made: dict[tuple[str, int | None], str] = {}

    def name(self, tensor: str, scale: Any, axis: int | None, new: list[Any]) -> str:
        """Return the name of the dequantized tensor; if it is not made yet, add what makes it to `new`."""
        from onnx import helper, numpy_helper

        if (tensor, axis) not in self._made:
            stem = f"{tensor}_calibrated" + ("" if axis is None else f"_{axis}")
            values = np.asarray(scale, np.float32)
            for suffix, array in (("scale", values), ("zero", np.zeros(values.shape, np.int8))):
                self._graph.initializer.append(numpy_helper.from_array(array, f"{stem}_{suffix}"))
            keywords: dict[str, Any] = {} if axis is None else {"axis": axis}
            for op, source, target in (
                ("QuantizeLinear", tensor, f"{stem}_q"),
                ("DequantizeLinear", f"{stem}_q", f"{stem}_dq"),
            ):
                inputs = [source, f"{stem}_scale", f"{stem}_zero"]
                new.append(helper.make_node(op, inputs, [target], name=f"{stem}_{op}", **keywords))
            self._made[tensor, axis] = f"{stem}_dq"
        return self._made[tensor, axis]


def _weight_scales(weights: Array, axis: int) -> Array:
    others = tuple(other for other in range(weights.ndim) if other != axis)
    amax = np.abs(weights).max(axis=others, initial=0.0)
    return np.where(amax > 0, amax, 1.0).astype(np.float32) / np.float32(127)
