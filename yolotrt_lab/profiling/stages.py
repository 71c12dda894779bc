"""Where a frame's time goes: preprocessing, inference, postprocessing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.timing import LatencyStats, gc_paused
from yolotrt_lab.types import ImageArray, ProgressCallback

__all__ = ["STAGES", "FrameTiming", "StageBreakdown", "measure_stages", "time_frame"]

STAGES = ("preprocess", "inference", "postprocess")


@dataclass(frozen=True)
class FrameTiming:
    """When each stage of one frame began, and when the last one ended: four `perf_counter_ns` readings."""

    stamps_ns: tuple[int, int, int, int]

    def duration_ms(self, stage: int) -> float:
        """Return the milliseconds of stage 0, 1 or 2 of `STAGES`."""
        return (self.stamps_ns[stage + 1] - self.stamps_ns[stage]) / 1e6


@dataclass(frozen=True)
class StageBreakdown:
    """Per-image latency of each stage, in milliseconds.

    Attributes:
        preprocess: Letterbox, RGB, scale, layout.
        inference: The model, copies to and from the device included.
        postprocess: Decode, suppress duplicates, map to image pixels.
    """

    preprocess: LatencyStats
    inference: LatencyStats
    postprocess: LatencyStats

    @property
    def total_ms(self) -> float:
        """Sum of the stages' medians."""
        return sum(self.stage(name).p50_ms for name in STAGES)

    def stage(self, name: str) -> LatencyStats:
        """Return the latency of one of `STAGES`."""
        stats: LatencyStats = {
            "preprocess": self.preprocess,
            "inference": self.inference,
            "postprocess": self.postprocess,
        }[name]
        return stats

    def to_json(self) -> dict[str, Any]:
        """Return the form results.json keeps under a key that names the unit."""
        return {name: self.stage(name).to_json() for name in STAGES}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StageBreakdown:
        """Return the breakdown `to_json` wrote.

        Raises:
            InputError: A stage is missing or malformed.
        """
        if missing := [name for name in STAGES if not isinstance(value.get(name), Mapping)]:
            raise InputError("The stage breakdown is incomplete.", expected=", ".join(STAGES), got=f"no {missing[0]}")
        return cls(*(LatencyStats.from_json(value[name]) for name in STAGES))


def time_frame(detector: Detector, image_bgr: ImageArray) -> FrameTiming:
    """Run one image through the detector's three stages and return when each began."""
    start = time.perf_counter_ns()
    batch, transforms = detector.preprocess([image_bgr])
    preprocessed = time.perf_counter_ns()
    output = detector.infer(batch)
    inferred = time.perf_counter_ns()
    detector.postprocess(output, transforms)
    return FrameTiming((start, preprocessed, inferred, time.perf_counter_ns()))


def measure_stages(
    detector: Detector,
    images: Sequence[ImageArray],
    *,
    warmup: int = 5,
    repeats: int = 50,
    on_progress: ProgressCallback | None = None,
) -> StageBreakdown:
    """Time the stages on real images, one by one, in turn.

    Real images matter: postprocessing takes longer the more objects there are, and there are none in noise.

    Args:
        detector: What to time.
        images: BGR uint8 images, used in turn.
        warmup: Frames before measuring.
        repeats: Frames measured.
        on_progress: Called with (frames measured, frames).

    Raises:
        InputError: No images, or a count out of range.
    """
    if not images or repeats < 1 or warmup < 0:
        raise InputError(
            "Nothing to time.",
            expected="at least one image, repeats >= 1, warmup >= 0",
            got=f"{len(images)} images, repeats={repeats}, warmup={warmup}",
        )
    frames: list[FrameTiming] = []
    supply = itertools.cycle(images)
    with gc_paused():
        for index in range(warmup + repeats):
            timing = time_frame(detector, next(supply))
            if index >= warmup:
                frames.append(timing)
                if on_progress is not None:
                    on_progress(len(frames), repeats)
    return StageBreakdown(
        *(LatencyStats.from_samples([frame.duration_ms(stage) for frame in frames]) for stage in range(len(STAGES)))
    )
