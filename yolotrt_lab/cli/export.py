"""`yolotrt export`: checkpoint to ONNX."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from yolotrt_lab.cli.console import JsonOption, emit, progress_bar, table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(export)


def export(
    weights: Annotated[str, typer.Argument(help="`base`, or a .pt checkpoint; open only checkpoints you trust.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .onnx file to write [beside you, named as the weights].")
    ] = None,
    imgsz: Annotated[int, typer.Option(help="Side of the square input in pixels, a multiple of 32.")] = 640,
    height: Annotated[int | None, typer.Option(help="Input height, if the input is not square.")] = None,
    width: Annotated[int | None, typer.Option(help="Input width, if the input is not square.")] = None,
    opset: Annotated[int, typer.Option(help="Version of the ONNX operator set; every backend takes 17.")] = 17,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch/--fixed-batch", help="Any batch size, or exactly one image.")
    ] = True,
    simplify: Annotated[bool, typer.Option(help="Fold constants; without, the grid is computed on every run.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Export a trained detector to ONNX: any batch size, fixed height and width, class names inside.

    **Examples**

    `yolotrt export base -o model.onnx`

    `yolotrt export runs/train/best.pt -o model.onnx --imgsz 320`

    `yolotrt verify model.onnx --weights runs/train/best.pt`
    """
    from yolotrt_lab.export.onnx_export import export_onnx

    target = output or Path(f"{Path(weights).stem}.onnx")
    with progress_bar(f"Exporting {weights}") as on_progress:
        result = export_onnx(
            weights,
            target,
            image_size=(height or imgsz, width or imgsz),
            opset=opset,
            dynamic_batch=dynamic_batch,
            simplify=simplify,
        )
        on_progress(1, 1)
    rows = [
        (direction, spec.name, spec.dtype, " x ".join("N" if length is None else str(length) for length in spec.shape))
        for direction, specs in (("input", result.inputs), ("output", result.outputs))
        for spec in specs
    ]
    size_mb = result.size_bytes / 1e6
    title = f"{result.path}: {result.node_count} nodes, operator set {result.opset}, {size_mb:.1f} MB"
    classes = "Classes: " + ", ".join(result.class_names)
    emit(asdict(result), as_json=as_json, human=[table(title, ("", "name", "type", "shape"), rows), classes])
