"""The schema of results.json: what a run measured, in a form that can be checked, compared and drawn again.

    schema_version    1
    started, finished ISO 8601 times;  seconds: the whole run
    platform          kind "real" or "emulated", tensorrt_version, device, note
    dataset           name, split, images, classes, digest, objects
    weights           name, sha256
    engines           "fp32", "fp16", "int8", ... -> EngineResult (accuracy, latency, build, precision, agreement)
    frameworks        "PyTorch", "ONNX Runtime", ... -> FrameworkResult
    stages            engine -> latency of preprocess, inference, postprocess, in milliseconds
    throughput        engine -> list of {batch, latency_ms}
    layers            engine -> list of {name, kind, precision, time_ms, origins}
    structure         engine -> list of {name, kind, precision, origins}
    timeline          title -> list of {name, lane, frame, start_us, duration_us}
    samples           list of {image (path beside results.json), detections: engine -> {xyxy, scores, class_ids}, ...}
    training, onnx_report, environment   free objects, shown as they are

Only `schema_version` and `platform` are required: a run that was cut short still gives a report. A latency is
{"p50", "p90", "p99", "mean", "min", "samples"} in milliseconds, as `LatencyStats.to_json` gives it; on reading, all
numbers are computed again from the samples, so they cannot contradict them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, write_json
from yolotrt_lab.profiling.layers import LayerTime
from yolotrt_lab.profiling.stages import StageBreakdown
from yolotrt_lab.profiling.structure import StructureLayer
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.from_json import value_from_json
from yolotrt_lab.types import Precision

__all__ = [
    "SCHEMA_VERSION",
    "Agreement",
    "BoxList",
    "Curve",
    "DatasetInfo",
    "EngineResult",
    "FrameworkResult",
    "PlatformInfo",
    "Results",
    "Sample",
    "ThroughputResult",
    "WeightsInfo",
    "read_results",
    "validate_results",
    "write_results",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PlatformInfo:
    """Where the engines ran.

    Attributes:
        kind: Real TensorRT on a GPU, or the emulation on the CPU.
        tensorrt_version: Of the library, or the one emulated.
        device: Name of the GPU or processor.
        note: Anything a reader must know.
    """

    kind: Literal["real", "emulated"]
    tensorrt_version: str
    device: str
    note: str = ""

    @property
    def is_emulated(self) -> bool:
        """Whether timings are CPU timings of the emulation."""
        return self.kind == "emulated"

    @property
    def processor(self) -> str:
        """What really computed: the processor inside an emulated device's name, or the device."""
        inside = re.fullmatch(r"Emulated .*\(OpenVINO on (.+)\)", self.device)
        return inside.group(1) if inside else self.device

    @property
    def timing_label(self) -> str:
        """One line every figure with timings carries."""
        if self.is_emulated:
            return f"emulated on CPU: OpenVINO, not GPU timings ({self.processor})"
        return f"TensorRT {self.tensorrt_version} on {self.device}"


@dataclass(frozen=True)
class DatasetInfo:
    """The images accuracy was measured on; `digest` identifies images and labels."""

    name: str
    split: str
    images: int
    classes: tuple[str, ...]
    digest: str = ""
    objects: int | None = None


@dataclass(frozen=True)
class WeightsInfo:
    """The checkpoint everything was made from."""

    name: str
    sha256: str = ""


@dataclass(frozen=True)
class Curve:
    """A precision-recall curve: two lists of equal length, recall ascending."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True)
class Agreement:
    """How an engine compares with FP32 ONNX Runtime on the same inputs.

    Attributes:
        verdict: Whether it stays inside the tolerance of the precision that really ran.
        reasons: What was outside, one sentence each; empty for a pass.
        tensor: Numbers about the raw output (relative_l2, cosine, max_abs, ...).
        boxes: Numbers about the detections (matched share, score difference, ...).
    """

    verdict: Literal["pass", "fail"]
    reasons: tuple[str, ...] = ()
    tensor: Mapping[str, bool | float | str | None] = field(default_factory=dict)
    boxes: Mapping[str, bool | float | str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineResult:
    """One engine: how it was asked for, what it is, how accurate and how fast.

    Attributes:
        requested_precision: What was asked for.
        executed_precision: What the inspector found to run.
        precision_share: Share of layers (0 to 1) by precision.
        map50: Mean average precision at IoU 0.5.
        map50_95: The same averaged over IoU 0.5 to 0.95.
        map50_95_interval: 95 % bootstrap interval over the images.
        delta_to_fp32: map50_95 minus that of the FP32 engine (negative: worse).
        per_class_map50_95: By class name.
        curves: Precision-recall curve at IoU 0.5, by class name.
        latency_ms: One image through the engine.
        size_mb: Size of the plan, in 10^6 bytes.
        build_s: Seconds the build took.
        layer_count: Executed layers.
        memory_mb: Device memory for activations, in 10^6 bytes.
        agreement_with_onnxruntime: Comparison with the reference.
    """

    requested_precision: Precision
    executed_precision: Precision
    precision_share: Mapping[str, float] = field(default_factory=dict)
    map50: float | None = None
    map50_95: float | None = None
    map50_95_interval: tuple[float, float] | None = None
    delta_to_fp32: float | None = None
    per_class_map50_95: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    latency_ms: LatencyStats | None = None
    size_mb: float | None = None
    build_s: float | None = None
    layer_count: int | None = None
    memory_mb: float | None = None
    agreement_with_onnxruntime: Agreement | None = None


@dataclass(frozen=True)
class FrameworkResult:
    """The same model in one framework, timed in turns with the others.

    Attributes:
        latency_ms: One image.
        precision: The arithmetic that ran.
        version: Of the framework.
        device: Where it ran.
        map50_95: Accuracy, where it was measured.
    """

    latency_ms: LatencyStats
    precision: str = ""
    version: str = ""
    device: str = ""
    map50_95: float | None = None


@dataclass(frozen=True)
class ThroughputResult:
    """Latency of one whole batch."""

    batch: int
    latency_ms: LatencyStats


@dataclass(frozen=True)
class BoxList:
    """Detections of one image: boxes as left, top, right, bottom in its pixels."""

    xyxy: tuple[tuple[float, float, float, float], ...]
    class_ids: tuple[int, ...]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One example image, with what each engine found in it.

    Attributes:
        image: Path relative to the folder of results.json.
        detections: Engine to boxes.
        ground_truth: The labels, where shown.
    """

    image: str
    detections: Mapping[str, BoxList]
    ground_truth: BoxList | None = None


@dataclass(frozen=True)
class Results:
    """Everything a run measured; see the module's table."""

    schema_version: Literal[1]
    platform: PlatformInfo
    started: str = ""
    finished: str = ""
    seconds: float | None = None
    dataset: DatasetInfo | None = None
    weights: WeightsInfo | None = None
    engines: Mapping[str, EngineResult] = field(default_factory=dict)
    frameworks: Mapping[str, FrameworkResult] = field(default_factory=dict)
    stages: Mapping[str, StageBreakdown] = field(default_factory=dict)
    throughput: Mapping[str, tuple[ThroughputResult, ...]] = field(default_factory=dict)
    layers: Mapping[str, tuple[LayerTime, ...]] = field(default_factory=dict)
    structure: Mapping[str, tuple[StructureLayer, ...]] = field(default_factory=dict)
    timeline: Mapping[str, tuple[TimelineEvent, ...]] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    onnx_report: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def validate_results(value: object) -> Results:
    """Return results checked against the schema.

    Raises:
        InputError: Naming the place, such as `results.engines.int8.latency_ms`, what belongs there and what is there.

    Example:
        >>> platform = {"kind": "emulated", "tensorrt_version": "10.16", "device": "CPU"}
        >>> validate_results({"schema_version": 1, "platform": platform}).platform.is_emulated
        True
    """
    results = value_from_json(Results, value)
    _require_consistent(results)
    return results


def _require_consistent(results: Results) -> None:
    """Check what types alone cannot say."""
    for name, engine in results.engines.items():
        for key in ("map50", "map50_95"):
            number = getattr(engine, key)
            if number is not None and not 0 <= number <= 1:
                raise InputError(
                    f"results.engines.{name}.{key} is out of range.", expected="0 to 1", got=number, fix="Not percent."
                )
        for label, curve in engine.curves.items():
            _require_equal_lengths(
                f"results.engines.{name}.curves.{label}", recall=curve.recall, precision=curve.precision
            )
    for index, sample in enumerate(results.samples):
        for name, boxes in sample.detections.items():
            _require_equal_lengths(
                f"results.samples[{index}].detections.{name}",
                xyxy=boxes.xyxy,
                class_ids=boxes.class_ids,
                scores=boxes.scores or boxes.class_ids,
            )


def _require_equal_lengths(path: str, **lists: tuple[object, ...]) -> None:
    if len({len(items) for items in lists.values()}) > 1:
        raise InputError(
            f"{path} has lists of different lengths.",
            expected="one entry each per item",
            got=", ".join(f"{name} {len(items)}" for name, items in lists.items()),
        )


def read_results(path: Path) -> Results:
    """Read and check a results.json.

    Raises:
        InputError: No such file, not JSON, or against the schema.
    """
    return validate_results(read_json(path))


def write_results(path: Path, value: Mapping[str, Any]) -> Results:
    """Check results, then write them.

    Raises:
        InputError: They are against the schema; nothing is written.
        OutputError: The file cannot be written.
    """
    results = validate_results(value)
    write_json(path, dict(value))
    return results
