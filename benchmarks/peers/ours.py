"""Makes our own models, in this process, by the package's public functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.precision.calibration import CalibrationTable
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.mixed import cheapest_cover, estimated_work
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.sensitivity import rank_layers
from yolotrt_lab.types import Precision

__all__ = ["IMAGE_HW", "make_fp16", "make_int8", "make_mixed"]

IMAGE_HW = (640, 640)
RANKING_IMAGES = 16

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
    onnx: Path, output: Path, *, table: CalibrationTable, images: Sequence[Path], settings: Mapping[str, Any]
) -> Facts:
    """Write the INT8 graph with the cheapest layers in FP16 that cause a part of the damage.

    Not to a budget of mAP: on the few images of these data sets chance moves mAP by more than budgets worth having.

    Args:
        onnx: The FP32 model.
        output: Where the graph goes.
        table: Ranges.
        images: Calibration images; the first ones rank the layers.
        settings: "damage", the part of the damage that the kept layers cause.
    """
    batches = [preprocess(read_image(path), input_hw=IMAGE_HW)[0] for path in images[:RANKING_IMAGES]]
    ranking = rank_layers(onnx, table=table, images=batches, leave_one_out=False)
    shares = {layer.node: layer.share for layer in ranking.layers}
    kept = cheapest_cover(shares, estimated_work(load_onnx_checked(onnx)), target=settings["damage"])
    made = quantize_onnx(onnx, output, table=table, base=Precision.FP16, high_precision_nodes=kept)
    return {"int8_convs": len(made.convs), "int8_adds": len(made.adds), "kept": list(kept)}
