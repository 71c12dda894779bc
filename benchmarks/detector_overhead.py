"""Measure what the detector adds to the network: pre- and postprocessing relative to inference on the CPU.

    python benchmarks/detector_overhead.py model.onnx --image photo.jpg
    python benchmarks/detector_overhead.py model.onnx --compare-ultralytics --json

The stages alternate image by image in one process, and every ratio is that of neighboring measurements, so a machine
that is slower or busier moves both sides alike. Compare ratios between machines, not milliseconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolotrt_lab.cli.console import emit, note, print_error, progress_bar, table
from yolotrt_lab.detection.decode import OutputLayout, detect_layout
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file
from yolotrt_lab.runtimes.detector import open_detector
from yolotrt_lab.training import base_checkpoint
from yolotrt_lab.types import Array, ImageArray, ProgressCallback

Stage = Callable[[], object]


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.model is None:
                options.model = export_onnx(base_checkpoint(), Path(folder) / "yolov5n-parts.onnx").path
            _run(options)
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, nargs="?", help="a YOLO detector as ONNX (default: the base checkpoint, exported)"
    )
    parser.add_argument("--image", type=Path, help="a photo; without it, 640x480 noise, which shows no object")
    parser.add_argument("--conf", type=float, default=0.25, help="confidence threshold (default 0.25)")
    parser.add_argument("--repeats", type=int, default=100, help="measured images (default 100)")
    parser.add_argument("--warmup", type=int, default=10, help="images before measuring (default 10)")
    parser.add_argument("--threads", type=int, help="CPU threads of every library (default: each its own choice)")
    parser.add_argument("--compare-ultralytics", action="store_true", help="time Ultralytics' own stages beside ours")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.repeats < 1 or options.warmup < 0:
        raise InputError("Nothing to measure.", expected="--repeats of at least 1 and --warmup of at least 0")
    image = _image(options.image)
    if options.threads is not None:
        cv2.setNumThreads(options.threads)
    config = DetectorConfig(conf_threshold=options.conf)
    with open_detector(
        options.model, backend="onnxruntime", config=config, device="cpu", threads=options.threads
    ) as detector:
        stages = _stages(detector, image)
        if options.compare_ultralytics:
            stages |= _ultralytics_stages(detector, image, threads=options.threads)
        found = detector.detect(image)
        with progress_bar("Measuring") as move:
            samples_ms = _measure(stages, warmup=options.warmup, repeats=options.repeats, on_progress=move)
        note(f"{options.model.name}, image {image.shape[1]}x{image.shape[0]}, {len(found)} objects found")
        _report(samples_ms, as_json=options.json, context=_context(options, image, detector, len(found)))


def _image(path: Path | None) -> ImageArray:
    if path is None:
        return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image = cv2.imread(str(require_file(path, kind="image")))
    if image is None:
        raise InputError(f"{path} is not an image.", expected="a file that OpenCV reads")
    return np.asarray(image, np.uint8)


def _stages(detector: Detector, image: ImageArray) -> dict[str, Stage]:
    """Return our three stages; each uses what the one before left."""
    batch, transforms = detector.preprocess([image])
    kept: dict[str, Array] = {}

    def infer() -> None:
        kept["output"] = detector.infer(batch)

    return {
        "preprocess": lambda: detector.preprocess([image]),
        "inference": infer,
        "postprocess": lambda: detector.postprocess(kept["output"], transforms),
    }


def _ultralytics_stages(detector: Detector, image: ImageArray, *, threads: int | None) -> dict[str, Stage]:
    """Return what Ultralytics' predictor does around the network, on the same image and output."""
    os.environ |= {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True"}
    import torch
    import torchvision  # noqa: F401 - Ultralytics takes torchvision's faster NMS only if it is imported already
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)  # importing Ultralytics has set it to 0
    letterbox = LetterBox(detector.input_hw, auto=False)
    batch, _ = detector.preprocess([image])
    output = torch.from_numpy(detector.infer(batch).copy())
    num_classes = len(detector.class_names)
    if detect_layout(tuple(output.shape), num_classes=num_classes) is OutputLayout.ANCHOR_BASED:
        raise InputError(
            "Ultralytics no longer decodes anchor-based outputs.",
            expected="an anchor-free or end-to-end model",
            fix="Leave out --compare-ultralytics.",
        )

    def preprocess() -> object:
        stack = np.stack([letterbox(image=image)])[..., ::-1].transpose((0, 3, 1, 2))
        return torch.from_numpy(np.ascontiguousarray(stack)).float() / 255

    def postprocess() -> None:
        config = detector.config
        for rows in non_max_suppression(
            output, config.conf_threshold, config.iou_threshold, max_det=config.max_detections, nc=num_classes
        ):
            rows[:, :4] = scale_boxes(detector.input_hw, rows[:, :4], image.shape[:2])

    return {"Ultralytics pre": preprocess, "Ultralytics post": postprocess}


def _measure(
    stages: Mapping[str, Stage], *, warmup: int, repeats: int, on_progress: ProgressCallback
) -> dict[str, Array]:
    """Return milliseconds per stage and repeat; all stages run once in each repeat."""
    samples: dict[str, list[float]] = {name: [] for name in stages}
    for repeat in range(warmup + repeats):
        for name, stage in stages.items():
            start = time.perf_counter()
            stage()
            if repeat >= warmup:
                samples[name].append(1000 * (time.perf_counter() - start))
        on_progress(repeat + 1, warmup + repeats)
    return {name: np.array(values) for name, values in samples.items()}


def _context(options: argparse.Namespace, image: ImageArray, detector: Detector, found: int) -> dict[str, Any]:
    return {
        "model": options.model.name,
        "image_hw": list(image.shape[:2]),
        "input_hw": list(detector.input_hw),
        "conf_threshold": options.conf,
        "objects": found,
        "repeats": options.repeats,
        "cpu_count": os.cpu_count(),
    }


def _summary(values: Array) -> dict[str, float]:
    return {"min": float(values.min()), "median": float(np.median(values)), "max": float(values.max())}


def _report(samples_ms: Mapping[str, Array], *, as_json: bool, context: Mapping[str, Any]) -> None:
    inference = samples_ms["inference"]
    result = {
        name: {"latency_ms": _summary(values), "share_of_inference": _summary(values / inference)}
        for name, values in samples_ms.items()
    }
    rows = [[name, *each["latency_ms"].values(), *each["share_of_inference"].values()] for name, each in result.items()]
    columns = ["stage", "min", "median", "max", "min ratio", "median", "max"]
    title = "Milliseconds per image, and ratio to inference"
    emit({**context, "stages": result}, as_json=as_json, human=table(title, columns, rows))


if __name__ == "__main__":
    sys.exit(main())
