"""The whole path in order, and what it writes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.demo.accuracy import Accuracy, agreement_with, measure_accuracy
from yolotrt_lab.demo.config import MAP50_95_FLOOR, DemoConfig
from yolotrt_lab.demo.models import Models, make_models, prepare_data
from yolotrt_lab.demo.progress import Reporter, SilentReporter
from yolotrt_lab.demo.speed import measure_speed
from yolotrt_lab.engines.build import EngineBuild
from yolotrt_lab.engines.platform import Platform, activate
from yolotrt_lab.files import atomic_path, sha256_of
from yolotrt_lab.profiling.machine import machine_description
from yolotrt_lab.profiling.structure import StructureLayer
from yolotrt_lab.report.figures import figures_from_results
from yolotrt_lab.report.html import write_report
from yolotrt_lab.report.intervals import bootstrap_map_interval
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.records import (
    accuracy_record,
    boxes_record,
    layer_records,
    structure_records,
    timeline_records,
)
from yolotrt_lab.report.schema import SCHEMA_VERSION, Results, write_results
from yolotrt_lab.types import Precision

__all__ = ["REFERENCE", "DemoResult", "run_demo"]

REFERENCE = "ONNX Runtime"
"""Everything is judged against this framework in FP32."""

_SAMPLES = 3
_STAGE_IMAGES = 8
_RESAMPLES = 100  # of the test images, for the interval of mAP


@dataclass(frozen=True)
class DemoResult:
    """Where the evidence is.

    Attributes:
        results: What was measured, checked against the schema.
        results_path: results.json.
        report_path: report.html.
        floor: Least mAP50-95 the fine-tuned detector must reach on the test images.
    """

    results: Results
    results_path: Path
    report_path: Path
    floor: float

    @property
    def is_above_floor(self) -> bool:
        """Whether fine-tuning reached the floor."""
        engine = self.results.engines[Precision.FP32]
        return engine.map50_95 is not None and engine.map50_95 >= self.floor

    @property
    def do_engines_agree(self) -> bool:
        """Whether every engine keeps its tolerance."""
        judged = [engine.agreement_with_onnxruntime for engine in self.results.engines.values()]
        return all(each is not None and each.verdict == "pass" for each in judged)


def run_demo(config: DemoConfig, *, reporter: Reporter | None = None) -> DemoResult:
    """Run the whole path and write results.json and report.html.

    Args:
        config: Data set and sizes.
        reporter: Shows progress; None shows none.

    Raises:
        LabError: A step failed. Files of earlier steps stay; none is half-written.
    """
    reporter = reporter or SilentReporter()
    started, clock = datetime.now(UTC), time.perf_counter()
    config.output.mkdir(parents=True, exist_ok=True)
    platform = activate()
    dataset = prepare_data(config, reporter=reporter)
    models = make_models(dataset, config=config, reporter=reporter)
    accuracy = _measure_all(models, dataset, config=config, reporter=reporter)
    images = [read_image(path) for path in dataset.images("test")[:_STAGE_IMAGES]]
    speed = measure_speed(models, images, frameworks=_frameworks(models), config=config, reporter=reporter)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "platform": _platform(platform),
        "dataset": _dataset(dataset, accuracy[REFERENCE]),
        "weights": {"name": models.weights.name, "sha256": sha256_of(models.weights)},
        "training": _training(models),
        "onnx_report": models.onnx_report.summary(),
        "engines": _engines(models, accuracy, speed),
        "frameworks": _with_accuracy(speed["frameworks"], accuracy),
        **{key: speed[key] for key in ("throughput", "stages")},
        "layers": {name: layer_records(layers) for name, layers in speed["layers"].items()},
        "timeline": {title: timeline_records(events) for title, events in speed["timeline"].items()},
        "structure": {name: _structure(build) for name, build in models.engines.items()},
        "samples": _samples(models, accuracy, config),
        "environment": {"command": ["yolotrt", *sys.argv[1:]], **machine_description()},
    }
    content["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    content["seconds"] = round(time.perf_counter() - clock, 1)
    return _write(content, config=config, reporter=reporter)


def _frameworks(models: Models) -> dict[str, tuple[Path, str | None]]:
    fp32 = models.onnx[Precision.FP32]
    return {
        "PyTorch": (models.weights, None),
        REFERENCE: (fp32, "onnxruntime"),
        "OpenVINO": (fp32, "openvino"),
        "TensorRT": (models.engines[Precision.FP32].path, None),
    }


def _measure_all(models: Models, dataset: Dataset, *, config: DemoConfig, reporter: Reporter) -> dict[str, Accuracy]:
    """Evaluate the reference, PyTorch and every engine on the test images."""
    frameworks = _frameworks(models)
    targets: dict[str, tuple[Path, str | None]] = {name: frameworks[name] for name in (REFERENCE,)}
    targets |= {str(precision): (build.path, None) for precision, build in models.engines.items()}
    found: dict[str, Accuracy] = {}
    for name, (path, backend) in targets.items():
        with reporter.step(f"Evaluating {name if name == REFERENCE else f'the {name.upper()} engine'}") as on_progress:
            found[name] = measure_accuracy(
                path, dataset, backend=backend, max_images=config.max_test_images, on_progress=on_progress
            )
    return found


def _platform(platform: Platform) -> dict[str, Any]:
    emulated = platform.kind == "emulated"
    note = "TensorRT is emulated by OpenVINO: timings are this CPU's, not a GPU's." if emulated else ""
    return {
        "kind": platform.kind,
        "tensorrt_version": platform.tensorrt_version,
        "device": platform.device_name,
        "note": note,
    }


def _dataset(dataset: Dataset, reference: Accuracy) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "split": "test",
        "images": len(reference.split.images),
        "objects": reference.metrics.object_count,
        "classes": list(dataset.class_names),
    }


def _training(models: Models) -> dict[str, Any]:
    result = models.training
    start = result.provenance["start"]
    return {
        "start": start["weights"],
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        "images": result.provenance["data"]["train_images"],
        "validation": result.metrics,
        "seed": result.provenance["seed"],
    }


def _engines(models: Models, accuracy: Mapping[str, Accuracy], speed: Mapping[str, Any]) -> dict[str, Any]:
    baseline = accuracy[Precision.FP32].metrics.map50_95
    found: dict[str, Any] = {}
    for precision, build in models.engines.items():
        measured = accuracy[precision]
        executed = build.report.executed_precision
        split = measured.split
        interval = bootstrap_map_interval(
            split.ground_truth, split.detections, class_names=split.class_names, resamples=_RESAMPLES
        )
        found[precision] = {
            "requested_precision": precision,
            "executed_precision": executed,
            "precision_share": dict(build.report.precision_share),
            "layer_count": len(build.report.layers),
            "size_mb": build.path.stat().st_size / 1e6,
            "build_s": round(build.seconds, 3),
            **accuracy_record(measured.metrics, interval=interval, baseline_map50_95=baseline),
            "latency_ms": speed["latency"][precision].to_json(),
            "agreement_with_onnxruntime": agreement_with(
                accuracy[REFERENCE], measured, executed=executed, claimed=precision
            ),
        }
    return found


def _with_accuracy(frameworks: Mapping[str, Any], accuracy: Mapping[str, Accuracy]) -> dict[str, Any]:
    reference = accuracy[REFERENCE].metrics.map50_95
    return {
        name: {**item, "map50_95": reference} if name == REFERENCE else dict(item) for name, item in frameworks.items()
    }


def _structure(build: EngineBuild) -> list[dict[str, Any]]:
    return structure_records(
        [
            StructureLayer(layer.name, layer.kind, str(layer.precision or ""), tuple(layer.origins))
            for layer in build.report.layers
        ]
    )


def _samples(models: Models, accuracy: Mapping[str, Accuracy], config: DemoConfig) -> list[dict[str, Any]]:
    """Copy a few test images beside the results, with what each engine found in them."""
    samples: list[dict[str, Any]] = []
    split = accuracy[REFERENCE].split
    for index, image in enumerate(split.images[:_SAMPLES]):
        target = config.output / "samples" / image.name
        with atomic_path(target) as temporary:
            shutil.copyfile(image, temporary)
        truth = split.ground_truth[index]
        samples.append(
            {
                "image": target.relative_to(config.output).as_posix(),
                "detections": {
                    precision: boxes_record(accuracy[precision].shown[index]) for precision in models.engines
                },
                "ground_truth": {"xyxy": truth.xyxy.tolist(), "class_ids": truth.class_ids.tolist()},
            }
        )
    return samples


def _write(content: dict[str, Any], *, config: DemoConfig, reporter: Reporter) -> DemoResult:
    with reporter.step("Drawing the report"):
        results_path = config.output / "results.json"
        results = write_results(results_path, content)
        figures = figures_from_results(results, folder=config.output)
        for name, figure in figures.items():
            with atomic_path(config.output / "figures" / f"{name}.png") as temporary:
                temporary.write_bytes(figure_to_png(figure))
        report_path = write_report(config.output / "report.html", results, figures)
    return DemoResult(results, results_path, report_path, MAP50_95_FLOOR[config.dataset])
