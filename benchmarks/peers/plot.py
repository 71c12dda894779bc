"""Accuracy against time relative to FP32, one panel per data set, made from the JSON alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from peers.recipes import OURS
from peers.results import Row
from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import GREY, INK, finish_axes, new_figure, readable

__all__ = ["in_view", "tradeoff_figure"]

MOST_DROP_SHOWN = 0.06
MOST_TIME_SHOWN = 1.12
COLORS = {
    OURS: "#009E73", "not quantized": "#6b6b6b", "Ultralytics": "#0072B2", "NNCF": "#56B4E9", "ModelOpt": "#8C6D31",
    "ONNX Runtime": "#D55E00",
}  # fmt: skip
MARKERS = {"TensorRT": "D", "OpenVINO f32": "o", "OpenVINO bf16": "s", "ONNX Runtime": "^"}


def tradeoff_figure(results: Mapping[str, Any]) -> Figure:
    """Draw one panel per data set: up and to the left is better.

    The fastest runtime of each model is filled and labeled; its other runtimes are hollow. Horizontal bars span the
    repeats, vertical ones the 95 % interval of the difference to FP32 over the images.
    """
    datasets = results["datasets"]
    figure = new_figure(width=9.0, height=1.0 + 5.0 * len(datasets))
    panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
    makers = {row["maker"] for content in datasets.values() for row in content["rows"] if "reason" not in row}
    figure.legend(
        handles=[*_maker_handles(makers), *_runtime_handles(results["tensorrt_platform"])],
        loc="outside lower center", ncols=4, fontsize=10, frameon=False, labelcolor=INK,
    )  # fmt: skip
    drawn = [(axes, _draw(axes, name, content)) for axes, (name, content) in zip(panels, datasets.items(), strict=True)]
    for axes, (rows, lines) in drawn:  # last, when no panel moves any more
        inks = [readable(COLORS.get(row["maker"], INK)) for row in rows]
        notes = place_labels(
            axes,
            [_point(row) for row in rows],
            [row["model"] if row["maker"] in (OURS, "not quantized") else _peer_label(row) for row in rows],
            colors=inks,
            segments=lines,
        )
        for note, row, ink in zip(notes, rows, inks, strict=True):
            _connect(axes, note, _point(row), ink)
    return figure


def _peer_label(row: Row) -> str:
    return f"{row['maker']}: {row['model']}"


def in_view(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the measured rows that the panel shows and those too far away to be shown with the others."""
    measured = [row for row in rows if "reason" not in row]
    near = [
        row
        for row in measured
        if row["map50_95_drop"]["value"] <= MOST_DROP_SHOWN and row["time_to_fp32"]["median"] <= MOST_TIME_SHOWN
    ]
    return near, [row for row in measured if row not in near]


Line = tuple[tuple[float, float], tuple[float, float]]


def _draw(axes: Axes, name: str, content: Mapping[str, Any]) -> tuple[list[Row], list[Line]]:
    """Draw a panel and return the rows to label and the lines that labels should not cover."""
    shown, far = in_view(content["rows"])
    fastest: dict[tuple[str, str], Row] = {}
    for row in sorted(shown, key=lambda row: row["time_to_fp32"]["median"]):
        fastest.setdefault((row["maker"], row["model"]), row)
    lines: list[Line] = []
    for row in shown:
        is_filled = fastest[row["maker"], row["model"]] is row
        lines += _draw_row(axes, row, is_filled=is_filled)
    front = sorted(_point(row) for row in shown if row["on_front"])
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        axes.plot(x, y, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        lines += list(itertools.pairwise(front))
    _set_limits(axes, shown)
    finish_axes(
        axes,
        title=f"{name}, {content['test_images']} test images (better: up and left; dashed: Pareto front)",
        xlabel="Time of one inference relative to our FP32 engine" + _far_note(far),
        ylabel="mAP50-95",
        grid="both",
    )
    return list(fastest.values()), lines


def _draw_row(axes: Axes, row: Row, *, is_filled: bool) -> list[Line]:
    x, y = _point(row)
    color = COLORS.get(row["maker"], INK)
    time, drop = row["time_to_fp32"], row["map50_95_drop"]
    reference = y + drop["value"]
    low, high = min(reference - drop["high"], y), max(reference - drop["low"], y)
    if is_filled:
        axes.errorbar(
            x, y, xerr=[[x - time["min"]], [time["max"] - x]], yerr=[[y - low], [high - y]], fmt="none",
            ecolor=color, elinewidth=1.2, capsize=3, alpha=0.7, zorder=2,
        )  # fmt: skip
    axes.plot(
        [x], [y], marker=MARKERS.get(row["runtime"], "o"), markersize=9 if is_filled else 6, color=color,
        markerfacecolor=color if is_filled else "white", linestyle="none", zorder=4 if row["maker"] == OURS else 3,
    )  # fmt: skip
    return [((time["min"], y), (time["max"], y)), ((x, low), (x, high))] if is_filled else [((x, y), (x, y))]


def _point(row: Row) -> tuple[float, float]:
    return row["time_to_fp32"]["median"], row["map50_95"]


def _set_limits(axes: Axes, rows: Sequence[Row]) -> None:
    if not rows:
        return
    x, y = [_point(row)[0] for row in rows], [_point(row)[1] for row in rows]
    pad_x, pad_y = 0.1 * max(max(x) - min(x), 0.1), 0.2 * max(max(y) - min(y), 0.02)
    axes.set_xlim(max(min(x) - pad_x, 0), max(x) + pad_x)
    axes.set_ylim(min(y) - pad_y, max(y) + pad_y)


def _far_note(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    models: dict[str, list[str]] = {}
    for row in rows:
        names = models.setdefault(row["maker"], [])
        names += [] if row["model"] in names else [row["model"]]
    listed = "; ".join(f"{maker}: {', '.join(names)}" for maker, names in models.items())
    return f"\nToo slow or inaccurate to show in some runtimes, see the table ({len(rows)} rows):\n{listed}"


def _connect(axes: Axes, note: Annotation, point: tuple[float, float], color: str) -> None:
    """Draw a thin line from a label to its point."""
    box = note.get_window_extent()
    x, y = axes.transData.transform(point)
    nearest = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
    (end,) = axes.transData.inverted().transform([nearest])
    axes.plot([point[0], end[0]], [point[1], end[1]], color=color, linewidth=0.7, alpha=0.7, zorder=2)


def _maker_handles(makers: Iterable[str]) -> list[Line2D]:
    known = [maker for maker in COLORS if maker in set(makers)]
    return [
        Line2D([], [], color=COLORS[maker], marker="o", markersize=8, linestyle="none", label=maker) for maker in known
    ]


def _runtime_handles(platform: str) -> list[Line2D]:
    names = {"TensorRT": f"TensorRT ({platform}; CPU timings)" if platform == "emulated" else "TensorRT"}
    return [
        Line2D(
            [], [], color=GREY, marker=marker, markersize=7, linestyle="none", markerfacecolor="white",
            label=names.get(name, name),
        )
        for name, marker in MARKERS.items()
    ]  # fmt: skip
