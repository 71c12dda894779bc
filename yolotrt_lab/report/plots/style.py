"""One look for all figures: colours that survive colour blindness and grey print, type of 10 to 13 points, no clutter.

Colours are Okabe and Ito's (2008). Nothing here touches Matplotlib's global settings: sizes and colours are passed to
each artist, because ticks made late, at drawing time, would otherwise fall back to the global ones.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from yolotrt_lab.report.schema import PlatformInfo

__all__ = [
    "GREY",
    "INK",
    "color_for",
    "display_name",
    "escaped",
    "figure_to_png",
    "figure_to_svg",
    "finish_axes",
    "ink_on",
    "luminance",
    "new_figure",
    "readable",
    "series_colors",
    "short_name",
    "stamp_platform",
]

INK = "#1a1a1a"
GREY = "#6b6b6b"
_GRID = "#e3e3e3"
_SIZES = {"small": 10, "normal": 11, "title": 13}

_CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D31", "#4D4D4D")
_FIXED = {
    "fp32": "#0072B2",
    "fp16": "#E69F00",
    "int8": "#009E73",
    "bf16": "#CC79A7",
    "preprocess": "#56B4E9",
    "inference": "#0072B2",
    "postprocess": "#E69F00",
}
_DISPLAY = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}


def display_name(name: str) -> str:
    """Return an engine's name as people write it ("FP16"); other names stay as they are."""
    return _DISPLAY.get(name, name)


def short_name(name: str, *, length: int = 26) -> str:
    """Return an engine's name for an axis, shortened in its middle, where file names say least.

    Example:
        >>> short_name("yolov5n-parts-finetuned.int8.engine", length=20)
        'yolov5n-\u2026int8.engine'
    """
    text = display_name(name)
    if len(text) > length:
        head = length * 2 // 5
        text = f"{text[:head]}\u2026{text[len(text) - (length - head - 1) :]}"
    return escaped(text)


def escaped(text: str) -> str:
    """Return text that Matplotlib shows as it is: a pair of dollar signs would start mathematics."""
    return text.replace("$", r"\$")


def color_for(name: str) -> str | None:
    """Return the fixed colour of a precision or stage, or None."""
    return _FIXED.get(name.lower())


def series_colors(names: Sequence[str]) -> dict[str, str]:
    """Return one colour per name: the fixed ones, and different ones for the others."""
    taken = {color for name in names if (color := color_for(name))}
    free = [color for color in _CYCLE if color not in taken] or list(_CYCLE)
    others = [name for name in names if color_for(name) is None]
    assigned = {name: free[index % len(free)] for index, name in enumerate(others)}
    return {name: color_for(name) or assigned[name] for name in names}


def luminance(color: ColorType) -> float:
    """Return the relative luminance of a colour by WCAG 2: 0 for black, 1 for white."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def ink_on(color: ColorType) -> str:
    """Return black or white, whichever is easier to read on a colour."""
    return INK if luminance(color) > 0.19 else "white"


def readable(color: str) -> str:
    """Return a colour darkened until text in it on white has the contrast WCAG asks for (4.5 to 1)."""
    rgb = np.array(to_rgb(color))
    for _ in range(20):
        if 1.05 / (luminance(_color(rgb)) + 0.05) >= 4.5:
            break
        rgb = rgb * 0.92
    return to_hex(_color(rgb))


def _color(rgb: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(rgb[0]), float(rgb[1]), float(rgb[2])


def new_figure(*, width: float = 9.0, height: float = 4.8) -> Figure:
    """Return an empty figure in inches; 9 inches are 900 pixels at the report's 100 dots per inch."""
    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def finish_axes(
    axes: Axes,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    grid: Literal["x", "y", "both"] | None = "y",
    legend: bool = False,
) -> None:
    """Give axes the common look.

    Args:
        axes: What to finish; call it after plotting.
        title: Shown above, left-aligned.
        xlabel: With its unit.
        ylabel: With its unit.
        grid: "x", "y", "both" or None.
        legend: Whether to show one.
    """
    axes.set_facecolor("white")
    if title:
        axes.set_title(title, fontsize=_SIZES["title"], color=INK, loc="left", pad=10)
    axes.set_xlabel(xlabel, fontsize=_SIZES["normal"], color=INK)
    axes.set_ylabel(ylabel, fontsize=_SIZES["normal"], color=INK)
    axes.tick_params(labelsize=_SIZES["small"], colors=INK, labelcolor=INK, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.set_axisbelow(True)
    axes.grid(False, which="both")
    if grid:
        axes.grid(True, axis=grid, color=_GRID, linewidth=0.8)
    if legend:
        axes.legend(fontsize=_SIZES["small"], frameon=False, labelcolor=INK)


def stamp_platform(figure: Figure, platform: PlatformInfo | None, *, note: str = "") -> None:
    """Write below a figure where its timings come from; emulated ones say that they are no GPU timings."""
    parts = [text for text in (platform.timing_label if platform else "", note) if text]
    if not parts:
        return
    emulated = platform is not None and platform.is_emulated
    figure.supxlabel(
        ". ".join(part[:1].upper() + part[1:] for part in parts) + ".",
        fontsize=_SIZES["small"],
        color="#9a3412" if emulated else GREY,
        x=0.01,
        ha="left",
        wrap=True,
    )


@contextlib.contextmanager
def _any_alphabet() -> Iterator[None]:
    """Draw class names in an alphabet the font does not have as boxes, without a warning for every letter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def figure_to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    with _any_alphabet():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def figure_to_svg(figure: Figure) -> bytes:
    """Return a figure as SVG bytes, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with _any_alphabet(), matplotlib.rc_context({"svg.hashsalt": "yolotrt-lab", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
