"""The report's sections in reading order: which words, tables and figures belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolotrt_lab.report import tables
from yolotrt_lab.report.schema import Results
from yolotrt_lab.report.summary import summarize
from yolotrt_lab.report.tables import Table

__all__ = ["FIGURE_SECTIONS", "Section", "sections_from_results"]

FIGURE_SECTIONS: Mapping[str, str] = {
    "training": "training",
    "pr_curves": "accuracy",
    "detections": "accuracy",
    "agreement": "agreement",
    "precision_speed": "speed",
    "latency": "speed",
    "throughput": "speed",
    "stages": "stages",
    "timeline": "timeline",
    "structure": "layers",
    "layers": "layers",
    "frameworks": "frameworks",
}
"""Figure key to the section it stands in; figures with other keys get a section of their own."""


@dataclass
class Section:
    """One section; one without any content is left out of the report.

    Attributes:
        key: Anchor in the page.
        title: Heading.
        paragraphs: Text.
        points: Bulleted sentences.
        tables: Typed tables.
        fields: A free object, shown as a table of keys and values.
        figures: Keys of the figures, in order; replaced by the figures themselves when rendering.
    """

    key: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    fields: Mapping[str, Any] = field(default_factory=dict)
    figures: list[Any] = field(default_factory=list)


_HOW_TO_READ = (
    "mAP50-95 is the mean average precision over IoU thresholds from 0.5 to 0.95, from 0 to 1; mAP50 asks only for "
    "an overlap of one half. Differences smaller than the 95 % interval can be chance.",
    "p50 is the median; p90 and p99 say how long the slowest tenth and hundredth of the calls take at least. Engines "
    "whose intervals overlap are not clearly different in speed.",
    "Relative L2 is the length of the difference between two outputs divided by the length of the reference; cosine "
    "compares direction only, and passes an output that is scaled, so it never stands alone.",
    "An engine is judged by the precision that really runs in it, as its inspector reports, not by what was asked for. "
    "Boxes close to the confidence threshold are left out of the comparison before matching.",
    "Layer times are measured with a clock reading around every layer, without what lies between layers: their sum is "
    "not the latency. Compare shares.",
)


def _dataset(results: Results) -> Section:
    data = results.dataset
    section = Section("dataset", "Dataset")
    if data is not None:
        section.fields = {
            "name": data.name,
            "split": data.split,
            "images": data.images,
            **({} if data.objects is None else {"objects": data.objects}),
            "classes": list(data.classes),
            **({"digest": data.digest} if data.digest else {}),
        }
    return section


def _training(results: Results) -> Section:
    section = Section("training", "Training")
    section.fields = {key: value for key, value in results.training.items() if key != "history"}
    if results.weights is not None:
        section.fields = {"weights": results.weights.name, "SHA-256": results.weights.sha256, **section.fields}
    return section


def _environment(results: Results) -> Section:
    run = {
        "TensorRT": f"{results.platform.kind}, {results.platform.tensorrt_version}",
        "device": results.platform.device,
        "note": results.platform.note,
        "started": results.started,
        "finished": results.finished,
        "seconds": results.seconds,
    }
    fields = {key: value for key, value in run.items() if value not in ("", None)}
    return Section("environment", "Environment and provenance", fields={**fields, **results.environment})


def sections_from_results(results: Results) -> list[Section]:
    """Return all sections in reading order, without figures; some may be empty."""
    return [
        Section("summary", "Summary", points=list(summarize(results))),
        _dataset(results),
        _training(results),
        Section("onnx", "ONNX verification", fields=results.onnx_report),
        Section("engines", "Engines", tables=tables.engine_table(results)),
        Section("accuracy", "Accuracy", tables=tables.accuracy_table(results) + tables.class_table(results)),
        Section("agreement", "Agreement with ONNX Runtime", tables=tables.agreement_rows(results)),
        Section("speed", "Speed", tables=tables.speed_table(results)),
        Section("stages", "Stages"),
        Section("timeline", "Timeline"),
        Section("layers", "Structure and layers"),
        Section("frameworks", "Frameworks", tables=tables.framework_table(results)),
        Section("further", "Further figures"),
        _environment(results),
        Section("reading", "How to read this", points=list(_HOW_TO_READ)),
    ]
