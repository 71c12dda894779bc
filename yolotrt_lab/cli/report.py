"""`yolotrt report`: draw the report again from the numbers of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolotrt_lab.cli.console import JsonOption, emit

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(report)


def report(
    results: Annotated[Path, typer.Argument(help="The results.json of a run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML file to write [report.html beside the results].")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Also write each figure as a PNG into this folder.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "From YOLO to TensorRT: results",
    as_json: JsonOption = False,
) -> None:
    """Make the HTML report of a run from its results.json.

    The report is one file that needs nothing else: tables, figures, verdicts and provenance, in light and dark, ready
    to print. Example images are read from the run's folder.

    **Examples**

    `yolotrt report runs/demo/results.json`

    `yolotrt report runs/demo/results.json -o report.html --figures figures`
    """
    from yolotrt_lab.files import write_bytes
    from yolotrt_lab.report.figures import figures_from_results
    from yolotrt_lab.report.html import write_report
    from yolotrt_lab.report.plots.style import figure_to_png
    from yolotrt_lab.report.schema import read_results

    checked = read_results(results)
    drawn = figures_from_results(checked, folder=results.parent)
    target = output or results.with_name("report.html")
    write_report(target, checked, drawn, folder=results.parent, title=title)
    written = {key: figures / f"{key}.png" for key in drawn} if figures is not None else {}
    for key, path in written.items():
        write_bytes(path, figure_to_png(drawn[key]))
    human = [f"Report: {target}"]
    if written:
        human.append(f"Figures: {figures} ({len(written)} files)")
    emit({"report": target, "figures": written}, as_json=as_json, human=human)
