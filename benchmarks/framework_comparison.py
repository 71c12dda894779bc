"""Compare PyTorch, ONNX Runtime, OpenVINO and TensorRT (real or emulated) on one detector, in one run.

    python benchmarks/framework_comparison.py best.pt
    python benchmarks/framework_comparison.py best.pt --calibration datasets/parts/images/train --output comparison
    python benchmarks/framework_comparison.py model.onnx --threads 1 --json

From a checkpoint, everything else is made in a temporary folder: FP32 ONNX, an FP16 engine, and with calibration images
an INT8 one. All take turns in random order, and ratios to the first model are paired within each round, so a machine
that is slower or busier moves all sides alike. Compare ratios between machines, not milliseconds. Each model's output
is compared with FP32 ONNX Runtime first: a fast model that computes something else is no contender.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.cli.console import emit, note, print_error, progress_bar, table
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file, write_bytes, write_json
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.comparison import ModelTarget, ModelTiming, compare_models
from yolotrt_lab.profiling.machine import cpu_name, machine_description
from yolotrt_lab.profiling.throughput import random_feeds
from yolotrt_lab.report.plots import framework_bars
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.schema import PlatformInfo
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.training import base_checkpoint
from yolotrt_lab.types import Array, FloatArray, Precision

REFERENCE = "ONNX Runtime FP32"


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        _run(options)
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        default=base_checkpoint(),
        help="a checkpoint (.pt), or an FP32 detector as ONNX (default: the base checkpoint)",
    )
    parser.add_argument("--calibration", type=Path, help="folder of training images; without it no INT8 engine is made")
    parser.add_argument("--calibration-images", type=int, default=64, help="how many of them to use (default 64)")
    parser.add_argument("--image-size", type=int, default=640, help="side of the input in pixels (default 640)")
    parser.add_argument("--batch", type=int, default=1, help="images per call (default 1)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each model (default 30)")
    parser.add_argument("--threads", type=int, help="CPU threads of all but TensorRT (default: their choice)")
    parser.add_argument("--output", type=Path, help="folder for comparison.json and comparison.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace) -> None:
    require_file(options.model, kind="checkpoint (.pt) or ONNX model (.onnx)")
    with tempfile.TemporaryDirectory() as folder:
        targets = _targets(options, Path(folder))
        errors = {target.label: _error_against_reference(target, targets[0], options) for target in targets}
        with progress_bar("Timing") as on_progress:
            timings = compare_models(
                targets,
                batch=options.batch,
                rounds=options.rounds,
                threads=options.threads,
                device="auto",
                on_progress=on_progress,
            )
    _report(timings, errors, options)


def _targets(options: argparse.Namespace, folder: Path) -> list[ModelTarget]:
    """Make what is missing and return the models, the reference first."""
    onnx, is_checkpoint = options.model, options.model.suffix == ".pt"
    if is_checkpoint:
        onnx = folder / "model.onnx"
        export_onnx(options.model, onnx, image_size=options.image_size)
    targets = [ModelTarget(REFERENCE, onnx, "onnxruntime"), ModelTarget("OpenVINO FP32", onnx, "openvino")]
    if is_checkpoint:
        targets.insert(1, ModelTarget("PyTorch FP32", options.model, "pytorch"))
    graphs = {Precision.FP32: onnx, Precision.FP16: folder / "fp16.onnx"}
    convert_to_fp16(onnx, graphs[Precision.FP16])
    if options.calibration is not None:
        graphs[Precision.INT8] = folder / "int8.onnx"
        _quantize(onnx, graphs[Precision.INT8], options)
    for precision, graph in graphs.items():
        engine = folder / f"{precision}.engine"
        build_options = EngineOptions(precision=precision, opt_batch=options.batch, max_batch=options.batch)
        build_engine(graph, engine, options=build_options)
        targets.append(ModelTarget(f"TensorRT {precision.upper()}", engine, "tensorrt"))
    return targets


def _quantize(onnx: Path, output: Path, options: argparse.Namespace) -> None:
    images = list_images(options.calibration)[: options.calibration_images]
    if not images:
        raise InputError(f"No images in {options.calibration}.", expected="a folder of training images", got="none")
    with open_runtime(onnx) as runtime:
        input_hw = runtime.input_hw or (options.image_size, options.image_size)

    def batches() -> Iterator[FloatArray]:
        for path in images:
            yield preprocess(read_image(path), input_hw=input_hw)[0]

    with progress_bar("Calibrating") as on_progress:
        table_ = calibrate(onnx, batches(), on_progress=lambda done, _: on_progress(done, len(images)))
    quantize_onnx(onnx, output, table=table_)


def _error_against_reference(target: ModelTarget, reference: ModelTarget, options: argparse.Namespace) -> float:
    """Return the relative L2 difference of the scores; boxes in pixels would drown them.

    On the first calibration image, if there is one. Noise shows no object, so its scores are next to zero, and what
    differs there is mostly how each framework approximates the sigmoid.
    """
    outputs = []
    for model in (target, reference):
        input_hw = (options.image_size, options.image_size) if model.backend == "pytorch" else None
        with open_runtime(model.path, backend=model.backend, batch=options.batch, input_hw=input_hw) as runtime:
            feeds = _feeds(runtime, options)
            outputs.append(next(iter(runtime.infer(feeds).values()))[:, 4:].astype(np.float64))
    return float(np.linalg.norm(outputs[0] - outputs[1]) / np.linalg.norm(outputs[1]))


def _feeds(runtime: Runtime, options: argparse.Namespace) -> dict[str, Array]:
    if options.calibration is None or runtime.input_hw is None:
        return random_feeds(runtime, batch=options.batch)
    image = preprocess(read_image(list_images(options.calibration)[0]), input_hw=runtime.input_hw)[0]
    spec = runtime.inputs[0]
    return {spec.name: np.repeat(image, options.batch, axis=0).astype(spec.dtype)}


def _report(timings: Sequence[ModelTiming], errors: dict[str, float], options: argparse.Namespace) -> None:
    machine = machine_description()
    note(f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}")
    note(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    emulated = any(timing.platform == "emulated" for timing in timings)
    if emulated:
        note("TensorRT is emulated on the CPU by OpenVINO: these are CPU timings, not GPU timings.")
    payload = {
        "model": options.model.name,
        "batch": options.batch,
        "threads": options.threads,
        "machine": machine,
        "frameworks": {timing.target.label: _entry(timing, errors[timing.target.label]) for timing in timings},
    }
    if options.output is not None:
        _write(options.output, payload, timings, emulated=emulated)
    rows = [
        (
            timing.target.label,
            timing.executed_precision.upper(),
            timing.latency.p50_ms,
            timing.latency.p90_ms,
            f"{timing.ratio_to_first.value:.2f} ({timing.ratio_to_first.low:.2f}-{timing.ratio_to_first.high:.2f})",
            f"{errors[timing.target.label]:.1e}",
        )
        for timing in timings
    ]
    columns = ("framework", "runs", "p50 ms", "p90 ms", "time to first", "score error")
    emit(payload, as_json=options.json, human=table(f"Batch {options.batch}, timed in turns", columns, rows))


def _entry(timing: ModelTiming, error: float) -> dict[str, Any]:
    ratio = timing.ratio_to_first
    return {
        "runtime": timing.runtime,
        "platform": timing.platform,
        "executed_precision": str(timing.executed_precision),
        "latency_ms": timing.latency.to_json(),
        "time_ratio_to_reference": {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        "relative_l2_of_scores": error,
    }


def _write(output: Path, payload: dict[str, Any], timings: Sequence[ModelTiming], *, emulated: bool) -> None:
    latency = {timing.target.label: timing.latency for timing in timings}
    platform = PlatformInfo("emulated", "", cpu_name()) if emulated else None
    write_json(output / "comparison.json", payload)
    write_bytes(
        output / "comparison.png", figure_to_png(framework_bars(latency, platform=platform, baseline=REFERENCE))
    )


if __name__ == "__main__":
    sys.exit(main())
