"""The whole path in order, and what it writes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.demo.accuracy import Accuracy, measure_accuracy
from yolotrt_lab.demo.config import DemoConfig
from yolotrt_lab.demo.content import (
    REFERENCE,
    dataset_content,
    engine_content,
    framework_content,
    onnx_content,
    platform_content,
    sample_content,
    structure_content,
    training_content,
)
from yolotrt_lab.demo.models import Models, make_models, prepare_data
from yolotrt_lab.demo.progress import Reporter, SilentReporter
from yolotrt_lab.demo.speed import measure_speed
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.files import atomic_path, sha256_of
from yolotrt_lab.profiling.machine import machine_description
from yolotrt_lab.report.figures import figures_from_results
from yolotrt_lab.report.html import write_report
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.records import (
    layer_records,
    timeline_records,
)
from yolotrt_lab.report.schema import SCHEMA_VERSION, Results, write_results
from yolotrt_lab.types import Precision

__all__ = ["DemoResult", "run_demo"]

_STAGE_IMAGES = 8


@dataclass(frozen=True)
class DemoResult:
    """Where the evidence is.

    Attributes:
        results: What was measured, checked against the schema.
        results_path: results.json.
        report_path: report.html.
        floor: Least mAP50-95 the fine-tuned detector must reach on the test images, if one is known.
    """

    results: Results
    results_path: Path
    report_path: Path
    floor: float | None

    @property
    def is_above_floor(self) -> bool:
        """Whether fine-tuning reached the floor."""
        found = self.results.engines[Precision.FP32].map50_95
        return self.floor is None or (found is not None and found >= self.floor)


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
        "platform": platform_content(platform),
        "dataset": dataset_content(dataset, accuracy[REFERENCE]),
        "weights": {"name": models.weights.name, "sha256": sha256_of(models.weights)},
        "training": training_content(models),
        "onnx_report": onnx_content(models.onnx_report),
        "engines": engine_content(models, accuracy, speed),
        "frameworks": framework_content(speed["frameworks"], accuracy),
        **{key: speed[key] for key in ("throughput", "stages")},
        "layers": {name: layer_records(layers) for name, layers in speed["layers"].items()},
        "timeline": {title: timeline_records(events) for title, events in speed["timeline"].items()},
        "structure": {name: structure_content(build) for name, build in models.engines.items()},
        "samples": sample_content(models, accuracy, config),
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


def _write(content: dict[str, Any], *, config: DemoConfig, reporter: Reporter) -> DemoResult:
    with reporter.step("Drawing the report"):
        results_path = config.output / "results.json"
        results = write_results(results_path, content)
        figures = figures_from_results(results, folder=config.output)
        for name, figure in figures.items():
            with atomic_path(config.output / "figures" / f"{name}.png") as temporary:
                temporary.write_bytes(figure_to_png(figure))
        report_path = write_report(config.output / "report.html", results, figures)
    return DemoResult(results, results_path, report_path, config.floor)
