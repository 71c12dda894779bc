"""Measures models in turns on the same images: accuracy on the test split, and the time of one inference."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.artifacts import Artifact
from peers.bootstrap import Counts, JudgedImages
from peers.ours import IMAGE_HW
from peers.recipes import REFERENCE, Recipe, Run
from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import read_labels
from yolotrt_lab.detection.letterbox import LetterboxTransform, preprocess
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.provenance import read_provenance
from yolotrt_lab.errors import LabError
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.files import sha256_of
from yolotrt_lab.profiling.interleave import InterleavedTimings, measure_interleaved
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.onnxruntime import OnnxRuntime
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.runtimes.openvino import OpenVinoRuntime
from yolotrt_lab.types import Array, Detections, FloatArray, Precision

__all__ = ["Accuracy", "Contender", "SplitImages", "measure_accuracy", "measure_times", "open_contender"]

_HINTS = {"f32": Precision.FP32, "bf16": Precision.BF16}


@dataclass(frozen=True)
class Contender:
    """A model in a runtime: one row of the table."""

    recipe: Recipe
    run: Run
    artifact: Artifact

    @property
    def name(self) -> str:
        """A name that no other row has."""
        return f"{self.recipe.maker} {self.recipe.label}, {self.run.label}"

    @property
    def is_reference(self) -> bool:
        """Whether the others are compared with it."""
        return self.recipe == REFERENCE


@dataclass(frozen=True, eq=False)
class SplitImages:
    """The images of a split, letterboxed once for all models.

    Attributes:
        batches: One (1, 3, 640, 640) float32 array per image.
        transforms: Where each image lies in its array.
        truths: The objects that are really there.
        class_names: Of the data set.
    """

    batches: tuple[FloatArray, ...]
    transforms: tuple[LetterboxTransform, ...]
    truths: tuple[GroundTruth, ...]
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, dataset: Dataset, *, split: str = "test", limit: int | None = None) -> SplitImages:
        """Read and letterbox the images."""
        batches, transforms, truths = [], [], []
        for path in dataset.images(split)[:limit]:
            image = read_image(path)
            image_hw = (image.shape[0], image.shape[1])
            batch, transform = preprocess(image, input_hw=IMAGE_HW)
            labels = read_labels(dataset.labels_path(path), num_classes=len(dataset.class_names))
            truths.append(GroundTruth(labels.xyxy(image_hw).astype(np.float32), labels.class_ids, image_hw))
            batches.append(batch)
            transforms.append(transform)
        return cls(tuple(batches), tuple(transforms), tuple(truths), dataset.class_names)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What one model found.

    Attributes:
        map50: mAP at IoU 0.5.
        map50_95: COCO's mAP.
        draws: (resamples,) mAP50-95 of each draw of images; the draws are the same for all models.
    """

    map50: float
    map50_95: float
    draws: NDArray[np.float64]


def open_contender(contender: Contender) -> Runtime:
    """Load a model, its engine built first where the runtime wants one.

    Raises:
        LabError: There is no model, or the runtime refuses it.
    """
    path, run = contender.artifact.path, contender.run
    if path is None:
        raise LabError(contender.artifact.failure)
    if run.runtime == "tensorrt":
        return open_runtime(_engine(path), batch=1)
    if run.runtime == "openvino":
        return OpenVinoRuntime(path, precision=_HINTS[run.hint], batch=1)
    return OnnxRuntime(path, device="cpu")


def _engine(onnx: Path) -> Path:
    engine = onnx.with_suffix(".engine")
    built_before = read_provenance(engine) if engine.is_file() else None
    if built_before is None or built_before.onnx_sha256 != sha256_of(onnx):
        build_engine(onnx, engine, options=EngineOptions())
    return engine


def measure_accuracy(runtime: Runtime, images: SplitImages, draws: Counts) -> Accuracy:
    """Detect in all images and compute mAP, with the settings `yolotrt eval` has.

    Raises:
        LabError: The model fails, or what it returns is no detector's output.
    """
    detector = detector_from_runtime(runtime, config=MAP_CONFIG, class_names=images.class_names)
    found: list[Detections] = []
    for batch, transform in zip(images.batches, images.transforms, strict=True):
        found += detector.postprocess(detector.infer(_typed(batch, runtime)), (transform,))
    metrics = evaluate_detections(images.truths, found, class_names=images.class_names)
    judged = JudgedImages.judge(images.truths, found, num_classes=len(images.class_names))
    sampled = np.array([judged.map50_95(counts) for counts in draws])
    return Accuracy(metrics.map50, metrics.map50_95, sampled)


def measure_times(
    runtimes: dict[str, Runtime],
    images: SplitImages,
    *,
    repeats: int,
    rounds: int,
    on_repeat: Callable[[int], None],
) -> Sequence[InterleavedTimings]:
    """Time all models in turns, in random order, on the same image; several times over.

    Args:
        runtimes: Name to open model.
        images: The first one is used.
        repeats: How often the whole measurement is repeated.
        rounds: Turns of each model in a repeat.
        on_repeat: Called with the number of repeats done.
    """
    runners = {
        name: functools.partial(runtime.infer, {runtime.inputs[0].name: _typed(images.batches[0], runtime)})
        for name, runtime in runtimes.items()
    }
    measured = []
    for repeat in range(repeats):
        measured.append(measure_interleaved(runners, rounds=rounds, warmup=5 if repeat == 0 else 1, seed=repeat))
        on_repeat(repeat + 1)
    return measured


def _typed(batch: FloatArray, runtime: Runtime) -> Array:
    return batch.astype(runtime.inputs[0].dtype, copy=False)
