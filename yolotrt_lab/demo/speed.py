"""How fast the engines and the other frameworks are: latency, throughput, stages, layers, timeline."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.demo.config import DemoConfig
from yolotrt_lab.demo.models import Models
from yolotrt_lab.demo.progress import Reporter
from yolotrt_lab.profiling.interleave import measure_interleaved
from yolotrt_lab.profiling.layers import measure_layers
from yolotrt_lab.profiling.stages import measure_stages
from yolotrt_lab.profiling.throughput import measure_throughput, random_feeds
from yolotrt_lab.profiling.timeline import record_pipelined_timeline, record_timeline
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.records import throughput_records
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import ImageArray, Precision

__all__ = ["Frameworks", "measure_speed"]

Frameworks = Mapping[str, tuple[Path, str | None]]
"""Name to model file and backend."""

_TIMELINE_FRAMES = 8


def measure_speed(
    models: Models, images: Sequence[ImageArray], *, frameworks: Frameworks, config: DemoConfig, reporter: Reporter
) -> dict[str, Any]:
    """Time everything on real images and return the speed sections of the results, in their JSON form.

    Engines and frameworks take turns within one run, so that their ratios hold on a noisy machine.
    """
    with contextlib.ExitStack() as stack:
        engines = {
            precision: stack.enter_context(open_runtime(build.path)) for precision, build in models.engines.items()
        }
        others = {
            name: stack.enter_context(open_runtime(path, backend=backend, batch=1, input_hw=_input_hw(config)))
            for name, (path, backend) in frameworks.items()
        }
        with reporter.step("Comparing latencies") as on_progress:
            runners = {str(precision): _runner(runtime) for precision, runtime in engines.items()}
            runners |= {name: _runner(runtime) for name, runtime in others.items()}
            timings = measure_interleaved(runners, rounds=config.rounds, on_progress=on_progress)
        return {
            "latency": {str(precision): timings.stats[str(precision)] for precision in engines},
            "frameworks": {name: _framework(runtime, timings.stats[name]) for name, runtime in others.items()},
            **_details(engines, images, config=config, reporter=reporter),
        }


def _input_hw(config: DemoConfig) -> tuple[int, int]:
    return (config.image_size, config.image_size)


def _runner(runtime: Runtime) -> functools.partial[Any]:
    return functools.partial(runtime.infer, random_feeds(runtime, batch=1))


def _framework(runtime: Runtime, latency: LatencyStats) -> dict[str, Any]:
    return {
        "latency_ms": latency.to_json(),
        "precision": str(runtime.executed_precision),
        "version": runtime.name,
        "device": runtime.platform,
    }


def _same(runtime: Runtime, _batch: int) -> Runtime:
    """Return one engine for every batch size: its profile covers them all."""
    return runtime


def _details(
    engines: Mapping[Precision, Runtime], images: Sequence[ImageArray], *, config: DemoConfig, reporter: Reporter
) -> dict[str, Any]:
    """Measure what is measured engine by engine."""
    found: dict[str, Any] = {"throughput": {}, "stages": {}, "layers": {}, "timeline": {}}
    with reporter.step("Measuring batches, stages and layers") as on_progress:
        for done, (precision, runtime) in enumerate(engines.items()):
            on_progress(done, len(engines))
            points = measure_throughput(functools.partial(_same, runtime), batches=config.batches)
            found["throughput"][precision] = throughput_records(points)
            detector = detector_from_runtime(runtime)
            found["stages"][precision] = measure_stages(detector, images).to_json()
            found["layers"][precision] = measure_layers(runtime, random_feeds(runtime, batch=1))
            if precision is Precision.INT8:
                for title, record in (
                    ("INT8, one frame after the other", record_timeline),
                    ("INT8, stages overlapped", record_pipelined_timeline),
                ):
                    found["timeline"][title] = record(detector, images, frames=_TIMELINE_FRAMES)
        on_progress(len(engines), len(engines))
    return found
