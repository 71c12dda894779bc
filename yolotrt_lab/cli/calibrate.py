"""`yolotrt calibrate`: find INT8 ranges, and say whether the images that gave them stand for what will be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from yolotrt_lab.precision.image_profile import ImageProfile
    from yolotrt_lab.precision.observation import Observation
    from yolotrt_lab.precision.representativeness import RepresentativenessReport
    from yolotrt_lab.precision.table import CalibrationTable

__all__ = ["register"]

_ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(calibrate)


def calibrate(
    model: Annotated[Path, typer.Argument(help="The FP32 .onnx file from `yolotrt export`.")],
    data: Annotated[Path | None, typer.Option(help="A data.yaml to take calibration images from.")] = None,
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "train",
    reference: Annotated[
        str | None, typer.Option(help="The split that the images should stand for [val, or the same split].")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="A folder of calibration images, instead of --split.")] = None,
    method: Annotated[
        str, typer.Option(help="`mse`, `minmax`, `percentile`, `entropy`, `entropy-one-sided` or `all`.")
    ] = "mse",
    count: Annotated[int, typer.Option(min=1, help="How many calibration images, drawn at random.")] = 128,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The cache to write [beside the model]; one per method.")
    ] = None,
    tensorrt: Annotated[
        str, typer.Option(help="Version of the TensorRT that is to read the cache; it may refuse others'.")
    ] = "10.16.0",
    report: Annotated[
        list[Path] | None, typer.Option(help="A .png or .json file for the report; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate: run images through the FP32 model once and choose the range of every tensor that INT8 quantizes.

    Writes TensorRT's calibration cache, which `yolotrt quantize --cache` takes, and a .json beside it. All methods
    choose from the same pass, so `all` costs no more images. Memory does not grow with their number.

    The report compares the calibration images with those that they should stand for (classes, brightness, sizes), and
    says which thresholds clip much or hang on a few images.

    **Examples**

    `yolotrt calibrate model.onnx --data datasets/parts/data.yaml -o model.calibration`

    `yolotrt calibrate model.onnx --data datasets/bccd/data.yaml --method all --report report.png --report report.json`

    `yolotrt calibrate model.onnx --images photos --data datasets/bccd/data.yaml --reference test`
    """
    from yolotrt_lab.export.metadata import fixed_input_hw
    from yolotrt_lab.precision.calibration import tables_from_observation
    from yolotrt_lab.precision.calibration_images import ImageBatches
    from yolotrt_lab.precision.observation import observe_activations
    from yolotrt_lab.precision.table import version_number

    methods = _checked_methods(method)
    reports = report or []
    _check_reports(reports)
    version_number(tensorrt)  # so that a wrong one is noticed before any work
    input_hw = fixed_input_hw(model)
    chosen = _choose(data, images, split=split, reference=reference, count=count, seed=seed)
    profiles = _profiles(chosen, input_hw=input_hw)  # first, so that a broken label is noticed before any long work
    with progress_bar(f"Calibrating ({', '.join(methods)})") as on_progress:
        batches = ImageBatches(chosen.images, input_hw=input_hw)
        observation = observe_activations(
            model, batches, histograms=bool(reports) or methods != ["minmax"], on_progress=on_progress
        )
    tables = tables_from_observation(observation, methods)
    judged = _judge(chosen, profiles, observation, tables[methods[0]])
    caches = _write_caches(tables, output or model.with_suffix(".calibration"), tensorrt=tensorrt)
    for path in reports:
        _write_report(path, judged, observation, chosen)
    # What is clipped, the report sums up.
    general = [warning for warning in tables[methods[0]].warnings if not warning.endswith("are clipped.")]
    for warning in (*general, *judged.warnings):
        note(f"Warning: {warning}")
    _emit(tables, judged, caches, reports, as_json=as_json)


@dataclass(frozen=True)
class _Choice:
    """Images to calibrate with, images they should stand for, and the classes if both sets have labels."""

    images: Sequence[Path]
    reference: Sequence[Path]
    class_names: tuple[str, ...]
    names: tuple[str, str]


def _checked_methods(method: str) -> list[str]:
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.precision.calibrators import METHODS

    if method != _ALL and method not in METHODS:
        raise InputError("No such calibration method.", expected=f"{', '.join(METHODS)} or {_ALL}", got=method)
    return list(METHODS) if method == _ALL else [method]


def _check_reports(paths: Sequence[Path]) -> None:
    from yolotrt_lab.errors import InputError

    for path in paths:
        if path.suffix.lower() not in (".png", ".json"):
            raise InputError("A report is a picture or JSON.", expected="a name ending in .png or .json", got=path)


def _choose(
    data: Path | None, images: Path | None, *, split: str, reference: str | None, count: int, seed: int
) -> _Choice:
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.data.images import list_images
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.precision.calibration_images import pick_images

    if data is None and (images is None or reference is not None):
        raise InputError(
            "Calibration needs images." if images is None else "--reference names a split of a data set.",
            expected="--data, --images or both" if images is None else "--data as well",
            got="neither" if images is None else f"--reference {reference} alone",
            fix="Pass --data datasets/parts/data.yaml, or a folder with --images.",
        )
    folder = None if images is None else list_images(images)
    dataset = None if data is None else load_dataset(data)
    if dataset is None or images is not None:
        available, name = folder or (), str(images and images.name)
    else:
        available, name = dataset.images(split), split
    chosen = pick_images(available, count=count, seed=seed)
    if dataset is None:
        return _Choice(chosen, available, (), (f"{name}, drawn", f"{name}, all"))
    other = reference or ("val" if dataset.splits.get("val") else split)
    classes = dataset.class_names if images is None else ()
    return _Choice(chosen, dataset.images(other), classes, (f"{name}, drawn", other))


def _profiles(chosen: _Choice, *, input_hw: tuple[int, int]) -> tuple[ImageProfile, ImageProfile]:
    from yolotrt_lab.precision.image_profile import profile_images

    classes = len(chosen.class_names) or None
    calibration = profile_images(chosen.images, input_hw=input_hw, num_classes=classes)
    with progress_bar("Looking at what they stand for") as on_progress:
        return calibration, profile_images(
            chosen.reference, input_hw=input_hw, num_classes=classes, on_progress=on_progress
        )


def _judge(
    chosen: _Choice, profiles: tuple[ImageProfile, ImageProfile], observation: Observation, ranges: CalibrationTable
) -> RepresentativenessReport:
    from yolotrt_lab.precision.representativeness import judge_representativeness

    return judge_representativeness(
        *profiles,
        class_names=chosen.class_names,
        method=ranges.method,
        saturation=ranges.saturation,
        threshold_shifts=observation.threshold_shifts(ranges.method),
    )


def _write_caches(tables: Mapping[str, CalibrationTable], path: Path, *, tensorrt: str) -> dict[str, Path]:
    from yolotrt_lab.precision.table import write_calibration_cache

    caches = {name: path if len(tables) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}") for name in tables}
    for name, ranges in tables.items():
        write_calibration_cache(ranges, caches[name], tensorrt_version=tensorrt)
    return caches


def _write_report(path: Path, judged: RepresentativenessReport, observation: Observation, chosen: _Choice) -> None:
    from yolotrt_lab.files import write_bytes, write_json

    if path.suffix.lower() == ".json":
        write_json(path, {"images": [str(image) for image in chosen.images], **judged.summary()})
        return
    from yolotrt_lab.report.plots.style import figure_to_png

    write_bytes(path, figure_to_png(_figure(judged, observation, chosen)))


def _figure(judged: RepresentativenessReport, observation: Observation, chosen: _Choice) -> Figure:
    from yolotrt_lab.precision.calibration import tables_from_observation
    from yolotrt_lab.precision.calibrators import METHODS
    from yolotrt_lab.report.plots.calibration import calibration_report

    tables = tables_from_observation(observation, list(METHODS))
    thresholds = {name: {method: ranges.amax[name] for method, ranges in tables.items()} for name in observation.halves}
    # Shown is the tensor on which the methods disagree most.
    tensor = max(thresholds, key=lambda name: max(thresholds[name].values()) / (min(thresholds[name].values()) or 1e9))
    return calibration_report(
        judged,
        tensor=tensor,
        histogram=observation.histogram(tensor),
        thresholds=thresholds[tensor],
        calibration_name=chosen.names[0],
        reference_name=chosen.names[1],
    )


def _emit(
    tables: Mapping[str, CalibrationTable],
    judged: RepresentativenessReport,
    caches: Mapping[str, Path],
    reports: Sequence[Path],
    *,
    as_json: bool,
) -> None:
    first = next(iter(tables.values()))
    result: dict[str, Any] = {
        "methods": {
            name: {"cache": caches[name], "amax": ranges.amax, "saturation": ranges.saturation,
                   "warnings": ranges.warnings}
            for name, ranges in tables.items()
        },
        "image_count": first.image_count,
        "digest": first.digest,
        "model_sha256": first.model_sha256,
        "representativeness": judged.summary(),
        "reports": list(reports),
    }  # fmt: skip
    rows = [
        (name, len(ranges.amax), f"{100 * max(ranges.saturation.values(), default=0.0):.2g}", str(caches[name]))
        for name, ranges in tables.items()
    ]
    columns = ("method", "tensors", "most clipped (%)", "cache")
    shifts = list(judged.threshold_shifts.values())
    lines: list[Any] = [table(f"Ranges from {first.image_count} images", columns, rows)]
    if shifts:
        lines.append(
            f"With half of the images, thresholds by {judged.method} move by {100 * median(shifts):.2g} % "
            f"(median tensor), {100 * max(shifts):.2g} % at most."
        )
    lines += [f"Report: {path}" for path in reports]
    emit(result, as_json=as_json, human=lines)
