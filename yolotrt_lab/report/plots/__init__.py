"""Figures: pure functions from measured values to Matplotlib figures, in one style, without pyplot's global state."""

from __future__ import annotations

from yolotrt_lab.report.plots.accuracy import agreement_table, pr_curves
from yolotrt_lab.report.plots.examples import ExampleImage, example_grid
from yolotrt_lab.report.plots.layers import layer_heatmap, structure_comparison
from yolotrt_lab.report.plots.speed import framework_bars, latency_distribution, throughput_by_batch
from yolotrt_lab.report.plots.stages import pipeline_timeline, stage_bars
from yolotrt_lab.report.plots.tradeoff import precision_speed

__all__ = [
    "ExampleImage",
    "agreement_table",
    "example_grid",
    "framework_bars",
    "latency_distribution",
    "layer_heatmap",
    "pipeline_timeline",
    "pr_curves",
    "precision_speed",
    "stage_bars",
    "structure_comparison",
    "throughput_by_batch",
]
