"""Proof that an ONNX file is a sound detector and computes what its checkpoint computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.decode import OutputLayout, detect_layout
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.tolerance import TOLERANCES, YoloOutputAgreement, compare_yolo_outputs, judge
from yolotrt_lab.export.divergence import Divergence, first_divergence, locate_divergence, run_all
from yolotrt_lab.export.findings import Finding, static_findings, unexpected_operators
from yolotrt_lab.export.graph import op_histogram, opset_version
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.export.runner import OnnxRunner, random_picture
from yolotrt_lab.export.torch_trace import TorchReference
from yolotrt_lab.files import sha256_of
from yolotrt_lab.training.weights import resolve_weights
from yolotrt_lab.types import Array, FloatArray, Precision, ProgressCallback, TensorSpec

__all__ = ["Comparison", "OnnxReport", "first_divergence", "load_onnx_checked", "random_picture", "verify_onnx"]

_CHECKED_BATCHES = (2, 5)
# Largest change of a box coordinate in pixels (or a score) that another summation order explains.
_BATCH_TOLERANCE = {Precision.FP32: 0.01, Precision.FP16: 1.0, Precision.INT8: 8.0}


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime against PyTorch on one input.

    Attributes:
        name: "random" or the name of the image.
        agreement: Boxes and scores apart.
        passed: Whether both keep the tolerance of the graph's precision.
        reasons: Why not.
    """

    name: str
    agreement: YoloOutputAgreement
    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class OnnxReport:
    """Everything found out about an ONNX detector.

    Attributes:
        path: The file.
        sha256: Of the file.
        size_bytes: Size of the file, without external data.
        opset: Version of the standard operator set.
        precision: What most convolutions are written in.
        inputs: Name, dtype, shape; None marks a dynamic axis.
        outputs: The same for outputs.
        class_names: In order of class id; empty when the model does not tell.
        operators: Operator to count, most frequent first.
        unexpected_operators: Those that exporters of YOLO detectors do not write.
        findings: Problems and remarks from reading and running the graph.
        batch_error: Greatest difference between an image's predictions alone and within a batch; None when the batch
            is fixed.
        comparisons: Against the checkpoint; empty without one.
        first_divergence: The node to look at when a comparison failed.
        passed: No problem and no failed comparison.
        reasons: Why it did not pass; empty if it did.
    """

    path: Path
    sha256: str
    size_bytes: int
    opset: int
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    class_names: tuple[str, ...]
    operators: dict[str, int]
    unexpected_operators: tuple[str, ...]
    findings: tuple[Finding, ...]
    batch_error: float | None
    comparisons: tuple[Comparison, ...]
    first_divergence: Divergence | None
    passed: bool
    reasons: tuple[str, ...]


def verify_onnx(
    onnx_path: Path,
    *,
    weights: str | Path | None = None,
    images: Sequence[Path] = (),
    on_progress: ProgressCallback | None = None,
    threads: int | None = None,
) -> OnnxReport:
    """Check an ONNX detector, and compare it with the checkpoint it was exported from.

    Without weights: validity (onnx.checker), operators, operator set, axes, constants, finite outputs, scores that are
    probabilities, the same result for an image alone and in a batch. With weights also: ONNX Runtime against PyTorch on
    a random picture (not for INT8, whose ranges fit real images only) and on the given images, boxes and scores apart,
    within the tolerance of the graph's precision, and on failure the first node that computes something else.

    Args:
        onnx_path: The model.
        weights: The `.pt` checkpoint to compare with, or "base". It is a pickle: open only those you trust.
        images: Image files to compare on, besides a random picture.
        on_progress: Called with (inputs compared, inputs in all).
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: The model cannot be used at all, or the weights or an image cannot be read.
    """
    model = load_onnx_checked(onnx_path)
    runner = OnnxRunner(model, onnx_path, threads=threads)
    findings = list(static_findings(model))
    batch_error = _check_outputs(runner, findings)
    comparisons: list[Comparison] = []
    divergence = None
    if weights is not None:
        reference = TorchReference(resolve_weights(weights))
        findings += _name_findings(runner.class_names, reference.class_names)
        comparisons, divergence = _compare(runner, reference, images, on_progress)
        if not comparisons:
            findings.append(Finding(False, "Nothing was compared: a quantized model needs real images; pass --images."))
    reasons = [finding.text for finding in findings if finding.is_problem]
    reasons += [f"{result.name}: {reason}" for result in comparisons for reason in result.reasons]
    return OnnxReport(
        path=onnx_path,
        sha256=sha256_of(onnx_path),
        size_bytes=onnx_path.stat().st_size,
        opset=opset_version(model),
        precision=runner.precision,
        inputs=(runner.input_spec,),
        outputs=(runner.output_spec,),
        class_names=runner.class_names,
        operators=op_histogram(model.graph),
        unexpected_operators=unexpected_operators(model),
        findings=tuple(findings),
        batch_error=batch_error,
        comparisons=tuple(comparisons),
        first_divergence=divergence,
        passed=not reasons,
        reasons=tuple(reasons),
    )


def _check_outputs(runner: OnnxRunner, findings: list[Finding]) -> float | None:
    """Run a random picture alone and in batches; append what is noticed and return the difference."""
    picture = random_picture(runner.image_hw)
    alone = runner.run(runner.whole_batch(picture))
    findings += _output_findings(alone, runner.class_count(alone))
    if runner.batch is not None:
        return None
    worst = 0.0
    for batch in _CHECKED_BATCHES:
        others = [random_picture(runner.image_hw, seed=seed) for seed in range(1, batch)]
        try:
            together = runner.run(np.concatenate([*others, picture]))
        except InputError as error:
            together, reason = alone[:0], str(error.got)
        else:
            reason = f"predictions for {len(together)}"
        if len(together) != batch:
            text = f"The batch axis claims to be dynamic, but {batch} images give: {reason}"
            findings.append(Finding(True, f"{text}. The batch size is baked into the graph; export again."))
            return float("inf")
        worst = max(worst, _largest_difference(together[-1], alone[0]))
    if not worst <= _BATCH_TOLERANCE[runner.precision]:
        text = f"An image's predictions change by up to {worst:.3g} when others share its batch"
        findings.append(Finding(True, f"{text}: images leak into each other; export again."))
    return worst


def _largest_difference(actual: Array, expected: Array) -> float:
    if not np.isfinite(expected).all() or not np.isfinite(actual).all():
        return 0.0 if np.array_equal(actual, expected, equal_nan=True) else float("inf")
    return float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def _output_findings(output: Array, class_count: int) -> list[Finding]:
    if not np.isfinite(output).all():
        return [Finding(True, "The output holds NaN or infinity on a random picture: weights or graph are broken.")]
    try:
        layout = detect_layout(output.shape, num_classes=class_count)
    except InputError as error:
        return [Finding(True, f"{error.what} Expected {error.expected}, got {error.got}.")]
    if layout is not OutputLayout.ANCHOR_FREE:
        return []
    scores = output[:, 4 : 4 + class_count]
    if scores.min() < -1e-3 or scores.max() > 1.001:
        text = f"Scores reach from {scores.min():.3g} to {scores.max():.3g}; probabilities stay within 0 and 1"
        return [Finding(True, f"{text}: the sigmoid at the end is missing.")]
    return []


def _name_findings(ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[Finding]:
    if not ours or ours == theirs:
        return []
    return [Finding(True, f"The ONNX file names the classes {list(ours)}, the checkpoint {list(theirs)}.")]


def _compare(
    runner: OnnxRunner, reference: TorchReference, images: Sequence[Path], on_progress: ProgressCallback | None
) -> tuple[list[Comparison], Divergence | None]:
    results: list[Comparison] = []
    failing: FloatArray | None = None
    names = [path.name for path in images]
    loaders = [partial(_image, path, runner.image_hw) for path in images]
    if runner.precision is not Precision.INT8:  # its ranges were calibrated on real images and fit nothing else
        names.insert(0, "random picture")
        loaders.insert(0, partial(random_picture, runner.image_hw))
    for done, (name, load) in enumerate(zip(names, loaders, strict=True), start=1):
        image = load()
        expected = reference.predict(image)
        actual = runner.run(runner.whole_batch(image))[:1]
        results.append(_judged(name, actual, expected, runner))
        if not results[-1].passed and failing is None:
            failing = image
        if on_progress is not None:
            on_progress(done, len(names))
    if failing is None or runner.precision is Precision.INT8:  # INT8 differs everywhere; that is what it trades
        return results, None
    return results, _divergence(runner, reference, failing)


def _image(path: Path, image_hw: tuple[int, int]) -> FloatArray:
    batch: FloatArray = preprocess(read_image(path), input_hw=image_hw)[0]
    return batch


def _judged(name: str, actual: Array, expected: Array, runner: OnnxRunner) -> Comparison:
    limits = TOLERANCES[runner.precision]
    agreement = compare_yolo_outputs(actual.astype(np.float32), expected, num_classes=runner.class_count(expected))
    tensors = {"boxes": agreement.boxes}
    # Where nothing is detected all scores are next to zero, and relative errors say nothing.
    if not agreement.scores.max_abs <= limits.score_delta / 50:
        tensors["scores"] = agreement.scores
    verdict = judge(executed=runner.precision, tensors=tensors)
    return Comparison(name=name, agreement=agreement, passed=verdict.passed, reasons=verdict.reasons)


def _divergence(runner: OnnxRunner, reference: TorchReference, image: FloatArray) -> Divergence | None:
    batch = runner.whole_batch(image)
    return locate_divergence(
        runner.model,
        run_all(runner.model, runner.feeds(batch)),
        named={},
        others=reference.trace(batch),
        tolerance=TOLERANCES[runner.precision].relative_l2,
    )
