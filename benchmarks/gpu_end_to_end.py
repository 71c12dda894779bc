"""From an image in pinned memory to boxes on the host: how much longer that takes than the bare network, and where.

    python benchmarks/gpu_end_to_end.py --output course/results/gpu_h200.json
    python benchmarks/gpu_report.py course/results/gpu_h200.json

Batch 1, images of `parts` at 640x640, and the same enlarged to 1280x960. Five things take turns in each round:

    bare       the network alone as one CUDA graph, its input in device memory, and the host's wait
    detector   `GpuDetector`: copy in, letterbox, network, decode and NMS, copy out, parsed into `Detections`
    no graphs  the same, launched kernel by kernel
    copying    the same, from an image in ordinary memory, which the host copies into pinned memory first
    CPU steps  `Detector` around the same network: letterbox and NMS on the CPU, pageable copies

Stages are timed with CUDA events around a graph that holds the stage twenty times. Two slots against one show what
double buffering gives a stream of images. Every detection is compared with the CPU detector's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
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

from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.parts.generate import generate_parts
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.evaluation.box_agreement import compare_boxes
from yolotrt_lab.files import write_json
from yolotrt_lab.gpu.detector import GpuDetector
from yolotrt_lab.gpu.networks import DeviceNetwork
from yolotrt_lab.gpu.postprocess import PostprocessConfig
from yolotrt_lab.types import ImageArray

_REPEATED = 20
_SIZES = {"640x640": (640, 640), "1280x960": (960, 1280)}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=("yolov5n", "yolov8s"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=50, help="calls per round and contender")
    parser.add_argument("--compiled", action="store_true", help="also with torch.compile, which takes a minute more")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--commit", help="where the working copy is no git repository")
    parser.add_argument("--output", type=Path, required=True, help="JSON; what it says of other models stays")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = len(os.sched_getaffinity(0))
        dataset = generate_parts(folder / "parts", seed=SEED, counts={"test": options.images}, workers=workers)
        images = [read_image(path) for path in dataset.images("test")]
        found = json.loads(options.output.read_text()) if options.output.exists() else {}
        for model in (make_model(model, folder) for model in options.models):
            with provenance(sys.argv, options.commit) as facts:
                rows: list[dict[str, Any]] = []
                found.setdefault("end_to_end", {})[model.name] = {"provenance": facts, "rows": rows}
                for label, network in _networks(model, folder, compiled=options.compiled):
                    row: dict[str, Any] = {"network": label, "trained": model.is_trained}
                    rows.append(row | ({"note": NO_TENSORRT} if network is None else {}))
                    if network is not None:
                        rows[-1] |= _measured(model, network, images, options)
                    write_json(options.output, found)
            write_json(options.output, found)
    return 0


def _networks(model: Model, folder: Path, *, compiled: bool) -> list[tuple[str, DeviceNetwork | None]]:
    half = half_onnx(model, folder)
    networks: list[tuple[str, DeviceNetwork | None]] = [
        ("PyTorch FP16", torch_network(model, folder)),
        ("ONNX Runtime CUDA FP16", OnnxRuntimeNetwork(half, capturable=True)),
        ("ONNX Runtime CUDA FP16, not captured", OnnxRuntimeNetwork(half)),
        ("TensorRT FP16", tensorrt_network(half, "fp16", batch=1, folder=folder)),
    ]
    if compiled:
        networks.insert(1, ("PyTorch FP16, compiled", torch_network(model, folder, compile_module=True)))
    return networks


def _threshold(model: Model, network: DeviceNetwork, images: list[ImageArray]) -> float:
    """Return 0.25, or with random weights the score that a hundred candidates of the first image exceed."""
    if model.is_trained:
        return 0.25
    backend = HostBackend(network, output_shape=(1, 4 + len(model.class_names), 8400))
    batch, _ = Detector(backend, class_names=model.class_names).preprocess(images[:1])
    best = np.sort(backend.infer({"images": batch})["output0"][0, 4:].max(axis=0))
    return float((best[-101] + best[-100]) / 2)


def _measured(
    model: Model, network: DeviceNetwork, images: list[ImageArray], options: argparse.Namespace
) -> dict[str, Any]:
    threshold = _threshold(model, network, images)
    config = PostprocessConfig(conf_threshold=threshold)
    row: dict[str, Any] = {"conf_threshold": threshold, "graph": network.capturable, "sizes": {}}
    host = Detector(
        HostBackend(network, output_shape=(1, 4 + len(model.class_names), 8400)),
        class_names=model.class_names,
        config=DetectorConfig(conf_threshold=threshold),
    )
    make = {"class_names": model.class_names, "config": config}
    with (
        GpuDetector(network, **make) as detector,
        GpuDetector(network, **make, slots=1, use_graphs=False) as plain,
        GpuDetector(network, **make, slots=1) as single,
    ):
        row["agreement"] = _agreement(detector, host, images)
        zeros = np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
        bare = Contender(network, zeros, use_graph=network.capturable, tf32=True)
        for name, image_hw in _SIZES.items():
            resized = [cv2.resize(image, image_hw[::-1]) for image in images[:32]]
            row["sizes"][name] = _timed(detector, plain, host, bare, resized, options)
            row["sizes"][name]["stages_ms"] = _stages(detector, image_hw, options, capturable=network.capturable)
            row["sizes"][name]["stream_fps"] = _streams(detector, single, resized, options)
            print(model.name, network.name, name, json.dumps(row["sizes"][name]), flush=True)
    return row


def _agreement(detector: GpuDetector, host: Detector, images: list[ImageArray]) -> dict[str, Any]:
    ours, theirs = list(detector.stream(images)), [host.detect(image) for image in images]
    agreement = compare_boxes(
        ours, theirs, match_iou=0.99, score_delta=0.005, conf_threshold=host.config.conf_threshold
    )
    equal = [
        len(a) == len(b) and bool((a.class_ids == b.class_ids).all()) and bool((a.xyxy == b.xyxy).all())
        for a, b in zip(ours, theirs, strict=True)
    ]
    return {
        "images": len(images),
        "boxes": sum(map(len, theirs)),
        "matched": agreement.matched_fraction if agreement.compared else None,
        "images_equal_to_the_bit": sum(equal),
    }


def _timed(
    detector: GpuDetector, plain: GpuDetector, host: Detector, bare: Contender, images: list[ImageArray], options: Any
) -> dict[str, Any]:
    image_hw = (images[0].shape[0], images[0].shape[1])
    slot, slow = detector.slots[0], plain.slots[0]
    for each in (slot, slow):
        each.pinned_images(image_hw)[0] = images[0]

    def through(chosen: Any) -> Callable[[], object]:
        def run() -> None:
            chosen.submit(image_hw)
            chosen.wait()

        return run

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "detector": (through(slot), options.calls),
        "no graphs": (through(slow), max(1, options.calls // 2)),
        "copying": (lambda: detector.detect(images[0]), options.calls),
        "CPU steps": (lambda: host.detect(images[0]), max(1, options.calls // 5)),
    }
    samples: dict[str, list[float]] = {name: [] for name in ("bare", *ways)}
    for run, _ in ways.values():
        for _ in range(3):
            run()
    for _ in range(options.rounds):
        samples["bare"].append(bare.milliseconds(options.calls))
        for name, (run, calls) in ways.items():
            samples[name].append(_median_ms(run, calls))
    ratios = [whole / alone for whole, alone in zip(samples["detector"], samples["bare"], strict=True)]
    return {"ms": {name: summary(taken) for name, taken in samples.items()}, "ratio_to_bare": summary(ratios)}


def _median_ms(run: Callable[[], object], calls: int) -> float:
    taken = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        run()
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / 1e6


def _stages(
    detector: GpuDetector, image_hw: tuple[int, int], options: argparse.Namespace, *, capturable: bool
) -> dict[str, Any]:
    """Time each stage with CUDA events, repeated inside one graph so that neither events nor launches show."""
    slot = detector.slots[0]
    found = {}
    for name, stage in slot.stages(image_hw).items():

        def repeated(stage: Callable[[], object] = stage) -> None:
            for _ in range(_REPEATED):
                stage()

        # ONNX Runtime launches its kernels one by one, so its network's time holds the gaps between them.
        run = repeated if name == "network" and not capturable else slot.captured(repeated)
        found[name] = summary([_event_ms(slot.stream, run) / _REPEATED for _ in range(options.rounds)])
    return found


def _event_ms(stream: Any, run: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.cuda.stream(stream):
        start.record()
        run()
        end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _streams(
    detector: GpuDetector, single: GpuDetector, images: list[ImageArray], options: argparse.Namespace
) -> dict[str, Any]:
    """Images per second of whole streams, the host's copy into pinned memory included."""
    samples: dict[str, list[float]] = {"two slots": [], "one slot": []}
    many = images * max(1, 4 * options.calls // len(images))
    for _ in range(max(3, options.rounds // 2)):
        for name, chosen in (("two slots", detector), ("one slot", single)):
            start = time.perf_counter()
            for _ in chosen.stream(many):
                pass
            samples[name].append(len(many) / (time.perf_counter() - start))
    return {name: summary(taken) for name, taken in samples.items()}


if __name__ == "__main__":
    sys.exit(main())
