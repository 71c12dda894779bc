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

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from yolotrt_lab.export.loading import detector_io, load_onnx_checked
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import ConstantLoss, cast_graph_to_fp16, check_result
from yolotrt_lab.precision.fp16_check import Fp16Check, check_fp16
from yolotrt_lab.precision.fp16_operators import BLOCKED_OPERATORS, blocked_nodes
from yolotrt_lab.precision.overflow import SAFETY_MARGIN, RangeReport, measure_ranges
from yolotrt_lab.precision.structure import find_head, match_nodes
from yolotrt_lab.types import FloatArray, ProgressCallback

__all__ = ["DECODE_REASON", "Fp16Report", "convert_to_fp16"]

DECODE_REASON = "decode: pixel coordinates need more than FP16's 11 bits"

COMPARED_BATCHES = 2
"""Batches on which the FP16 graph is compared with FP32, node by node."""


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
        ranges: What the activations reached on the images; None without images.
        check: How the FP16 graph compares with FP32, rounded node by node; None without images.
    """

    path: Path
    converted: tuple[str, ...]
    kept: Mapping[str, str]
    cast_count: int
    losses: tuple[ConstantLoss, ...]
    keep_io: bool
    size_bytes: int
    ranges: RangeReport | None = None
    check: Fp16Check | None = None


def convert_to_fp16(
    onnx_in: Path,
    onnx_out: Path,
    *,
    keep_io: bool = True,
    keep_fp32: Collection[str] = (),
    blocked: Mapping[str, str] = BLOCKED_OPERATORS,
    images: Iterable[FloatArray] | None = None,
    margin: float = SAFETY_MARGIN,
    on_progress: ProgressCallback | None = None,
) -> Fp16Report:
    """Write an FP16 version of an FP32 detector; the decode after the head stays in FP32.

    Args:
        onnx_in: The FP32 model.
        onnx_out: Where the FP16 model goes.
        keep_io: Keep inputs and outputs float32, with a cast behind and before them; otherwise they become float16.
        keep_fp32: Names of further nodes to keep in FP32.
        blocked: Operators that stay in FP32, each with the reason (see `fp16_operators`).
        images: Preprocessed images, (n, 3, H, W) float32. With them the FP32 model is run first, the nodes whose
            values FP16 cannot hold stay in FP32 with those that read them, and the result is compared with FP32.
        margin: With images: how far below FP16's end a tensor must stay.
        on_progress: Called with (batches done, batches in all; 0 when `images` does not tell) while the ranges are
            measured.

    Raises:
        InputError: The model is broken, is not FP32, has control flow, or `keep_fp32` names no node; the images do not
            fit.
        OutputError: The file cannot be written.
    """
    model = load_onnx_checked(onnx_in)
    original = _copy(model)
    kept = {**blocked_nodes(model, blocked), **dict.fromkeys(find_head(model).decode, DECODE_REASON)}
    kept |= dict.fromkeys(match_nodes(model, keep_fp32), "kept by request")
    compared: list[FloatArray] = []
    ranges = None
    if images is not None:
        ranges = measure_ranges(
            original,
            _remembering(images, compared, original),
            margin=margin,
            on_progress=_with_total(on_progress, images),
        )
        kept = {**_overflow_reasons(model, ranges), **kept}
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
        ranges=ranges,
        check=check_fp16(original, model, compared) if compared else None,
    )


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _remembering(images: Iterable[FloatArray], first: list[FloatArray], model: ModelProto) -> Iterator[FloatArray]:
    """Hand images on, and put the first few aside: one of each batch, unless the model wants a whole batch."""
    spec, _ = detector_io(model, Path("model.onnx"))
    for batch in images:
        if len(first) < COMPARED_BATCHES:
            first.append(batch[:1] if spec.shape[0] is None else batch)
        yield batch


def _with_total(on_progress: ProgressCallback | None, images: Iterable[FloatArray]) -> ProgressCallback | None:
    """Return a callback that knows how many batches there are, where `images` tells."""
    total = operator.length_hint(images)
    return None if on_progress is None else lambda done, _: on_progress(done, max(total, done) if total else 0)


def _overflow_reasons(model: ModelProto, ranges: RangeReport) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for overflow in ranges.overflows:
        for name in overflow.keep:
            verb = "reaches" if name == overflow.node else f"reads {overflow.node}, which reaches"
            reasons.setdefault(match_nodes(model, [name])[0], f"{verb} {overflow.amax:.3g}; FP16 ends at 65504")
    return reasons
