"""`yolotrt quantize`: FP32 ONNX to FP16, or to INT8 with Q/DQ."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table

if TYPE_CHECKING:
    from yolotrt_lab.precision.calibration_images import ImageBatches
    from yolotrt_lab.precision.fp16 import Fp16Report
    from yolotrt_lab.precision.table import CalibrationTable

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(quantize)


def quantize(
    model: Annotated[Path, typer.Argument(help="The FP32 .onnx file from `yolotrt export`.")],
    precision: Annotated[str, typer.Option(help="`fp16` or `int8`.")] = "int8",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .onnx file to write [beside the model].")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A data.yaml to take calibration images from.")] = None,
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "train",
    images: Annotated[Path | None, typer.Option(help="A folder of calibration images, instead of --data.")] = None,
    cache: Annotated[Path | None, typer.Option(help="An earlier calibration cache, instead of images.")] = None,
    method: Annotated[str, typer.Option(help="`mse`, `minmax`, `percentile` or `entropy`.")] = "mse",
    count: Annotated[int, typer.Option(min=1, help="How many calibration images, drawn at random.")] = 128,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    base: Annotated[str, typer.Option(help="Precision outside the INT8 parts: `fp16` or `fp32`.")] = "fp16",
    keep: Annotated[list[str] | None, typer.Option(help="Node to keep in high precision; may be repeated.")] = None,
    check_images: Annotated[
        int, typer.Option(min=1, help="FP16: how many images to look for values on that FP16 cannot hold.")
    ] = 16,
    keep_io: Annotated[
        bool, typer.Option("--keep-io/--half-io", help="FP16: inputs and outputs stay FP32, or become FP16 too.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Convert an FP32 ONNX detector to FP16, or calibrate it and write INT8 as Q/DQ by TensorRT's rules.

    INT8 needs images like those the detector will see, 128 or more, with every class in them. The ranges are written
    beside the model in TensorRT's calibration cache format, with a .json that says how they were found.

    FP16 needs none. Given some, it looks for layers whose values pass FP16's end, 65504, keeps them in FP32, and
    compares the result with FP32 layer by layer.

    **Examples**

    `yolotrt quantize model.onnx --precision fp16 -o model-fp16.onnx`

    `yolotrt quantize model.onnx --precision fp16 --data datasets/parts/data.yaml --check-images 32`

    `yolotrt quantize model.onnx --precision int8 --data datasets/parts/data.yaml -o model-int8.onnx`

    `yolotrt quantize model.onnx --images photos --method entropy --base fp32 -o model-int8.onnx`
    """
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.types import Precision

    if precision not in ("fp16", "int8"):
        raise InputError("No such precision to convert to.", expected="fp16 or int8", got=precision)
    if base not in ("fp16", "fp32"):
        raise InputError("No such base precision.", expected="fp16 or fp32", got=base)
    target = output or model.with_name(f"{model.stem}-{precision}.onnx")
    if precision == "fp16":
        found = _fp16_images(model, data=data, split=split, images=images, count=check_images, seed=seed)
        _to_fp16(model, target, keep=keep or [], keep_io=keep_io, batches=found, as_json=as_json)
        return
    ranges = _calibrated(
        model, data=data, split=split, images=images, cache=cache, method=method, count=count, seed=seed
    )
    for warning in ranges.warnings:
        note(f"Warning: {warning}")
    _to_int8(model, target, ranges, base=Precision(base), keep=keep or [], as_json=as_json)


def _to_fp16(
    model: Path, target: Path, *, keep: list[str], keep_io: bool, batches: ImageBatches | None, as_json: bool
) -> None:
    from yolotrt_lab.precision.fp16 import convert_to_fp16

    if batches is None:
        report = convert_to_fp16(model, target, keep_fp32=keep, keep_io=keep_io)
    else:
        with progress_bar("Looking for overflow") as on_progress:
            report = convert_to_fp16(
                model, target, keep_fp32=keep, keep_io=keep_io, images=batches, on_progress=on_progress
            )
    lines = [
        f"{report.path}: {report.size_bytes / 1e6:.1f} MB, {len(report.converted)} nodes in FP16, "
        f"{len(report.kept)} kept in FP32, {report.cast_count} casts"
    ]
    lines += [f"  {loss.name}: {loss.flushed_to_zero} values too small for FP16 became 0" for loss in report.losses]
    emit(asdict(report), as_json=as_json, human=[*lines, *_fp16_findings(report)])


def _fp16_findings(report: Fp16Report) -> list[str]:
    """Return what the images showed, in words."""
    ranges, check = report.ranges, report.check
    if ranges is None or check is None:
        return ["  Not checked for overflow: pass --data or --images."]
    lines = []
    for overflow in ranges.overflows:
        already = "kept in FP32 with what reads it" if overflow.node in report.kept else "not kept"
        lines.append(f"  {overflow.consequence} ({already}: {', '.join(overflow.keep)})")
    if not ranges.overflows:
        largest = max(ranges.ranges, key=lambda item: item.amax)
        lines.append(
            f"  No overflow on {ranges.image_count} images: the largest value is {largest.amax:.4g} ({largest.node}); "
            f"FP16 ends at 65504."
        )
    if ranges.long_sums:
        longest = ranges.long_sums[0]
        lines.append(
            f"  {len(ranges.long_sums)} nodes add 2048 terms or more, {longest.node} {longest.terms}: fine in an FP32 "
            "accumulator, the usual one of tensor cores, and not in one of FP16."
        )
    lines.append(
        f"  Rounded to FP16 after every node, the output is {check.output_error:.2g} from FP32's (relative L2, "
        f"{check.image_count} images; up to {check.tolerance:g} is normal)."
    )
    if check.first is not None:
        lines.append(
            f"  It departs first at {check.first.node} ({check.first.op_type}): error {check.first.relative_l2:.2g}, "
            f"{check.first.input_error:.2g} at its inputs, {check.first.non_finite} values not finite."
        )
    return lines


def _fp16_images(
    model: Path, *, data: Path | None, split: str, images: Path | None, count: int, seed: int
) -> ImageBatches | None:
    from yolotrt_lab.errors import InputError

    if data is not None and images is not None:
        raise InputError("Two sources of images.", expected="--data or --images", got="both", fix="Leave one out.")
    if data is None and images is None:
        return None
    return _image_batches(model, data=data, split=split, images=images, count=count, seed=seed)


def _image_batches(
    model: Path, *, data: Path | None, split: str, images: Path | None, count: int, seed: int
) -> ImageBatches:
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.data.images import list_images
    from yolotrt_lab.export.metadata import fixed_input_hw
    from yolotrt_lab.precision.calibration_images import ImageBatches, pick_images

    input_hw = fixed_input_hw(model)
    available = list_images(images) if images is not None else load_dataset(str(data)).images(split)
    return ImageBatches(pick_images(available, count=count, seed=seed), input_hw=input_hw)


def _calibrated(
    model: Path,
    *,
    data: Path | None,
    split: str,
    images: Path | None,
    cache: Path | None,
    method: str,
    count: int,
    seed: int,
) -> CalibrationTable:
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.precision.calibration import calibrate
    from yolotrt_lab.precision.calibrators import make_calibrator
    from yolotrt_lab.precision.table import read_calibration_cache

    given = [name for name, value in (("--data", data), ("--images", images), ("--cache", cache)) if value is not None]
    if len(given) != 1:
        raise InputError(
            "INT8 needs calibration images.",
            expected="exactly one of --data, --images and --cache",
            got=" and ".join(given) or "none",
            fix="Pass --data datasets/parts/data.yaml, or a folder with --images.",
        )
    if cache is not None:
        return read_calibration_cache(cache)
    make_calibrator(method)  # so that a wrong name is noticed before any work
    batches = _image_batches(model, data=data, split=split, images=images, count=count, seed=seed)
    with progress_bar(f"Calibrating ({method})") as on_progress:
        return calibrate(model, batches, method=method, on_progress=on_progress)


def _to_int8(model: Path, target: Path, ranges: CalibrationTable, *, base: Any, keep: list[str], as_json: bool) -> None:
    from yolotrt_lab.precision.qdq import quantize_onnx
    from yolotrt_lab.precision.table import write_calibration_cache

    report = quantize_onnx(model, target, table=ranges, high_precision_nodes=keep, base=base)
    cache = target.with_suffix(".calibration")
    write_calibration_cache(ranges, cache)
    result = asdict(report) | {
        "calibration_cache": cache,
        "method": ranges.method,
        "image_count": ranges.image_count,
        "warnings": ranges.warnings,
    }
    summary = (
        f"{report.path}: {len(report.convs)} convolutions and {len(report.adds)} residual additions in INT8, "
        f"the rest in {base}; {report.scale_count} activation scales by {ranges.method}, {ranges.image_count} images"
    )
    kept = table("Kept in high precision", ("node", "because"), list(report.kept.items()))
    emit(result, as_json=as_json, human=[summary, kept, f"Calibration cache: {cache}"])
