"""Measure the detector end to end on the CPU: its overhead, its speed beside Ultralytics, streams, and memory.

    python benchmarks/end_to_end.py --output runs/end_to_end
    python benchmarks/end_to_end.py --output runs/end_to_end --bccd-weights yolov5n-bccd.pt

Four claims are put to the test, each in fresh processes, one at a time, with ratios taken inside a repeat:

1. Pre- and postprocessing take at most 6 % of the FP32 engine's time, at 640 and batch 1.
2. Files to boxes, 1.25 times the images per second of Ultralytics' predict on the same OpenVINO model and images.
3. A stream takes at most 5 % longer than its slowest stage alone.
4. Memory does not grow over 10,000 frames.

It takes up to ten minutes on two cores and wants a machine that is otherwise idle. It writes end_to_end.json, .md and
.png.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from endtoend.against_slowest_stage import compare_with_slowest_stage
from endtoend.against_ultralytics import PRECISIONS, compare_with_ultralytics
from endtoend.memory import measure_memory
from endtoend.models import (
    Workload,
    anchor_based_onnx,
    copy_images,
    small_images,
    ultralytics_openvino,
    yolov8n_onnx,
)
from endtoend.overhead import measure_overhead
from endtoend.processes import Worker
from endtoend.report import draw, markdown

from yolotrt_lab.cli.console import note, print_error
from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.images import list_images
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file, write_bytes, write_json, write_text
from yolotrt_lab.profiling.machine import machine_description
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.training import base_checkpoint

SECTIONS = ("overhead", "peers", "streams", "memory")
PARTS = {"counts": {"train": 1, "val": 1, "test": 48}, "seed": 6}
MEMORY_SIZE = 160


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(_run(options, Path(folder)))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/end_to_end"), help="default runs/end_to_end")
    parser.add_argument("--bccd-weights", type=Path, help="a YOLOv5n trained on BCCD; without it only `parts` is used")
    parser.add_argument("--images", type=int, default=40, help="images of a repeat (default 40)")
    parser.add_argument("--repeats", type=int, default=7, help="repeats of everything but memory (default 7)")
    parser.add_argument("--frames", type=int, default=10_000, help="frames over which memory is watched")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="leave out the others; may be repeated")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> str:
    if options.images < 5 or options.repeats < 1 or options.frames < 1000:
        raise InputError("Nothing to measure.", expected="--images of at least 5, --repeats of 1 and --frames of 1000")
    start, load_before = time.perf_counter(), os.getloadavg()[0]
    workloads = _workloads(options, folder)
    sections = {"overhead": _overhead, "peers": _peers, "streams": _streams, "memory": _memory}
    results: dict[str, Any] = {name: [] for name in SECTIONS}
    for name in options.only or SECTIONS:
        with _timed(name):
            results[name] = sections[name](workloads, options, folder)
    results |= {
        "machine": machine_description(),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
        "settings": {"images": options.images, "repeats": options.repeats},
        "seconds": time.perf_counter() - start,
    }
    write_json(options.output / "end_to_end.json", results)
    write_text(options.output / "end_to_end.md", markdown(results))
    if all(results[name] for name in SECTIONS):
        write_bytes(options.output / "end_to_end.png", figure_to_png(draw(results)))
    note(f"Written to {options.output}")
    return markdown(results)


@contextlib.contextmanager
def _timed(name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    note(f"{name}: {time.perf_counter() - start:.0f} s")


def _workloads(options: argparse.Namespace, folder: Path) -> list[Workload]:
    """Return the detectors and images; the first is what everything but the overhead is measured with."""
    given = [("parts", base_checkpoint(), PARTS)]
    if options.bccd_weights is not None:
        given.insert(0, ("bccd", require_file(options.bccd_weights, kind="checkpoint"), {}))
    found = []
    for name, weights, settings in given:
        dataset = prepare_dataset(name, root=folder / "datasets", **settings)
        images = copy_images(dataset.images("test")[: options.images], folder / f"{name}-images")
        found.append(Workload(name, weights, dataset.class_names, images))
    return found


def _onnx(workload: Workload, folder: Path, size: int = 640) -> Path:
    path = folder / f"{workload.name}-{size}.onnx"
    return path if path.is_file() else export_onnx(workload.weights, path, image_size=size).path


def _overhead(workloads: list[Workload], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for workload in workloads:
        trained, names = _onnx(workload, folder), workload.class_names
        networks = (
            ("YOLOv5n, anchor-free, 8400 columns", "v5n", trained, "anchor_free"),
            (
                "YOLOv5n, anchor-based, 25200 rows",
                "v5n anchors",
                anchor_based_onnx(folder / f"{workload.name}-anchors.onnx", class_names=names),
                "anchor_based",
            ),
            (
                "YOLOv8n, anchor-free, 8400 columns",
                "v8n",
                yolov8n_onnx(folder / f"{workload.name}-v8n.onnx", class_names=names),
                "anchor_free",
            ),
        )
        for network, short, path, layout in networks:
            with Worker() as worker:
                row = worker.call(
                    measure_overhead, trained, path, workload.images, names, layout,
                    min(options.images, 16), options.repeats,
                )  # fmt: skip
            rows.append({"images": workload.name, "network": network, "short": short, **row})
    return rows


def _peers(workloads: list[Workload], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    workload = workloads[0]
    model = ultralytics_openvino(workload.weights, folder)
    return [
        {
            "asked": precision,
            "dataset": workload.name,
            **compare_with_ultralytics(model, workload.images, precision=precision, repeats=options.repeats),
        }
        for precision in PRECISIONS
    ]


def _streams(workloads: list[Workload], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    workload = workloads[0]
    model = _onnx(workload, folder)
    engine = _engine(model)
    rows = []
    for backend, path in (("openvino", model), ("tensorrt", engine)):
        for cores in (1, None):
            with Worker() as worker:
                row = worker.call(
                    compare_with_slowest_stage, backend, path, workload.images, workload.class_names, cores,
                    max(options.images, 8) * 8 // 5, max(options.repeats - 3, 1),
                )  # fmt: skip
            rows.append(row)
    return rows


def _engine(model: Path) -> Path:
    path = model.with_suffix(".engine")
    with Worker() as worker:
        worker.call(_build, model, path)
    return path


def _build(model: Path, path: Path) -> None:
    os.environ["YOLOTRT_PLATFORM"] = "emulated"
    build_engine(model, path, options=EngineOptions())


def _memory(workloads: list[Workload], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    workload = workloads[0]
    model = _onnx(workload, folder, MEMORY_SIZE)
    engine = _engine(model)
    images = small_images(list_images(workload.images), folder / "small")
    rows = []
    for backend, path in (("openvino", model), ("tensorrt", engine)):
        for way in ("detector", "stream"):
            with Worker() as worker:
                rows.append(
                    worker.call(measure_memory, backend, way, path, images, workload.class_names, options.frames, 500)
                )
    return rows


if __name__ == "__main__":
    sys.exit(main())
