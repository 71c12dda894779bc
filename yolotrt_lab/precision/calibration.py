"""From calibration images to the ranges that INT8 scales stand for: what `yolotrt quantize` and users call.

Images go through the FP32 model one by one and only histograms are kept, so memory does not depend on how many there
are, and one pass serves every method: see `observation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from yolotrt_lab.precision.calibrators import (
    METHODS,
    EntropyCalibrator,
    MinMaxCalibrator,
    MseCalibrator,
    PercentileCalibrator,
    make_calibrator,
)
from yolotrt_lab.precision.histogram import MagnitudeRange, StreamingHistogram
from yolotrt_lab.precision.observation import Observation, observe_activations
from yolotrt_lab.precision.table import CalibrationTable, read_calibration_cache, write_calibration_cache
from yolotrt_lab.types import FloatArray, ProgressCallback

__all__ = [
    "DEFAULT_METHOD",
    "CalibrationTable",
    "EntropyCalibrator",
    "MinMaxCalibrator",
    "MseCalibrator",
    "PercentileCalibrator",
    "StreamingHistogram",
    "calibrate",
    "calibrate_methods",
    "read_calibration_cache",
    "tables_from_observation",
    "write_calibration_cache",
]

DEFAULT_METHOD = "mse"
"""On the evidence in `calibrators`."""

FEW_IMAGES = 64
"""Below this many the thresholds depend on which images were picked."""

MUCH_SATURATION = 0.005


def calibrate(
    onnx_path: Path,
    batches: Iterable[FloatArray],
    *,
    method: str = DEFAULT_METHOD,
    tensors: Sequence[str] | None = None,
    on_progress: ProgressCallback | None = None,
    threads: int | None = None,
) -> CalibrationTable:
    """Find the range of every tensor that INT8 needs a scale for.

    Args:
        onnx_path: The FP32 model.
        batches: Preprocessed images, (n, 3, H, W) float32 RGB in [0, 1], letterboxed exactly as at inference. A
            generator is fine; each batch is dropped after use.
        method: "mse", "minmax", "percentile" or "entropy".
        tensors: Names to watch; by default those that `quantize_onnx` quantizes.
        on_progress: Called with (batches done, batches in all; 0 when `batches` does not tell its length).
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: The model is not FP32, there are no images, they do not fit the model, values are not finite, or
            there is no such method or tensor.
    """
    tables = calibrate_methods(
        onnx_path, batches, methods=(method,), tensors=tensors, on_progress=on_progress, threads=threads
    )
    return tables[method]


def calibrate_methods(
    onnx_path: Path,
    batches: Iterable[FloatArray],
    *,
    methods: Sequence[str] = tuple(METHODS),
    tensors: Sequence[str] | None = None,
    on_progress: ProgressCallback | None = None,
    threads: int | None = None,
) -> dict[str, CalibrationTable]:
    """Find the ranges by several methods at once: the images go through the model once.

    Args:
        onnx_path: As for `calibrate`, like all that is not said here.
        batches: Preprocessed images.
        methods: Some of "mse", "minmax", "percentile" and "entropy"; by default all.
        tensors: Names to watch.
        on_progress: Called with (batches done, batches in all).
        threads: CPU threads.

    Returns:
        Method to its table, in the order asked for.

    Raises:
        InputError: As `calibrate`.
    """
    for method in methods:
        make_calibrator(method)  # so that a wrong name is noticed before any work
    observation = observe_activations(
        onnx_path, batches, tensors=tensors, histograms=set(methods) != {"minmax"}, on_progress=on_progress,
        threads=threads,
    )  # fmt: skip
    return tables_from_observation(observation, methods)


def tables_from_observation(observation: Observation, methods: Sequence[str]) -> dict[str, CalibrationTable]:
    """Choose the ranges by each method from what was observed.

    Raises:
        InputError: There is no such method, or it needs histograms and only ranges were observed.
    """
    whole = {name: observation.whole(name) for name in observation.halves}
    return {method: _table(observation, whole, method) for method in methods}


def _table(observation: Observation, whole: Mapping[str, MagnitudeRange], method: str) -> CalibrationTable:
    calibrators = {name: make_calibrator(method, observed) for name, observed in whole.items()}
    amax = {name: calibrator.compute_amax() for name, calibrator in calibrators.items()}
    saturation = {name: calibrator.saturation(amax[name]) for name, calibrator in calibrators.items()}
    observed_input = whole[observation.input_name].amax if observation.input_name in whole else 0.0
    return CalibrationTable(
        amax=amax,
        method=method,
        image_count=observation.image_count,
        digest=observation.digest,
        model_sha256=observation.model_sha256,
        saturation=saturation,
        warnings=tuple(_warnings(amax, saturation, observation.image_count, observed_input)),
    )


def _warnings(
    amax: dict[str, float], saturation: dict[str, float], image_count: int, observed_input: float
) -> Iterator[str]:
    if observed_input > 1.5:
        yield f"The images reach {observed_input:.3g}: they should be scaled to [0, 1] (divide by 255)."
    if image_count < FEW_IMAGES:
        yield f"Only {image_count} calibration images; use at least {FEW_IMAGES}, better 128, that show every class."
    dead = [name for name, value in amax.items() if value == 0.0]
    if dead:
        yield f"{len(dead)} tensors were zero on every image and get no useful scale: {', '.join(dead[:3])}"
    for name, share in saturation.items():
        if share > MUCH_SATURATION:
            yield f"{share:.1%} of the values of {name} are clipped."
