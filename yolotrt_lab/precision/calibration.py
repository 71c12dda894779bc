"""One pass over calibration images through the FP32 model, watching the tensors that will be quantized.

Images go through one by one and only histograms are kept, so memory does not depend on how many there are.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.findings import graph_precision
from yolotrt_lab.export.graph import expose_tensors
from yolotrt_lab.export.loading import detector_io, load_onnx_checked
from yolotrt_lab.files import sha256_of
from yolotrt_lab.precision.calibrators import (
    Calibrator,
    EntropyCalibrator,
    MinMaxCalibrator,
    MseCalibrator,
    PercentileCalibrator,
    make_calibrator,
)
from yolotrt_lab.precision.histogram import StreamingHistogram
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.precision.table import CalibrationTable, read_calibration_cache, write_calibration_cache
from yolotrt_lab.types import FloatArray, Precision, ProgressCallback, TensorSpec

__all__ = [
    "DEFAULT_METHOD",
    "CalibrationTable",
    "EntropyCalibrator",
    "MinMaxCalibrator",
    "MseCalibrator",
    "PercentileCalibrator",
    "StreamingHistogram",
    "calibrate",
    "read_calibration_cache",
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
    model = load_onnx_checked(onnx_path)
    _check_fp32(model, onnx_path)
    names = list(plan_placement(model).activations if tensors is None else tensors)
    calibrators = {name: make_calibrator(method) for name in names}
    spec, _ = detector_io(model, onnx_path)
    session = make_session(expose_tensors(model, names), threads=threads)
    outputs = [name for name in names if name != spec.name]
    digest, image_count, total = hashlib.sha256(), 0, operator.length_hint(batches)
    for done, batch in enumerate(batches, start=1):
        for images in _feeds(batch, spec):
            digest.update(images.tobytes())
            image_count += len(images)
            values = dict(zip(outputs, session.run(outputs, {spec.name: images}), strict=True)) if outputs else {}
            values[spec.name] = images
            for name, calibrator in calibrators.items():
                _update(calibrator, values[name], name)
        if on_progress is not None:
            on_progress(done, max(total, done) if total else 0)
    if image_count == 0:
        raise InputError(
            "There are no calibration images.", expected="at least one, better 128", got="0", fix="Check --images."
        )
    return _table(calibrators, method, image_count, digest.hexdigest(), sha256_of(onnx_path), spec.name)


def _check_fp32(model: ModelProto, path: Path) -> None:
    precision = graph_precision(model)
    if precision is not Precision.FP32:
        raise InputError(
            f"{path} is no FP32 model.",
            expected="the FP32 model that is to be quantized",
            got=precision,
            fix="Calibrate what `yolotrt export` wrote.",
        )


def _feeds(batch: FloatArray, spec: TensorSpec) -> Iterator[FloatArray]:
    """Check a batch and cut it into what the model takes: single images when its batch axis is dynamic."""
    dynamic = len(spec.shape) == 4 and spec.shape[0] is None
    if batch.dtype != np.float32 or not spec.accepts(batch.shape):
        raise InputError(
            "A calibration batch does not fit the model.",
            expected=f"float32 {('n', *spec.shape[1:]) if dynamic else spec.shape}",
            got=f"{batch.dtype} {batch.shape}",
            fix="Preprocess with yolotrt_lab.detection.letterbox.preprocess, as at inference.",
        )
    if not dynamic:
        yield np.ascontiguousarray(batch)
        return
    for start in range(len(batch)):
        yield np.ascontiguousarray(batch[start : start + 1])


def _update(calibrator: Calibrator, values: FloatArray, name: str) -> None:
    try:
        calibrator.update(values)
    except InputError as error:
        raise InputError(
            f"Tensor {name!r} holds values that are not finite.", expected=error.expected, got=error.got, fix=error.fix
        ) from error


def _table(
    calibrators: dict[str, Calibrator], method: str, image_count: int, digest: str, model_sha256: str, input_name: str
) -> CalibrationTable:
    amax = {name: calibrator.compute_amax() for name, calibrator in calibrators.items()}
    saturation = {name: calibrator.saturation(amax[name]) for name, calibrator in calibrators.items()}
    observed_input = calibrators[input_name].observed_amax if input_name in calibrators else 0.0
    return CalibrationTable(
        amax=amax,
        method=method,
        image_count=image_count,
        digest=digest,
        model_sha256=model_sha256,
        saturation=saturation,
        warnings=tuple(_warnings(amax, saturation, image_count, observed_input)),
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
