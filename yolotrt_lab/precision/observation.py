"""One pass of images through the FP32 model that remembers how large each tensor's values are, and nothing else.

Every method of calibration chooses from the same histograms, so one pass serves them all. Images are counted in turns
into two halves: how far the two disagree says whether there are enough images.

Memory: ONNX Runtime holds the watched tensors of one image, and they are dropped one by one as they are counted. Its
memory pattern is off: it would reserve one block for all of a run's buffers besides. (YOLOv5n at 640, all 262 tensors
watched: peak 387 MiB instead of 550; without the arena, 510 MiB and a third slower.)
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.findings import graph_precision
from yolotrt_lab.export.graph import expose_tensors
from yolotrt_lab.export.loading import detector_io, load_onnx_checked
from yolotrt_lab.files import sha256_of
from yolotrt_lab.optional import require
from yolotrt_lab.precision.calibrators import make_calibrator
from yolotrt_lab.precision.histogram import MagnitudeRange, StreamingHistogram
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.types import FloatArray, Precision, ProgressCallback, TensorSpec

__all__ = ["Observation", "observe_activations"]


@dataclass(frozen=True, eq=False)
class Observation:
    """How large the values of each tensor were.

    Attributes:
        halves: Tensor name to what the images at even and at odd places showed.
        image_count: Images seen.
        run_count: Times the model ran: as often as there were images, unless its batch size is fixed.
        digest: SHA-256 over the preprocessed images.
        model_sha256: Of the ONNX file.
        input_name: The tensor that holds the images.
    """

    halves: Mapping[str, tuple[MagnitudeRange, MagnitudeRange]]
    image_count: int
    run_count: int
    digest: str
    model_sha256: str
    input_name: str

    def whole(self, name: str) -> MagnitudeRange:
        """Return what all images showed of a tensor: a `StreamingHistogram`, unless only ranges were asked for."""
        even, odd = self.halves[name]
        if isinstance(even, StreamingHistogram) and isinstance(odd, StreamingHistogram):
            return even.merged(odd)
        result = MagnitudeRange()
        result.amax = max(even.amax, odd.amax)
        return result

    def histogram(self, name: str) -> StreamingHistogram:
        """Return the histogram of a tensor over all images.

        Raises:
            InputError: Only ranges were observed.
        """
        whole = self.whole(name)
        if not isinstance(whole, StreamingHistogram):
            raise InputError("Only ranges were observed.", expected="histograms=True", got="histograms=False")
        return whole

    def threshold_shifts(self, method: str) -> dict[str, float]:
        """Return how much each threshold moves when half of the images is left out, relative to that of all images.

        The larger move of the two halves; empty when there was but one run. Tensors that were always zero are left out.

        Raises:
            InputError: There is no such method.
        """
        shifts = {}
        for name, halves in self.halves.items() if self.run_count > 1 else ():
            whole = make_calibrator(method, self.whole(name)).compute_amax()
            parts = [make_calibrator(method, half).compute_amax() for half in halves]
            if whole > 0.0:
                shifts[name] = max(abs(part - whole) for part in parts) / whole
        return shifts


def observe_activations(
    onnx_path: Path,
    batches: Iterable[FloatArray],
    *,
    tensors: Sequence[str] | None = None,
    histograms: bool = True,
    on_progress: ProgressCallback | None = None,
    threads: int | None = None,
) -> Observation:
    """Run images through a model and note the magnitudes of its tensors.

    Args:
        onnx_path: The FP32 model.
        batches: Preprocessed images, (n, 3, H, W) float32 RGB in [0, 1], letterboxed exactly as at inference. A
            generator is fine; each batch is dropped after use.
        tensors: Names to watch; by default those that `quantize_onnx` quantizes.
        histograms: Whether to count; without, only the largest magnitudes are noted, which is quicker.
        on_progress: Called with (batches done, batches in all; 0 when `batches` does not tell its length).
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: The model is not FP32, there are no images, they do not fit the model, values are not finite, or
            there is no such tensor.
    """
    model = load_onnx_checked(onnx_path)
    _check_fp32(model, onnx_path)
    names = list(plan_placement(model).activations if tensors is None else tensors)
    make = StreamingHistogram if histograms else MagnitudeRange
    halves = {name: (make(), make()) for name in names}
    spec, _ = detector_io(model, onnx_path)
    session = make_watching_session(expose_tensors(model, names), threads=threads)
    digest, total = hashlib.sha256(), operator.length_hint(batches)
    image_count = run_count = 0
    for done, batch in enumerate(batches, start=1):
        for images in _feeds(batch, spec):
            digest.update(images.tobytes())
            _watch(session, images, halves, input_name=spec.name, turn=run_count % 2)
            image_count += len(images)
            run_count += 1
        if on_progress is not None:
            on_progress(done, max(total, done) if total else 0)
    if image_count == 0:
        raise InputError(
            "There are no calibration images.", expected="at least one, better 128", got="0", fix="Check --images."
        )
    return Observation(halves, image_count, run_count, digest.hexdigest(), sha256_of(onnx_path), spec.name)


def make_watching_session(model: ModelProto, *, threads: int | None) -> Any:
    """Return an ONNX Runtime session on the CPU that reserves no memory for tensors that are handed out anyway."""
    runtime = require("onnxruntime", purpose="run ONNX models")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    if threads is not None:
        options.intra_op_num_threads = threads
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _watch(
    session: Any,
    images: FloatArray,
    halves: Mapping[str, tuple[MagnitudeRange, MagnitudeRange]],
    *,
    input_name: str,
    turn: int,
) -> None:
    """Run one image and count its tensors. A function of its own, so that they are gone before the next image runs."""
    if input_name in halves:
        _count(halves[input_name], images, input_name, turn=turn)
    outputs = [name for name in halves if name != input_name]
    values = session.run(outputs, {input_name: images})[::-1] if outputs else []
    for name in outputs:  # in graph order, so that an error names the first tensor that is broken
        _count(halves[name], values.pop(), name, turn=turn)


def _count(halves: tuple[MagnitudeRange, MagnitudeRange], values: FloatArray, name: str, *, turn: int) -> None:
    half, other = halves[turn], halves[1 - turn]
    if isinstance(half, StreamingHistogram) and isinstance(other, StreamingHistogram):
        half.align(other)
    try:
        half.update(values)
    except InputError as error:
        raise InputError(
            f"Tensor {name!r} holds values that are not finite.", expected=error.expected, got=error.got, fix=error.fix
        ) from error


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
