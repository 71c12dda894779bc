"""Measure an emulated TensorRT call against the bare OpenVINO call it comes to, and its numbers against ONNX Runtime.

    python benchmarks/emulation_calls.py
    python benchmarks/emulation_calls.py model.onnx --images photos --api 11 --json

The same network, compiled with the same settings, is run by `execute_v2`, by `execute_async_v3` and a synchronisation,
and by OpenVINO's own `infer`, in turns in one process: compare the ratios of neighboring measurements. The numbers are
relative L2 distances to ONNX Runtime's FP32 output, on pictures.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.cli.console import emit, note, print_error, table
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.emulation import modules
from yolotrt_lab.errors import LabError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.training import base_checkpoint
from yolotrt_lab.types import FloatArray

INPUT_HW = (640, 640)
CALLS = ("execute_v2", "execute_async_v3", "OpenVINO infer")


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.model is None:
                options.model = export_onnx(base_checkpoint(), Path(folder) / "yolov5n-parts.onnx").path
            _run(options, Path(folder))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, nargs="?", help="a YOLO detector as FP32 ONNX (default: the base checkpoint, exported)"
    )
    parser.add_argument("--images", type=Path, help="a folder of pictures (default: drawn parts)")
    parser.add_argument("--count", type=int, default=16, help="pictures for calibration and comparison (default 16)")
    parser.add_argument("--api", type=int, choices=(10, 11), default=10, help="TensorRT version (default 10)")
    parser.add_argument("--repeats", type=int, default=100, help="measured calls of each kind (default 100)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> None:
    import onnx

    fp32 = require_file(options.model, kind="ONNX model")
    pictures = _pictures(options)
    session = make_session(onnx.load(fp32))
    (feed,) = [value.name for value in session.get_inputs()]
    expected = [session.run(None, {feed: picture})[0] for picture in pictures]
    graphs = {"FP32": fp32, "FP16": folder / "fp16.onnx", "INT8": folder / "int8.onnx"}
    convert_to_fp16(fp32, graphs["FP16"])
    quantize_onnx(fp32, graphs["INT8"], table=calibrate(fp32, pictures))
    modules.activate(options.api)
    rows = {}
    for name, graph in graphs.items():
        engine = _Engine(graph, feed)
        distances = [_distance(engine(picture), output) for picture, output in zip(pictures, expected, strict=True)]
        calls = engine.calls(pictures[0])
        samples_ms = _measure(calls, repeats=options.repeats)
        bare = samples_ms["OpenVINO infer"]
        ratios = {call: _ratio(samples_ms[call], bare) for call in CALLS[:2]}
        medians = {call: statistics.median(values) for call, values in samples_ms.items()}
        rows[name] = {
            "runs_in": engine.runs_in(), "relative_l2": max(distances), "latency_ms": medians, "ratio": ratios,
        }  # fmt: skip
    _report(options, rows)


def _pictures(options: argparse.Namespace) -> list[FloatArray]:
    if options.images is None:
        images = [draw_part_image(0, split="test", index=index).image for index in range(options.count)]
    else:
        images = [read_image(path) for path in list_images(options.images)[: options.count]]
    if not images:
        raise LabError(f"No images in {options.images}.")
    return [preprocess(image, input_hw=INPUT_HW)[0].reshape(1, 3, *INPUT_HW) for image in images]


class _Engine:
    """An emulated engine with its device memory, for one picture at a time."""

    def __init__(self, graph: Path, feed: str) -> None:
        import tensorrt as trt
        from cuda.bindings import runtime as cudart

        self._trt, self._cuda = trt, cudart
        log = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        if not trt.OnnxParser(network, log).parse_from_file(str(graph)):
            raise LabError(f"{graph} cannot be parsed.")
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        profile = builder.create_optimization_profile()
        profile.set_shape(feed, *[(1, 3, *INPUT_HW)] * 3)
        config.add_optimization_profile(profile)
        self._engine = trt.Runtime(log).deserialize_cuda_engine(builder.build_serialized_network(network, config))
        self._context = self._engine.create_execution_context()
        self._context.set_input_shape(feed, (1, 3, *INPUT_HW))
        self._output = np.empty(tuple(self._context.get_tensor_shape(self._engine[1])), np.float32)
        self._stream = cudart.cudaStreamCreate()[1]
        self._input_nbytes = 4 * 3 * INPUT_HW[0] * INPUT_HW[1]
        self._memory = [cudart.cudaMalloc(size)[1] for size in (self._input_nbytes, self._output.nbytes)]
        for index in range(2):
            self._context.set_tensor_address(self._engine[index], self._memory[index])

    def _upload(self, picture: FloatArray) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.cudaMemcpy(self._memory[0], np.ascontiguousarray(picture), self._input_nbytes, kind)

    def __call__(self, picture: FloatArray) -> FloatArray:
        self._upload(picture)
        if not self._context.execute_v2(self._memory):
            raise LabError("The engine could not be run.")
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.cudaMemcpy(self._output, self._memory[1], self._output.nbytes, kind)
        return self._output.copy()

    def runs_in(self) -> str:
        """Return the types of what the convolutions read, by the inspector."""
        import json
        from collections import Counter

        format = self._trt.LayerInformationFormat.JSON
        layers = json.loads(self._engine.create_engine_inspector().get_engine_information(format))["Layers"]
        inputs = [layer["Inputs"][0] for layer in layers if layer["LayerType"] == "Convolution"]
        found = Counter(
            str(each["Datatype"] if "Datatype" in each else each["Format/Datatype"].split()[-2]) for each in inputs
        )
        return ", ".join(f"{count} {name}" for name, count in found.most_common())

    def calls(self, picture: FloatArray) -> dict[str, Callable[[], object]]:
        """Return the three ways to run a picture that lies ready."""
        import openvino

        self._upload(picture)
        request = self._engine._network.compiled.create_infer_request()
        # OpenVINO does not keep the arrays its tensors look at.
        self._bare = np.ascontiguousarray(picture), np.empty_like(self._output)
        request.set_input_tensor(openvino.Tensor(self._bare[0], shared_memory=True))
        request.set_output_tensor(openvino.Tensor(self._bare[1], shared_memory=True))

        def enqueue() -> None:
            self._context.execute_async_v3(self._stream)
            self._cuda.cudaStreamSynchronize(self._stream)

        calls: Sequence[Callable[[], object]] = (
            lambda: self._context.execute_v2(self._memory), enqueue, lambda: request.infer(),
        )  # fmt: skip
        return dict(zip(CALLS, calls, strict=True))


def _measure(calls: dict[str, Callable[[], object]], *, repeats: int, warmup: int = 10) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat >= warmup:
                samples[name].append(1000 * (time.perf_counter() - start))
    return samples


def _ratio(samples_ms: Sequence[float], bare_ms: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(samples_ms, bare_ms, strict=True))


def _distance(found: FloatArray, expected: Any) -> float:
    reference = np.asarray(expected, np.float64)
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def _report(options: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> None:
    shown = [
        [name, row["runs_in"], f"{row['relative_l2']:.1e}", *row["latency_ms"].values(), *row["ratio"].values()]
        for name, row in rows.items()
    ]
    columns = ["engine", "convolutions", "rel. L2", *[f"{call} ms" for call in CALLS], "ratio v2", "ratio async"]
    result = {"model": options.model.name, "api": options.api, "repeats": options.repeats, "engines": rows}
    emit(result, as_json=options.json, human=table("Emulated calls and bare ones, at batch 1", columns, shown))
    worst = max(ratio for row in rows.values() for ratio in row["ratio"].values())
    note(f"An emulated call takes at most {worst:.2f} times as long as the bare one (median of neighbors).")


if __name__ == "__main__":
    sys.exit(main())
