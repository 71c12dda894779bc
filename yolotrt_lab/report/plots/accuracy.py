"""Precision-recall curves, and the engines' agreement with ONNX Runtime as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from yolotrt_lab.report.plots.style import INK, escaped, finish_axes, new_figure, series_colors, short_name
from yolotrt_lab.report.schema import Agreement, Curve

__all__ = ["agreement_cells", "agreement_table", "column_title", "pr_curves"]

_LINE_STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_PANEL_LIMIT = 9


def pr_curves(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw precision over recall at IoU 0.5: one panel per class, one line per engine.

    Args:
        curves: Engine name to class name to curve. At most nine classes are drawn, the first ones.
    """
    classes = list(dict.fromkeys(name for per_class in curves.values() for name in per_class))[:_PANEL_LIMIT]
    columns = min(max(len(classes), 1), 3)
    rows = math.ceil(max(len(classes), 1) / columns)
    figure = new_figure(height=1.0 + 2.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colors = series_colors(list(curves))
    for index, axes in enumerate(panels.flat):
        if index >= len(classes):
            axes.set_visible(False)
            continue
        label = classes[index]
        for order, (engine, per_class) in enumerate(curves.items()):
            if label in per_class:
                axes.plot(
                    per_class[label].recall, per_class[label].precision, color=colors[engine], linewidth=2,
                    linestyle=_LINE_STYLES[order % len(_LINE_STYLES)], label=short_name(engine),
                )  # fmt: skip
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        first_column, last_row = index % columns == 0, index + columns >= len(classes)
        finish_axes(
            axes,
            title=escaped(label),
            xlabel="Recall" if last_row else "",
            ylabel="Precision" if first_column else "",
            grid="both",
        )
        axes.tick_params(labelbottom=last_row)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles))
    return figure


def column_title(key: str) -> str:
    """Return the heading of one number of an agreement.

    Example:
        >>> column_title("relative_l2")
        'relative L2'
    """
    text = key.replace("map50_95", "mAP50-95").replace("_", " ")
    return text.replace(" l2", " L2").replace("iou", "IoU")


def agreement_cells(value: bool | float | str | None) -> str:
    """Return one number of an agreement as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if 0.999 < value < 1:  # a cosine of 0.999996 is not 1
        return f"{value:.6f}"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.5g}"
    return f"{value:.1e}"


def agreement_table(agreements: Mapping[str, Agreement], *, columns: Sequence[str] = ()) -> Figure:
    """Draw how each engine compares with FP32 ONNX Runtime, with the verdict.

    Args:
        agreements: Engine name to its agreement.
        columns: Which numbers to show; by default those that all engines have, at most seven.
    """
    available = [*_common([item.tensor for item in agreements.values()])]
    available += [key for key in _common([item.boxes for item in agreements.values()]) if key not in available]
    chosen = list(columns) or available[:7]
    header = ["Engine", *(column_title(key) for key in chosen), "Verdict"]
    rows = [
        [short_name(name), *(agreement_cells({**item.boxes, **item.tensor}.get(key)) for key in chosen), item.verdict]
        for name, item in agreements.items()
    ]
    figure = new_figure(height=0.9 + 0.42 * (len(rows) + 1))
    axes = figure.add_subplot()
    axes.axis("off")
    if not rows:
        return figure
    axes.set_title("Agreement with FP32 ONNX Runtime", loc="left", fontsize=13, color=INK)
    table = axes.table(cellText=rows, colLabels=header, loc="center", cellLoc="center", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    table.auto_set_column_width(range(len(header)))
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#d0d0d0")
        if row == 0:
            cell.set_facecolor("#f1f1f1")
            cell.set_text_props(weight="bold")
        elif column == len(header) - 1:
            passed = rows[row - 1][-1] == "pass"
            cell.set_facecolor("#d5efe3" if passed else "#f8d7c9")
            cell.get_text().set_text("pass" if passed else "FAIL")
    return figure


def _common(mappings: Sequence[Mapping[str, object]]) -> list[str]:
    if not mappings:
        return []
    return [key for key in mappings[0] if all(key in other for other in mappings)]
