"""Resident memory over thousands of frames: does anything grow?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from endtoend.against_slowest_stage import open_engine
from endtoend.numbers import flatness
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.streaming import stream_detections
from yolotrt_lab.types import Detections

__all__ = ["measure_memory"]

_EVERY = 20  # frames between two samples
_MIB = 2**20


def measure_memory(
    backend: str, way: str, model: Path, images: Path, class_names: Sequence[str], frames: int, warmup: int
) -> dict[str, Any]:
    """Return the resident memory of this process over frames, files to boxes, and its slope.

    Args:
        backend: "openvino", or "tensorrt", which is emulated.
        way: "detector", one frame after another, or "stream".
        model: ONNX file or engine.
        images: A folder of images of several sizes, used in turn.
        class_names: Of the network.
        frames: Frames measured.
        warmup: Frames before that.
    """
    process = psutil.Process()
    paths = list_images(images)
    with open_engine(backend, model, cores=None) as runtime:
        detector = detector_from_runtime(runtime, class_names=tuple(class_names))

        def found() -> Iterator[Detections]:
            supply = itertools.islice(itertools.cycle(paths), warmup + frames)
            if way == "stream":
                yield from (frame.detections for frame in stream_detections(detector, supply))
            else:
                yield from (detector.detect(read_image(path)) for path in supply)

        done, memory_mib, boxes = [], [], 0
        for number, detections in enumerate(found()):
            boxes += len(detections)
            if number >= warmup and (number - warmup) % _EVERY == 0:
                done.append(number - warmup)
                memory_mib.append(process.memory_info().rss / _MIB)
        name = f"{runtime.name}, {runtime.executed_precision}"
    tenth = max(len(memory_mib) // 10, 1)
    return {
        "engine": name,
        "way": way,
        "frames": frames,
        "boxes": boxes,
        "first_mib": memory_mib[0],
        "last_mib": memory_mib[-1],
        "growth_mib": sum(memory_mib[-tenth:]) / tenth - sum(memory_mib[:tenth]) / tenth,
        "mib_per_1000_frames": flatness(done, memory_mib),
        "samples": {"frame": done[::5], "mib": [round(value, 2) for value in memory_mib[::5]]},
    }
