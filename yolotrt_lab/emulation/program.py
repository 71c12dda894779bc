"""Runs another program in this process as Python itself would: `sys.argv`, `sys.path`, `__main__`, tracebacks."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from yolotrt_lab.errors import InputError

__all__ = ["Program", "code_program", "find_program", "module_program", "run"]


@dataclass(frozen=True)
class Program:
    """What is to be run.

    Attributes:
        name: What `sys.argv[0]` will be.
        source: The text, or the code where Python has it already.
        filename: The file's name in tracebacks.
        search_path: What comes first in `sys.path`, None to leave that as it is.
        file: `__file__`, None if the program is no file.
        spec: `__spec__`: modules have one, scripts have none.
    """

    name: str
    source: bytes | str | CodeType
    filename: str
    search_path: str | None
    file: str | None = None
    spec: importlib.machinery.ModuleSpec | None = None


def find_program(name: str) -> Program:
    """Return the script of this name: a file, a folder or archive with `__main__.py`, "-" or a console script.

    Raises:
        InputError: There is none.
    """
    path = Path(name)
    if name == "-":
        return Program("-", sys.stdin.read(), "<stdin>", "")
    if path.is_file() and not _is_archive(path):
        with path.open("rb") as stream:
            source = stream.read()
        absolute = os.path.join(os.getcwd(), name)
        return Program(name, source, absolute, os.path.dirname(os.path.realpath(name)), file=absolute)
    if path.exists():
        spec = importlib.machinery.PathFinder.find_spec("__main__", [name])
        if spec is not None and spec.loader is not None:
            return _from_spec(spec, name, search_path=os.path.abspath(name))
    return _console_script(name)


def module_program(name: str) -> Program:
    """Return the module of this name, as `python -m` finds it.

    Raises:
        InputError: There is none, or it is a package that cannot be run.
    """
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"Python cannot find the module {name}.", got=error) from error
    if spec is None or spec.loader is None:
        raise InputError(f"There is no module {name} to run.", fix="Name it as for `python -m`, without .py.")
    return _from_spec(spec, spec.origin or name, search_path=None)


def code_program(text: str) -> Program:
    """Return a program given as text, as for `python -c`."""
    return Program("-c", text, "<string>", "")


def run(program: Program, arguments: Sequence[str]) -> None:
    """Run a program as `__main__`. What it raises is shown by `sys.excepthook`, without the frames of this package.

    Raises:
        SystemExit: The program asked for it, or it failed.
        KeyboardInterrupt: It was interrupted.
    """
    sys.argv = [program.name, *arguments]
    if program.search_path is not None and not sys.flags.safe_path:
        sys.path[0] = program.search_path
    module = _main_module(program)
    sys.modules["__main__"] = module
    try:
        code = program.source
        if not isinstance(code, CodeType):
            code = compile(code, program.filename, "exec", dont_inherit=True)
        exec(code, vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        error.__traceback__ = shown = None if trace is None else trace.tb_next
        sys.excepthook(type(error), error, shown)
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = _say_nothing_more
            raise  # Python ends an interrupted process by the signal, so that shells notice
        sys.exit(1)


def _say_nothing_more(*error: object) -> None:
    """Stand in for `sys.excepthook` when the error was shown already."""


def _main_module(program: Program) -> ModuleType:
    module = ModuleType("__main__")
    content: dict[str, Any] = {"__builtins__": builtins, "__annotations__": {}, "__spec__": program.spec}
    if program.spec is not None:
        content |= {"__package__": program.spec.parent, "__loader__": program.spec.loader}
    elif program.file is not None:
        content["__loader__"] = importlib.machinery.SourceFileLoader("__main__", program.file)
    if program.file is not None:
        content |= {"__file__": program.file, "__cached__": None}
    vars(module).update(content)
    return module


def _from_spec(spec: importlib.machinery.ModuleSpec, name: str, *, search_path: str | None) -> Program:
    loader: Any = spec.loader
    code = loader.get_code(spec.name) if hasattr(loader, "get_code") else None
    if code is None:
        raise InputError(f"{spec.name} has no Python code to run.", got=spec.origin)
    return Program(name, code, spec.origin or name, search_path, file=spec.origin, spec=spec)


def _console_script(name: str) -> Program:
    """Return the program an installed package offers as a command.

    Raises:
        InputError: There is no such command.
    """
    found = next(iter(importlib.metadata.entry_points(group="console_scripts", name=name)), None)
    if found is None:
        raise InputError(
            f"There is nothing to run called {name}.",
            expected="a Python file, a folder with __main__.py, or the name of an installed Python command",
            got=f"no such file in {os.getcwd()}, and no installed package offers this command",
        )
    beside = os.path.join(os.path.dirname(sys.executable), name)
    installed = beside if os.path.exists(beside) else shutil.which(name) or name
    function = found.attr.partition(".")[0]
    text = f"import sys\nfrom {found.module} import {function}\nsys.exit({found.attr}())\n"
    return Program(installed, text, installed, os.path.dirname(installed), file=installed)


def _is_archive(path: Path) -> bool:
    """Return whether Python would run a file as a zip archive."""
    import zipfile

    with io.open_code(str(path.absolute())) as stream:
        return stream.read(2) != b"#!" and zipfile.is_zipfile(path)
