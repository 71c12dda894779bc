"""A detector straight from a model file."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.metadata import numbered_class_names
from yolotrt_lab.runtimes.open import open_runtime

__all__ = ["detector_from_runtime", "open_detector"]


def _class_count(runtime: Runtime) -> int:
    """Return how many classes the output has room for."""
    shape = runtime.outputs[0].shape
    if len(shape) != 3:
        raise InputError(
            f"{runtime.name}: this is not the output of a YOLO detector.",
            expected="(batch, 4 + classes, anchors) or (batch, anchors, 5 + classes)",
            got=shape,
            fix="Use a detection model exported by `yolotrt export`.",
        )
    _, second, third = shape
    if second is not None and (third is None or second < third):
        return max(second - 4, 1)
    return max((third or 6) - 5, 1)


def _class_names(runtime: Runtime, given: tuple[str, ...] | None) -> tuple[str, ...]:
    names = given or runtime.class_names
    if names:
        return names
    names = numbered_class_names(_class_count(runtime))
    warnings.warn(
        f"The model does not name its classes; they are called {names[0]!r} to {names[-1]!r}. "
        "Models exported by `yolotrt export` carry their names; for others pass class_names.",
        LabWarning,
        stacklevel=3,
    )
    return names


def detector_from_runtime(
    runtime: Runtime, *, config: DetectorConfig | None = None, class_names: tuple[str, ...] | None = None
) -> Detector:
    """Return a detector on an open runtime; its `with` block closes the runtime.

    Args:
        runtime: What runs the model.
        config: Thresholds; input size and largest batch are taken from the runtime where it knows them.
        class_names: Replaces the model's names; needed for right names when the model has none.

    Raises:
        InputError: The model is not a YOLO detector.

    Warns:
        LabWarning: The model names no classes; they get numbers.
    """
    config = config or DetectorConfig()
    if config.input_hw is None:
        config = replace(config, input_hw=runtime.input_hw)
    if runtime.max_batch is not None:
        config = replace(config, max_batch=min(config.max_batch, runtime.max_batch))
    return Detector(runtime, class_names=_class_names(runtime, class_names), config=config)


def open_detector(
    path: Path | str,
    *,
    backend: str | None = None,
    config: DetectorConfig | None = None,
    class_names: tuple[str, ...] | None = None,
    batch: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    throughput: bool = False,
) -> Detector:
    """Load a model file and return a detector on it, ready to detect; use it as a context manager.

    Class names and input size come from the model: ONNX metadata, the checkpoint, or the engine's provenance.

    Args:
        path: As for `open_runtime`.
        backend: As for `open_runtime`.
        config: Thresholds; `input_hw` in it is only needed for a model that takes any size and names none.
        class_names: Replaces the model's names; needed for right names when the model has none.
        batch: As for `open_runtime`.
        device: As for `open_runtime`.
        threads: As for `open_runtime`.
        throughput: As for `open_runtime`.

    Raises:
        InputError: As `open_runtime`; or the model is not a YOLO detector.
        MissingDependencyError: The framework is not installed.

    Warns:
        LabWarning: The model names no classes; they get numbers.

    Example:
        >>> with open_detector("model.onnx") as detector:  # doctest: +SKIP
        ...     detections = detector.detect(image_bgr)
    """
    input_hw = config.input_hw if config is not None else None
    runtime = open_runtime(
        path, backend=backend, batch=batch, input_hw=input_hw, device=device, threads=threads, throughput=throughput
    )
    try:
        return detector_from_runtime(runtime, config=config, class_names=class_names)
    except BaseException:
        runtime.close()
        raise
