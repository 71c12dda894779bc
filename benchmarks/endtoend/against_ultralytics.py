"""Images per second of our detector and of Ultralytics' predict, on the same OpenVINO model and images, in turns.

Each side has a process of its own, which sleeps while the other has its turn. Both decode the same files, letterbox
alike, run the same IR file in the same arithmetic, and hand over boxes, scores and classes as NumPy arrays.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from endtoend.numbers import spread
from endtoend.processes import Worker
from yolotrt_lab.data.images import list_images, read_image
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.box_agreement import compare_boxes
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.openvino import OpenVinoRuntime
from yolotrt_lab.runtimes.streaming import stream_detections
from yolotrt_lab.training.environment import import_ultralytics
from yolotrt_lab.types import Detections, Precision

__all__ = ["PRECISIONS", "compare_with_ultralytics"]

CONF, IOU = 0.25, 0.7
PRECISIONS = ("default", "fp32")  # OpenVINO's own choice, which is what users get; and FP32 by an explicit hint
WAYS = ("detector", "stream")
SOURCES = ("files", "memory")
_WARMUP = 4
_EXECUTED = {"float32": Precision.FP32, "bfloat16": Precision.BF16, "float16": Precision.FP16}

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
_state: dict[str, Any] = {}


def compare_with_ultralytics(
    model: Path, images: Path, *, precision: str, repeats: int, on_repeat: Any = None
) -> dict[str, Any]:
    """Return images per second of every way, ratios to Ultralytics within a repeat, and how far the boxes agree.

    Args:
        model: The folder that Ultralytics exported.
        images: A folder of images.
        precision: One of `PRECISIONS`.
        repeats: Rounds in which every way has one turn, in random order.
        on_repeat: Called after each round.

    Raises:
        InputError: The boxes differ: somebody saves work.
    """
    with Worker() as theirs, Worker() as ours:
        executed = theirs.call(_open_theirs, str(model), images, precision)
        ours.call(_open_ours, next(model.glob("*.xml")), images, executed)
        turns = {("ultralytics", source): (theirs, _turn_theirs, (source,)) for source in SOURCES}
        turns |= {(way, source): (ours, _turn_ours, (way, source)) for way in WAYS for source in SOURCES}
        found: dict[tuple[str, str], list[Found]] = {}
        per_s: dict[tuple[str, str], list[float]] = {key: [] for key in turns}
        cpu_ms: dict[tuple[str, str], list[float]] = {key: [] for key in turns}
        order = random.Random(0)
        for _ in range(repeats):
            for key in order.sample(list(turns), len(turns)):
                worker, function, arguments = turns[key]
                seconds, cpu_s, found[key] = worker.call(function, *arguments)
                per_s[key].append(len(found[key]) / seconds)
                cpu_ms[key].append(1000 * cpu_s / len(found[key]))
            if on_repeat is not None:
                on_repeat()
    ours_keys = [key for key in turns if key[0] != "ultralytics"]
    return {
        "precision": executed,
        "images": len(found["ultralytics", "files"]),
        "images_per_s": {f"{way} {source}": spread(values) for (way, source), values in per_s.items()},
        "cpu_ms_per_image": {f"{way} {source}": spread(values) for (way, source), values in cpu_ms.items()},
        "ratios": {
            f"{way} {source}": spread(np.array(per_s[way, source]) / per_s["ultralytics", source])
            for way, source in ours_keys
        },
        "agreement": {
            f"{way} {source}": _agreement(found[way, source], found["ultralytics", source]) for way, source in ours_keys
        },
    }


def _agreement(ours: Sequence[Found], theirs: Sequence[Found]) -> dict[str, Any]:
    ours_found, theirs_found = ([Detections(*each) for each in side] for side in (ours, theirs))
    result = compare_boxes(ours_found, theirs_found, match_iou=0.98, score_delta=0.01, conf_threshold=CONF)
    if result.compared and result.matched_fraction < 0.99:
        raise InputError(
            "The two sides find different boxes, so their speeds cannot be compared.",
            expected="99 % of the boxes with a partner of the same class, IoU 0.98 and a score within 0.01",
            got=f"{100 * result.matched_fraction:.1f} % of {result.compared}",
        )
    return {
        "boxes": result.compared,
        "matched": result.matched_fraction,
        "mean_iou": result.mean_iou,
        "max_score_delta": result.max_score_delta,
    }


def _open_theirs(model: str, images: Path, precision: str) -> str:
    """Load the model as a user would and return the arithmetic that OpenVINO runs it in."""
    ultralytics = import_ultralytics(purpose="compare with")
    import openvino
    import torchvision  # noqa: F401 - Ultralytics takes torchvision's faster NMS only if it is imported already

    if precision == "fp32":
        compile_model = openvino.Core.compile_model

        def compiled_in_fp32(core: Any, *arguments: Any, config: Any = None, **settings: Any) -> Any:
            config = {**(config or {}), "INFERENCE_PRECISION_HINT": "f32"}
            return compile_model(core, *arguments, config=config, **settings)

        openvino.Core.compile_model = compiled_in_fp32  # Ultralytics has no option for it
    _open_images(images)
    yolo = _state["yolo"] = ultralytics.YOLO(model, task="detect")
    list(_predicted(_state["pictures"][0]))
    hint = yolo.predictor.model.backend.ov_compiled_model.get_property("INFERENCE_PRECISION_HINT")
    return str(_EXECUTED[hint.to_dtype().name if hint.get_type_name() != "bf16" else "bfloat16"])


def _open_images(images: Path) -> None:
    _state["folder"], _state["paths"] = images, list_images(images)
    _state["pictures"] = [read_image(path) for path in _state["paths"]]


def _predicted(source: Any) -> Iterator[Found]:
    results = _state["yolo"].predict(source, stream=True, verbose=False, conf=CONF, iou=IOU, imgsz=640, batch=1)
    for result in results:
        boxes = result.boxes.numpy()
        yield boxes.xyxy, boxes.conf, boxes.cls.astype(np.int64)


def _turn_theirs(source: str) -> tuple[float, float, list[Found]]:
    """Return the seconds, the processor's seconds, and what was found in each image."""
    pictures = _state["pictures"]
    for picture in pictures[:_WARMUP]:
        list(_predicted(picture))
    start, cpu_start = time.perf_counter(), time.process_time()
    if source == "files":
        found = list(_predicted(str(_state["folder"])))  # a folder, which Ultralytics reads ahead in a thread
    else:
        # One call for each image: of a list, whatever `batch` says, Ultralytics makes one batch.
        found = [each for picture in pictures for each in _predicted(picture)]
    return time.perf_counter() - start, time.process_time() - cpu_start, found


def _open_ours(model: Path, images: Path, precision: str) -> None:
    _open_images(images)
    config = DetectorConfig(conf_threshold=CONF, iou_threshold=IOU)
    for way in WAYS:
        runtime = OpenVinoRuntime(model, precision=Precision(precision), throughput=way == "stream")
        _state[way] = detector_from_runtime(runtime, config=config)


def _turn_ours(way: str, source: str) -> tuple[float, float, list[Found]]:
    """Return the seconds, the processor's seconds, and what was found in each image."""
    detector: Detector = _state[way]
    pictures, paths = _state["pictures"], _state["paths"]
    for picture in pictures[:_WARMUP]:
        detector.detect(picture)
    start, cpu_start = time.perf_counter(), time.process_time()
    if way == "stream":
        found = [frame.detections for frame in stream_detections(detector, paths if source == "files" else pictures)]
    elif source == "files":
        found = [detector.detect(read_image(path)) for path in paths]
    else:
        found = [detector.detect(picture) for picture in pictures]
    boxes = [(each.xyxy, each.scores, each.class_ids) for each in found]
    return time.perf_counter() - start, time.process_time() - cpu_start, boxes
