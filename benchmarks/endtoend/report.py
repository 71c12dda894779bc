"""The results as tables and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from endtoend.numbers import shown
from yolotrt_lab.report.plots.style import GREY, INK, finish_axes, new_figure, series_colors

__all__ = ["draw", "markdown"]

GOALS = {"overhead": 0.06, "speedup": 1.25, "stream": 1.05}
_WAYS = {"ultralytics": "Ultralytics predict", "detector": "Detector, one by one", "stream": "stream_detections"}


def markdown(results: Mapping[str, Any]) -> str:
    """Return all tables, with what they were measured on."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# End to end on the CPU",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; {versions}. Load average "
        f"before and after: {results['load_average']['before']:.1f} and {results['load_average']['after']:.1f}; "
        f"{results['seconds']:.0f} s in all. Every cell: median (least to greatest) over the repeats.",
        "",
        "**CPU timings, OpenVINO; TensorRT is emulated. Not GPU timings.**",
        "",
        *_overhead_lines(results["overhead"]),
        *_peer_lines(results["peers"]),
        *_stream_lines(results["streams"]),
        *_memory_lines(results["memory"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows)] + [""]


def _overhead_lines(overhead: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            row["images"],
            row["network"],
            conf,
            f"{cell['boxes_per_image']:.0f}",
            shown(cell["inference_ms"], digits=1),
            shown(cell["preprocess_ms"]),
            shown(cell["postprocess_ms"]),
            shown(cell["share"], digits=1, percent=True),
        )
        for row in overhead
        for conf, cell in row["thresholds"].items()
    ]
    header = ("images", "network", "conf", "boxes", "FP32 engine ms", "pre ms", "post ms", "pre + post to engine")
    return ["## What the detector adds to the FP32 engine (goal: at most 6 %)", "", *_table(header, rows)]


def _peer_lines(peers: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Against Ultralytics' predict, same OpenVINO model (goal: 1.25 times its images per second)", ""]
    header = (
        "arithmetic",
        "images",
        "way",
        "images/s",
        "ratio",
        "CPU ms per image",
        "boxes matched",
        "largest score gap",
    )
    rows = []
    for peer in peers:
        for key, per_s in peer["images_per_s"].items():
            way, source = key.split()
            ratio = shown(peer["ratios"][key]) if key in peer["ratios"] else "1"
            agreement = peer["agreement"].get(key)
            matched = f"{100 * agreement['matched']:.2f} % of {agreement['boxes']}" if agreement else ""
            gap = f"{agreement['max_score_delta']:.4f}" if agreement else ""
            cpu_ms = shown(peer["cpu_ms_per_image"][key], digits=1)
            rows.append((_arithmetic(peer), source, _WAYS[way], shown(per_s, digits=1), ratio, cpu_ms, matched, gap))
    return [*lines, *_table(header, rows)]


def _arithmetic(peer: Mapping[str, Any]) -> str:
    return f"{peer['precision'].upper()} ({'by default' if peer['asked'] == 'default' else 'by a hint'})"


def _stream_lines(streams: Sequence[Mapping[str, Any]]) -> list[str]:
    header = (
        "engine", "its threads", "load", "preprocess", "inference", "postprocess", "stream", "one by one",
        "stream to slowest stage alone",
    )  # fmt: skip
    rows = []
    for row in streams:
        times = [shown(row["ms_per_frame"][way]) for way in header[2:8]]
        rows.append((row["engine"], str(row["engine_threads"]), *times, shown(row["stream_to_slowest"], digits=3)))
    return [
        "## The stream against its slowest stage alone, ms per frame (goal: at most 1.05)",
        "",
        *_table(header, rows),
    ]


def _memory_lines(memory: Sequence[Mapping[str, Any]]) -> list[str]:
    header = (
        "engine",
        "way",
        "frames",
        "MiB at first",
        "at last",
        "last tenth less first",
        "MiB per 1000 frames (95 %)",
    )
    rows = []
    for row in memory:
        slope = row["mib_per_1000_frames"]
        middle, low, high = (round(slope[name], 4) + 0.0 for name in ("slope", "low", "high"))  # no negative zero
        interval = f"{middle:+.4f} ({low:+.4f} to {high:+.4f})"
        ends = (f"{row['first_mib']:.1f}", f"{row['last_mib']:.1f}", f"{row['growth_mib']:+.2f}")
        rows.append((row["engine"], _WAYS[row["way"]], str(row["frames"]), *ends, interval))
    return ["## Resident memory at input size 160, after warming up", "", *_table(header, rows)]


def draw(results: Mapping[str, Any]) -> Figure:
    """Draw the four answers, each with its goal."""
    figure = new_figure(width=12, height=8.4)
    axes = figure.subplots(2, 2)
    _draw_overhead(axes[0, 0], results["overhead"])
    _draw_peers(axes[0, 1], results["peers"])
    _draw_streams(axes[1, 0], results["streams"])
    _draw_memory(axes[1, 1], results["memory"])
    figure.supxlabel(
        f"{results['machine']['processor']}, {results['machine']['cores']} cores. OpenVINO on the CPU, TensorRT "
        "emulated: no GPU timings. Bars: median; whiskers: least and greatest repeat.",
        fontsize=10, color=GREY, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _bars(axes: Axes, labels: Sequence[str], values: Sequence[Mapping[str, float]], *, color: str, form: str) -> None:
    """Draw horizontal bars with whiskers from the first at the top, each with its value at its end."""
    for place, value in enumerate(values):
        middle = value["median"]
        whiskers = [[middle - value["min"]], [value["max"] - middle]]
        axes.barh(place, middle, height=0.62, color=color)
        axes.errorbar(middle, place, xerr=whiskers, color=INK, capsize=3, linewidth=1)
        axes.annotate(
            form.format(middle),
            (value["max"], place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 1.22 * max(value["max"] for value in values))


def _goal(axes: Axes, value: float, text: str) -> None:
    axes.axvline(value, color="#D55E00", linewidth=1.5, linestyle="--", zorder=0)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.2 * value))
    axes.text(
        value, 1.0, text, transform=axes.get_xaxis_transform(), color="#a84700", fontsize=10, ha="center", va="bottom"
    )


def _draw_overhead(axes: Axes, overhead: Sequence[Mapping[str, Any]]) -> None:
    labels, values = [], []
    for row in overhead:
        for conf, cell in row["thresholds"].items():
            labels.append(f"{row['short']}, {row['images']}, {conf}")
            values.append({name: 100 * value for name, value in cell["share"].items()})
    _bars(axes, labels, values, color="#56B4E9", form="{:.1f} %")
    finish_axes(axes, title="Pre- and postprocessing\n", xlabel="% of the FP32 engine's time", grid="x")
    _goal(axes, 100 * GOALS["overhead"], "goal: at most 6 %")


def _draw_peers(axes: Axes, peers: Sequence[Mapping[str, Any]]) -> None:
    labels, values = [], []
    for peer in peers:
        for key, ratio in peer["ratios"].items():
            way, source = key.split()
            labels.append(f"{'stream' if way == 'stream' else 'one by one'}, {source}, {peer['precision'].upper()}")
            values.append(ratio)
    _bars(axes, labels, values, color="#009E73", form="{:.2f}")
    finish_axes(axes, title="Images per second\n", xlabel="to those of Ultralytics' predict", grid="x")
    _goal(axes, GOALS["speedup"], "goal: 1.25")


def _draw_streams(axes: Axes, streams: Sequence[Mapping[str, Any]]) -> None:
    labels, values = [], []
    for row in streams:
        threads = "1 thread" if row["engine_threads"] == 1 else "all cores"
        name = "TensorRT emul." if row["engine"].startswith("TensorRT") else "OpenVINO"
        for way, key in (("stream", "stream_to_slowest"), ("one by one", "one_by_one_to_slowest")):
            labels.append(f"{name}, {threads}: {way}")
            values.append(row[key])
    _bars(axes, labels, values, color="#0072B2", form="{:.3f}")
    finish_axes(axes, title="Time to the slowest stage alone\n", xlabel="ratio of times per frame", grid="x")
    _goal(axes, GOALS["stream"], "goal: at most 1.05")


def _draw_memory(axes: Axes, memory: Sequence[Mapping[str, Any]]) -> None:
    names = [
        f"{'TensorRT emul.' if row['engine'].startswith('TensorRT') else 'OpenVINO'}, {row['way']}" for row in memory
    ]
    colors = series_colors(names)
    for name, row in zip(names, memory, strict=True):
        values = [value - row["first_mib"] for value in row["samples"]["mib"]]
        axes.plot(row["samples"]["frame"], values, color=colors[name], label=name, linewidth=1.5)
    reach = max(4.0, *(abs(value) * 1.2 for row in memory for value in (row["growth_mib"],)))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -reach), max(high, reach))
    title = "Memory since warming up\n"
    finish_axes(axes, title=title, xlabel="Frames", ylabel="MiB", grid="y", legend=True)
