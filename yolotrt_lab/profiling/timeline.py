"""What happened when: stage events of consecutive frames, one lane per worker, exportable to Chrome's trace viewer."""

from __future__ import annotations

import functools
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_json
from yolotrt_lab.profiling.stages import STAGES, time_frame
from yolotrt_lab.types import ImageArray

__all__ = ["TimelineEvent", "record_pipelined_timeline", "record_timeline", "write_chrome_trace"]


@dataclass(frozen=True)
class TimelineEvent:
    """One stage of one frame.

    Attributes:
        name: What ran ("inference").
        lane: The worker that ran it; events of one lane never overlap.
        frame: Frame number, from 0.
        start_us: Microseconds from the start of the recording.
        duration_us: Microseconds it took.
    """

    name: str
    lane: str
    frame: int
    start_us: float
    duration_us: float


def _require_images(images: Sequence[ImageArray], frames: int) -> Iterator[ImageArray]:
    if not images or frames < 1:
        raise InputError(
            "Nothing to record.", expected="at least one image and frames >= 1", got=f"{len(images)} images, {frames}"
        )
    return itertools.islice(itertools.cycle(images), frames)


def record_timeline(
    detector: Detector, images: Sequence[ImageArray], *, frames: int = 8, warmup: int = 3
) -> tuple[TimelineEvent, ...]:
    """Run frames one after the other and return what happened when; the usual loop, one stage at a time.

    Args:
        detector: What to run.
        images: BGR uint8 images, used in turn.
        frames: Frames to record.
        warmup: Frames before recording.

    Raises:
        InputError: No images or no frames.
    """
    supply = list(_require_images(images, frames))
    for _ in range(warmup):
        detector.detect(supply[0])
    timings = [time_frame(detector, image) for image in supply]
    origin = timings[0].stamps_ns[0]
    return tuple(
        TimelineEvent(
            name=stage,
            lane=stage,
            frame=frame,
            start_us=(timing.stamps_ns[index] - origin) / 1e3,
            duration_us=timing.duration_ms(index) * 1e3,
        )
        for frame, timing in enumerate(timings)
        for index, stage in enumerate(STAGES)
    )


class _Recorder:
    """Collects events from several threads, and the first failure of any of them."""

    def __init__(self) -> None:
        self.origin_ns = time.perf_counter_ns()
        self.events: list[TimelineEvent] = []
        self.failure: BaseException | None = None
        self._lock = threading.Lock()

    def run(self, stage: str, *, frame: int, work: Callable[[], Any]) -> Any:
        start_ns = time.perf_counter_ns()
        result = work()
        end_ns = time.perf_counter_ns()
        event = TimelineEvent(stage, stage, frame, (start_ns - self.origin_ns) / 1e3, (end_ns - start_ns) / 1e3)
        with self._lock:
            self.events.append(event)
        return result


_END = object()


def _worker(
    recorder: _Recorder,
    stage: str,
    *,
    work: Callable[[Any], Any],
    source: queue.Queue[Any],
    sink: queue.Queue[Any] | None,
) -> None:
    """Take (frame, value) from `source` until the end mark, and pass (frame, result) to `sink`.

    After a failure the worker keeps draining its source, so that nobody upstream waits for a full queue.
    """
    while (item := source.get()) is not _END:
        if recorder.failure is not None:
            continue
        frame, value = item
        try:
            result = recorder.run(stage, frame=frame, work=functools.partial(work, value))
        except BaseException as error:
            recorder.failure = error
            continue
        if sink is not None:
            sink.put((frame, result))
    if sink is not None:
        sink.put(_END)


def record_pipelined_timeline(
    detector: Detector, images: Sequence[ImageArray], *, frames: int = 8, warmup: int = 3, depth: int = 2
) -> tuple[TimelineEvent, ...]:
    """Run the three stages in three threads joined by queues, and return what happened when.

    Frame n+1 is preprocessed while frame n is in the model: throughput rises to that of the slowest stage, latency does
    not fall. NumPy, OpenCV and the runtimes release Python's lock while they compute, so the stages really overlap.

    Args:
        detector: What to run. Its input buffer is copied between the stages, because it reuses it.
        images: BGR uint8 images, used in turn.
        frames: Frames to record.
        warmup: Frames before recording.
        depth: Frames that may wait between two stages.

    Raises:
        InputError: No images or no frames.
    """
    supply = list(_require_images(images, frames))
    for _ in range(warmup):
        detector.detect(supply[0])

    def preprocess(image: ImageArray) -> Any:
        batch, transforms = detector.preprocess([image])
        return batch.copy(), transforms

    def infer(value: Any) -> Any:
        return detector.infer(value[0]), value[1]

    def postprocess(value: Any) -> Any:
        return detector.postprocess(*value)

    recorder = _Recorder()
    queues: list[queue.Queue[Any]] = [queue.Queue(maxsize=depth) for _ in STAGES]
    sinks = [*queues[1:], None]
    threads = [
        threading.Thread(
            target=_worker, args=(recorder, stage), kwargs={"work": work, "source": source, "sink": sink}, daemon=True
        )
        for stage, work, source, sink in zip(STAGES, (preprocess, infer, postprocess), queues, sinks, strict=True)
    ]
    for thread in threads:
        thread.start()
    for item in enumerate(supply):
        queues[0].put(item)
    queues[0].put(_END)
    for thread in threads:
        thread.join()
    if recorder.failure is not None:
        raise recorder.failure
    return tuple(sorted(recorder.events, key=lambda event: event.start_us))


def write_chrome_trace(path: Path, events: Sequence[TimelineEvent], *, process: str) -> None:
    """Write events in the Trace Event Format, which chrome://tracing and ui.perfetto.dev open.

    Args:
        path: The .json file to write.
        events: What to write.
        process: Title shown above the lanes, such as the runtime's name.

    Raises:
        OutputError: The file cannot be written.
    """
    lanes = list(dict.fromkeys(event.lane for event in events))
    entries: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": process}},
        *(
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": index, "args": {"name": lane}}
            for index, lane in enumerate(lanes)
        ),
        *(
            {
                "name": event.name,
                "cat": "stage",
                "ph": "X",
                "pid": 1,
                "tid": lanes.index(event.lane),
                "ts": event.start_us,
                "dur": event.duration_us,
                "args": {"frame": event.frame},
            }
            for event in events
        ),
    ]
    write_json(path, {"traceEvents": entries, "displayTimeUnit": "ms"})
