"""The report: one HTML file that needs nothing else, fit for screen, dark mode, print and screen readers."""

from __future__ import annotations

import base64
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from yolotrt_lab import __version__
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_text
from yolotrt_lab.report.captions import alternative_text, caption
from yolotrt_lab.report.figures import figures_from_results
from yolotrt_lab.report.plots.style import figure_to_png, figure_to_svg
from yolotrt_lab.report.schema import Results, validate_results
from yolotrt_lab.report.sections import FIGURE_SECTIONS, Section, sections_from_results

__all__ = ["page_environment", "render_report", "write_report"]

# What the page shows as a table, which can be read aloud and searched; the figure is for slides.
_TABULATED = frozenset({"agreement"})
_TITLE = "From YOLO to TensorRT: results"


@dataclass(frozen=True)
class _EmbeddedFigure:
    """A figure as a data URI, with its size in CSS pixels and its words."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


def _embed(key: str, figure: Figure, results: Results) -> _EmbeddedFigure:
    """Embed as SVG, or as PNG when the figure holds photographs."""
    arrays = [image.get_array() for axes in figure.axes for image in axes.images]
    has_photographs = any(array is not None and array.ndim == 3 for array in arrays)
    if has_photographs:
        kind, data = "image/png", figure_to_png(figure)
    else:
        kind, data = "image/svg+xml", figure_to_svg(figure)
    width, height = figure.get_size_inches()
    return _EmbeddedFigure(
        source=f"data:{kind};base64,{base64.b64encode(data).decode()}",
        alt=alternative_text(key, results),
        caption=caption(key),
        width=round(100 * width),
        height=round(100 * height),
    )


def _number_text(value: object) -> str:
    if isinstance(value, numbers.Integral):
        return str(value)
    return f"{value:.6g}" if isinstance(value, numbers.Real) else str(value)


def _keys(items: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for item in items for key in item))


def page_environment(*packages: str) -> jinja2.Environment:
    """Return what pages are made with: everything is escaped, and a name that is missing is an error.

    Args:
        packages: Packages with templates of their own, which go before this one's.
    """
    loaders = [jinja2.PackageLoader(name, "templates") for name in (*packages, "yolotrt_lab.report")]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template() -> jinja2.Template:
    environment = page_environment()
    environment.filters["words"] = lambda key: str(key).replace("_", " ")
    environment.filters["number"] = _number_text
    environment.filters["keys"] = _keys
    return environment.get_template("report.html.j2")


def _filled_sections(results: Results, figures: Mapping[str, Figure]) -> list[Section]:
    sections = {section.key: section for section in sections_from_results(results)}
    order = [*FIGURE_SECTIONS, *(key for key in figures if key not in FIGURE_SECTIONS)]
    for key in order:
        if key in figures and key not in _TABULATED:
            section = sections[FIGURE_SECTIONS.get(key, "further")]
            section.figures.append(_embed(key, figures[key], results))
    return [
        section
        for section in sections.values()
        if section.points or section.tables or section.fields or section.figures or section.paragraphs
    ]


def _subtitle(results: Results) -> str:
    parts = [
        f"{results.dataset.name}, {results.dataset.split} split" if results.dataset else "",
        f"TensorRT {results.platform.tensorrt_version} ({results.platform.kind})",
        results.platform.processor,
        results.finished or results.started,
    ]
    return ", ".join(part for part in parts if part)


def render_report(
    results: Results | Mapping[str, Any],
    *,
    figures: Mapping[str, Figure] | None = None,
    folder: Path | None = None,
    title: str = _TITLE,
) -> str:
    """Return the report as HTML.

    Everything that comes from data (class names, file names, messages) is escaped; the page forbids scripts and loads
    nothing.

    Args:
        results: Results, or their JSON form, which is checked first. Sections without data are left out.
        figures: Figures by key (`sections.FIGURE_SECTIONS` names the known ones); they replace those drawn from the
            results. Unknown keys appear under "Further figures".
        folder: Where results.json lies, to find the example images.
        title: Heading of the page.

    Raises:
        InputError: The results are against the schema.
    """
    checked = results if isinstance(results, Results) else validate_results(results)
    drawn = {**figures_from_results(checked, folder=folder), **(figures or {})}
    for key, figure in drawn.items():
        if not isinstance(figure, Figure):
            raise InputError(f"figures[{key!r}] is no figure.", expected="matplotlib Figure", got=type(figure).__name__)
    return _template().render(
        title=title,
        subtitle=_subtitle(checked),
        results=checked,
        sections=_filled_sections(checked, drawn),
        version=__version__,
    )


def write_report(
    path: Path,
    results: Results | Mapping[str, Any],
    figures: Mapping[str, Figure] | None = None,
    *,
    folder: Path | None = None,
    title: str = _TITLE,
) -> Path:
    """Write the report as one self-contained HTML file and return its path.

    Args:
        path: The .html file.
        results: As for `render_report`.
        figures: As for `render_report`.
        folder: Where the example images named in the results lie; by default beside the report.
        title: Heading of the page.

    Raises:
        InputError: The results are against the schema; nothing is written.
        OutputError: The file cannot be written.
    """
    text = render_report(results, figures=figures, folder=folder or path.parent, title=title)
    write_text(path, text)
    return path
