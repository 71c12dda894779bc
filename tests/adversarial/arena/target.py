"""A lab that is attacked: its script, its suite, its right answers, and what plain nbgrader would check of it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat

from yolotrt_lab.grading.course import Course, open_course

__all__ = ["ROOT", "TargetLab", "course_of", "stock_solution"]

ROOT = Path(__file__).resolve().parents[3]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


@dataclass(frozen=True, kw_only=True)
class TargetLab:
    """A lab of a few exercises.

    Attributes:
        name: Such as "lab0_target".
        script: The lab in percent format, with its solutions.
        suite: The text of each file of the grading suite, by path ("lab0/test_double.py").
        answers: A right answer for each answer cell, by grade id.
        stock: What the check cell of plain nbgrader holds, by grade id: a test of the same exercise.
        settings: More lines of the course's configuration.
        canaries: Texts that only the solution and the tests hold, by what holding them means.
    """

    name: str
    script: str
    suite: Mapping[str, str]
    answers: Mapping[str, str]
    stock: Mapping[str, str]
    settings: str = ""
    canaries: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The notebook's name."""
        return f"{self.name}.ipynb"


def course_of(root: Path, labs: Sequence[TargetLab]) -> Course:
    """Make a course of these labs in an empty folder."""
    shutil.copy(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    with (root / "nbgrader_config.py").open("a", encoding="utf-8") as stream:
        stream.writelines(f"\n{lab.settings}\n" for lab in labs)
    scripts = root / "course" / "notebooks"
    scripts.mkdir(parents=True)
    for lab in labs:
        (scripts / f"{lab.name}.py").write_text(lab.script, encoding="utf-8")
        for name, text in lab.suite.items():
            path = root / "suite" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path, text in _build_notebooks().built_notebooks(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return open_course(root)


def stock_solution(lab: TargetLab) -> str:
    """Return the instructor's notebook as a course with plain nbgrader would have it."""
    notebook = jupytext.reads(lab.script, fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell["id"] = grade_id or f"{lab.name}-{number:03}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = lab.stock.get(grade_id, cell.source)
    return str(nbformat.writes(notebook)) + "\n"


def _build_notebooks():
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "scripts" / "build_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
