"""Images per second over batch sizes: a bigger batch trades latency for throughput until the device is full."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.timing import LatencyStats, measure_latency
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import Array, ProgressCallback, TensorSpec

__all__ = ["ThroughputPoint", "measure_throughput", "random_feeds"]


@dataclass(frozen=True)
class ThroughputPoint:
    """Latency of one whole batch, and what it means in images per second.

    Attributes:
        batch: Images in the batch.
        latency: Of the whole batch, in milliseconds.
    """

    batch: int
    latency: LatencyStats

    @property
    def images_per_s(self) -> float:
        """Images per second at the mean latency: what a long run of such batches reaches."""
        return 1000 * self.batch / self.latency.mean_ms

    @property
    def images_per_s_interval(self) -> tuple[float, float]:
        """Images per second at the 90th and 10th latency percentile (low, high)."""
        fast_ms, slow_ms = np.quantile(self.latency.samples_ms, [0.1, 0.9])
        return 1000 * self.batch / float(slow_ms), 1000 * self.batch / float(fast_ms)


def _concrete_shape(spec: TensorSpec, *, batch: int, input_hw: tuple[int, int] | None) -> tuple[int, ...]:
    shape = list(spec.shape)
    if shape and shape[0] is None:
        shape[0] = batch
    if len(shape) == 4 and input_hw is not None:
        shape[2:] = [shape[2] or input_hw[0], shape[3] or input_hw[1]]
    if None in shape:
        raise InputError(
            f"Input {spec.name!r} has a size that is not known.",
            expected="fixed sizes, or a model that says its image size",
            got=spec.shape,
            fix="Open the model with input_hw=(height, width).",
        )
    return tuple(size for size in shape if size is not None)


def random_feeds(runtime: Runtime, *, batch: int = 1, seed: int = 0) -> dict[str, Array]:
    """Return inputs of uniform noise in [0, 1] that fit a runtime; whole numbers up to 255 for integer inputs.

    Raises:
        InputError: The model cannot take this batch, or its image size is not known.
    """
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in runtime.inputs:
        shape = _concrete_shape(spec, batch=batch, input_hw=runtime.input_hw)
        if not spec.accepts(shape) or shape[0] != batch:
            raise InputError(
                f"{runtime.name} cannot run batch {batch}.",
                expected=f"batch {spec.shape[0]}, which the model was exported with",
                got=batch,
                fix="Export with a dynamic batch, and build the engine with that largest batch.",
            )
        dtype = np.dtype(spec.dtype)
        values = random.random(shape, dtype=np.float32)
        feeds[spec.name] = values.astype(dtype) if dtype.kind == "f" else (values * 255).astype(dtype)
    return feeds


def measure_throughput(
    runtime_for_batch: Callable[[int], Runtime],
    *,
    batches: Sequence[int] = (1, 2, 4, 8),
    warmup: int = 5,
    repeats: int = 20,
    on_progress: ProgressCallback | None = None,
) -> tuple[ThroughputPoint, ...]:
    """Measure latency and throughput for each batch size.

    Args:
        runtime_for_batch: Gives the runtime to use for a batch size; may give the same one each time.
        batches: Batch sizes, each at least 1.
        warmup: Unmeasured calls per batch size.
        repeats: Measured calls per batch size.
        on_progress: Called with (batch sizes done, batch sizes).

    Raises:
        InputError: No batch sizes, one below 1, or one the model cannot take.
    """
    if not batches or min(batches) < 1:
        raise InputError("Batch sizes are out of range.", expected="whole numbers of 1 or more", got=list(batches))
    points: list[ThroughputPoint] = []
    for batch in batches:
        runtime = runtime_for_batch(batch)
        feeds = random_feeds(runtime, batch=batch)
        latency = measure_latency(functools.partial(runtime.infer, feeds), warmup=warmup, repeats=repeats)
        points.append(ThroughputPoint(batch, latency))
        if on_progress is not None:
            on_progress(len(points), len(batches))
    return tuple(points)
