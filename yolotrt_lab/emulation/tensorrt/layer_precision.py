"""The precisions programs ask for layer by layer, in the weakly typed networks of TensorRT 10."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.target import target

__all__ = [
    "Unobeyed",
    "asks_for_precisions",
    "check_obeyed",
    "fp32_names",
    "missing_scale",
    "precision_complaint",
    "quantize_by_ranges",
    "spare_layers",
]

_CONFIGURED = {"HALF": ("fp16", "FP16"), "BF16": ("bf16", "BF16"), "INT8": ("Int8", "INT8")}
_HINTS = {"HALF": "f16", "BF16": "bf16", "FLOAT": "f32"}
_EXECUTED = {"f16": "FP16", "bf16": "BF16", "f32": "FP32"}
_ARITHMETIC = ("FP32", "FP16", "BF16", "Int8")
_WITHOUT_ARITHMETIC = ("Reformat", "NoOp", "Constant", "Shape")


class Unobeyed(Exception):
    """A layer cannot run in the precision asked for, and that was to be obeyed; carries TensorRT's words."""


def precision_complaint(network: Any, config: Any) -> str | None:
    """Return why layers may not have the precisions they were given, None if they may."""
    asked = {layer.precision for layer in network._layers}
    asked |= {dtype for layer in network._layers for dtype in layer.output_types.values()}
    for dtype, (word, flag) in _CONFIGURED.items():
        if dtype in asked and not config._has_flag(flag):
            missing = f"but {word.lower()} is not configured in the builder"
            return f"{word} precision has been set for a layer or layer output, {missing}"
    return None


def asks_for_precisions(network: Any, config: Any) -> bool:
    """Return whether layers were given precisions that count: with one of the flags that make them constraints."""
    return _constrained(config) and any(layer.precision is not None for layer in network._layers)


def fp32_names(network: Any) -> tuple[str, ...]:
    """Return the names of the ONNX nodes that must be computed in FP32, and of what they write."""
    layers = [layer for layer in network._layers if layer.precision == "FLOAT"]
    nodes = [node for layer in layers for node in network._graph.nodes_of(layer)]
    names = {node.name for node in nodes if node.name} | {name for node in nodes for name in node.output}
    renamed = {tensor._onnx_name: tensor.name for tensor in network._outputs}
    return tuple(sorted(names | {renamed[name] for name in names if name in renamed}))


def check_obeyed(network: Any, config: Any, layers: Iterable[Any], reporter: Reporter) -> None:
    """Compare the executed layers with what was asked for, and say where they differ.

    Raises:
        Unobeyed: They differ, and `OBEY_PRECISION_CONSTRAINTS` is set.
    """
    executed = {name: layer for layer in layers for name in layer.origins}
    for layer in network._layers:
        if layer.precision is None:
            continue
        found = [executed[node.name] for node in network._graph.nodes_of(layer) if node.name in executed]
        wrong = [one for one in found if _differs(one, layer.precision)]
        if not wrong:
            continue
        if config._has_flag("OBEY_PRECISION_CONSTRAINTS"):
            asked = f"not in what was asked for: {layer.precision}"
            reporter.say("ERROR", f"[emulation] The device computes {layer.name} in {wrong[0].precision}, {asked}.")
            raise Unobeyed(f"Could not find any implementation for node {layer.name}.")
        reporter.warning(
            f"No implementation of layer {layer.name} obeys the requested constraints in strict mode. No conforming "
            f"implementation was found i.e. requested layer computation precision and output precision types are "
            f"ignored, using the fastest implementation."
        )


def missing_scale(name: str) -> str:
    """Return the warning that a tensor has no scale."""
    return (
        f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8 implementation for any layer "
        f"consuming or producing given tensor"
    )


def quantize_by_ranges(onnx_bytes: bytes, network: Any, reporter: Reporter) -> bytes:
    """Return the network with Q/DQ nodes, by the dynamic ranges of its tensors instead of a calibration."""
    import onnx

    from yolotrt_lab.emulation.tensorrt.classic_placement import insert_pairs, quantizable

    outside = {id(tensor) for tensor in [*network._inputs, *network._outputs]}
    scales = {}
    for tensor in network._tensors.values():
        if tensor._range is not None:
            name = tensor.name if id(tensor) in outside else tensor._onnx_name
            scales[name] = max(map(abs, tensor._range)) / 127.0
    model = onnx.load_model_from_string(onnx_bytes)
    for name in quantizable(model):
        if name not in scales:
            reporter.warning(missing_scale(name))
    count = insert_pairs(model, scales)
    reporter.info(f"[emulation] {count} convolutions and matrix products quantized.")
    return bytes(model.SerializeToString())


def spare_layers(onnx_bytes: bytes, names: Iterable[str]) -> bytes:
    """Return a quantized graph in which these nodes read what was there before quantization."""
    import onnx

    spared = set(names)
    model = onnx.load_model_from_string(onnx_bytes)
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name in spared and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            for index, name in enumerate(node.input):
                quantized = _read_by(producers.get(name), "DequantizeLinear")
                original = _read_by(producers.get(quantized or ""), "QuantizeLinear")
                if original is not None:
                    node.input[index] = original
    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    for op in ("DequantizeLinear", "QuantizeLinear"):
        unread = [node for node in model.graph.node if node.op_type == op and node.output[0] not in read]
        for node in unread:
            model.graph.node.remove(node)
        read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    return bytes(model.SerializeToString())


def _read_by(node: Any, op: str) -> str | None:
    """Return the first input of a node of this kind, None if it is of another or there is none."""
    return str(node.input[0]) if node is not None and node.op_type == op else None


def _constrained(config: Any) -> bool:
    return bool(config._has_flag("OBEY_PRECISION_CONSTRAINTS") or config._has_flag("PREFER_PRECISION_CONSTRAINTS"))


def _differs(executed: Any, wanted: str) -> bool:
    if executed.kind in _WITHOUT_ARITHMETIC or executed.precision not in _ARITHMETIC:
        return False
    # What stands in for FP16 on this device was said in the log; asking for FP16 asks for that.
    stand_in = _EXECUTED[target().arithmetic(_HINTS[wanted])] if wanted in _HINTS else "Int8"
    return bool(executed.precision != stand_in)
