"""What the detector adds to its engine: pre- and postprocessing relative to the FP32 engine's time, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from endtoend.numbers import spread
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.detection.decode import OutputLayout
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.profiling.timing import gc_paused
from yolotrt_lab.runtimes.openvino import OpenVinoRuntime
from yolotrt_lab.types import Array

__all__ = ["CONF_THRESHOLDS", "measure_overhead"]

CONF_THRESHOLDS = (0.25, 0.001)  # for use, and to compute mAP
# Beside each real candidate, an anchor-based head reports weaker ones of other shapes at the same place.
_ANCHOR_SIZES, _ANCHOR_SCORES = (1.0, 0.85, 1.2), (1.0, 0.6, 0.3)


def measure_overhead(
    trained: Path, network: Path, images: Path, class_names: Sequence[str], layout: str, frames: int, repeats: int
) -> dict[str, Any]:
    """Return milliseconds of the stages and their share of the engine's time, for both confidence thresholds.

    What the trained detector finds in the images is what postprocessing gets, arranged as the network arranges it,
    since the network itself may be untrained. All stages take turns within a frame.

    Args:
        trained: ONNX file of a detector trained on such images.
        network: ONNX file of the network whose time is the measure.
        images: A folder.
        class_names: Of both networks.
        layout: "anchor_free" or "anchor_based", the network's arrangement.
        frames: Images of a repeat.
        repeats: How often to go through them.
    """
    pictures = [read_image(path) for path in list_images(images)[:frames]]
    outputs = _trained_outputs(trained, class_names, pictures, OutputLayout(layout))
    with OpenVinoRuntime(network) as runtime:
        detectors = [
            Detector(runtime, class_names=class_names, config=DetectorConfig(conf_threshold=conf))
            for conf in CONF_THRESHOLDS
        ]
        for picture in pictures[:5]:
            detectors[0].detect(picture)
        rows = []
        found: dict[float, list[int]] = {conf: [] for conf in CONF_THRESHOLDS}
        with gc_paused():
            for _ in range(repeats):
                for picture, output in zip(pictures, outputs, strict=True):
                    rows.append(_time_frame(detectors, picture, output, found))
        name = f"{runtime.name}, {runtime.executed_precision}"
    times_ms = np.array(rows).reshape(repeats, len(pictures), -1)
    return {"engine": name, "frames": len(pictures), "thresholds": _summaries(times_ms, found)}


def _trained_outputs(path: Path, class_names: Sequence[str], pictures: Sequence[Any], layout: OutputLayout) -> Any:
    with OpenVinoRuntime(path) as runtime:
        detector = Detector(runtime, class_names=class_names)
        outputs = [detector.infer(detector.preprocess([picture])[0]) for picture in pictures]
    return outputs if layout is OutputLayout.ANCHOR_FREE else [_as_anchor_based(output) for output in outputs]


def _as_anchor_based(output: Array) -> Array:
    """Return a (1, 4 + classes, n) output as (1, 3 n, 5 + classes): objectness times class is the same score."""
    rows = output[0].T
    objectness = rows[:, 4:].max(axis=1, keepdims=True)
    classes = rows[:, 4:] / np.maximum(objectness, 1e-9)
    anchors = [
        np.concatenate((rows[:, :2], rows[:, 2:4] * size, objectness * score, classes), axis=1)
        for size, score in zip(_ANCHOR_SIZES, _ANCHOR_SCORES, strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(anchors)[None], dtype=np.float32)


def _time_frame(
    detectors: Sequence[Detector], picture: Any, output: Array, found: dict[float, list[int]]
) -> tuple[float, ...]:
    """Return the milliseconds of preprocessing, inference, and postprocessing at each threshold."""
    stamps = [time.perf_counter()]
    batch, transforms = detectors[0].preprocess([picture])
    stamps.append(time.perf_counter())
    detectors[0].infer(batch)
    stamps.append(time.perf_counter())
    for detector in detectors:
        (detections,) = detector.postprocess(output, transforms)
        stamps.append(time.perf_counter())
        found[detector.config.conf_threshold].append(len(detections))
    return tuple(1000 * np.diff(stamps))


def _summaries(times_ms: Array, found: dict[float, list[int]]) -> dict[str, Any]:
    """Return per threshold the medians over a repeat's frames: least, median and greatest of the repeats."""
    preprocess, inference, *post = (np.median(times_ms[:, :, column], axis=1) for column in range(times_ms.shape[2]))
    return {
        str(conf): {
            "boxes_per_image": float(np.mean(found[conf])),
            "preprocess_ms": spread(preprocess),
            "inference_ms": spread(inference),
            "postprocess_ms": spread(after),
            "share": spread((preprocess + after) / inference),
        }
        for conf, after in zip(CONF_THRESHOLDS, post, strict=True)
    }
