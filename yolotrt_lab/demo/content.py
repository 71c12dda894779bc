"""The sections of results.json that the demo fills (see `report.schema`)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.demo.accuracy import Accuracy, agreement_with
from yolotrt_lab.demo.config import DemoConfig
from yolotrt_lab.demo.models import Models
from yolotrt_lab.engines.build import EngineBuild
from yolotrt_lab.engines.platform import Platform
from yolotrt_lab.export.verify import OnnxReport
from yolotrt_lab.files import atomic_path
from yolotrt_lab.profiling.structure import StructureLayer
from yolotrt_lab.report.intervals import bootstrap_map_interval
from yolotrt_lab.report.records import accuracy_record, boxes_record, structure_records
from yolotrt_lab.training.plots import read_history
from yolotrt_lab.types import Precision

__all__ = [
    "REFERENCE",
    "dataset_content",
    "engine_content",
    "framework_content",
    "onnx_content",
    "platform_content",
    "sample_content",
    "structure_content",
    "training_content",
]

REFERENCE = "ONNX Runtime"
"""Everything is judged against this framework in FP32."""

_SAMPLES = 3
_RESAMPLES = 100  # of the test images, for the interval of mAP


def platform_content(platform: Platform) -> dict[str, Any]:
    """Return where the engines ran."""
    emulated = platform.kind == "emulated"
    note = "TensorRT is emulated by OpenVINO: timings are this CPU's, not a GPU's." if emulated else ""
    return {
        "kind": platform.kind,
        "tensorrt_version": platform.tensorrt_version,
        "device": platform.device_name,
        "note": note,
    }


def dataset_content(dataset: Dataset, reference: Accuracy) -> dict[str, Any]:
    """Return what accuracy was measured on."""
    return {
        "name": dataset.name,
        "split": "test",
        "images": len(reference.split.images),
        "objects": reference.metrics.object_count,
        "classes": list(dataset.class_names),
    }


def training_content(models: Models) -> dict[str, Any]:
    """Return how the checkpoint was made, with its curves."""
    result = models.training
    if result is None:
        return {"note": "The weights were given, not trained in this run."}
    start = result.provenance["start"]
    return {
        "start": start["weights"],
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        "images": result.provenance["data"]["train_images"],
        "validation": result.metrics,
        "seed": result.provenance["seed"],
        "history": _epochs(read_history(result.run_dir)),
    }


def _epochs(columns: Mapping[str, list[float]]) -> list[dict[str, float]]:
    """Return one mapping per epoch from columns over epochs."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def engine_content(models: Models, accuracy: Mapping[str, Accuracy], speed: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about each engine, by its precision."""
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


def framework_content(frameworks: Mapping[str, Any], accuracy: Mapping[str, Accuracy]) -> dict[str, Any]:
    """Return the timed frameworks, with the accuracy of those that were evaluated: the reference and the engine."""
    evaluated = {REFERENCE: accuracy[REFERENCE], "TensorRT": accuracy[Precision.FP32]}
    return {
        name: {**item, "map50_95": evaluated[name].metrics.map50_95 if name in evaluated else None}
        for name, item in frameworks.items()
    }


def structure_content(build: EngineBuild) -> list[dict[str, Any]]:
    """Return an engine's layers as its inspector reports them."""
    return structure_records(
        [
            StructureLayer(layer.name, layer.kind, str(layer.precision or ""), tuple(layer.origins))
            for layer in build.report.layers
        ]
    )


def sample_content(models: Models, accuracy: Mapping[str, Accuracy], config: DemoConfig) -> list[dict[str, Any]]:
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


def onnx_content(report: OnnxReport) -> dict[str, Any]:
    """Return what the verification of the export found."""
    compared = {
        item.name: f"boxes {item.agreement.boxes.relative_l2:.1e}, scores {item.agreement.scores.relative_l2:.1e}"
        for item in report.comparisons
    }
    return {
        "verdict": "pass" if report.passed else "fail",
        "reasons": list(report.reasons),
        "opset": report.opset,
        "inputs": [f"{spec.name}: {spec.dtype} {spec.shape}" for spec in report.inputs],
        "outputs": [f"{spec.name}: {spec.dtype} {spec.shape}" for spec in report.outputs],
        "nodes": sum(report.operators.values()),
        "unexpected_operators": list(report.unexpected_operators),
        "relative_L2_against_PyTorch": compared,
        "largest_change_within_a_batch": report.batch_error,
    }
