"""Before a class is graded: the solution must get full marks, and a wrong answer must not.

Otherwise something is broken, in the suite, the package or the machine, and nobody is graded by it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.course.wrong_answers import wrong_answers
from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells, is_check, marks_of
from yolotrt_lab.grading.nbgrader.release import exercise_of
from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.grading.suite import exercise_ids

__all__ = ["REFERENCE", "Canary", "CanaryError", "canaries", "require_alive"]

REFERENCE = "reference"
"""The name of the canary that is the solution."""


class CanaryError(LabError):
    """The grader does not grade as it should."""


@dataclass(frozen=True)
class Canary:
    """A submission whose verdict is known.

    Attributes:
        name: `REFERENCE` or "mutant".
        notebook: The rebuilt notebook.
        wrong: The exercise that is answered wrongly; "" if all are right.
    """

    name: str
    notebook: NotebookNode
    wrong: str = ""


def canaries(release: NotebookNode, solution: NotebookNode, *, answers: Path | None) -> tuple[Canary, ...]:
    """Return the solution as a submission, and the solution with one wrong answer.

    Args:
        release: The released notebook.
        solution: The instructors' notebook.
        answers: The folder of known wrong answers, `<lab4>/<kl_threshold>.py`, if there is one.
    """
    right = {grade_id: str(cell.source) for grade_id, cell in answer_cells(solution).items()}
    reference = Canary(REFERENCE, _answered(release, right))
    mistakes = _mistakes(solution, wrong_answers(solution, answers))
    if not mistakes:
        return (reference,)
    exercise_id, changes = next(iter(mistakes.items()))
    return reference, Canary("mutant", _answered(release, right | changes), exercise_id)


def require_alive(canary: Canary, results: Mapping[str, ExerciseResult], trouble: str) -> None:
    """Raise unless a canary was graded as it should.

    Args:
        canary: The canary.
        results: The verdicts on its exercises.
        trouble: Why there are none; "" if there are.

    Raises:
        CanaryError: It was not.
    """
    fix = "Nobody was graded. Correct this and grade again; --no-canary grades all the same."
    if trouble:
        raise CanaryError(f"The {canary.name} cannot be graded.", expected="a verdict", got=trouble, fix=fix)
    for name, result in results.items():
        if name == canary.wrong:
            if result.state is State.TROUBLE or result.score >= result.points:
                raise CanaryError(
                    f"A wrong answer to {name} is not noticed.",
                    expected=f"fewer than {result.points} points",
                    got=_seen(result),
                    fix=fix,
                )
        elif not canary.wrong and result.state is not State.PASSED:
            raise CanaryError(
                f"The solution of {name} does not pass.",
                expected=f"{result.points} points",
                got=_seen(result),
                fix=fix,
            )


def _answered(release: NotebookNode, texts: Mapping[str, str]) -> NotebookNode:
    notebook = copy.deepcopy(release)
    for grade_id, cell in answer_cells(notebook).items():
        cell.source = texts.get(grade_id, cell.source)
    return notebook


def _mistakes(solution: NotebookNode, wrong: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the wrong answers by exercise, in the notebook's order: exercise -> grade id -> text."""
    found: dict[str, dict[str, str]] = {}
    answers: list[str] = []
    for cell in solution.cells:
        if is_check(cell):
            name, changes = exercise_of(cell.source), {key: wrong[key] for key in answers if key in wrong}
            if name and changes and name in exercise_ids(name.split(".")[0]):
                found[name] = changes
            answers = []
        elif marks_of(cell).get("solution") and not marks_of(cell).get("grade"):
            answers.append(str(marks_of(cell)["grade_id"]))
    return found


def _seen(result: ExerciseResult) -> str:
    failed = next((test for test in result.tests if not test.passed), None)
    words = [f"{result.score} points", result.state.value, result.note]
    if failed is not None:
        words += [f"{failed.name}: expected {failed.expected}, seen {failed.seen}", failed.trouble]
    return "; ".join(word for word in words if word)
