"""Time YOLOv5n, YOLOv5s and YOLOv8s in PyTorch, ONNX Runtime and TensorRT on a GPU, and judge the trained one.

    python benchmarks/gpu_frameworks.py --output course/results/gpu_h200.json
    python benchmarks/gpu_report.py course/results/gpu_h200.json

The input lies in device memory and a call ends when its output does: no copies, no pre- and postprocessing. In each
round all contenders of a model and batch take their turn; a round's figure is the median of its calls, and what is
reported is minimum, median and maximum over rounds. YOLOv5n is the package's, trained on `parts`; the other two have
random weights: their speed is real, their detections are not. A row that cannot be measured says why.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_networks import (
    IMAGE_SIZE,
    NO_TENSORRT,
    SEED,
    Contender,
    HostBackend,
    Model,
    OnnxRuntimeNetwork,
    half_onnx,
    make_model,
    provenance,
    summary,
    tensorrt_network,
    torch_network,
)

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.parts.generate import generate_parts
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.files import write_json
from yolotrt_lab.gpu.networks import DeviceNetwork
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
from yolotrt_lab.types import Array

MODELS = ("yolov5n", "yolov5s", "yolov8s")
BATCHES = (1, 8, 32)
_CALLS = {1: 40, 8: 20, 32: 10}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=200, help="test images of `parts` for the accuracy (default 200)")
    parser.add_argument("--commit", help="where the working copy is no git repository")
    parser.add_argument("--output", type=Path, required=True, help="JSON; what it says of other models stays")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    found = json.loads(options.output.read_text()) if options.output.exists() else {}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = len(os.sched_getaffinity(0))
        dataset = generate_parts(folder / "parts", seed=SEED, counts={"test": options.images}, workers=workers)
        for model in (make_model(name, folder) for name in options.models):
            with provenance(sys.argv, options.commit) as facts:
                part: dict[str, Any] = {"provenance": facts, "trained": model.is_trained, "speed": [], "accuracy": []}
                found.setdefault("frameworks", {})[model.name] = part
                for batch in options.batches:
                    part["speed"] += _speed(model, dataset, folder, batch, options.rounds)
                    write_json(options.output, found)
                if model.is_trained:
                    part["accuracy"] = _accuracy(model, dataset, folder)
            write_json(options.output, found)
            rows += part["speed"] + part["accuracy"]
    return int(any("failed" in row.get("note", "") for row in rows))


Maker = Callable[[], DeviceNetwork | None]


def _variants(model: Model, folder: Path, batch: int) -> Iterator[tuple[str, str, bool, bool, Maker]]:
    """Yield framework, precision, whether as a CUDA graph, whether with TF32, and what makes the network."""
    plain = {"dtype": "float32", "channels_last": False}
    yield "PyTorch", "FP32", False, False, lambda: torch_network(model, folder, **plain)
    yield "PyTorch", "TF32", False, True, lambda: torch_network(model, folder, **plain)
    yield "PyTorch", "FP16", False, True, lambda: torch_network(model, folder)
    yield "PyTorch CUDA graph", "FP32", True, False, lambda: torch_network(model, folder, **plain)
    yield "PyTorch CUDA graph", "TF32", True, True, lambda: torch_network(model, folder, **plain)
    yield "PyTorch CUDA graph", "FP16", True, True, lambda: torch_network(model, folder)
    yield "PyTorch compiled, CUDA graph", "FP16", True, True, lambda: torch_network(model, folder, compile_module=True)
    half = half_onnx(model, folder)
    for suffix, captured in (("", False), (" graph", True)):
        name = f"ONNX Runtime CUDA{suffix}"
        for precision, onnx, tf32 in (("FP32", model.onnx, False), ("TF32", model.onnx, True), ("FP16", half, True)):
            make = functools.partial(OnnxRuntimeNetwork, onnx, allow_tf32=tf32, capturable=captured)
            yield name, precision, captured, tf32, make
    for precision in ("FP32", "FP16"):
        lower = precision.lower()
        onnx = model.onnx if lower == "fp32" else half

        def engine(onnx: Path = onnx, lower: str = lower) -> DeviceNetwork | None:
            return tensorrt_network(onnx, lower, batch=batch, folder=folder)

        yield "TensorRT", precision, False, True, engine


def _speed(model: Model, dataset: Dataset, folder: Path, batch: int, rounds: int) -> list[dict[str, Any]]:
    images = _inputs(dataset, batch)
    rows: list[dict[str, Any]] = []
    contenders: list[Contender] = []
    timed: list[dict[str, Any]] = []
    for framework, precision, use_graph, tf32, make in _variants(model, folder, batch):
        row: dict[str, Any] = {"batch": batch, "framework": framework, "precision": precision}
        rows.append(row)
        start = time.perf_counter()
        try:
            network = make()
            if network is None:
                row["note"] = NO_TENSORRT
                continue
            contenders.append(Contender(network, images, use_graph=use_graph, tf32=tf32))
            timed.append(row)
        except Exception as error:
            traceback.print_exc()
            row["note"] = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
        row["ready_after_s"] = round(time.perf_counter() - start, 1)
    reference = contenders[0].result()
    for row, contender in zip(timed, contenders, strict=True):
        row["relative_l2_to_first"] = float(np.linalg.norm(contender.result() - reference) / np.linalg.norm(reference))
    samples = [[contender.milliseconds(_CALLS.get(batch, 10)) for contender in contenders] for _ in range(rounds)]
    for row, taken in zip(timed, zip(*samples, strict=True), strict=True):
        row["milliseconds"] = summary(list(taken))
        print(
            model.name, batch, row["framework"], row["precision"], row["milliseconds"], row["ready_after_s"], flush=True
        )
    del contenders
    torch.cuda.empty_cache()
    return rows


def _inputs(dataset: Dataset, batch: int) -> Array:
    pictures = (read_image(path) for path in dataset.images("test")[:batch])
    stacked = np.concatenate([preprocess(picture, input_hw=(IMAGE_SIZE, IMAGE_SIZE))[0] for picture in pictures])
    return np.resize(stacked, (batch, *stacked.shape[1:]))


def _accuracy(model: Model, dataset: Dataset, folder: Path) -> list[dict[str, Any]]:
    """Return mAP of every framework and precision at batch 1, all with the CPU's pre- and postprocessing."""
    rows = []
    for framework, precision, use_graph, tf32, make in _variants(model, folder, 1):
        if use_graph and "compiled" not in framework:
            continue  # the same kernels as without
        row: dict[str, Any] = {"framework": framework.removesuffix(", CUDA graph"), "precision": precision}
        rows.append(row)
        try:
            network = make()
            if network is None:
                row["note"] = NO_TENSORRT
                continue
            shape = (1, 4 + len(model.class_names), 8400)
            backend = HostBackend(network, output_shape=shape, tf32=tf32)
            detector = Detector(backend, class_names=model.class_names, config=MAP_CONFIG)
            metrics = detect_split(detector, dataset).metrics()
        except Exception as error:
            traceback.print_exc()
            row["note"] = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
            continue
        row |= {"images": len(dataset.images("test")), "map50": metrics.map50, "map50_95": metrics.map50_95}
        print(row, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
