"""Time several model files in turns, whatever their framework."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.interleave import Ratio, measure_interleaved
from yolotrt_lab.profiling.throughput import random_feeds
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.runtimes.open import BACKENDS, backend_for_path, open_runtime
from yolotrt_lab.types import Precision, ProgressCallback

__all__ = ["ModelTarget", "ModelTiming", "compare_models", "label_targets", "target_from_text"]


@dataclass(frozen=True)
class ModelTarget:
    """A model file and the framework to run it with.

    Attributes:
        label: Its name in tables and plots.
        path: The file.
        backend: One of `BACKENDS`.
    """

    label: str
    path: Path
    backend: str


@dataclass(frozen=True)
class ModelTiming:
    """How fast one model was.

    Attributes:
        target: Which.
        runtime: Framework, version and device.
        platform: "cpu" or "cuda"; for TensorRT "real" or "emulated".
        executed_precision: The arithmetic that ran.
        input_hw: Height and width of the input.
        batch: Images per call.
        latency: Of one call.
        ratio_to_first: Its time over that of the first model, paired by round.
    """

    target: ModelTarget
    runtime: str
    platform: str
    executed_precision: Precision
    input_hw: tuple[int, int] | None
    batch: int
    latency: LatencyStats
    ratio_to_first: Ratio


def target_from_text(text: str) -> ModelTarget:
    """Return the target in "FILE" or "FILE@BACKEND".

    Raises:
        InputError: No backend takes this file.

    Example:
        >>> target_from_text("model.onnx@openvino").backend
        'openvino'
    """
    file, _, backend = text.rpartition("@")
    if not file or backend not in BACKENDS:
        file, backend = text, ""
    path = Path(file)
    chosen = backend_for_path(path, backend=backend or None)
    return ModelTarget(f"{path.name} ({chosen})" if backend else path.name, path, chosen)


def label_targets(targets: Sequence[ModelTarget]) -> tuple[ModelTarget, ...]:
    """Return the targets with labels that differ: the folder, then a number, is added where they do not."""
    seen: dict[str, int] = {}
    labelled: list[ModelTarget] = []
    names = [target.label for target in targets]
    for target in targets:
        label = target.label
        if names.count(label) > 1:
            label = f"{target.path.parent.name or '.'}/{label}"
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            label = f"{label} #{seen[label]}"
        labelled.append(ModelTarget(label, target.path, target.backend))
    return tuple(labelled)


def compare_models(
    targets: Sequence[ModelTarget],
    *,
    batch: int = 1,
    rounds: int = 30,
    warmup: int = 10,
    threads: int | None = None,
    device: str = "auto",
    input_hw: tuple[int, int] | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[ModelTiming, ...]:
    """Open all models at once and time them in turns on the same kind of input.

    Args:
        targets: What to time; labels must differ (see `label_targets`).
        batch: Images per call.
        rounds: Turns of each model.
        warmup: Unmeasured calls of each model.
        threads: CPU threads for every framework; None lets each decide.
        device: As for `open_runtime`.
        input_hw: Height and width for .pt files; by default that of the first model that says its own.
        on_progress: Called with (rounds done, rounds).

    Raises:
        InputError: No models, equal labels, or a model that cannot be opened or take the batch.
    """
    labels = [target.label for target in targets]
    if not targets or len(set(labels)) < len(labels):
        raise InputError("Nothing to compare.", expected="one model or more, each with its own label", got=labels)
    with contextlib.ExitStack() as stack:
        runtimes = {}
        for target in sorted(targets, key=lambda item: item.backend == "pytorch"):  # files that fix their size first
            runtime = open_runtime(
                target.path,
                backend=target.backend,
                batch=batch,
                input_hw=input_hw if target.backend == "pytorch" else None,
                device=device,
                threads=threads,
            )
            runtimes[target.label] = stack.enter_context(runtime)
            input_hw = input_hw or runtime.input_hw
        runners = {
            label: functools.partial(runtimes[label].infer, random_feeds(runtimes[label], batch=batch))
            for label in labels
        }
        timings = measure_interleaved(runners, rounds=rounds, warmup=warmup, on_progress=on_progress)
    return tuple(
        ModelTiming(
            target=target,
            runtime=runtimes[target.label].name,
            platform=runtimes[target.label].platform,
            executed_precision=runtimes[target.label].executed_precision,
            input_hw=runtimes[target.label].input_hw,
            batch=batch,
            latency=timings.stats[target.label],
            ratio_to_first=timings.ratio(target.label, baseline=labels[0]),
        )
        for target in targets
    )
