"""Draw what the GPU benchmarks measured and write its tables, on any machine.

    python benchmarks/gpu_report.py course/results/gpu_h200.json

Writes gpu_h200.md, gpu_h200_frameworks.png, gpu_h200_precision.png and gpu_h200_stages.png beside the measurements.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from yolotrt_lab.report.plots.style import GREY, INK, figure_to_png, finish_axes, new_figure

_LOOKS = {"FP32": "#0072B2", "TF32": "#56B4E9", "FP16": "#E69F00"}
_MARKERS = {"PyTorch": "o", "PyTorch compiled": "s", "ONNX Runtime CUDA": "^", "TensorRT": "*"}
_STAGES = {
    "copy to the device": "#CC79A7",
    "letterbox": "#56B4E9",
    "network": "#0072B2",
    "decode and NMS": "#E69F00",
    "copy to the host": "#D55E00",
}
_SHORT = {"PyTorch compiled, CUDA graph": "PyTorch compiled, graph", "PyTorch CUDA graph": "PyTorch graph"}
_SHORT |= {"ONNX Runtime CUDA": "ONNX Runtime", "ONNX Runtime CUDA graph": "ONNX Runtime graph"}


def main() -> int:
    """Read, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    path: Path = parser.parse_args().measured
    found = json.loads(path.read_text(encoding="utf-8"))
    device = next(iter(found["frameworks"].values()))["provenance"]["device"]
    figures = {
        "frameworks": frameworks_figure(found["frameworks"], device),
        "precision": precision_figure(found["frameworks"], device),
        "stages": stages_figure(found["end_to_end"], device),
    }
    for name, figure in figures.items():
        path.with_name(f"{path.stem}_{name}.png").write_bytes(figure_to_png(figure, dpi=100))
    path.with_suffix(".md").write_text("\n".join(_lines(found, path.stem)) + "\n", encoding="utf-8")
    return 0


def frameworks_figure(frameworks: dict[str, Any], device: str) -> Figure:
    """Return milliseconds per image for every model and batch: a row per framework, a colour per precision."""
    figure = new_figure(width=9.0, height=8.2)
    panels = figure.subplots(len(frameworks), 3, sharey=True)
    for across, (model, part) in zip(panels, frameworks.items(), strict=True):
        for axes, batch in zip(across, (1, 8, 32), strict=True):
            rows = [row for row in part["speed"] if row["batch"] == batch and "milliseconds" in row]
            labels = [f"{_SHORT.get(row['framework'], row['framework'])} {row['precision']}" for row in rows]
            for place, row in enumerate(reversed(rows)):
                times = {key: row["milliseconds"][key] / batch for key in ("min", "median", "max")}
                axes.barh(place, times["median"], color=_LOOKS[row["precision"]], height=0.74)
                axes.plot([times["min"], times["max"]], [place, place], color=INK, linewidth=1)
                axes.annotate(f"{times['median']:.2f}", (times["max"], place), xytext=(3, 0), fontsize=8, va="center",
                              textcoords="offset points", color=INK)  # fmt: skip
            axes.set_xlim(0, 1.22 * max(row["milliseconds"]["max"] / batch for row in rows))
            finish_axes(axes, title=f"{model}, batch {batch}", xlabel="ms per image", grid="x")
            axes.set_title(f"{model}, batch {batch}", fontsize=10, loc="left", color=INK)
            axes.set_yticks(range(len(rows)), reversed(labels), fontsize=8)
            axes.xaxis.label.set_size(9)
    note = f"{device}, 640x640, network alone; bar: median over rounds, line: minimum to maximum."
    if all("note" in row for part in frameworks.values() for row in part["speed"] if row["framework"] == "TensorRT"):
        note += " No TensorRT there."
    figure.supxlabel(note, fontsize=9, color=GREY, x=0.01, ha="left")
    return figure


def precision_figure(frameworks: dict[str, Any], device: str) -> Figure:
    """Return mAP50-95 over the latency at batch 1 of every model that is trained."""
    figure = new_figure(height=4.6)
    axes = figure.subplots()
    for model, part in frameworks.items():
        for row in part["accuracy"]:
            if "map50_95" not in row:
                continue
            fastest = _fastest(part["speed"], row)
            axes.scatter(fastest["milliseconds"]["median"], row["map50_95"], s=110, zorder=3, edgecolor=INK,
                         color=_LOOKS[row["precision"]], marker=_MARKERS[row["framework"]],
                         label=f"{row['framework']} {row['precision']}: {row['map50_95']:.4f}")  # fmt: skip
        scores = [row["map50_95"] for row in part["accuracy"] if "map50_95" in row]
        if scores:
            axes.set_ylim(min(scores) - 0.004, max(scores) + 0.004)
            title = f"{model} on {part['accuracy'][0]['images']} test images of parts, FP32 to FP16"
            finish_axes(
                axes, title=title, xlabel="Latency at batch 1 as a CUDA graph (ms)", ylabel="mAP50-95", grid="both"
            )
    axes.set_xlim(left=0)
    axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    note = f"{device}. The other models have random weights here: no accuracy to show."
    figure.supxlabel(note, fontsize=9, color=GREY, x=0.01, ha="left")
    return figure


def _fastest(speed: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    """Return the fastest way to run a framework and precision at batch 1."""
    fitting = [
        item
        for item in speed
        if item["batch"] == 1
        and item["precision"] == row["precision"]
        and "milliseconds" in item
        and item["framework"].replace(",", "").removesuffix(" graph").removesuffix(" CUDA")
        == row["framework"].removesuffix(" CUDA")
    ]
    return min(fitting, key=lambda item: item["milliseconds"]["median"])


def stages_figure(end_to_end: dict[str, Any], device: str) -> Figure:
    """Return where the time between pinned memory and boxes goes."""
    bars = [
        (f"{model}, {row['network']}\n{size}", timed)
        for model, part in end_to_end.items()
        for row in part["rows"]
        if "sizes" in row and "not captured" not in row["network"]
        for size, timed in row["sizes"].items()
    ]
    figure = new_figure(height=1.6 + 0.5 * len(bars))
    axes = figure.subplots()
    for place, (_, timed) in enumerate(reversed(bars)):
        left = 0.0
        for name, color in _STAGES.items():
            width = timed["stages_ms"][name]["median"]
            axes.barh(place, width, left=left, color=color, height=0.62, label=name if place == 0 else None)
            left += width
        whole, bare = timed["ms"]["detector"]["median"], timed["ms"]["bare"]["median"]
        axes.plot([bare, bare], [place - 0.4, place + 0.4], color=INK, linewidth=2)
        axes.plot([whole, whole], [place - 0.4, place + 0.4], color=INK, linewidth=2, linestyle=":")
        text = f"{whole:.2f} ms, {timed['ratio_to_bare']['median']:.2f} of the bare call"
        axes.annotate(text, (max(whole, left), place), xytext=(5, 0), textcoords="offset points", fontsize=9,
                      va="center", color=INK)  # fmt: skip
    axes.set_xlim(0, 1.45 * max(timed["ms"]["detector"]["median"] for _, timed in bars))
    finish_axes(
        axes, title="From an image in pinned memory to boxes on the host", xlabel="Milliseconds, batch 1", grid="x"
    )
    axes.set_yticks(range(len(bars)), [label for label, _ in reversed(bars)], fontsize=9)
    figure.legend(fontsize=9, frameon=False, ncols=5, loc="outside upper center", labelcolor=INK)
    note = f"{device}. Bars: CUDA events. Solid line: bare network and wait; dotted: everything, on the host's clock."
    figure.supxlabel(note, fontsize=9, color=GREY, x=0.01, ha="left")
    return figure


def _cell(times: dict[str, Any] | None, digits: int = 3) -> str:
    if times is None:
        return ""
    return f"{times['median']:.{digits}f} ({times['min']:.{digits}f}-{times['max']:.{digits}f})"


def _lines(found: dict[str, Any], stem: str) -> Iterator[str]:
    first = next(iter(found["frameworks"].values()))["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    yield f"# {first['device']}, measured {first['date'][:10]}"
    yield ""
    yield f"Driver {first['before']['driver_version']}, CUDA {first['cuda']}, cuDNN {first['cudnn']}; {versions}."
    yield f"Clocks as found: {first['before']['clocks.sm']} idle, {first['after']['clocks.sm']} after, of at most"
    yield f"{first['before']['clocks.max.sm']}. Commands, commits and clocks of each part: [{stem}.json]({stem}.json)."
    yield ""
    yield from _framework_lines(found["frameworks"], stem)
    yield from _accuracy_lines(found["frameworks"], stem)
    yield from _end_to_end_lines(found["end_to_end"], stem)


def _framework_lines(frameworks: dict[str, Any], stem: str) -> Iterator[str]:
    yield "## The network alone"
    yield ""
    yield "Milliseconds per call at 640x640, median (minimum-maximum) over rounds. Only `yolov5n` is trained; the"
    yield "others have random weights: speed only. FP32 is with TF32 off; TF32 is what both frameworks do by default."
    for model, part in frameworks.items():
        rows: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for row in part["speed"]:
            rows.setdefault((row["framework"], row["precision"]), {})[row["batch"]] = row
        yield from (
            "",
            f"### {model}",
            "",
            "| framework | precision | batch 1 | batch 8 | batch 32 |",
            "|---|---|---|---|---|",
        )
        for (framework, precision), by_batch in rows.items():
            ordered = [row for _, row in sorted(by_batch.items())]
            cells = [_cell(row.get("milliseconds"), 2) for row in ordered]
            if not any(cells):
                cells[0] = ordered[0]["note"]
            yield f"| {framework} | {precision} | {' | '.join(cells)} |"
    yield ""
    yield f"![Frameworks]({stem}_frameworks.png)"
    yield ""


def _accuracy_lines(frameworks: dict[str, Any], stem: str) -> Iterator[str]:
    yield from ("## Accuracy", "", "| model | framework | precision | mAP50 | mAP50-95 |", "|---|---|---|---|---|")
    for model, part in frameworks.items():
        for row in part["accuracy"]:
            scores = f"{row['map50']:.4f} | {row['map50_95']:.4f}" if "map50" in row else f"{row['note']} |"
            yield f"| {model} | {row['framework']} | {row['precision']} | {scores} |"
        if not part["accuracy"]:
            yield f"| {model} | all | all | random weights here, so there is nothing to judge | |"
    yield from ("", f"![Accuracy against latency]({stem}_precision.png)", "")


def _end_to_end_lines(end_to_end: dict[str, Any], stem: str) -> Iterator[str]:
    yield from ("## From an image in pinned memory to boxes on the host", "")
    yield "Batch 1, milliseconds. Bare: the network alone and the wait, as a CUDA graph where it can be captured."
    yield ""
    yield "| model | network | image | bare | detector | ratio | no graphs | CPU steps | images/s, two slots (one) |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for model, part in end_to_end.items():
        for row in part["rows"]:
            if "sizes" not in row:
                yield f"| {model} | {row['network']} | {row['note']} | | | | | | |"
            for size, timed in row.get("sizes", {}).items():
                ms, fps = timed["ms"], timed["stream_fps"]
                cells = (
                    model, row["network"], size, _cell(ms["bare"]), _cell(ms["detector"]),
                    _cell(timed["ratio_to_bare"], 2),
                    f"{ms['no graphs']['median']:.2f}", f"{ms['CPU steps']['median']:.2f}",
                    f"{fps['two slots']['median']:.0f} ({fps['one slot']['median']:.0f})",
                )  # fmt: skip
                yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"![Stages]({stem}_stages.png)"
    yield ""
    for model, part in end_to_end.items():
        for row in part["rows"]:
            if agreement := row.get("agreement"):
                equal, images = agreement["images_equal_to_the_bit"], agreement["images"]
                name = f"{model}, {row['network']}"
                yield f"- {name}: {equal} of {images} images have the CPU detector's boxes to the bit"
                yield f"  ({agreement['boxes']} boxes above a score of {row['conf_threshold']:.3g})."


if __name__ == "__main__":
    sys.exit(main())
