"""Measuring a machine's roof with the very runtime whose layers are to be placed under it.

A data sheet's peak is what the silicon could do. What matters for a layer is what this runtime's best kernel reaches on
this machine now: large convolutions with 1x1 kernels, which are matrix products, give the peak of each precision; one
pass over an array far larger than the caches gives the bandwidth; a product of a few numbers gives the time that every
layer takes at least.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.errors import LabError
from yolotrt_lab.profiling.layers import compute_nodes
from yolotrt_lab.profiling.roofline import MachineRoof, layer_precision
from yolotrt_lab.profiling.throughput import random_feeds
from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.runtimes.openvino import OpenVinoRuntime
from yolotrt_lab.runtimes.tensorrt import TensorRTRuntime
from yolotrt_lab.types import Precision

__all__ = ["ModelOpener", "measure_roof", "open_with_openvino", "open_with_tensorrt"]

ModelOpener = Callable[[Path, Precision], Runtime]
"""Opens an ONNX file, whose types are those of a precision, to run in it."""

_CHANNELS, _SIDE = 512, 48
_STREAM_BYTES = 96 << 20
_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)


def open_with_tensorrt(path: Path, precision: Precision) -> Runtime:
    """Build an engine, real or emulated, and open it."""
    return TensorRTRuntime(build_engine(path, path.with_suffix(".engine"), options=EngineOptions()).path)


def open_with_openvino(path: Path, precision: Precision) -> Runtime:
    """Open a model in OpenVINO with the hint for its precision; INT8 comes from the graph."""
    hint = Precision.FP32 if precision is Precision.INT8 else precision
    return OpenVinoRuntime(path, precision=hint)


def measure_roof(
    open_model: ModelOpener,
    *,
    precisions: Sequence[Precision] = _PRECISIONS,
    channels: int = _CHANNELS,
    stream_bytes: int = _STREAM_BYTES,
    repeats: int = 8,
) -> MachineRoof:
    """Measure peak rates, bandwidth and the least time of a layer.

    The best of the repeats counts: a roof is what is possible, not what is usual. Of the least layer's time it is the
    median, which is what every layer pays.

    Args:
        open_model: `open_with_tensorrt` or `open_with_openvino`.
        precisions: Which peaks to measure; FP32 is always among them. What really ran names the result: a processor
            without FP16 arithmetic gives BF16.
        channels: Of the products.
        stream_bytes: Size of the array that is read and written.
        repeats: Runs of each model.

    Raises:
        LabError: The runtime does not tell the time of the layers.
    """
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in dict.fromkeys((Precision.FP32, *precisions)):
            path = Path(folder) / f"{precision}.onnx"
            onnx.save(_products(precision, channels), path)
            runs = _runs(open_model, path, precision, repeats)
            name = runs[0][1]
            for layers, _ in runs:
                for layer in layers:
                    if compute_nodes(layer.origins) and layer.time_ms > 0:
                        ran = layer_precision(layer.precision)
                        flops = 2.0 * channels * channels * _SIDE * _SIDE
                        peaks[ran] = max(peaks.get(ran, 0.0), flops / layer.time_ms / 1e6)
        stream = Path(folder) / "stream.onnx"
        onnx.save(_elementwise(stream_bytes // 4), stream)
        small = Path(folder) / "small.onnx"
        onnx.save(_elementwise(64), small)
        stream_ms = min(_stream_times_ms(open_model, stream, repeats))
        launch_ms = float(np.median(_stream_times_ms(open_model, small, 4 * repeats)))
    if "fp32" not in peaks:
        raise LabError("The runtime did not tell the time of its layers.", got=peaks or "no products among them")
    return MachineRoof(
        name=name,
        peak_gflops=peaks,
        bandwidth_gb_s=2 * stream_bytes / stream_ms / 1e6,
        launch_ms=launch_ms,
        source=f"measured in this runtime: products of {channels} channels, one pass over {stream_bytes >> 20} MiB",
    )


def _runs(
    open_model: ModelOpener, path: Path, precision: Precision, repeats: int
) -> list[tuple[tuple[LayerTime, ...], str]]:
    with open_model(path, precision) as runtime:
        feeds = random_feeds(runtime)
        return [(runtime.layer_times(feeds), runtime.name) for _ in range(repeats + 1)][1:]


def _stream_times_ms(open_model: ModelOpener, path: Path, repeats: int) -> list[float]:
    """Return the times of the layer that does the work; layers that only copy the input do not count."""
    times = [
        max((layer.time_ms for layer in layers if any("stream" in name for name in layer.origins)), default=0.0)
        for layers, _ in _runs(open_model, path, Precision.FP32, repeats)
    ]
    if not any(times):
        raise LabError("The runtime did not tell the time of its layers.", got=f"{path.stem}: no layer with a time")
    return [time_ms for time_ms in times if time_ms > 0]


def _products(precision: Precision, channels: int) -> ModelProto:
    """Return three convolutions with 1x1 kernels in a row; in INT8 the one in the middle reads and writes INT8."""
    half = precision is Precision.FP16
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    dtype = np.float16 if half else np.float32
    weights = np.random.default_rng(0).normal(0, channels**-0.5, (channels, channels, 1, 1)).astype(dtype)
    nodes: list[NodeProto] = []
    constants = [numpy_helper.from_array(weights, "w")]
    source = "x"
    for place in range(3):
        weight = "w"
        if precision is Precision.INT8:
            source = _pair(nodes, source, f"a{place}", "scale")
            weight = _pair(nodes, "w", f"w{place}", "weight_scale")
        nodes.append(helper.make_node("Conv", [source, weight], [f"y{place}"], name=f"/product.{place}/Conv"))
        source = f"y{place}"
    if precision is Precision.INT8:
        steps = {"scale": 3 / 127, "weight_scale": float(np.abs(weights).max()) / 127}
        constants += [numpy_helper.from_array(np.array(step, np.float32), name) for name, step in steps.items()]
        constants.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    return _model(nodes, kind, [1, channels, _SIDE, _SIDE], source, constants)


def _pair(nodes: list[NodeProto], source: str, name: str, scale: str) -> str:
    quantize = helper.make_node("QuantizeLinear", [source, scale, "zero"], [f"{name}_q"], name=f"{name}_QuantizeLinear")
    restore = helper.make_node(
        "DequantizeLinear", [f"{name}_q", scale, "zero"], [f"{name}_dq"], name=f"{name}_DequantizeLinear"
    )
    nodes += [quantize, restore]
    return f"{name}_dq"


def _elementwise(values: int) -> ModelProto:
    """Return a product by a constant: every value is read once and written once."""
    rows = max(values // 4096, 1)
    shape = [1, 1, rows, max(values // rows, 1)]
    node = helper.make_node("Mul", ["x", "factor"], ["stream"], name="/stream/Mul")
    return _model(
        [node], TensorProto.FLOAT, shape, "stream", [numpy_helper.from_array(np.array([1.5], np.float32), "factor")]
    )


def _model(
    nodes: Sequence[NodeProto], kind: int, shape: Sequence[int], output: str, constants: Sequence[TensorProto]
) -> ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes), "roof", [value("x", kind, list(shape))], [value(output, kind, list(shape))], list(constants)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
