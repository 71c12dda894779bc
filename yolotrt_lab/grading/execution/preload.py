"""Which modules a zygote may import before it forks: what a lab imports anyway, where that leaves nothing running."""

from __future__ import annotations

import ast
import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.execution.job import CodeCell, ExecutionJob, cells_to_json
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.execution.run import execute

__all__ = ["imported_modules", "modules_of_run", "preload_modules"]

# Their import opens the device, or registers what stands in for it.
_NEVER = ("tensorrt", "tensorrt_bindings", "tensorrt_libs", "pycuda", "cuda", "cupy")
_PER_OUTPUT = 200
_LISTING = f"""
import sys
from IPython.display import display
names = sorted(sys.modules)
for start in range(0, len(names), {_PER_OUTPUT}):
    display({{"text/plain": "\\n".join(names[start : start + {_PER_OUTPUT}])}}, raw=True)
"""
# What serves notebooks and takes down answers, whatever the lab.
_ALWAYS = (
    "ipykernel.kernelapp", "ipykernel.zmqshell", "ipykernel.debugger", "matplotlib_inline.backend_inline",
    "yolotrt_lab.grading.suite",
)  # fmt: skip


def preload_modules(cells: Iterable[CodeCell], *, loaded: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the modules to import before forking, in order.

    Args:
        cells: The cells of the lab's release: what they import is wanted.
        loaded: What a run of the reference solution had loaded at its end, as `modules_of_run` says: packages that are
            only imported when they are needed are wanted too.
    """
    wanted = [*_ALWAYS, *imported_modules(cells), *(name for name in sorted(loaded) if _is_plain(name))]
    return tuple(name for name in dict.fromkeys(wanted) if not _is_never(name))


def imported_modules(cells: Iterable[CodeCell]) -> tuple[str, ...]:
    """Return the modules that import statements of cells name, in order.

    Example:
        >>> imported_modules([CodeCell("a", "import os.path as p"), CodeCell("b", "from json import loads")])
        ('os.path', 'json')
    """
    found: dict[str, None] = {}
    for cell in cells:
        for node in ast.walk(_parsed(cell.source)):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module] = None
    return tuple(found)


def modules_of_run(job: ExecutionJob, *, materials: Materials | None = None, unsafe: bool = False) -> tuple[str, ...]:
    """Return what is loaded at the end of a run, sorted; the job should be the reference solution's.

    Raises:
        InputError: The run does not come to its end.
        SandboxError: There is no sandbox here.
    """
    last = CodeCell("yolotrt-modules", _LISTING)
    asked = dataclasses.replace(job, notebook=cells_to_json((*job.cells(), last)))
    with tempfile.TemporaryDirectory(prefix="yolotrt-modules-", ignore_cleanup_errors=True) as name:
        execution = execute(asked, Path(name) / "run", materials=materials, unsafe=unsafe)
    shown = execution.outputs.get(last.id, ())
    names = "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in shown).split()
    if execution.trouble or not names:
        raise InputError("The run did not come to its end.", got=execution.trouble or "no list of modules")
    return tuple(sorted(names))


def _is_plain(name: str) -> bool:
    """Whether a module is one that imports name: no private one, nothing deep within a package but our own."""
    parts = name.split(".")
    return not any(part.startswith("_") for part in parts) and (len(parts) == 1 or parts[0] == "yolotrt_lab")


def _is_never(name: str) -> bool:
    return any(name == never or name.startswith(f"{never}.") for never in _NEVER)


def _parsed(source: str) -> ast.Module:
    """Return the syntax tree of a cell without its magics; empty if it does not parse."""
    lines = ["" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.splitlines()]
    try:
        return ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module(body=[], type_ignores=[])
