"""`yolotrt sensitivity`: which layers INT8 hurts, and which to keep in high precision."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.data.datasets import Dataset
    from yolotrt_lab.precision.mixed import LayerCosts, MixedPlan
    from yolotrt_lab.precision.sensitivity import GreedyStep, Judge, SensitivityReport
    from yolotrt_lab.precision.table import CalibrationTable
    from yolotrt_lab.types import Precision

__all__ = ["register"]

_JUDGE = "judge"
_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(sensitivity)


def sensitivity(
    model: Annotated[Path, typer.Argument(help="The FP32 .onnx file from `yolotrt export`.")],
    data: Annotated[Path, typer.Option(help="The data.yaml to take images and labels from.")],
    budget: Annotated[float, typer.Option(min=0.0, help="Loss of mAP50-95 allowed.")] = 0.003,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The mixed-precision .onnx to write [beside the model].")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for sensitivity.json and two charts [none].")] = None,
    split: Annotated[str, typer.Option(help="Which split to take all images from; not `test`.")] = "train",
    cache: Annotated[Path | None, typer.Option(help="An earlier calibration cache, instead of calibrating.")] = None,
    method: Annotated[str, typer.Option(help="`mse`, `minmax`, `percentile` or `entropy`.")] = "mse",
    count: Annotated[int, typer.Option(min=1, help="How many calibration images.")] = 128,
    rank_images: Annotated[int, typer.Option(min=1, help="How many images to rank the layers on.")] = 8,
    judge_images: Annotated[int, typer.Option(min=1, help="How many images to measure mAP on.")] = 100,
    seed: Annotated[int, typer.Option(help="Decides which images.")] = 0,
    base: Annotated[str, typer.Option(help="Precision of what is not INT8: `fp16` or `fp32`.")] = "fp16",
    costs: Annotated[
        str, typer.Option(help="What keeping a layer costs: an `estimate`, or `measured` layer times.")
    ] = "estimate",
    greedy: Annotated[int, typer.Option(min=0, help="Also keep this many layers one after another, greedily.")] = 0,
    layer_map: Annotated[
        bool, typer.Option("--layer-map", help="Also measure each layer's loss of mAP; slow.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank layers by the damage that INT8 does to them, and keep the cheapest in high precision to hold a budget.

    Calibrates, measures on a few images what quantizing each layer changes in the output, then measures mAP for a
    handful of choices on images of the training split that calibration did not see. The cheapest choice within the
    budget is written as a Q/DQ graph for `yolotrt build`. The test split is left alone: what is chosen by it can no
    longer be tested on it.

    **Examples**

    `yolotrt sensitivity model.onnx --data datasets/parts/data.yaml --budget 0.003 -o mixed.onnx`

    `yolotrt sensitivity model.onnx --data datasets/bccd/data.yaml --costs measured --report sensitivity`
    """
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.precision.qdq import quantize_onnx
    from yolotrt_lab.precision.table import write_calibration_cache
    from yolotrt_lab.types import Precision

    _check(split=split, base=base, costs=costs, method=method)
    dataset, calibration = _divided(load_dataset(data), split=split, count=count, judge_images=judge_images, seed=seed)
    ranges = _ranges(model, calibration, cache=cache, method=method)
    judge = _judge(dataset)
    ranked, order = _rank(model, ranges, calibration[:rank_images], judge if layer_map else None, greedy=greedy)
    precision = Precision(base)
    prices = _measured_costs(model, ranges, precision) if costs == "measured" else None
    plan = _plan(model, ranges, ranked, judge, budget=budget, base=precision, costs=prices)
    target = output or model.with_name(f"{model.stem}-mixed.onnx")
    quantize_onnx(model, target, table=ranges, high_precision_nodes=plan.chosen.kept, base=precision)
    write_calibration_cache(ranges, target.with_suffix(".calibration"))
    result = {"path": target, **asdict(plan), "layers": [asdict(layer) for layer in ranked.layers]}
    result |= {"error": asdict(ranked.error), "greedy": [asdict(step) for step in order]}
    result |= {"judge_images": len(dataset.images(_JUDGE)), "rank_images": ranked.image_count}
    result["files"] = _write(report, result, ranked, plan) if report is not None else {}
    lines = [*plan.explanation, f"{target}: {_kept_text(plan)}"]
    emit(result, as_json=as_json, human=[_layers(ranked, plan), _curve(plan), *_greedy(order), *lines])


def _check(*, split: str, base: str, costs: str, method: str) -> None:
    from yolotrt_lab.errors import InputError
    from yolotrt_lab.precision.calibrators import make_calibrator

    make_calibrator(method)  # so that a wrong name is noticed before any work
    if split == "test":
        raise InputError(
            "Layers must not be chosen by the test split.",
            expected="train or val",
            got=split,
            fix="Leave --split out, and use the test split for `yolotrt evaluate` afterwards.",
        )
    for what, given, known in (
        ("base precision", base, ("fp16", "fp32")),
        ("costs", costs, ("estimate", "measured")),
    ):
        if given not in known:
            raise InputError(f"No such {what}.", expected=" or ".join(known), got=given)


def _divided(
    dataset: Dataset, *, split: str, count: int, judge_images: int, seed: int
) -> tuple[Dataset, tuple[Path, ...]]:
    """Return the data set with a split to judge by, and the calibration images; none is in both."""
    from yolotrt_lab.errors import InputError

    images = sorted(dataset.images(split))
    if len(images) < 2:
        raise InputError(
            f"Split {split!r} is too small.",
            expected="images to calibrate with and others to judge by",
            got=len(images),
        )
    random.Random(seed).shuffle(images)
    judged = min(judge_images, len(images) // 2)
    if judged < judge_images:
        note(f"mAP is judged on {judged} images only: the split has {len(images)}.")
    return replace(dataset, splits={_JUDGE: tuple(images[:judged])}), tuple(images[judged : judged + count])


def _ranges(model: Path, images: tuple[Path, ...], *, cache: Path | None, method: str) -> CalibrationTable:
    from yolotrt_lab.export.metadata import fixed_input_hw
    from yolotrt_lab.precision.calibration import calibrate
    from yolotrt_lab.precision.calibration_images import ImageBatches
    from yolotrt_lab.precision.table import read_calibration_cache

    if cache is not None:
        return read_calibration_cache(cache)
    batches = ImageBatches(images, input_hw=fixed_input_hw(model))
    with progress_bar(f"Calibrating ({method})") as on_progress:
        ranges = calibrate(model, batches, method=method, on_progress=on_progress)
    for warning in ranges.warnings:
        note(f"Warning: {warning}")
    return ranges


def _judge(dataset: Dataset) -> Judge:
    from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
    from yolotrt_lab.runtimes.detector import detector_from_runtime
    from yolotrt_lab.runtimes.open import open_runtime

    def map50_95(path: Path) -> float:
        with open_runtime(path, backend="openvino", batch=1) as runtime:
            detector = detector_from_runtime(runtime, config=MAP_CONFIG)
            return float(detect_split(detector, dataset, split=_JUDGE).metrics().map50_95)

    return map50_95


def _rank(
    model: Path, ranges: CalibrationTable, paths: tuple[Path, ...], judge: Judge | None, *, greedy: int
) -> tuple[SensitivityReport, tuple[GreedyStep, ...]]:
    from yolotrt_lab.export.metadata import fixed_input_hw
    from yolotrt_lab.precision.calibration_images import ImageBatches
    from yolotrt_lab.precision.sensitivity import greedy_order, rank_layers

    images = list(ImageBatches(paths, input_hw=fixed_input_hw(model)))
    with progress_bar("Quantizing layer by layer") as on_progress:
        ranked = rank_layers(model, table=ranges, images=images, judge=judge, on_progress=on_progress)
    if not greedy:
        return ranked, ()
    with progress_bar("Keeping layer after layer") as on_progress:
        order = greedy_order(model, table=ranges, images=images, report=ranked, steps=greedy, on_progress=on_progress)
    return ranked, order


def _measured_costs(model: Path, ranges: CalibrationTable, base: Precision) -> LayerCosts:
    """Return what keeping each layer costs, from the layer times of an INT8 engine and one without INT8."""
    import tempfile

    from yolotrt_lab.engines.build import EngineOptions, build_engine
    from yolotrt_lab.precision.fp16 import convert_to_fp16
    from yolotrt_lab.precision.mixed import costs_from_times
    from yolotrt_lab.precision.qdq import quantize_onnx
    from yolotrt_lab.profiling.layers import layer_matrix, measure_layers
    from yolotrt_lab.profiling.throughput import random_feeds
    from yolotrt_lab.runtimes.open import open_runtime
    from yolotrt_lab.types import Precision

    with tempfile.TemporaryDirectory() as name:
        folder, timed = Path(name), {}
        graphs = {Precision.INT8: folder / "int8.onnx", base: model}
        quantize_onnx(model, graphs[Precision.INT8], table=ranges, base=base)
        if base is Precision.FP16:
            graphs[base] = convert_to_fp16(model, folder / "fp16.onnx").path
        for precision, graph in graphs.items():
            engine = folder / f"{precision}.engine"
            build_engine(graph, engine, options=EngineOptions(precision=precision))
            with open_runtime(engine) as runtime, progress_bar(f"Timing layers in {precision}") as on_progress:
                timed[str(precision)] = measure_layers(runtime, random_feeds(runtime), on_progress=on_progress)
                note(f"Layer times: {runtime.name}, {runtime.platform}")
    matrix = layer_matrix(timed)
    int8_ms, high_ms = (dict(zip(matrix.rows, matrix.time_ms[:, column].tolist(), strict=True)) for column in range(2))
    return costs_from_times(int8_ms, high_ms)


def _plan(
    model: Path,
    ranges: CalibrationTable,
    ranked: SensitivityReport,
    judge: Judge,
    *,
    budget: float,
    base: Precision,
    costs: LayerCosts | None,
) -> MixedPlan:
    from yolotrt_lab.precision.mixed import plan_mixed

    with progress_bar("Judging by mAP") as on_progress:
        return plan_mixed(
            model,
            table=ranges,
            report=ranked,
            judge=judge,
            budget=budget,
            base=base,
            costs=costs,
            on_progress=on_progress,
        )


def _layers(ranked: SensitivityReport, plan: MixedPlan) -> Table:
    shown = ranked.ranked[:_SHOWN]
    columns = ["layer", "damage", "spared", "99 % / max", ""]
    rows = [
        [
            layer.node,
            f"{layer.share:.1%}",
            f"{layer.spared:.1%}",
            f"{layer.input_bulk:.3g} / {layer.input_amax:.3g}",
            "kept" if layer.node in plan.chosen.kept else "",
        ]
        for layer in shown
    ]
    if any(layer.map_loss is not None for layer in shown):
        columns.insert(3, "mAP loss")
        for row, layer in zip(rows, shown, strict=True):
            row.insert(3, "" if layer.map_loss is None else f"{layer.map_loss:+.4f}")
    title = f"What INT8 hurts most: damage alone, spared when kept, range of the inputs ({len(ranked.layers)} layers)"
    return table(title, columns, rows)


def _curve(plan: MixedPlan) -> Table:
    rows = [
        (
            len(point.kept),
            f"{point.damage_left:.0%}",
            round(point.map50_95, 4),
            f"{point.loss:+.4f}",
            f"{point.relative_time:.2f}",
            "chosen" if point == plan.chosen else "",
        )
        for point in plan.curve
    ]
    columns = ("layers kept", "damage left", "mAP50-95", "loss", "time", "")
    return table(f"FP32 has {plan.reference_map:.4f}; time relative to INT8 throughout", columns, rows)


def _greedy(order: tuple[GreedyStep, ...]) -> list[Table]:
    rows = [(number, step.node, f"{step.error:.4f}") for number, step in enumerate(order, start=1)]
    return [table("Keeping layers greedily", ("", "layer", "output error left"), rows)] if rows else []


def _kept_text(plan: MixedPlan) -> str:
    if not plan.chosen.kept:
        return "INT8 in every layer that can be quantized."
    return f"INT8 but for {', '.join(plan.chosen.kept)}."


def _write(folder: Path, result: dict[str, Any], ranked: SensitivityReport, plan: MixedPlan) -> dict[str, Path]:
    from yolotrt_lab.files import write_bytes, write_json
    from yolotrt_lab.report.plots.sensitivity import layer_damage, mixed_precision_curve
    from yolotrt_lab.report.plots.style import figure_to_png

    files = {
        "json": folder / "sensitivity.json",
        "layer_damage": folder / "layer_damage.png",
        "mixed_precision": folder / "mixed_precision.png",
    }
    write_json(files["json"], {**result, "path": str(result["path"])})
    write_bytes(files["layer_damage"], figure_to_png(layer_damage(ranked, kept=plan.chosen.kept)))
    write_bytes(files["mixed_precision"], figure_to_png(mixed_precision_curve(plan)))
    return files
