"""FP32 graph to typed FP16 graph, for strongly typed TensorRT networks.

Why not the converters that exist: `onnxconverter-common` is no longer maintained, and its successor in ONNX Runtime
(`onnxruntime.transformers.float16`, what Ultralytics uses) wraps every kept node in casts of its own, so a value that
passes through three nodes kept in FP32 is rounded to FP16 three times: the kept part is not in FP32 at all. Here kept
nodes form regions, and casts stand only where a value crosses from one region to another, once per value.

Why the decode stays in FP32: FP16 has 11 bits of mantissa, so between 512 and 1024 it counts in steps of 0.5. Anchors
times stride, box centers and corners reach 640 at this course's input size: every such operation rounds by up to a
quarter of a pixel, however exact the network was. The logits before it are small numbers and lose nothing that matters.
The decode is a few elementwise operations on 8400 boxes, so keeping it in FP32 costs next to no time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import ConstantLoss, cast_graph_to_fp16, check_result
from yolotrt_lab.precision.structure import find_head, match_nodes

__all__ = ["DECODE_REASON", "Fp16Report", "convert_to_fp16"]

DECODE_REASON = "decode: pixel coordinates need more than FP16's 11 bits"


@dataclass(frozen=True)
class Fp16Report:
    """What became FP16 and what did not.

    Attributes:
        path: The written file.
        converted: Nodes that compute in FP16.
        kept: Node to the reason it stays in FP32.
        cast_count: Casts inserted.
        losses: Constants that hold values FP16 cannot: too large (their nodes were kept), or flushed to zero.
        keep_io: Whether inputs and outputs are still float32.
        size_bytes: Size of the file.
    """

    path: Path
    converted: tuple[str, ...]
    kept: Mapping[str, str]
    cast_count: int
    losses: tuple[ConstantLoss, ...]
    keep_io: bool
    size_bytes: int


def convert_to_fp16(
    onnx_in: Path, onnx_out: Path, *, keep_io: bool = True, keep_fp32: Collection[str] = ()
) -> Fp16Report:
    """Write an FP16 version of an FP32 detector; the decode after the head stays in FP32.

    Args:
        onnx_in: The FP32 model.
        onnx_out: Where the FP16 model goes.
        keep_io: Keep inputs and outputs float32, with a cast behind and before them; otherwise they become float16.
        keep_fp32: Names of further nodes to keep in FP32.

    Raises:
        InputError: The model is broken, is not FP32, has control flow, or `keep_fp32` names no node.
        OutputError: The file cannot be written.
    """
    model = load_onnx_checked(onnx_in)
    head = find_head(model)
    kept = dict.fromkeys(head.decode, DECODE_REASON)
    kept |= dict.fromkeys(match_nodes(model, keep_fp32), "kept by request")
    with atomic_path(onnx_out) as target:
        report = cast_graph_to_fp16(model, kept=kept, keep_io=keep_io)
        check_result(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
    return Fp16Report(
        path=onnx_out,
        converted=report.converted,
        kept=report.kept,
        cast_count=report.cast_count,
        losses=report.losses,
        keep_io=keep_io,
        size_bytes=onnx_out.stat().st_size,
    )
