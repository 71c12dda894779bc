"""Time per layer, and the same work side by side in engines that fused it differently."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.types import Array, ProgressCallback

__all__ = [
    "REFORMAT",
    "LayerMatrix",
    "LayerTime",
    "block_of_node",
    "compute_nodes",
    "graph_nodes",
    "hottest_layers",
    "layer_matrix",
    "layer_samples",
    "main_node",
    "measure_layers",
    "working_nodes",
]

REFORMAT = "(reformat)"
"""Row of layers that compute nothing: changes of memory layout or precision."""

# Compilers append these to the ONNX node's name when they split it.
_COMPILER_SUFFIXES = re.compile(r"(/WithoutBiases|/fq_\w+|_original|_output_0)+$")
_COMPUTE_NODE = re.compile(r"(?:^|/)(?:Conv|ConvTranspose|Gemm|MatMul)(?:_\d+)?$")
_CONVERSION_NODE = re.compile(r"(?:Quantize|Dequantize)Linear(?:_\d+)?$|_to_fp(?:16|32)$|(?:^|/)Cast(?:_\d+)?$")
_BLOCK = re.compile(r"^(/?(?:model|layers?|backbone|neck|head)[./]\d+)")


def main_node(origins: Sequence[str]) -> str:
    """Return the ONNX node a layer is known by: the first convolution or matrix product it came from, else the first.

    Example:
        >>> main_node(["/model.0/act/Mul", "/model.0/conv/Conv/WithoutBiases"])
        '/model.0/conv/Conv'
    """
    return (compute_nodes(origins) or working_nodes(origins) or (REFORMAT,))[0]


def compute_nodes(origins: Sequence[str]) -> tuple[str, ...]:
    """Return the convolutions and matrix products among ONNX nodes, where precision matters."""
    return tuple(name for name in working_nodes(origins) if _COMPUTE_NODE.search(name))


def working_nodes(origins: Sequence[str]) -> tuple[str, ...]:
    """Return the ONNX nodes that compute something: without casts, quantization and dequantization."""
    names = (_COMPILER_SUFFIXES.sub("", name) for name in origins)
    return tuple(dict.fromkeys(name for name in names if not _CONVERSION_NODE.search(name)))


def graph_nodes(origins: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Return the nodes of a graph that a layer came from, casts, quantization and dequantization included.

    Args:
        origins: What the compiler calls them, its own suffixes perhaps appended.
        known: Names of the graph's nodes.

    Example:
        >>> graph_nodes(["/a/Conv/WithoutBiases", "/a/Mul", "Constant_17"], {"/a/Conv", "/a/Mul"})
        ('/a/Conv', '/a/Mul')
    """
    names = (name if name in known else _COMPILER_SUFFIXES.sub("", name) for name in origins)
    return tuple(dict.fromkeys(name for name in names if name in known))


def block_of_node(node: str) -> str:
    """Return the block of the network a node belongs to ("/model.4/cv1/conv/Conv" is in "/model.4"), else the node.

    Example:
        >>> block_of_node("/model.4/cv1/conv/Conv")
        '/model.4'
    """
    match = _BLOCK.match(node)
    return match.group(1) if match else node


def measure_layers(
    runtime: Runtime,
    feeds: Mapping[str, Array],
    *,
    warmup: int = 3,
    repeats: int = 20,
    on_progress: ProgressCallback | None = None,
) -> tuple[LayerTime, ...]:
    """Return the median time of each layer over several runs, in execution order.

    Profiling adds a clock reading around every layer, turns off overlap between them, and leaves out what lies between
    them, so the sum is not the latency of an unprofiled run; shares are what to compare.

    Args:
        runtime: A TensorRT or OpenVINO runtime.
        feeds: Its inputs.
        warmup: Runs before measuring.
        repeats: Measured runs.
        on_progress: Called with (runs measured, runs).

    Raises:
        InputError: The runtime has no layer profiler, the inputs do not fit, or a count is out of range.
    """
    order, samples = layer_samples(runtime, feeds, warmup=warmup, repeats=repeats, on_progress=on_progress)
    return tuple(replace(layer, time_ms=float(np.median(samples[layer.name]))) for layer in order)


def layer_samples(
    runtime: Runtime,
    feeds: Mapping[str, Array],
    *,
    warmup: int = 3,
    repeats: int = 20,
    on_progress: ProgressCallback | None = None,
) -> tuple[tuple[LayerTime, ...], dict[str, list[float]]]:
    """Return the layers in execution order, and the milliseconds of each by name, one for every run.

    Args:
        runtime: A TensorRT or OpenVINO runtime.
        feeds: Its inputs.
        warmup: Runs before measuring.
        repeats: Measured runs.
        on_progress: Called with (runs measured, runs).

    Raises:
        InputError: The runtime has no layer profiler, the inputs do not fit, or a count is out of range.
    """
    if repeats < 1 or warmup < 0:
        raise InputError("Nothing to time.", expected="repeats >= 1, warmup >= 0", got=f"{repeats}, {warmup}")
    for _ in range(warmup):
        runtime.layer_times(feeds)
    order: dict[str, LayerTime] = {}
    times_ms: dict[str, list[float]] = {}
    for done in range(repeats):
        for layer in runtime.layer_times(feeds):
            order.setdefault(layer.name, layer)
            times_ms.setdefault(layer.name, []).append(layer.time_ms)
        if on_progress is not None:
            on_progress(done + 1, repeats)
    return tuple(order.values()), times_ms


def hottest_layers(layers: Sequence[LayerTime], *, count: int = 10) -> tuple[LayerTime, ...]:
    """Return the layers that take the most time, slowest first; equals stay in execution order."""
    return tuple(sorted(layers, key=lambda layer: -layer.time_ms)[:count])


@dataclass(frozen=True)
class LayerMatrix:
    """Time of the same part of the network in several engines.

    Attributes:
        rows: ONNX nodes or blocks, in the order of the network.
        engines: Names of the engines.
        time_ms: (rows, engines) milliseconds; 0 where an engine fused the part into another.
    """

    rows: tuple[str, ...]
    engines: tuple[str, ...]
    time_ms: Array

    @property
    def share(self) -> Array:
        """(rows, engines): part of each engine's whole time, from 0 to 1."""
        total = self.time_ms.sum(axis=0, keepdims=True)
        return np.asarray(self.time_ms / np.where(total > 0, total, 1.0))

    def hottest(self, count: int) -> LayerMatrix:
        """Return the `count` rows with the largest share in any engine, in network order, and the sum of the rest."""
        if len(self.rows) <= count + 1:
            return self
        keep = np.sort(np.argsort(-self.share.max(axis=1), kind="stable")[:count])
        rest = np.setdiff1d(np.arange(len(self.rows)), keep)
        rows = (*(self.rows[index] for index in keep), f"(other {len(rest)})")
        times = np.vstack([self.time_ms[keep], self.time_ms[rest].sum(axis=0)])
        return LayerMatrix(rows, self.engines, times)


def layer_matrix(engines: Mapping[str, Sequence[LayerTime]], *, by_block: bool = False) -> LayerMatrix:
    """Line up the layers of several engines by the ONNX node (or block) they came from.

    Args:
        engines: Engine name to its layers.
        by_block: One row per block of the network instead of per node.

    Raises:
        InputError: No engines.
    """
    if not engines:
        raise InputError("There are no layers to line up.", expected="at least one engine", got="none")
    sums: dict[str, dict[str, float]] = {}
    for engine, layers in engines.items():
        for layer in layers:
            node = main_node(layer.origins)
            row = block_of_node(node) if by_block else node
            per_engine = sums.setdefault(row, dict.fromkeys(engines, 0.0))
            per_engine[engine] += layer.time_ms
    rows = sorted(sums, key=lambda row: row == REFORMAT)  # stable: network order, reformats last
    times = np.array([[sums[row][engine] for engine in engines] for row in rows], dtype=np.float64)
    return LayerMatrix(tuple(rows), tuple(engines), times.reshape(len(rows), len(engines)))
