"""The `yolotrt` program: gathers the commands and turns errors into messages and exit codes.

Exit codes: 0 done; 1 a check ran and its verdict is negative; 2 bad input or usage; 3 something needed is not
installed; 70 a bug in this program; 130 interrupted.

Command modules register themselves: each offers `register(app)`, and `_COMMANDS` lists them in the order of the path.
They import the heavy packages inside their functions, so `yolotrt --help` stays quick.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from yolotrt_lab import __version__
from yolotrt_lab.cli.console import note, print_error
from yolotrt_lab.errors import LabError, LabWarning

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="yolotrt",
    help="From a YOLO dataset to a fast, verified TensorRT engine.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"yolotrt {__version__}")
        raise typer.Exit


_INTERRUPTED = 130  # what typer exits with, and shells expect

# In the order a user walks the path; help shows them so.
_COMMANDS = (
    "doctor",
    "data",
    "train",
    "export",
    "verify",
    "calibrate",
    "quantize",
    "lint",
    "sensitivity",
    "build",
    "inspect",
    "layers",
    "infer",
    "evaluate",
    "bench",
    "report",
    "demo",
    "course",
)


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """From a YOLO dataset to a fast, verified TensorRT engine."""


for _name in _COMMANDS:
    importlib.import_module(f"yolotrt_lab.cli.{_name}").register(app)


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print the package's own warnings as remarks instead of lines of code."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, LabWarning):
            note(f"Note: {message}")
        else:
            standard(message, category, *rest, **more)

    with warnings.catch_warnings():
        standard = warnings.showwarning
        warnings.simplefilter("always", LabWarning)
        warnings.showwarning = show
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never let a traceback out for bad input."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        with _warnings_as_notes():
            app(None if arguments is None else list(arguments))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
        if code == _INTERRUPTED:
            note("Interrupted; nothing half-written was left behind.")
        return code
    except LabError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        note("Interrupted; nothing half-written was left behind.")
        return _INTERRUPTED
    except Exception as error:
        if os.environ.get("YOLOTRT_DEBUG"):
            raise
        note(f"Internal error: {type(error).__name__}: {error}")
        note("This is a bug in yolotrt. Run again with YOLOTRT_DEBUG=1 for the traceback and report it.")
        return 70
    return 0


def run() -> None:
    """Be the `yolotrt` program."""
    sys.exit(main())


if __name__ == "__main__":
    run()
