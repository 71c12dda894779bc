"""Every figure of the report, drawn from the results alone, so that a report can be made again from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from yolotrt_lab.data.images import read_image
from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layers import layer_matrix
from yolotrt_lab.profiling.structure import compare_structures
from yolotrt_lab.profiling.throughput import ThroughputPoint
from yolotrt_lab.report import plots
from yolotrt_lab.report.plots.style import display_name
from yolotrt_lab.report.plots.tradeoff import TradeoffPoint
from yolotrt_lab.report.schema import BoxList, Results, Sample
from yolotrt_lab.training.plots import plot_history
from yolotrt_lab.types import Detections

__all__ = ["figures_from_results"]


def figures_from_results(results: Results, *, folder: Path | None = None) -> dict[str, Figure]:
    """Return the figures the results have data for, by the keys the report places them with.

    Args:
        results: Checked results.
        folder: Where results.json lies; example images are read relative to it. None draws no example images.
    """
    makers: dict[str, Callable[[], Figure | None]] = {
        "training": lambda: _training(results),
        "precision_speed": lambda: _precision_speed(results),
        "pr_curves": lambda: _pr_curves(results),
        "agreement": lambda: _agreement(results),
        "latency": lambda: _latency(results),
        "throughput": lambda: _throughput(results),
        "stages": lambda: plots.stage_bars(results.stages, platform=results.platform) if results.stages else None,
        "timeline": lambda: (
            plots.pipeline_timeline(results.timeline, platform=results.platform) if results.timeline else None
        ),
        "layers": lambda: _layers(results),
        "structure": lambda: _structure(results),
        "frameworks": lambda: _frameworks(results),
        "detections": lambda: _detections(results, folder) if folder is not None else None,
    }
    return {key: figure for key, make in makers.items() if (figure := make()) is not None}


def _training(results: Results) -> Figure | None:
    history = results.training.get("history")
    if not isinstance(history, list) or not history or not all(isinstance(epoch, Mapping) for epoch in history):
        return None
    columns = {
        str(key): [float(epoch[key]) for epoch in history]
        for key, value in history[0].items()
        if isinstance(value, (int, float)) and all(isinstance(epoch.get(key), (int, float)) for epoch in history)
    }
    return plot_history(columns) if "epoch" in columns else None


def _precision_speed(results: Results) -> Figure | None:
    points = {
        name: TradeoffPoint(
            engine.map50_95,
            engine.latency_ms,
            engine.map50_95_interval,
            remark=""
            if engine.executed_precision == engine.requested_precision
            else f"{display_name(engine.executed_precision)} ran",
        )
        for name, engine in results.engines.items()
        if engine.map50_95 is not None and engine.latency_ms is not None
    }
    return plots.precision_speed(points, platform=results.platform) if points else None


def _pr_curves(results: Results) -> Figure | None:
    curves = {name: engine.curves for name, engine in results.engines.items() if engine.curves}
    return plots.pr_curves(curves) if curves else None


def _agreement(results: Results) -> Figure | None:
    found = {
        name: engine.agreement_with_onnxruntime
        for name, engine in results.engines.items()
        if engine.agreement_with_onnxruntime is not None
    }
    return plots.agreement_table(found) if found else None


def _latency(results: Results) -> Figure | None:
    latency = {name: engine.latency_ms for name, engine in results.engines.items() if engine.latency_ms is not None}
    return plots.latency_distribution(latency, platform=results.platform) if latency else None


def _throughput(results: Results) -> Figure | None:
    sweeps = {
        name: [ThroughputPoint(point.batch, point.latency_ms) for point in points]
        for name, points in results.throughput.items()
        if points
    }
    return plots.throughput_by_batch(sweeps, platform=results.platform) if sweeps else None


def _layers(results: Results) -> Figure | None:
    layers = {name: items for name, items in results.layers.items() if items}
    return plots.layer_heatmap(layer_matrix(layers), platform=results.platform) if layers else None


def _structure(results: Results) -> Figure | None:
    engines = {name: items for name, items in results.structure.items() if items}
    return plots.structure_comparison(compare_structures(engines), platform=results.platform) if engines else None


def _frameworks(results: Results) -> Figure | None:
    latency = {name: item.latency_ms for name, item in results.frameworks.items()}
    return plots.framework_bars(latency, platform=results.platform) if latency else None


def _detections_from_boxes(boxes: BoxList) -> Detections:
    return Detections(
        xyxy=np.array(boxes.xyxy, dtype=np.float32).reshape(-1, 4),
        scores=np.array(boxes.scores or (1.0,) * len(boxes.xyxy), dtype=np.float32),
        class_ids=np.array(boxes.class_ids, dtype=np.int64),
    )


def _example(sample: Sample, *, engines: tuple[str, ...], folder: Path) -> plots.ExampleImage | None:
    """Return one example, or None when its image is gone or lies outside the results' folder."""
    path = (folder / sample.image).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        image = read_image(path)
    except InputError:
        return None
    shown = [(name, _detections_from_boxes(sample.detections[name])) for name in engines]
    return plots.ExampleImage(path.name, image, shown)


def _detections(results: Results, folder: Path) -> Figure | None:
    """Draw the first and the last engine of the samples (FP32 and INT8, as a rule) side by side."""
    if not results.samples:
        return None
    common = [name for name in results.samples[0].detections if all(name in s.detections for s in results.samples)]
    engines = tuple(dict.fromkeys([common[0], common[-1]])) if common else ()
    examples = [
        example
        for sample in results.samples
        if engines and (example := _example(sample, engines=engines, folder=folder)) is not None
    ]
    classes = results.dataset.classes if results.dataset else ()
    return plots.example_grid(examples, class_names=classes) if examples else None
