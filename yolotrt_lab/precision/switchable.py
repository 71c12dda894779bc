"""A Q/DQ graph whose layers can be quantized one by one, to see what each of them does to the output.

Rounding is emulated in FP32, as the pairs say: activations go through their QuantizeLinear and DequantizeLinear,
weights are rounded beforehand, so that a runtime still sees constants and fuses what it fuses in the FP32 model. A
layer that is switched off costs nothing. Scales are those of the fully quantized graph throughout: a tensor joined to
others by a Concat keeps the step they share, also when it is the only one that is quantized.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import GraphIndex, node_label, replace_nodes
from yolotrt_lab.types import Array

__all__ = ["SwitchableGraph", "drop_unused_constants", "fake_quantized"]

_QMIN, _QMAX = -128, 127
_ROUNDED = "__rounded"


@dataclass(frozen=True, eq=False)
class _Read:
    """One quantized input of a layer: where it comes from without the pair, and with it."""

    slot: int
    source: str
    dequantized: str
    rounded: Array | None
    clip: float


def fake_quantized(values: Array, scale: Array, *, axis: int = 0) -> Array:
    """Return float32 values rounded to INT8 and back: clip(round(x / s), -128, 127) s.

    Args:
        values: Any shape.
        scale: One step, or one for each index along `axis`.
        axis: Where the steps go when there are several.
    """
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    step = scale.astype(np.float32).reshape(shape)
    rounded: Array = np.clip(np.rint(values / step), _QMIN, _QMAX).astype(np.float32) * step
    return rounded


def drop_unused_constants(graph: GraphProto) -> None:
    """Remove the initializers that no node reads, in place; subgraphs are taken to read none."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        copies = GraphProto()
        copies.initializer.extend(kept)
        del graph.initializer[:]
        graph.initializer.extend(copies.initializer)


class SwitchableGraph:
    """Variants of a Q/DQ graph in which only some layers are quantized.

    Args:
        model: A graph as `quantize_onnx` writes it: weights stored in float, pairs behind them.

    Raises:
        InputError: The graph has no quantized layer.

    Example:
        >>> graph = SwitchableGraph(onnx.load("int8.onnx"))  # doctest: +SKIP
        >>> only_the_first = graph.variant(graph.layers[:1])  # doctest: +SKIP
    """

    def __init__(self, model: ModelProto) -> None:
        index = GraphIndex(model.graph)
        self._pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        self._reads: dict[str, tuple[_Read, ...]] = {}
        self._plain = ModelProto()
        self._plain.CopyFrom(model)
        nodes = [node for node in self._plain.graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
        for node in nodes:
            reads = tuple(_reads(node, index))
            if not reads:
                continue
            self._reads[node_label(node)] = reads
            for read in reads:
                node.input[read.slot] = read.source
        if not self._reads:
            raise InputError(
                "The graph has no quantized layer to switch.",
                expected="pairs of QuantizeLinear and DequantizeLinear",
                got=f"{len(self._pairs)} such nodes",
                fix="Quantize it first with `yolotrt quantize --base fp32`.",
            )
        replace_nodes(self._plain.graph, nodes)
        self._op_types = {node_label(node): str(node.op_type) for node in nodes}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the quantized layers, in graph order."""
        return tuple(self._reads)

    def op_type(self, layer: str) -> str:
        """Return a layer's operator."""
        return self._op_types[layer]

    def inputs(self, layer: str) -> tuple[str, ...]:
        """Return the activations a layer reads in INT8, without the weights."""
        return tuple(read.source for read in self._reads[layer] if read.rounded is None)

    def clip(self, layer: str) -> float:
        """Return the magnitude that 127 stands for in a layer's inputs; the largest where there are two."""
        return max((read.clip for read in self._reads[layer] if read.rounded is None), default=0.0)

    def weights(self, layer: str) -> Array | None:
        """Return a layer's weights in FP32, or None for a residual addition."""
        name = next((read.source for read in self._reads[layer] if read.rounded is not None), None)
        return None if name is None else GraphIndex(self._plain.graph).constant(name)

    def plain(self) -> ModelProto:
        """Return the graph with nothing quantized."""
        return self.variant(())

    def variant(self, layers: Collection[str], *, weights: bool = True, activations: bool = True) -> ModelProto:
        """Return the graph with only these layers quantized.

        Args:
            layers: Names out of `layers`.
            weights: Round their weights.
            activations: Round their inputs.

        Raises:
            InputError: A name is no quantized layer.
        """
        unknown = sorted(set(layers) - set(self._reads))
        if unknown:
            raise InputError(
                f"{unknown[0]} is no quantized layer.", expected=f"one of {len(self._reads)} layers", got=unknown[0]
            )
        model = ModelProto()
        model.CopyFrom(self._plain)
        wanted: set[str] = set()
        nodes = {node_label(node): node for node in model.graph.node}
        for layer in layers:
            for read in self._reads[layer]:
                if read.rounded is not None and weights:
                    name = f"{read.source}{_ROUNDED}_{layer}"
                    model.graph.initializer.append(numpy_helper.from_array(read.rounded, name))
                    nodes[layer].input[read.slot] = name
                elif read.rounded is None and activations:
                    nodes[layer].input[read.slot] = read.dequantized
                    wanted.add(read.dequantized)
        replace_nodes(model.graph, [*model.graph.node, *self._needed_pairs(wanted)])
        drop_unused_constants(model.graph)
        return model

    def _needed_pairs(self, dequantized: set[str]) -> list[NodeProto]:
        quantized = {node.input[0] for node in self._pairs if node.output[0] in dequantized}
        return [node for node in self._pairs if node.output[0] in dequantized | quantized]


def _reads(node: NodeProto, index: GraphIndex) -> list[_Read]:
    """Return the inputs of a node that come out of a quantize/dequantize pair."""
    found = []
    for slot, name in enumerate(node.input):
        dequantize = index.producer(name)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        quantize = index.producer(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        source, scale = quantize.input[0], index.constant(quantize.input[1])
        values = index.constant(source)
        axis = next((attribute.i for attribute in quantize.attribute if attribute.name == "axis"), 1)
        rounded = (
            None if values is None or scale is None else fake_quantized(values, scale, axis=axis).astype(values.dtype)
        )
        clip = 0.0 if scale is None else _QMAX * float(scale.max())
        found.append(_Read(slot, source, name, rounded, clip))
    return found
