"""Makes our own models, in this process, by the package's public functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.precision.calibration import CalibrationTable
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.mixed import plan_mixed
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.sensitivity import rank_layers
from yolotrt_lab.types import Precision

__all__ = ["IMAGE_HW", "Judge", "make_fp16", "make_int8", "make_mixed"]

IMAGE_HW = (640, 640)
RANKING_IMAGES = 16

Judge = Callable[[Path], float]
"""Returns the mAP50-95 of an ONNX file on images that neither calibrate nor test."""

Facts = dict[str, Any]


def make_fp16(onnx: Path, output: Path) -> Facts:
    """Write the FP16 graph."""
    report = convert_to_fp16(onnx, output)
    return {"converted": len(report.converted), "kept": len(report.kept)}


def make_int8(onnx: Path, output: Path, *, table: CalibrationTable) -> Facts:
    """Write the INT8 graph in FP16, as `yolotrt quantize` does by default."""
    made = quantize_onnx(onnx, output, table=table, base=Precision.FP16)
    return {"int8_convs": len(made.convs), "int8_adds": len(made.adds), "method": table.method}


def make_mixed(
    onnx: Path,
    output: Path,
    *,
    table: CalibrationTable,
    images: Sequence[Path],
    judge: Judge,
    settings: Mapping[str, Any],
) -> Facts:
    """Write the INT8 graph with the layers in FP16 that a budget of mAP asks for.

    Args:
        onnx: The FP32 model.
        output: Where the graph goes.
        table: Ranges.
        images: Calibration images; the first ones rank the layers.
        judge: Judges the candidates.
        settings: "budget", the loss of mAP50-95 allowed.
    """
    batches = [preprocess(read_image(path), input_hw=IMAGE_HW)[0] for path in images[:RANKING_IMAGES]]
    ranking = rank_layers(onnx, table=table, images=batches, leave_one_out=False)
    plan = plan_mixed(onnx, table=table, report=ranking, judge=judge, budget=settings["budget"])
    kept = plan.chosen.kept
    made = quantize_onnx(onnx, output, table=table, base=Precision.FP16, high_precision_nodes=kept)
    return {
        "int8_convs": len(made.convs),
        "int8_adds": len(made.adds),
        "kept": list(kept),
        "judged_loss": plan.chosen.loss,
        "within_budget": plan.within_budget,
        "explanation": list(plan.explanation),
    }
