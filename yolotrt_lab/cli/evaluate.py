"""`yolotrt evaluate`: how accurate a model is on labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.evaluation.average_precision import DetectionMetrics

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(help="A .pt, .onnx, .xml, .engine or .plan file.")],
    data: Annotated[Path, typer.Option(help="The data set's data.yaml.")],
    split: Annotated[str, typer.Option(help="Which images: `train`, `val` or `test`.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first so many images [all].")] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Draws for the 95 % interval of mAP50-95; 0 for no interval.")
    ] = 0,
    backend: Annotated[str | None, typer.Option(help="`onnxruntime` or `openvino`, for an ONNX file.")] = None,
    device: Annotated[str, typer.Option(help="For PyTorch and ONNX Runtime: `auto`, `cpu` or `cuda`.")] = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for evaluation.json and pr_curves.png [none].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model's mean average precision, overall and by class.

    Computed as COCO does (and pycocotools confirms), with the settings of Ultralytics' validation: confidence 0.001,
    IoU 0.7 in the suppression of duplicates. Every framework gets the same pre- and postprocessing, so two numbers
    differ by the engine and nothing else.

    **Examples**

    `yolotrt evaluate model.int8.engine --data datasets/parts/data.yaml --split test`

    `yolotrt evaluate model.onnx --data datasets/bccd/data.yaml --bootstrap 200 -o evaluation`
    """
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.report.intervals import bootstrap_map_interval
    from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
    from yolotrt_lab.runtimes.detector import detector_from_runtime
    from yolotrt_lab.runtimes.open import open_runtime

    dataset = load_dataset(data)
    with open_runtime(model, backend=backend, device=device, batch=1) as runtime:
        note(f"{model.name}: {runtime.name}, {runtime.executed_precision.upper()}")
        detector = detector_from_runtime(runtime, config=MAP_CONFIG)
        with progress_bar("Evaluating") as on_progress:
            found = detect_split(detector, dataset, split=split, limit=limit, on_progress=on_progress)
        identity = {
            "model": model,
            "runtime": runtime.name,
            "platform": runtime.platform,
            "executed_precision": str(runtime.executed_precision),
        }
    metrics = found.metrics()
    interval = None
    if bootstrap:
        with progress_bar("Drawing images anew") as on_progress:
            interval = bootstrap_map_interval(
                found.ground_truth,
                found.detections,
                class_names=found.class_names,
                resamples=max(bootstrap, 2),
                on_progress=on_progress,
            )
    payload = {**identity, "data": data, "split": split, **_numbers(metrics, interval)}
    files = _write(output, payload, metrics, label=model.name) if output is not None else {}
    emit({**payload, "files": files}, as_json=as_json, human=_table(metrics, interval, split=split))


def _numbers(metrics: DetectionMetrics, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {
        "images": metrics.image_count,
        "objects": metrics.object_count,
        "map50": metrics.map50,
        "map75": metrics.map75,
        "map50_95": metrics.map50_95,
        "map50_95_interval": None if interval is None else list(interval),
        "precision": metrics.precision,
        "recall": metrics.recall,
        "f1": metrics.f1,
        "best_confidence": metrics.best_confidence,
        "per_class_ap50": metrics.per_class_ap50,
        "per_class_ap50_95": metrics.per_class_ap50_95,
    }


def _table(metrics: DetectionMetrics, interval: tuple[float, float] | None, *, split: str) -> Table:
    rows = [
        (name, round(metrics.per_class_ap50[name], 4), round(metrics.per_class_ap50_95[name], 4))
        for name in metrics.per_class_ap50
    ]
    rows.append(("all classes", round(metrics.map50, 4), round(metrics.map50_95, 4)))
    spread = "" if interval is None else f"; mAP50-95 {interval[0]:.3f} to {interval[1]:.3f} (95 %)"
    title = f"{metrics.object_count} objects in {metrics.image_count} images of split {split}{spread}"
    return table(title, ("class", "AP50", "AP50-95"), rows)


def _write(output: Path, payload: dict[str, Any], metrics: DetectionMetrics, *, label: str) -> dict[str, Path]:
    from yolotrt_lab.files import write_bytes, write_json
    from yolotrt_lab.report.plots import pr_curves
    from yolotrt_lab.report.plots.style import figure_to_png
    from yolotrt_lab.report.records import accuracy_record
    from yolotrt_lab.report.schema import Curve

    curves = accuracy_record(metrics)["curves"]
    drawn = {name: Curve(tuple(curve["recall"]), tuple(curve["precision"])) for name, curve in curves.items()}
    files = {"json": output / "evaluation.json", "pr_curves": output / "pr_curves.png"}
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in payload.items()}
    write_json(files["json"], {**plain, "curves": curves})
    write_bytes(files["pr_curves"], figure_to_png(pr_curves({label: drawn})))
    return files
