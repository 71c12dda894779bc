"""`yolotrt build`: an ONNX model to a TensorRT engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.types import Precision

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.engines.build import EngineBuild

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(build)


def build(
    model: Annotated[Path, typer.Argument(help="ONNX model, as `yolotrt export` or `yolotrt quantize` wrote it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Engine file; by default beside the model, with .engine.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="What the engine must be; by default what the ONNX graph says.")
    ] = None,
    min_batch: Annotated[int | None, typer.Option(min=1, help="Smallest batch; by default 1.")] = None,
    opt_batch: Annotated[int | None, typer.Option(min=1, help="Batch to tune for; by default the smallest.")] = None,
    max_batch: Annotated[int | None, typer.Option(min=1, help="Largest batch; by default the one to tune for.")] = None,
    workspace_mib: Annotated[int, typer.Option(min=1, help="Scratch memory for kernels, in MiB.")] = 1024,
    timing_cache: Annotated[Path | None, typer.Option(help="File that keeps kernel timings between builds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a TensorRT engine from an ONNX model, and say in which precision it really runs.

    The types in the graph decide the precision: FP16 needs an FP16 graph, INT8 one with Q/DQ nodes; `yolotrt quantize`
    makes both. Without a GPU, TensorRT is emulated and says so. Where the engine comes from is kept beside it, in
    `<engine>.json`.

    **Examples**

    `yolotrt build model.onnx -o model.engine`

    `yolotrt build model.int8.onnx --precision int8 --max-batch 8`
    """
    from yolotrt_lab.engines.build import EngineOptions, build_engine

    low = min_batch or 1
    preferred = opt_batch or low
    options = EngineOptions(
        precision=precision,
        min_batch=low,
        opt_batch=preferred,
        max_batch=max_batch or preferred,
        workspace_bytes=workspace_mib << 20,
        timing_cache=timing_cache,
    )
    target = output or model.with_suffix(".engine")
    with progress_bar("Building the engine") as on_progress:
        built = build_engine(model, target, options=options, on_progress=on_progress)
    for warning in built.report.warnings:
        note(f"Warning: {warning}")
    emit(_summary(built), as_json=as_json, human=_table(built))


def _summary(built: EngineBuild) -> dict[str, Any]:
    return {
        "engine": built.path,
        "platform": built.report.platform,
        "executed_precision": str(built.report.executed_precision),
        "precision_share": {str(key): share for key, share in built.report.precision_share.items()},
        "layers": len(built.report.layers),
        "size_bytes": built.path.stat().st_size,
        "seconds": built.seconds,
        "warnings": list(built.report.warnings),
        "provenance": built.provenance.to_json(),
    }


def _table(built: EngineBuild) -> Table:
    report = built.report
    where = "emulated on this CPU" if report.platform == "emulated" else built.provenance.device_name
    shares = ", ".join(f"{precision.upper()} {share:.0%}" for precision, share in report.precision_share.items())
    rows = [
        ("TensorRT", f"{report.tensorrt_version} ({where})"),
        ("runs in", report.executed_precision.upper()),
        ("compute layers", shares),
        ("layers", f"{len(report.layers)}, {len(report.fused_groups)} of them fused"),
        ("size", f"{built.path.stat().st_size / 1e6:.1f} MB"),
        ("built in", f"{built.seconds:.1f} s"),
    ]
    return table(str(built.path), ("", ""), rows)
