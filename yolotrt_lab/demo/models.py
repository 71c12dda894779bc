"""From a data set to three engines: train, export, verify, quantize, build, inspect."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.data.datasets import Dataset, load_dataset, prepare_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.demo.config import DATASETS, ENGINE_PRECISIONS, DemoConfig
from yolotrt_lab.demo.progress import Reporter
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.engines.build import EngineBuild, EngineOptions, build_engine
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.export.verify import OnnxReport, verify_onnx
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.system import usable_cores
from yolotrt_lab.training import TrainConfig, TrainResult, train
from yolotrt_lab.types import FloatArray, Precision

__all__ = ["Models", "make_models", "prepare_data"]

_VERIFY_IMAGES = 3


@dataclass(frozen=True)
class Models:
    """Everything the measurements need.

    Attributes:
        weights: The checkpoint.
        training: How it was made; None if it was given.
        onnx_report: Whether the export follows the checkpoint.
        onnx: ONNX file per precision; FP32 is the export itself.
        engines: Plan per precision, with its provenance and inspection.
    """

    weights: Path
    training: TrainResult | None
    onnx_report: OnnxReport
    onnx: Mapping[Precision, Path]
    engines: Mapping[Precision, EngineBuild]


def prepare_data(config: DemoConfig, *, reporter: Reporter) -> Dataset:
    """Draw, download or load the images."""
    with reporter.step(f"Preparing the data set {config.dataset}") as on_progress:
        if config.dataset == "parts":
            # A folder of its own: these drawings are fewer than, and other than, those the base checkpoint saw.
            name = f"demo-{sum(config.parts_counts.values())}-seed{config.seed}"
            return prepare_dataset(
                "parts",
                root=config.data_root / name,
                seed=config.seed,
                counts=config.parts_counts,
                workers=usable_cores(),
                on_progress=on_progress,
            )
        if config.dataset not in DATASETS:
            return load_dataset(config.dataset)
        return prepare_dataset(config.dataset, root=config.data_root, on_progress=on_progress)


def make_models(dataset: Dataset, *, config: DemoConfig, reporter: Reporter) -> Models:
    """Train, export, verify, quantize and build.

    Raises:
        LabError: A step failed; its message says which and how to fix it.
    """
    training = None
    weights = config.weights
    if weights is None:
        with reporter.step("Fine-tuning the detector") as on_progress:
            training = train(_train_config(dataset, config), on_progress=on_progress)
        weights = training.best_weights
    fp32 = config.output / "model.fp32.onnx"
    with reporter.step("Exporting and verifying ONNX") as on_progress:
        export_onnx(weights, fp32, image_size=config.image_size)
        images = dataset.images("test")[:_VERIFY_IMAGES]
        report = verify_onnx(fp32, weights=weights, images=images, on_progress=on_progress)
    onnx = {
        Precision.FP32: fp32,
        Precision.FP16: config.output / "model.fp16.onnx",
        Precision.INT8: config.output / "model.int8.onnx",
    }
    convert_to_fp16(fp32, onnx[Precision.FP16])
    with reporter.step("Calibrating and quantizing to INT8") as on_progress:
        count = min(config.calibration_images, len(dataset.images("train")))
        table = calibrate(
            fp32,
            _calibration_batches(dataset, count=count, config=config),
            on_progress=lambda done, _total: on_progress(done, count),
        )
        quantize_onnx(fp32, onnx[Precision.INT8], table=table, base=Precision.FP16)
    return Models(
        weights=weights,
        training=training,
        onnx_report=report,
        onnx=onnx,
        engines=_build_engines(onnx, config=config, reporter=reporter),
    )


def _train_config(dataset: Dataset, config: DemoConfig) -> TrainConfig:
    return TrainConfig(
        data_yaml=dataset.data_yaml,
        preset=config.preset,
        epochs=config.train_epochs,
        max_train_images=config.max_train_images,
        seed=config.seed,
        output=config.output / "train",
    )


def _calibration_batches(dataset: Dataset, *, count: int, config: DemoConfig) -> Iterator[FloatArray]:
    """Yield training images, preprocessed exactly as at inference."""
    chosen = random.Random(config.seed).sample(list(dataset.images("train")), count)
    for path in chosen:
        yield preprocess(read_image(path), input_hw=(config.image_size, config.image_size))[0]


def _build_engines(
    onnx: Mapping[Precision, Path], *, config: DemoConfig, reporter: Reporter
) -> dict[Precision, EngineBuild]:
    built: dict[Precision, EngineBuild] = {}
    for precision in ENGINE_PRECISIONS:
        options: dict[str, Any] = {"min_batch": 1, "opt_batch": 1, "max_batch": max(config.batches)}
        with reporter.step(f"Building the {precision.upper()} engine") as on_progress:
            built[precision] = build_engine(
                onnx[precision],
                config.output / f"model.{precision}.engine",
                options=EngineOptions(precision=precision, **options),
                on_progress=on_progress,
            )
    return built
