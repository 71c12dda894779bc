"""Wrong answers to a lab: those that the course's own tests keep for each exercise, where there are some."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.rebuilding import is_check, marks_of
from yolotrt_lab.grading.nbgrader.release import exercise_of
from yolotrt_lab.grading.suite import load_exercise

__all__ = ["wrong_answers"]


def wrong_answers(solution: NotebookNode, folder: Path | None) -> dict[str, str]:
    """Return a wrong answer for each exercise and for the written question, by grade id.

    Args:
        solution: The instructors' notebook.
        folder: A folder with known wrong answers, `<lab4>/<kl_threshold>.py`, if there is one.
    """
    wrong: dict[str, str] = {}
    answers: list[NotebookNode] = []
    for cell in solution.cells:
        if is_check(cell):
            exercise_id = exercise_of(cell.source)
            name = load_exercise(exercise_id).exercise.answer if exercise_id else ""
            for answer in answers:
                if exercise_id and name in _defined(answer.source):
                    lab, _, exercise = exercise_id.partition(".")
                    known = None if folder is None else _known_mistake(folder / lab / f"{exercise}.py", name)
                    wrong[str(marks_of(answer)["grade_id"])] = known or _built_in_mistake(name)
            answers = []
        elif marks_of(cell).get("solution"):
            if marks_of(cell).get("grade"):
                wrong[str(marks_of(cell)["grade_id"])] = "It is faster because the engine is faster."
            else:
                answers.append(cell)
    return wrong


def _built_in_mistake(name: str) -> str:
    return f"def {name}(*arguments, **options):\n    return None"


def _known_mistake(path: Path, name: str) -> str | None:
    """Return the first wrong answer of a file of answers under the name that the notebook must define."""
    if not path.is_file():
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept: list[ast.stmt] = []
    mistake: ast.FunctionDef | ast.ClassDef | None = None
    for node in tree.body[1 if ast.get_docstring(tree) else 0 :]:
        kinds = _declared(node)
        if kinds is None:
            if not (isinstance(node, ast.ImportFrom) and node.module == "tests_course_api"):
                kept.append(node)
        elif kinds == "wrong" and mistake is None and isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            mistake = copy.deepcopy(node)
    if mistake is None:
        return None
    mistake.decorator_list, mistake.name = [], name
    return ast.unparse(ast.Module(body=[*kept, mistake], type_ignores=[]))


def _declared(node: ast.stmt) -> str | None:
    """Return "wrong" or "right" for a declared answer, None for anything else."""
    decorators: list[Any] = getattr(node, "decorator_list", [])
    names = {getattr(getattr(item, "func", item), "id", "") for item in decorators}
    return next((name for name in ("wrong", "right") if name in names), None)


def _defined(source: str) -> set[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return set()
    return {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
