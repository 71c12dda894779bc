"""From measured values to the plain records of results.json (see `schema`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from yolotrt_lab.evaluation.average_precision import DetectionMetrics
from yolotrt_lab.evaluation.tolerance import BoxAgreement, TensorAgreement, Verdict
from yolotrt_lab.profiling.layers import LayerTime
from yolotrt_lab.profiling.structure import StructureLayer
from yolotrt_lab.profiling.throughput import ThroughputPoint
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.types import Detections

__all__ = [
    "accuracy_record",
    "agreement_record",
    "boxes_record",
    "layer_records",
    "structure_records",
    "throughput_records",
    "timeline_records",
]

_TENSOR_KEYS = ("relative_l2", "cosine", "max_abs", "finite")
_BOX_KEYS = ("matched_fraction", "compared", "missing", "extra", "excluded", "mean_iou", "max_score_delta")


def _plain(value: Any) -> bool | int | float | str | None:
    """Return a JSON scalar; what is not finite becomes None."""
    if isinstance(value, (bool, str)) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(value) if isinstance(value, (int, np.integer)) else number


def accuracy_record(
    metrics: DetectionMetrics, *, interval: tuple[float, float] | None = None, baseline_map50_95: float | None = None
) -> dict[str, Any]:
    """Return the accuracy fields of an engine.

    Args:
        metrics: Of the engine.
        interval: Bootstrap interval of mAP50-95 (`intervals.bootstrap_map_interval`).
        baseline_map50_95: That of the FP32 engine, for the difference.
    """
    curves = metrics.curves
    recall = [round(float(value), 4) for value in curves.recall_points]
    return {
        "map50": metrics.map50,
        "map50_95": metrics.map50_95,
        "map50_95_interval": None if interval is None else list(interval),
        "delta_to_fp32": None if baseline_map50_95 is None else metrics.map50_95 - baseline_map50_95,
        "per_class_map50_95": {name: _plain(value) for name, value in metrics.per_class_ap50_95.items()},
        "curves": {
            name: {"recall": recall, "precision": [round(float(value), 5) for value in row]}
            for name, row in zip(curves.class_names, curves.precision_at_recall, strict=True)
        },
    }


def agreement_record(
    verdict: Verdict, *, tensors: Mapping[str, TensorAgreement] | None = None, boxes: BoxAgreement | None = None
) -> dict[str, Any]:
    """Return an engine's agreement with ONNX Runtime; numbers of several tensors carry the tensor's name."""
    tensors = tensors or {}
    return {
        "verdict": "pass" if verdict.passed else "fail",
        "reasons": list(verdict.reasons),
        "tensor": {
            key if len(tensors) == 1 else f"{name} {key}": _plain(getattr(agreement, key))
            for name, agreement in tensors.items()
            for key in _TENSOR_KEYS
        },
        "boxes": {} if boxes is None else {key: _plain(getattr(boxes, key)) for key in _BOX_KEYS},
    }


def boxes_record(detections: Detections) -> dict[str, Any]:
    """Return detections as lists, boxes rounded to a hundredth of a pixel."""
    return {
        "xyxy": np.round(detections.xyxy.astype(np.float64), 2).tolist(),
        "scores": np.round(detections.scores.astype(np.float64), 4).tolist(),
        "class_ids": detections.class_ids.tolist(),
    }


def throughput_records(points: Iterable[ThroughputPoint]) -> list[dict[str, Any]]:
    """Return a batch sweep."""
    return [{"batch": point.batch, "latency_ms": point.latency.to_json()} for point in points]


def timeline_records(events: Iterable[TimelineEvent]) -> list[dict[str, Any]]:
    """Return timeline events."""
    return [dataclasses.asdict(event) for event in events]


def layer_records(layers: Iterable[LayerTime]) -> list[dict[str, Any]]:
    """Return layer times."""
    return [{**dataclasses.asdict(layer), "origins": list(layer.origins)} for layer in layers]


def structure_records(layers: Sequence[StructureLayer]) -> list[dict[str, Any]]:
    """Return an engine's layers without times."""
    return [{**dataclasses.asdict(layer), "origins": list(layer.origins)} for layer in layers]
