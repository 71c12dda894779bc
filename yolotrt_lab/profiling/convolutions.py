"""The convolutions of an ONNX graph with their sizes: what a roofline needs to know about a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import node_label
from yolotrt_lab.files import require_file
from yolotrt_lab.profiling.layer_costs import inferred_graph, static_shapes

__all__ = ["convolutions_of"]


def convolutions_of(onnx_path: Path, *, batch: int = 1, bytes_per_value: int = 4) -> dict[str, dict[str, Any]]:
    """Return every square two-dimensional convolution by node name, in the order of the graph.

    Each has `batch`, `in_channels`, `out_channels`, `in_hw`, `kernel`, `stride`, `padding`, `groups` and
    `bytes_per_value`. Dilated ones, and those with different sizes along height and width, are left out.

    Args:
        onnx_path: The model; its height and width must be known.
        batch: The batch to count with.
        bytes_per_value: What a number takes in the engine: 4 in FP32, 2 in FP16, 1 in INT8.

    Raises:
        InputError: Not a readable ONNX model, or sizes that cannot be known.
    """
    require_file(onnx_path, kind="ONNX model")
    try:
        graph = inferred_graph(onnx.load(onnx_path), batch=batch)
    except Exception as error:  # parser, checker and inference raise classes of their own
        raise InputError(f"{onnx_path} cannot be measured.", expected="a sound ONNX model", got=error) from error
    shapes = static_shapes(graph)
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and len(weights.get(node.input[1], ())) == 4:
            layer = _layer(node, shapes.get(node.input[0], ()), weights[node.input[1]])
            if layer is not None:
                found[node_label(node)] = {"batch": batch, **layer, "bytes_per_value": bytes_per_value}
    return found


def _layer(node: Any, in_shape: tuple[int, ...], weight: tuple[int, ...]) -> dict[str, Any] | None:
    """Return the sizes of a convolution, or None for one that is not square."""
    if len(in_shape) != 4 or min(in_shape) <= 0:
        raise InputError(
            f"The input size of {node_label(node)} is not known.",
            expected="a model with fixed height and width",
            got=in_shape,
            fix="Export it again with `yolotrt export`.",
        )
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    sizes = (
        set(weight[2:]),
        set(settings.get("strides", (1,))),
        set(settings.get("pads", (0,))),
        set(settings.get("dilations", (1,))),
    )
    if any(len(values) != 1 for values in sizes) or sizes[3] != {1}:
        return None
    kernel, stride, padding = (next(iter(values)) for values in sizes[:3])
    return {
        "in_channels": in_shape[1],
        "out_channels": weight[0],
        "in_hw": in_shape[2:],
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "groups": int(settings.get("group", 1)),
    }
