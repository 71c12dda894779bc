"""What all commands share: JSON or human output, progress bars, and errors without tracebacks.

Human text and progress bars go to stderr, so stdout holds the result only: a table, or one JSON object with `--json`.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from yolotrt_lab.errors import LabError
from yolotrt_lab.types import ProgressCallback

__all__ = ["JsonOption", "emit", "note", "print_error", "progress_bar", "table"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False)


def _jsonable(value: Any) -> Any:
    """Return `value` in JSON's types: paths as text, non-finite numbers as null, NumPy numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit(result: Mapping[str, Any], *, as_json: bool, human: Table | str | Sequence[Table | str]) -> None:
    """Print a command's result to stdout, as JSON or as text and tables."""
    if as_json:
        typer.echo(json.dumps(_jsonable(result), indent=2, ensure_ascii=False, allow_nan=False))
        return
    parts = [human] if isinstance(human, (str, Table)) else human
    for part in parts:
        if isinstance(part, str):
            _out.print(part, markup=False, soft_wrap=True)
        else:
            _out.print(part)


def note(text: str) -> None:
    """Print a remark for humans to stderr."""
    _err.print(text, markup=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table; columns whose every cell is a number are right-aligned."""
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows]
        numeric = bool(cells) and all(isinstance(cell, (int, float)) for cell in cells)
        result.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        result.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    return result


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[ProgressCallback]:
    """Show a progress bar on stderr and give the callback that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err) as progress:
        task = progress.add_task(description, total=None)

        def move(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield move


def print_error(error: LabError) -> None:
    """Print a LabError to stderr: what happened, then the details indented."""
    # The terminal wraps: a path that is broken in two cannot be copied.
    _err.print(f"[bold red]Error:[/] {_escaped(error.what)}", soft_wrap=True)
    for label, text in error.details():
        _err.print(f"  [bold]{label:<9}[/] {_escaped(text)}", soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
