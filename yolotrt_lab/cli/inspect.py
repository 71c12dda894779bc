"""`yolotrt inspect`: what an engine really is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.engines.inspect import EngineReport, EngineTensor

__all__ = ["register"]

_NAME_WIDTH = 60


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(inspect)


def inspect(
    engine: Annotated[Path, typer.Argument(help="Engine file.")],
    as_json: JsonOption = False,
) -> None:
    """Show an engine's layers, what was fused, and the precision each layer runs in.

    Warns when the engine does not run in the precision it was asked for.

    **Examples**

    `yolotrt inspect model.engine`

    `yolotrt inspect model.engine --json`
    """
    from yolotrt_lab.engines.inspect import inspect_engine

    report = inspect_engine(engine)
    for warning in report.warnings:
        note(f"Warning: {warning}")
    emit(_summary(engine, report), as_json=as_json, human=[_layers(report), _io(report), _totals(engine, report)])


def _summary(engine: Path, report: EngineReport) -> dict[str, Any]:
    return {
        "engine": engine,
        "platform": report.platform,
        "tensorrt_version": report.tensorrt_version,
        "executed_precision": str(report.executed_precision),
        "requested_precision": None if report.requested_precision is None else str(report.requested_precision),
        "precision_share": {str(key): share for key, share in report.precision_share.items()},
        "device_memory_bytes": report.device_memory_bytes,
        "io": [asdict(tensor) for tensor in report.io],
        "layers": [asdict(layer) for layer in report.layers],
        "warnings": list(report.warnings),
    }


def _layers(report: EngineReport) -> Table:
    rows = [
        (
            index,
            _short(layer.name),
            layer.kind,
            "" if layer.precision is None else layer.precision.upper(),
            len(layer.origins),
            layer.tactic,
        )
        for index, layer in enumerate(report.layers)
    ]
    return table("Layers", ("#", "layer", "kind", "precision", "ONNX nodes", "kernel"), rows)


def _io(report: EngineReport) -> Table:
    rows = [
        (tensor.name, "input" if tensor.is_input else "output", tensor.dtype, _shape(tensor), _profile(tensor))
        for tensor in report.io
    ]
    return table("Inputs and outputs", ("name", "", "type", "shape", "min / opt / max"), rows)


def _shape(tensor: EngineTensor) -> str:
    return "x".join("?" if size is None else str(size) for size in tensor.shape)


def _profile(tensor: EngineTensor) -> str:
    return " / ".join("x".join(map(str, shape)) for shape in tensor.profile)


def _totals(engine: Path, report: EngineReport) -> str:
    shares = ", ".join(f"{precision.upper()} {share:.0%}" for precision, share in report.precision_share.items())
    where = " (emulated on a CPU)" if report.platform == "emulated" else ""
    return (
        f"{engine}: TensorRT {report.tensorrt_version}{where}, runs in {report.executed_precision.upper()}; "
        f"compute layers: {shares}; {len(report.layers)} layers, {len(report.fused_groups)} fused from several nodes; "
        f"{report.device_memory_bytes / 1e6:.1f} MB for intermediate tensors."
    )


def _short(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…"
