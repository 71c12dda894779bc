"""`yolotrt demo`: the whole path on one command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.errors import VerificationError
from yolotrt_lab.types import ProgressCallback

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.demo import DemoResult
    from yolotrt_lab.report.schema import EngineResult

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(demo)


class _ConsoleReporter:
    """Shows each step as a progress bar."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[ProgressCallback]:
        with progress_bar(title) as on_progress:
            yield on_progress

    def note(self, text: str) -> None:
        note(text)


def demo(
    dataset: Annotated[
        str, typer.Option(help="`parts` (drawn here, offline), `bccd` (real images), or a data.yaml.")
    ] = "parts",
    weights: Annotated[
        Path | None, typer.Option(help="Take this .pt as it is instead of fine-tuning the base checkpoint.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path("runs/demo"),
    data_root: Annotated[Path, typer.Option(help="Where data sets are kept.")] = Path("datasets"),
    seed: Annotated[int, typer.Option(min=0, help="Decides images, training and calibration.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run on few, small images: shows that it works, not how well.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a detector from images to verified FP32, FP16 and INT8 engines, and show the evidence.

    Fine-tunes the base checkpoint, exports and verifies ONNX, calibrates and quantizes, builds three engines, measures
    accuracy, agreement with ONNX Runtime and speed, and writes results.json and report.html. About ten minutes on two
    CPU cores. Without a GPU, TensorRT is emulated and says so. Exit code 1: an engine does not agree with ONNX Runtime,
    or the detector stayed under its floor.

    **Examples**

    `yolotrt demo`

    `yolotrt demo --dataset bccd --output runs/bccd`

    `yolotrt demo --dataset my/data.yaml --weights my.pt --output runs/mine`
    """
    from yolotrt_lab.demo import DemoConfig, run_demo

    sizes: dict[str, Any] = {}
    if quick:
        sizes = {
            "image_size": 160,
            "parts_counts": {"train": 8, "val": 4, "test": 6},
            "train_epochs": 1,
            "max_train_images": 8,
            "calibration_images": 4,
            "max_test_images": 6,
            "rounds": 5,
            "batches": (1, 2),
        }
    config = DemoConfig(dataset=dataset, weights=weights, output=output, data_root=data_root, seed=seed, **sizes)
    result = run_demo(config, reporter=_ConsoleReporter())
    emit(
        {"results": result.results_path, "report": result.report_path, **_rows(result)},
        as_json=as_json,
        human=[_table(result), f"Report: {result.report_path}", f"Numbers: {result.results_path}"],
    )
    if not quick:
        _require_good(result)


def _rows(result: DemoResult) -> dict[str, Any]:
    return {
        "platform": result.results.platform.kind,
        "engines": {
            name: {
                "executed_precision": engine.executed_precision,
                "map50": engine.map50,
                "map50_95": engine.map50_95,
                "delta_to_fp32": engine.delta_to_fp32,
                "latency_p50_ms": engine.latency_ms.p50_ms if engine.latency_ms else None,
                "agrees": _agrees(engine),
            }
            for name, engine in result.results.engines.items()
        },
    }


def _agrees(engine: EngineResult) -> bool:
    return engine.agreement_with_onnxruntime is not None and engine.agreement_with_onnxruntime.verdict == "pass"


def _table(result: DemoResult) -> Table:
    results = result.results
    rows = []
    for name, engine in results.engines.items():
        latency = engine.latency_ms
        rows.append(
            (
                name.upper(),
                engine.executed_precision.upper(),
                f"{engine.map50_95:.3f}",
                f"{engine.delta_to_fp32:+.4f}",
                *(f"{value:.1f}" for value in ((latency.p50_ms, latency.p99_ms) if latency else ())),
                f"{engine.size_mb:.1f}",
                "yes" if _agrees(engine) else "NO",
            )
        )
    where = "emulated on CPU, not GPU timings" if results.platform.is_emulated else results.platform.device
    seconds = results.seconds or 0.0
    title = f"{results.dataset.name if results.dataset else ''}: TensorRT engines ({where}), {seconds:.0f} s in all"
    columns = ("engine", "runs in", "mAP50-95", "to FP32", "p50 ms", "p99 ms", "MB", "agrees")
    return table(title, columns, rows)


def _require_good(result: DemoResult) -> None:
    """Fail the command if an engine cannot be trusted or training went wrong."""
    reasons = [
        f"{name.upper()}: {reason}"
        for name, engine in result.results.engines.items()
        if engine.agreement_with_onnxruntime is not None
        for reason in engine.agreement_with_onnxruntime.reasons
    ]
    if not result.is_above_floor:
        found = result.results.engines["fp32"].map50_95
        reasons.append(f"the detector reaches mAP50-95 {found:.3f}, its floor is {result.floor:.2f}")
    if reasons:
        raise VerificationError(
            "The demo ran to its end, but not everything is as it should be.",
            expected="engines within tolerance of ONNX Runtime, and a detector above its floor",
            got="; ".join(reasons),
            fix=f"Read {result.report_path}.",
        )
