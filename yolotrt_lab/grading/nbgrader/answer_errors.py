"""Say why a notebook does not define an answer: the judge sees only that the name is not there."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping

from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.rebuilding import is_answer, is_check
from yolotrt_lab.grading.nbgrader.release import exercise_of
from yolotrt_lab.grading.results import ExerciseResult, State

__all__ = ["why_undefined"]


def why_undefined(nb: NotebookNode, ended: Mapping[int, str], result: ExerciseResult) -> ExerciseResult:
    """Return the result with a note that says what happened to the answer cells above its check.

    Args:
        nb: The notebook that was run.
        ended: Why cells did not come to their end, by index.
        result: The verdict; it stays as it is unless the answer is missing.
    """
    if result.state is not State.MISSING:
        return result
    for index in reversed(_answers_of(nb, result.exercise_id)):
        note = _note_on(nb.cells[index], ended.get(index, ""))
        if note:
            return dataclasses.replace(result, note=note)
    return dataclasses.replace(result, note="The answer cell does not define the name that the exercise asks for.")


def _answers_of(nb: NotebookNode, exercise_id: str) -> list[int]:
    """Return the indices of the answer cells between the check before and this one."""
    found: list[int] = []
    for index, cell in enumerate(nb.cells):
        if is_answer(cell) and cell.cell_type == "code":
            found.append(index)
        elif is_check(cell):
            if exercise_of(cell.source) == exercise_id:
                return found
            found = []
    return []


def _note_on(cell: NotebookNode, ended: str) -> str:
    if ended == "hung":
        return "The answer cell did not come to its end in time. Is there a loop outside of the function?"
    if ended == "died":
        limits = [output.evalue for output in cell.outputs if output.get("ename") == "LimitExceeded"]
        return f"The answer cell {str(limits[-1])[:200]}." if limits else "The answer cell ended the kernel."
    problem = _syntax_error(cell.source)
    if problem:
        return problem
    for output in cell.outputs:
        if output.output_type == "error":
            return f"The answer cell raised {output.ename}: {str(output.evalue)[:200]}"
    return ""


def _syntax_error(source: str) -> str:
    """Return what Python says to a cell that it cannot parse; cells with magics are left to the kernel."""
    if any(line.lstrip().startswith(("%", "!", "?")) for line in source.splitlines()):
        return ""
    try:
        ast.parse(source)
    except SyntaxError as error:
        return f"Python cannot read the answer cell: {error.msg} (line {error.lineno})."
    except (ValueError, RecursionError, MemoryError) as error:
        return f"Python cannot read the answer cell: {error}."
    return ""
