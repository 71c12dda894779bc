"""`yolotrt layers`: where an engine's time goes, what holds its layers back, and what to do about the slowest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from yolotrt_lab.profiling.comparison import ModelTarget
    from yolotrt_lab.profiling.layer_view import LayerView, MeasuredLayers
    from yolotrt_lab.profiling.roofline import MachineRoof, PlacedLayer
    from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["register"]

_NAME_WIDTH = 22
_BUSY = 1.3
_DRAWN_GROUPS = 14
"""A block with more layers than this is drawn only when it is named."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(layers)


def layers(
    models: Annotated[
        list[str], typer.Argument(help="Engines, ONNX or OpenVINO files, each optionally with @BACKEND.")
    ],
    onnx: Annotated[
        list[Path] | None,
        typer.Option(help="The ONNX graph a model was built from, one for each model [what the engine names]."),
    ] = None,
    roof: Annotated[
        str, typer.Option(help="`measured`, `h200`, or numbers: fp32=100,fp16=200,int8=400,gb_s=20 (GFLOP/s, GB/s).")
    ] = "measured",
    batch: Annotated[int, typer.Option(min=1, help="Images per run.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Profiled runs; the median of each layer counts.")] = 20,
    top: Annotated[int, typer.Option(min=1, help="Layers in the table.")] = 12,
    advice: Annotated[int, typer.Option(min=1, help="Layers to give advice about.")] = 3,
    block: Annotated[
        str | None, typer.Option(help="Block whose fusion is drawn, such as /model.4 [the slowest of handy size].")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of OpenVINO [its choice].")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for layers.json and the pictures [none are written].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the time of every layer, its place under the machine's roof, and what to do about the slowest.

    Takes engines, real or emulated, and ONNX or OpenVINO models, which OpenVINO then runs. Operations and bytes are
    counted in the ONNX graph; the roof is measured with the same framework. Layers are profiled one by one, so their
    sum is more than the latency: compare shares.

    **Examples**

    `yolotrt layers model.int8.engine`

    `yolotrt layers fp32.engine fp16.engine int8.engine -o layers --block /model.4`

    `yolotrt layers model.xml --onnx model.onnx --roof fp32=140,int8=870,gb_s=20 --json`
    """
    from yolotrt_lab.profiling.layer_view import measure_model_layers

    targets = _targets(models)
    graphs = _graphs(targets, onnx)
    measured: list[MeasuredLayers] = []
    for target in targets:
        with progress_bar(f"Profiling {target.label}") as on_progress:
            measured.append(
                measure_model_layers(
                    target.path,
                    label=target.label,
                    backend=target.backend,
                    batch=batch,
                    repeats=repeats,
                    threads=threads,
                    on_progress=on_progress,
                )
            )
    if any(model.platform == "emulated" for model in measured):
        note("TensorRT is emulated on the CPU here: these are CPU timings, not GPU timings.")
    for model in measured:
        if model.spread > _BUSY:
            note(
                f"{model.label}: the layers took {model.spread:.1f} times as long in the median as in their fastest "
                "run. The machine is busy: times are too long, and what is said about kernels may be its doing."
            )
    if roof != "measured":
        note("The roof was given: shares of it mean something only on that machine.")
    views = _views(measured, graphs, roof=roof, count=advice)
    figures = _figures(measured, views, block) if output is not None else {}
    files = _write(output, figures, measured, views) if output is not None else {}
    human: list[Table | str] = [part for model in measured for part in _shown(model, views.get(model.label), top)]
    emit({**_payload(measured, views), "files": files}, as_json=as_json, human=human)


def _targets(models: list[str]) -> tuple[ModelTarget, ...]:
    from dataclasses import replace

    from yolotrt_lab.profiling.comparison import label_targets, target_from_text

    found = []
    for text in models:
        target = target_from_text(text)
        if target.backend == "onnxruntime" and not text.endswith("@onnxruntime"):
            target = replace(target, backend="openvino")  # ONNX Runtime has no layer profiler here
        if target.backend not in ("tensorrt", "openvino"):
            raise InputError(
                f"{target.backend} does not tell the time of single layers here.",
                expected="an engine, or an ONNX or OpenVINO file",
                got=text,
                fix="Build an engine: yolotrt build model.onnx",
            )
        found.append(target)
    return label_targets(found)


def _graphs(targets: tuple[ModelTarget, ...], given: list[Path] | None) -> dict[str, Path | None]:
    from yolotrt_lab.profiling.layer_view import onnx_behind

    if given and len(given) != len(targets):
        raise InputError(
            "It is not clear which graph belongs to which model.",
            expected=f"--onnx once for each of the {len(targets)} models, in their order",
            got=f"{len(given)} times",
        )
    if given:
        return {target.label: path for target, path in zip(targets, given, strict=True)}
    return {target.label: onnx_behind(target.path) for target in targets}


def _views(
    measured: list[MeasuredLayers], graphs: dict[str, Path | None], *, roof: str, count: int
) -> dict[str, LayerView]:
    from yolotrt_lab.profiling.layer_view import view_layers
    from yolotrt_lab.profiling.roofline import roof_from_text

    roofs: dict[str, MachineRoof] = {}
    views = {}
    for model in measured:
        graph = graphs[model.label]
        if graph is None:
            note(f"{model.label}: its ONNX graph is not at hand, so nothing is counted. Pass it with --onnx.")
            continue
        if model.backend not in roofs:
            roofs[model.backend] = _measured_roof(model.backend) if roof == "measured" else roof_from_text(roof)
        view = view_layers(model, graph, roofs[model.backend], count=count)
        if not 0.9 <= view.counted_share <= 1.1:
            note(
                f"{model.label}: its layers account for {view.counted_share:.0%} of the operations in {graph}. "
                "Is it the graph that the model was built from?"
            )
        views[model.label] = view
    return views


def _measured_roof(backend: str) -> MachineRoof:
    from yolotrt_lab.profiling.roof_measurement import measure_roof, open_with_openvino, open_with_tensorrt

    note("Measuring the machine's roof with the same framework; it should have nothing else to do.")
    return measure_roof(open_with_tensorrt if backend == "tensorrt" else open_with_openvino)


def _shown(model: MeasuredLayers, view: LayerView | None, top: int) -> list[Table | str]:
    title = (
        f"{model.label}: {len(model.layers)} layers, {model.total_ms:.3g} ms in all, mostly "
        f"{model.executed_precision.upper()} ({model.runtime})"
    )
    if view is None:
        slowest = sorted(model.layers, key=lambda layer: -layer.time_ms)[:top]
        plain = [(layer.name[:60], layer.kind, layer.precision.upper(), layer.time_ms) for layer in slowest]
        return [table(title, ("layer", "kind", "runs in", "ms"), plain)]
    placed = sorted(view.placed, key=lambda layer: -layer.time_ms)[:top]
    columns = ("layer", "runs in", "ms", "share %", "GFLOP/s", "roof %", "bound")
    roof = view.roof
    peaks = ", ".join(f"{name.upper()} {rate:,.0f}" for name, rate in roof.peak_gflops.items())
    rates = f"{peaks} GFLOP/s, {roof.bandwidth_gb_s:,.4g} GB/s, {roof.launch_ms * 1000:.2g} µs a layer"
    limits = f"Roof: {rates} ({roof.source})"
    texts = [f"{place}. {item.text}" for place, item in enumerate(view.advice, start=1)]
    return [table(title, columns, [_row(layer) for layer in placed]), limits, "What to do:", *texts, ""]


def _row(layer: PlacedLayer) -> tuple[object, ...]:
    name = _short(layer.name)
    return (
        name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}",
        layer.precision.upper(),
        layer.time_ms,
        round(100 * layer.share, 1),
        layer.gflops,
        round(100 * layer.roof_share),
        layer.bound,
    )


def _short(name: str) -> str:
    """Return the module a node came from, with its operator if that is no convolution: "model.24.cv2.0.0"."""
    from yolotrt_lab.export.divergence import module_from_node_name

    module, operator = module_from_node_name(name), name.rsplit("/", 1)[-1]
    if module is None:
        return name
    return (
        module.removesuffix(".conv") if operator.startswith("Conv_") or operator == "Conv" else f"{module}/{operator}"
    )


def _payload(measured: list[MeasuredLayers], views: dict[str, LayerView]) -> dict[str, Any]:
    from yolotrt_lab.profiling.machine import machine_description

    found = []
    for model in measured:
        entry: dict[str, Any] = {
            "model": model.label,
            "path": str(model.path),
            "runtime": model.runtime,
            "platform": model.platform,
            "executed_precision": str(model.executed_precision),
            "batch": model.batch,
            "total_ms": model.total_ms,
            "spread": model.spread,
        }
        view = views.get(model.label)
        plain = [{"layer": layer.name, "time_ms": layer.time_ms} for layer in model.layers]
        found.append({**entry, **(view.to_json() if view else {"layers": plain, "advice": []})})
    return {"models": found, "machine": machine_description()}


def _figures(measured: list[MeasuredLayers], views: dict[str, LayerView], block: str | None) -> dict[str, Figure]:
    from yolotrt_lab.profiling.layers import layer_matrix
    from yolotrt_lab.report.plots.fusion import block_fusion, hottest_fusions
    from yolotrt_lab.report.plots.fusion_groups import FusionGraph
    from yolotrt_lab.report.plots.layers import layer_heatmap, network_heatmap
    from yolotrt_lab.report.plots.roofline import layer_roofline

    platform = _platform(measured)
    engines = {model.label: model.layers for model in measured}
    figures = {
        "heatmap": layer_heatmap(layer_matrix(engines), platform=platform),
        "network": network_heatmap(layer_matrix(engines, by_block=True), platform=platform),
    }
    for label, view in views.items():
        graph = FusionGraph(view.placed, view.costs)
        chosen = block or _handy_block(graph)
        name = label.replace("/", "_").replace(" ", "_")
        figures[f"roofline-{name}"] = layer_roofline(
            view.placed, view.roof, title=f"Layers of {label} under the roof", platform=platform
        )
        figures[f"fusion-hottest-{name}"] = hottest_fusions(graph, platform=platform)
        if chosen is not None:
            figures[f"fusion-block-{name}"] = block_fusion(graph, block=chosen, platform=platform)
    return figures


def _handy_block(graph: Any) -> str | None:
    times = graph.blocks()
    handy = [name for name in times if 1 < len(graph.of_block(name)) <= _DRAWN_GROUPS]
    return max(handy, key=lambda name: float(times[name]), default=None)


def _platform(measured: list[MeasuredLayers]) -> PlatformInfo | None:
    from yolotrt_lab.profiling.machine import cpu_name
    from yolotrt_lab.report.schema import PlatformInfo

    if any(model.platform == "emulated" for model in measured):
        return PlatformInfo("emulated", "", cpu_name())
    return None


def _write(
    output: Path, figures: dict[str, Figure], measured: list[MeasuredLayers], views: dict[str, LayerView]
) -> dict[str, Path]:
    from yolotrt_lab.files import write_bytes, write_json
    from yolotrt_lab.report.plots.style import figure_to_png

    files = {"json": output / "layers.json", **{name: output / f"{name}.png" for name in figures}}
    write_json(files["json"], _payload(measured, views))
    for name, figure in figures.items():
        write_bytes(files[name], figure_to_png(figure))
    return files
