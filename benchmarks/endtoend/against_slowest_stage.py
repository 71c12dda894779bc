"""How much longer a stream takes than its slowest stage would alone.

Every stage runs alone, on the same frames and with the same cores to itself as the whole stream has; then the stream
runs, decoding included. On two cores the question has two readings, and both are answered. With an engine of one thread
there is a core for the rest, so overlapping can hide it. With an engine that uses both cores, every millisecond of the
rest is taken from the engine: nothing can hide it, and the least possible ratio is that of the processor time.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from endtoend.numbers import spread
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.openvino import OpenVinoRuntime
from yolotrt_lab.runtimes.streaming import stream_detections

__all__ = ["compare_with_slowest_stage", "open_engine"]


def open_engine(backend: str, model: Path, *, cores: int | None) -> Runtime:
    """Open an engine for a stream.

    Args:
        backend: "openvino", or "tensorrt", which is emulated.
        model: An ONNX file or OpenVINO IR; an engine.
        cores: 1 for an engine of one thread, None for one that uses all cores.
    """
    if backend == "openvino":
        return OpenVinoRuntime(model, threads=cores, throughput=cores is None)
    os.environ["YOLOTRT_PLATFORM"] = "emulated"
    if cores is not None:
        os.environ["YOLOTRT_EMULATION_THREADS"] = str(cores)
    from yolotrt_lab.runtimes.tensorrt import TensorRTRuntime

    return TensorRTRuntime(model, batch=1)


def compare_with_slowest_stage(
    backend: str, model: Path, images: Path, class_names: Sequence[str], cores: int | None, frames: int, repeats: int
) -> dict[str, Any]:
    """Return milliseconds per frame of every stage alone and of the stream, and the stream's ratio to the slowest."""
    # Starting a stream takes some milliseconds for the memory of its requests; a stream is longer than that.
    paths = list(itertools.islice(itertools.cycle(list_images(images)), frames))
    with open_engine(backend, model, cores=cores) as runtime:
        detector = detector_from_runtime(runtime, class_names=tuple(class_names))
        ways = _ways(detector, runtime, paths)
        for way in ways.values():
            way(paths[:4])
        wall_ms: dict[str, list[float]] = {name: [] for name in ways}
        cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                start, cpu_start = time.perf_counter(), time.process_time()
                way(paths)
                wall_ms[name].append(1000 * (time.perf_counter() - start) / len(paths))
                cpu_ms[name].append(1000 * (time.process_time() - cpu_start) / len(paths))
        name = f"{runtime.name}, {runtime.executed_precision}"
    alone = np.array([wall_ms[stage] for stage in ("load", "preprocess", "inference", "postprocess")])
    return {
        "engine": name,
        "engine_threads": cores or "all",
        "frames": len(paths),
        "ms_per_frame": {way: spread(values) for way, values in wall_ms.items()},
        "cpu_ms_per_frame": {way: spread(values) for way, values in cpu_ms.items()},
        "slowest": ("load", "preprocess", "inference", "postprocess")[int(np.median(alone, axis=1).argmax())],
        "stream_to_slowest": spread(np.array(wall_ms["stream"]) / alone.max(axis=0)),
        "one_by_one_to_slowest": spread(np.array(wall_ms["one by one"]) / alone.max(axis=0)),
    }


def _ways(detector: Detector, runtime: Runtime, paths: Sequence[Path]) -> dict[str, Callable[[Sequence[Path]], None]]:
    """Return the stages alone, then the stream, then the stages one after another, each as a function of paths."""
    pictures = {path: read_image(path) for path in paths}
    outputs, transforms = {}, {}
    for path, picture in pictures.items():
        batch, transforms[path] = detector.preprocess([picture])
        outputs[path] = detector.infer(batch).copy()
    shapes = {runtime.inputs[0].name: detector.input_shape(1)}
    requests = [runtime.create_request(shapes) for _ in range(runtime.parallel_requests + 2)]
    for request in requests:
        request.inputs[runtime.inputs[0].name][...] = batch

    def load(chosen: Sequence[Path]) -> None:
        for path in chosen:
            read_image(path)

    def preprocess(chosen: Sequence[Path]) -> None:
        for number, path in enumerate(chosen):
            out = requests[number % len(requests)].inputs[runtime.inputs[0].name]
            detector.preprocess([pictures[path]], out=out)

    def infer(chosen: Sequence[Path]) -> None:
        free, busy = deque(requests), deque[Any]()
        for _ in chosen:
            if not free:
                busy[0].wait()
                free.append(busy.popleft())
            busy.append(free.popleft())
            busy[-1].submit()
        for request in busy:
            request.wait()

    def postprocess(chosen: Sequence[Path]) -> None:
        for path in chosen:
            detector.postprocess(outputs[path], transforms[path])

    def stream(chosen: Sequence[Path]) -> None:
        for frame in stream_detections(detector, chosen):
            _ = frame.detections

    def one_by_one(chosen: Sequence[Path]) -> None:
        for path in chosen:
            detector.detect(read_image(path))

    return {
        "load": load,
        "preprocess": preprocess,
        "inference": infer,
        "stream": stream,
        "postprocess": postprocess,
        "one by one": one_by_one,
    }
