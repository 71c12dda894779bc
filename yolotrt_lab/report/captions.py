"""What each figure shows, in words: a caption for everybody, and alternative text with the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yolotrt_lab.profiling.stages import STAGES
from yolotrt_lab.report.plots.style import display_name
from yolotrt_lab.report.schema import Results

__all__ = ["alternative_text", "caption"]

_CAPTIONS: Mapping[str, str] = {
    "training": "Losses and validation accuracy after each epoch.",
    "precision_speed": (
        "Accuracy against latency. An engine on the dashed line is beaten by no other in both; overlapping vertical "
        "bars mean that the difference in accuracy could be chance."
    ),
    "pr_curves": "Precision over recall at IoU 0.5, one panel per class. Lines that lie on each other lost nothing.",
    "agreement": "Each engine against FP32 ONNX Runtime on the same inputs.",
    "latency": "How the latency of single calls is distributed; a real-time system has to live with p99, not p50.",
    "throughput": "Images per second, and latency of the whole batch, as the batch grows.",
    "stages": "Time per image in preprocessing, inference and postprocessing.",
    "timeline": "What ran when. A stage that waits for another leaves a gap.",
    "layers": "Time per layer in each engine, lined up by the ONNX node the layer came from.",
    "structure": "Precision of every weighted node in each engine, and how many layers the compiler made of them.",
    "frameworks": "The same model in several frameworks, timed in turns in one run.",
    "detections": "The same images through two engines.",
}


def caption(key: str) -> str:
    """Return the caption of a figure; for an unknown key, the key in words."""
    return _CAPTIONS.get(key) or key.replace("_", " ").capitalize() + "."


def alternative_text(key: str, results: Results) -> str:
    """Return what a reader who cannot see the figure should hear: what it is, and its main numbers."""
    numbers = _NUMBERS[key](results) if key in _NUMBERS else ""
    kind = _KINDS.get(key, "Figure")
    return f"{kind}: {caption(key)} {numbers}".strip()


_KINDS: Mapping[str, str] = {
    "training": "Line chart",
    "precision_speed": "Scatter plot",
    "pr_curves": "Line charts",
    "agreement": "Table",
    "latency": "Distribution plot",
    "throughput": "Line charts",
    "stages": "Stacked bar chart",
    "timeline": "Timeline",
    "layers": "Heat map",
    "structure": "Strip chart and bar chart",
    "frameworks": "Bar chart",
    "detections": "Photographs with boxes",
}


def _listed(values: Mapping[str, str]) -> str:
    return "; ".join(f"{display_name(name)}: {text}" for name, text in values.items()) + "." if values else ""


def _engines(results: Results, describe: Callable[[Any], str | None]) -> str:
    texts = {name: describe(engine) for name, engine in results.engines.items()}
    return _listed({name: text for name, text in texts.items() if text})


def _tradeoff(results: Results) -> str:
    return _engines(
        results,
        lambda engine: (
            f"{engine.latency_ms.p50_ms:.1f} ms, mAP50-95 {engine.map50_95:.3f}"
            if engine.latency_ms and engine.map50_95 is not None
            else None
        ),
    )


def _latency(results: Results) -> str:
    stats = {name: engine.latency_ms for name, engine in results.engines.items()}
    return _listed(
        {
            name: f"p50 {item.p50_ms:.1f}, p90 {item.p90_ms:.1f}, p99 {item.p99_ms:.1f} ms"
            for name, item in stats.items()
            if item is not None
        }
    )


def _agreement(results: Results) -> str:
    return _engines(
        results,
        lambda engine: engine.agreement_with_onnxruntime.verdict if engine.agreement_with_onnxruntime else None,
    )


def _throughput(results: Results) -> str:
    return _listed(
        {
            name: ", ".join(
                f"batch {point.batch} {1000 * point.batch / point.latency_ms.mean_ms:.0f} images/s" for point in points
            )
            for name, points in results.throughput.items()
        }
    )


def _stages(results: Results) -> str:
    return _listed(
        {
            name: ", ".join(f"{stage} {breakdown.stage(stage).p50_ms:.1f} ms" for stage in STAGES)
            for name, breakdown in results.stages.items()
        }
    )


def _layers(results: Results) -> str:
    hottest = {name: max(layers, key=lambda layer: layer.time_ms) for name, layers in results.layers.items() if layers}
    return _listed({name: f"slowest {layer.name}, {layer.time_ms:.2f} ms" for name, layer in hottest.items()})


def _structure(results: Results) -> str:
    return _listed({name: f"{len(layers)} layers" for name, layers in results.structure.items()})


def _frameworks(results: Results) -> str:
    return _listed({name: f"{item.latency_ms.p50_ms:.1f} ms" for name, item in results.frameworks.items()})


_NUMBERS: Mapping[str, Callable[[Results], str]] = {
    "precision_speed": _tradeoff,
    "latency": _latency,
    "agreement": _agreement,
    "throughput": _throughput,
    "stages": _stages,
    "layers": _layers,
    "structure": _structure,
    "frameworks": _frameworks,
}
