"""`yolotrt train`: train or fine-tune a detector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.training import TrainConfig, TrainResult

__all__ = ["register"]

_COURSE_DATA = ("parts", "bccd")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    data: Annotated[str, typer.Option(help="`parts`, `bccd` (made or fetched if need be), or a data.yaml.")],
    weights: Annotated[
        str, typer.Option(help="`base`, a .pt file, a model such as yolov5n.yaml (from scratch), or published weights.")
    ] = "base",
    preset: Annotated[str, typer.Option(help="Recipe: `demo`, `transfer`, `plain` or `augmented`.")] = "demo",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images [preset's].")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the network input in pixels [preset's].")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step [preset's].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Initial learning rate [preset's].")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes, whatever the epochs.")] = None,
    max_images: Annotated[int | None, typer.Option(help="Use at most so many training images [preset's].")] = None,
    seed: Annotated[int, typer.Option(help="Decides initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes that load images for a GPU.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads for the arithmetic [all cores].")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the run; replaced if it holds an earlier run.")] = Path(
        "runs/train"
    ),
    data_root: Annotated[Path, typer.Option(help="Where `parts` and `bccd` are kept.")] = Path("datasets"),
    as_json: JsonOption = False,
) -> None:
    """Train or fine-tune a YOLO detector and record how its weights came to be.

    The run's folder holds best.pt and last.pt (half precision, ready to export), training.json (settings, seed,
    versions, data digest, metrics), results.csv, curves.png, TensorBoard events and the log. Without a GPU, `demo`
    (more of the same classes) and `transfer` (new classes) take a few minutes.

    **Examples**

    `yolotrt train --data parts`

    `yolotrt train --data bccd --preset transfer`

    `yolotrt train --data bccd --weights yolov5n.yaml --preset augmented --epochs 120 --batch 64 --device cuda`

    `tensorboard --logdir runs/train`
    """
    from yolotrt_lab.training import TrainConfig
    from yolotrt_lab.training import train as run_training

    config = TrainConfig(
        data_yaml=Path(data),
        weights=weights,
        preset=preset,
        epochs=epochs,
        image_size=imgsz,
        batch=batch,
        learning_rate=learning_rate,
        max_minutes=max_minutes,
        max_train_images=max_images,
        seed=seed,
        device=device,
        workers=workers,
        threads=threads,
        output=output,
    )
    if data in _COURSE_DATA:
        config = _with_course_data(config, name=data, root=data_root)
    note(f"Training {weights} on {config.data_yaml}. Recipe {preset}: {config.recipe.summary}")
    with progress_bar("Training") as on_progress:
        result = run_training(config, on_progress=on_progress)
    emit(_as_json(result), as_json=as_json, human=[_summary(result), f"Curves: {result.run_dir / 'curves.png'}"])


def _with_course_data(config: TrainConfig, *, name: str, root: Path) -> TrainConfig:
    from dataclasses import replace

    from yolotrt_lab.data.datasets import prepare_dataset
    from yolotrt_lab.system import usable_cores

    with progress_bar(f"Preparing {name}") as on_progress:
        dataset = prepare_dataset(name, root=root, workers=usable_cores(), on_progress=on_progress)
    return replace(config, data_yaml=dataset.data_yaml)


def _as_json(result: TrainResult) -> dict[str, Any]:
    return {
        "best_weights": result.best_weights,
        "last_weights": result.last_weights,
        "run_dir": result.run_dir,
        "metrics": result.metrics,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "provenance": result.provenance,
    }


def _summary(result: TrainResult) -> Table:
    values = result.metrics
    images = result.provenance["data"]["val_images"]
    row = (str(result.best_weights), values["map50"], values["map50_95"], values["precision"], values["recall"])
    title = f"{result.epochs} epochs in {result.seconds:.0f} s; measured on {images} validation images"
    return table(title, ("best weights", "mAP50", "mAP50-95", "precision", "recall"), [row])
