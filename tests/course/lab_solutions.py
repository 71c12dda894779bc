"""The reference solutions: what the labs' notebooks define when their graded cells run."""

import atexit
import importlib.util
import os
import shutil
import tempfile
import types
from functools import cache
from pathlib import Path

import jupytext

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "course" / "notebooks"


def script_of(lab: str) -> Path:
    """Return the percent script of "lab4"."""
    (script,) = SCRIPTS.glob(f"{lab}_*.py")
    return script


def labs() -> tuple[str, ...]:
    """Return the labs that have a notebook."""
    return tuple(sorted(path.name.split("_")[0] for path in SCRIPTS.glob("lab*_*.py")))


@cache
def cells_of(lab: str) -> tuple:
    """Return the cells of a lab's solution."""
    return tuple(jupytext.read(script_of(lab)).cells)


def is_graded_code(cell) -> bool:
    """Whether the autograder runs the cell and it is not a check."""
    return (
        cell.cell_type == "code"
        and "demonstration" not in cell.metadata.get("tags", ())
        and not cell.metadata.get("nbgrader", {}).get("grade")
    )


@cache
def solution_namespace(lab: str) -> dict:
    """Run the cells that the autograder would run, checks left out, in a folder of their own."""
    module = types.ModuleType("__main__")
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="yolotrt-solution-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            for number, cell in enumerate(cells_of(lab)):
                if is_graded_code(cell):
                    # As in a kernel, each cell is a file of its own: messages name the cell's line.
                    exec(compile(cell.source, f"<{lab} cell {number}>", "exec"), vars(module))
        finally:
            os.chdir(before)
    return vars(module)


@cache
def handed_in(lab: str) -> Path:
    """Return a folder with the files that the reference solution hands in beside its notebook, where there are some.

    A lab that asks for files has `tests/course/<lab>/artifacts.py`, whose `make_artifacts(folder)` makes them.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"yolotrt-{lab}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source = Path(__file__).parent / lab / "artifacts.py"
    if source.is_file():
        spec = importlib.util.spec_from_file_location(f"yolotrt_artifacts_{lab}", source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.make_artifacts(folder)
    return folder
