"""`yolotrt bench`: latency and throughput of several models, timed in turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.profiling.comparison import ModelTiming

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(bench)


def bench(
    models: Annotated[
        list[str], typer.Argument(help="Model files, each optionally with @BACKEND, such as model.onnx@openvino.")
    ],
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each model; each turn is three measured calls.")] = 30,
    warmup: Annotated[int, typer.Option(min=0, help="Unmeasured calls of each model at the start.")] = 10,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of PyTorch, ONNX Runtime and OpenVINO [their choice].")
    ] = None,
    device: Annotated[str, typer.Option(help="For PyTorch and ONNX Runtime: `auto`, `cpu` or `cuda`.")] = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json and the plots [none are written].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time models of any framework against each other, in turns, so that a busy machine is unfair to none.

    Takes .pt, .onnx, .xml, .engine and .plan files. The last column is time over that of the first model, paired within
    each round, with its 95 % interval; an interval that includes 1 shows no difference. Inputs are noise, so only the
    network is timed, not pre- or postprocessing.

    **Examples**

    `yolotrt bench model.pt model.onnx model.onnx@openvino model.fp16.engine`

    `yolotrt bench model.fp32.engine model.int8.engine --batch 1,2,4,8 -o bench`
    """
    from yolotrt_lab.profiling.comparison import compare_models, label_targets, target_from_text

    batches = _batches(batch)
    targets = label_targets([target_from_text(text) for text in models])
    results: dict[int, tuple[ModelTiming, ...]] = {}
    for size in batches:
        with progress_bar(f"Timing batch {size}") as on_progress:
            results[size] = compare_models(
                targets,
                batch=size,
                rounds=rounds,
                warmup=warmup,
                threads=threads,
                device=device,
                on_progress=on_progress,
            )
    for timing in results[batches[0]]:
        note(f"{timing.target.label}: {timing.runtime}")
    if any(timing.platform == "emulated" for timing in results[batches[0]]):
        note("TensorRT is emulated on the CPU here: these are CPU timings, not GPU timings.")
    if len({timing.input_hw for timing in results[batches[0]]}) > 1:
        note("The models take different image sizes: their times are not those of the same work.")
    payload = _payload(results, threads=threads)
    files = _write(output, results, payload) if output is not None else {}
    emit({**payload, "files": files}, as_json=as_json, human=[_table(size, found) for size, found in results.items()])


def _batches(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            "The batch sizes are not readable.", expected="whole numbers of 1 or more, such as 1,2,4", got=text
        )
    return sorted({int(part) for part in parts})


def _table(batch: int, timings: tuple[ModelTiming, ...]) -> Table:
    rows = [
        (
            timing.target.label,
            timing.executed_precision.upper(),
            timing.latency.p50_ms,
            timing.latency.p90_ms,
            timing.latency.p99_ms,
            1000 * batch / timing.latency.mean_ms,
            "1 (first)" if index == 0 else _ratio_text(timing),
        )
        for index, timing in enumerate(timings)
    ]
    columns = ("model", "runs", "p50 ms", "p90 ms", "p99 ms", "images/s", "time to first")
    return table(f"Batch {batch}", columns, rows)


def _ratio_text(timing: ModelTiming) -> str:
    ratio = timing.ratio_to_first
    return f"{ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _payload(results: dict[int, tuple[ModelTiming, ...]], *, threads: int | None) -> dict[str, Any]:
    from yolotrt_lab.profiling.machine import machine_description

    timings = [
        {
            "model": timing.target.label,
            "path": str(timing.target.path),
            "backend": timing.target.backend,
            "runtime": timing.runtime,
            "platform": timing.platform,
            "executed_precision": str(timing.executed_precision),
            "input_hw": timing.input_hw,
            "batch": batch,
            "latency_ms": timing.latency.to_json(),
            "images_per_s": 1000 * batch / timing.latency.mean_ms,
            "time_ratio_to_first": {
                "value": timing.ratio_to_first.value,
                "low": timing.ratio_to_first.low,
                "high": timing.ratio_to_first.high,
            },
        }
        for batch, found in results.items()
        for timing in found
    ]
    return {"timings": timings, "threads": threads, "machine": machine_description()}


def _write(output: Path, results: dict[int, tuple[ModelTiming, ...]], payload: dict[str, Any]) -> dict[str, Path]:
    from yolotrt_lab.files import write_bytes, write_json
    from yolotrt_lab.profiling.machine import cpu_name
    from yolotrt_lab.profiling.throughput import ThroughputPoint
    from yolotrt_lab.report.plots import framework_bars, latency_distribution, throughput_by_batch
    from yolotrt_lab.report.plots.style import figure_to_png
    from yolotrt_lab.report.schema import PlatformInfo

    first = next(iter(results.values()))
    kinds = {timing.platform for timing in first}
    # Without an engine among the models there is no platform to label.
    platform = PlatformInfo("emulated", "", cpu_name()) if "emulated" in kinds else None
    latency = {timing.target.label: timing.latency for timing in first}
    figures = {
        "latency": latency_distribution(latency, platform=platform),
        "comparison": framework_bars(latency, platform=platform, baseline=first[0].target.label),
    }
    if len(results) > 1:
        sweeps = {
            timing.target.label: [ThroughputPoint(size, found[index].latency) for size, found in results.items()]
            for index, timing in enumerate(first)
        }
        figures["throughput"] = throughput_by_batch(sweeps, platform=platform)
    files = {"json": output / "bench.json", **{key: output / f"{key}.png" for key in figures}}
    write_json(files["json"], payload)
    for key, figure in figures.items():
        write_bytes(files[key], figure_to_png(figure))
    return files
