"""FP16 overflow detection and the layer view on one detector: counts against Ultralytics', memory, roofs, shares.

    python benchmarks/layers_and_fp16.py yolov5n-bccd.pt --data datasets/bccd/data.yaml --split test
    python benchmarks/layers_and_fp16.py yolov5n-bccd.pt --data datasets/bccd/data.yaml --output course/results

Exports the checkpoint, makes FP16 and INT8 graphs and the three engines, and then

- counts operations, and compares them with what Ultralytics says of the same network;
- looks for FP16 overflow on images, in processes of their own with few and with many, whose memory must be the same;
- plants an overflow behind a layer in the middle and sees whether it is named and repaired;
- measures the machine's roof and the layers of each engine several times over: least, median, most.

Give the machine nothing else to do; the spread of the layers says whether that was so. Without a GPU, TensorRT is
emulated, and all times are CPU times.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from yolotrt_lab.cli.console import emit, note, print_error, table
from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.errors import LabError
from yolotrt_lab.export.graph import replace_nodes
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import write_bytes, write_json, write_text
from yolotrt_lab.optional import require
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches, pick_images
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.fp16_check import check_fp16
from yolotrt_lab.precision.overflow import measure_ranges
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.layer_costs import graph_costs
from yolotrt_lab.profiling.layer_view import LayerView, measure_model_layers, view_layers
from yolotrt_lab.profiling.layers import layer_matrix
from yolotrt_lab.profiling.machine import cpu_name, machine_description
from yolotrt_lab.profiling.roof_measurement import measure_roof, open_with_tensorrt
from yolotrt_lab.report.plots.fusion import block_fusion, hottest_fusions
from yolotrt_lab.report.plots.fusion_groups import FusionGraph
from yolotrt_lab.report.plots.layers import network_heatmap
from yolotrt_lab.report.plots.roofline import layer_roofline
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.schema import PlatformInfo
from yolotrt_lab.types import FloatArray

FEW, MANY = 4, 64


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        if options.memory_of:
            _print_memory(options)
        else:
            _run(options)
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint (.pt)")
    parser.add_argument("--data", required=True, help="data.yaml, or the name of a dataset")
    parser.add_argument("--split", default="train", help="which of its splits (default train)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of roof and layers (default 5)")
    parser.add_argument("--block", default="/model.4", help="block whose fusion is drawn (default /model.4)")
    parser.add_argument("--output", type=Path, help="folder for layers_and_fp16.json, .md and the pictures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--memory-of", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fp32 = folder / "fp32.onnx"
        export_onnx(options.model, fp32, image_size=640)
        graphs = {"fp32": fp32, "fp16": folder / "fp16.onnx", "int8": folder / "int8.onnx"}
        note("FP16: looking for overflow, and comparing with FP32 node by node")
        fp16 = _fp16_results(graphs, options, folder)
        quantize_onnx(fp32, graphs["int8"], table=calibrate(fp32, _images(options, 32)))
        engines = {
            key: build_engine(graph, folder / f"{key}.engine", options=EngineOptions()).path
            for key, graph in graphs.items()
        }
        note("Measuring the roof and the layers; the machine should have nothing else to do")
        roofs, views = _measured(engines, graphs, options.repeats)
        payload = {
            "model": options.model.name,
            "machine": machine_description(),
            "operations": _operations(options.model, fp32),
            "fp16": fp16,
            "roof": roofs,
            "layers": {key: _layers_summary(found) for key, found in views.items()},
        }
        if options.output is not None:
            _write(options, payload, {key: found[-1] for key, found in views.items()})
    emit(payload, as_json=options.json, human=_tables(payload))


def _images(options: argparse.Namespace, count: int) -> ImageBatches:
    images = load_dataset(str(options.data)).images(options.split)
    return ImageBatches(pick_images(images, count=count), input_hw=(640, 640))


def _fp16_results(graphs: dict[str, Path], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    report = convert_to_fp16(graphs["fp32"], graphs["fp16"], images=_images(options, 16))
    errors = [check_fp16(graphs["fp32"], graphs["fp16"], [image]).output_error for image in _images(options, 5)]
    planted = folder / "planted.onnx"
    _plant_overflow(graphs["fp32"], planted)
    naive = convert_to_fp16(planted, folder / "naive.onnx")
    first = check_fp16(planted, naive.path, _images(options, 1)).first
    repaired = convert_to_fp16(planted, folder / "repaired.onnx", images=_images(options, 2))
    ranges, check = repaired.ranges, repaired.check
    assert report.ranges is not None
    assert ranges is not None
    assert check is not None
    return {
        "largest_value": max(item.amax for item in report.ranges.ranges),
        "overflows": len(report.ranges.overflows),
        "output_error": _spread(errors),
        "planted": "/planted/Grow",
        "named_by_ranges": [item.node for item in ranges.overflows],
        "named_by_check": None if first is None else first.node,
        "repaired_error": check.output_error,
        "rss_mib": {str(count): _memory_of(count, options, graphs["fp32"]) for count in (FEW, MANY)},
    }


def _plant_overflow(source: Path, target: Path) -> None:
    """Let the values behind the middle of the network grow by 2^15 and shrink again."""
    model = onnx.load(source)
    nodes = list(model.graph.node)
    products = [node for node in nodes if node.op_type == "Mul" and "act" in node.name]
    tensor = products[len(products) // 2].output[0]
    for node in nodes:
        for slot, name in enumerate(node.input):
            if name == tensor:
                node.input[slot] = "planted_calm"
    nodes.append(helper.make_node("Mul", [tensor, "planted_up"], ["planted_grown"], name="/planted/Grow"))
    nodes.append(helper.make_node("Mul", ["planted_grown", "planted_down"], ["planted_calm"], name="/planted/Shrink"))
    for name, value in (("planted_up", 2.0**15), ("planted_down", 2.0**-15)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    replace_nodes(model.graph, nodes)
    onnx.save(model, target)


def _memory_of(count: int, options: argparse.Namespace, graph: Path) -> float:
    """Return the peak memory in MiB of a process that looks for overflow on so many images."""
    command = [sys.executable, __file__, str(graph), "--data", str(options.data), "--split", options.split]
    done = subprocess.run([*command, "--memory-of", str(count)], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["rss_mib"])


def _print_memory(options: argparse.Namespace) -> None:
    batches: Sequence[FloatArray] | ImageBatches = _images(options, options.memory_of)
    measure_ranges(options.model, batches)
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"rss_mib": int(peak_kib) / 1024}))


def _measured(
    engines: dict[str, Path], graphs: dict[str, Path], repeats: int
) -> tuple[dict[str, Any], dict[str, list[LayerView]]]:
    found = [measure_roof(open_with_tensorrt) for _ in range(repeats)]
    best = max(found, key=lambda roof: roof.peak("fp32"))
    names = sorted({name for roof in found for name in roof.peak_gflops})
    roofs: dict[str, Any] = {f"{name} GFLOP/s": _spread([roof.peak(name) for roof in found]) for name in names}
    roofs["GB/s"] = _spread([roof.bandwidth_gb_s for roof in found])
    views: dict[str, list[LayerView]] = {key: [] for key in engines}
    for _ in range(repeats):
        for key, engine in engines.items():
            measured = measure_model_layers(engine, label=key, backend="tensorrt")
            views[key].append(view_layers(measured, graphs[key], best))
    return roofs, views


def _layers_summary(views: list[LayerView]) -> dict[str, Any]:
    return {
        "runs_in": str(views[0].measured.executed_precision),
        "layers": len(views[0].placed),
        "counted_share": views[0].counted_share,
        "sum_ms": _spread([view.measured.total_ms for view in views]),
        "spread": _spread([view.measured.spread for view in views]),
        "gflops": _spread([view.costs.total().flops / view.measured.total_ms / 1e6 for view in views]),
        "top_three_share": _spread([sum(sorted(item.share for item in view.placed)[-3:]) for view in views]),
        "reformat_share": _spread([sum(x.share for x in view.placed if x.bound == "reformat") for view in views]),
        "advice": [item.text for item in views[-1].advice],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": float(min(values)), "median": float(np.median(values)), "max": float(max(values))}


def _operations(checkpoint: Path, fp32: Path) -> dict[str, float]:
    """Return GFLOP per image: ours of the products, and Ultralytics' of the fused network, which counts those."""
    ultralytics = require("ultralytics", purpose="count a checkpoint's operations")
    from ultralytics.utils.torch_utils import get_flops

    network = ultralytics.YOLO(str(checkpoint)).model.float().fuse(verbose=False)
    total = graph_costs(fp32).total()
    return {
        "ours_gflop": total.flops / 1e9,
        "ours_products_gflop": total.product_flops / 1e9,
        "ultralytics_gflop": float(get_flops(network, 640)),
    }


def _tables(payload: dict[str, Any]) -> list[Any]:
    def text(spread: dict[str, float], scale: float = 1.0) -> str:
        return "/".join(f"{spread[key] * scale:.3g}" for key in ("min", "median", "max"))

    fp16, counted = payload["fp16"], payload["operations"]
    lines = [
        f"Operations: {counted['ours_products_gflop']:.3f} GFLOP in products, Ultralytics says "
        f"{counted['ultralytics_gflop']:.3f}; {counted['ours_gflop']:.3f} with everything else.",
        f"FP16: largest value {fp16['largest_value']:.4g}, {fp16['overflows']} overflows; error of the output, rounded "
        f"node by node (min / median / max of 5 images): {text(fp16['output_error'])}.",
        f"Planted overflow {fp16['planted']}: named by the ranges {fp16['named_by_ranges']}, by the check "
        f"{fp16['named_by_check']}; error after the repair {fp16['repaired_error']:.2g}.",
        f"Peak memory of the search: {fp16['rss_mib'][str(FEW)]:.0f} MiB with {FEW} images, "
        f"{fp16['rss_mib'][str(MANY)]:.0f} MiB with {MANY}.",
    ]
    roof = table(
        "Roof (min / median / max)", ("", "rate"), [(key, text(item)) for key, item in payload["roof"].items()]
    )
    layers = [
        f"{key.upper()} engine, runs in {item['runs_in'].upper()}, {item['layers']} layers: {text(item['sum_ms'])} ms, "
        f"{text(item['gflops'])} GFLOP/s; the three slowest take {text(item['top_three_share'], 100)} %, reformats "
        f"{text(item['reformat_share'], 100)} %; median over fastest run {text(item['spread'])}."
        for key, item in payload["layers"].items()
    ]
    return [*lines, roof, "Layers (min/median/max of the repeats):", *layers]


def _write(options: argparse.Namespace, payload: dict[str, Any], views: dict[str, LayerView]) -> None:
    emulated = any(view.measured.platform == "emulated" for view in views.values())
    platform = PlatformInfo("emulated", "", cpu_name()) if emulated else None
    engines = {key: view.measured.layers for key, view in views.items()}
    graph = FusionGraph(views["int8"].placed, views["int8"].costs)
    figures = {
        "layers_network": network_heatmap(layer_matrix(engines, by_block=True), platform=platform),
        "layers_roofline": layer_roofline(views["int8"].placed, views["int8"].roof, platform=platform),
        "layers_fusion_hottest": hottest_fusions(graph, platform=platform),
        "layers_fusion_block": block_fusion(graph, block=options.block, platform=platform),
    }
    for name, figure in figures.items():
        write_bytes(options.output / f"{name}.png", figure_to_png(figure, dpi=100))
    write_json(options.output / "layers_and_fp16.json", payload)
    parts = [f"- {item}" for item in _tables(payload) if isinstance(item, str)]
    parts += [f"- {key}: {text}" for key, item in payload["layers"].items() for text in item["advice"][:3]]
    write_text(options.output / "layers_and_fp16.md", "\n".join(("# Layers and FP16", "", *parts, "")))


if __name__ == "__main__":
    sys.exit(main())
