"""`yolotrt doctor`: look at this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from yolotrt_lab.cli.console import JsonOption, emit, progress_bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.doctor import Diagnosis

__all__ = ["register"]

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]FAIL[/]", "absent": "[dim]absent[/]"}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Look at this machine: what the course can run here, what is wrong, and what to type.

    Checks Python, processor, memory, NVIDIA driver, CUDA, PyTorch, TensorRT, PyCUDA, ONNX Runtime, OpenVINO,
    Ultralytics, OpenCV and the grading tools, and whether their versions suit each other. The exit code is 0 if the
    course runs here and 3 if something required is missing.

    **Examples**

    `yolotrt doctor`

    `yolotrt doctor --json`
    """
    from yolotrt_lab.doctor import diagnose, gather_facts

    with progress_bar("Looking at this machine") as on_progress:
        facts = gather_facts(on_progress=on_progress)
    diagnosis = diagnose(facts)
    result = {
        "platform": diagnosis.platform,
        "summary": diagnosis.summary,
        "findings": [asdict(finding) for finding in diagnosis.findings],
    }
    emit(result, as_json=as_json, human=_human(diagnosis))
    raise typer.Exit(diagnosis.exit_code)


def _human(diagnosis: Diagnosis) -> list[Table | str]:
    from rich.markup import escape

    rows = [
        (finding.name, _MARKS[finding.status], escape(finding.found), escape(finding.meaning))
        for finding in diagnosis.findings
    ]
    fixes = [f"  {finding.name}: {finding.fix}" for finding in diagnosis.findings if finding.fix]
    parts: list[Table | str] = [table("This machine", ("", "", "found", "meaning"), rows)]
    if fixes:
        parts.append("\nTo mend or add:\n" + "\n".join(fixes))
    return [*parts, f"\n{diagnosis.summary}"]
