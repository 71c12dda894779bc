"""From a rebuilt notebook to the job of running it, and from the job's outcome back to the notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.digests import package_digest
from yolotrt_lab.grading.execution.artifact import Execution
from yolotrt_lab.grading.execution.job import CodeCell, ExecutionJob, ExercisePlan, Timeouts, cells_to_json
from yolotrt_lab.grading.execution.materials import Materials, workspace_digest
from yolotrt_lab.grading.nbgrader.rebuilding import is_answer, is_check, runs_when_grading
from yolotrt_lab.grading.nbgrader.release import exercise_of, node_from
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular
from yolotrt_lab.grading.sandbox.policy import SandboxLimits
from yolotrt_lab.grading.seeds import case_seeds
from yolotrt_lab.grading.suite import load_exercise

__all__ = ["cells_of", "job_of", "models_in", "plans_of", "put_outputs"]

_MODEL_BYTES = 50_000_000
_MODELS = 20


def cells_of(notebook: NotebookNode) -> tuple[CodeCell, ...]:
    """Return the cells that run when grading; text, and plots to look at, are none."""
    return tuple(
        CodeCell(
            id=cell_id,
            source=cell.source,
            exercise=(exercise_of(cell.source) or "") if is_check(cell) else "",
            answer=is_answer(cell),
        )
        for cell_id, cell in _named(notebook)
        if runs_when_grading(cell)
    )


def plans_of(cells: Sequence[CodeCell]) -> tuple[ExercisePlan, ...]:
    """Return what running the exercises that are checked needs to know; what the suite does not have is passed over."""
    plans = {}
    for cell in cells:
        if not cell.exercise:
            continue
        try:
            exercise = load_exercise(cell.exercise).exercise
        except InputError:
            continue  # the scoring says so
        cases = tuple(case.key for case in exercise.all_cases(with_hidden=True))
        plans[exercise.id] = ExercisePlan(
            id=exercise.id, answer=exercise.answer, cases=cases, seconds=float(exercise.seconds)
        )
    return tuple(plans.values())


def models_in(folder: Path | None) -> dict[str, bytes]:
    """Return the models that were handed in beside the notebook: regular files, not through a link."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.onnx"))[:_MODELS] if folder is not None else ():
        try:
            found[path.name] = read_regular(path, max_bytes=_MODEL_BYTES)
        except (InputError, OSError):
            continue
    return found


def job_of(
    notebook: NotebookNode,
    lab: str,
    *,
    hidden_seed: int,
    materials: Materials,
    models: Mapping[str, bytes],
    limits: SandboxLimits,
    timeouts: Timeouts,
) -> ExecutionJob:
    """Return the job of running a rebuilt notebook.

    Args:
        notebook: The release with the student's answers.
        lab: "lab4_engines".
        hidden_seed: The instructor's secret, of which only the seeds of this lab's cases go into the job.
        materials: What the run reads.
        models: What `models_in` found.
        limits: What the sandbox allows.
        timeouts: What the clock allows.

    Raises:
        InputError: The suite does not have the lab.
    """
    cells = cells_of(notebook)
    plans = plans_of(cells)
    return ExecutionJob(
        lab=lab,
        notebook=cells_to_json(cells),
        models=models,
        exercises=plans,
        suite=materials.suite.name,
        code=package_digest(),
        seeds=case_seeds([plan.id for plan in plans], hidden_seed),
        workspace=workspace_digest(materials.workspace),
        limits=limits,
        timeouts=timeouts,
    )


def put_outputs(notebook: NotebookNode, execution: Execution) -> dict[int, str]:
    """Put the outputs of a run into the notebook's cells, and return why cells did not come to an end, by index."""
    number = 0
    for cell_id, cell in _named(notebook):
        if cell.cell_type != "code":
            continue
        ran = cell_id in execution.seconds
        number += ran and not is_check(cell)
        cell.outputs = [node_from(dict(output)) for output in execution.outputs.get(cell_id, ())]
        cell.execution_count = number if ran and not is_check(cell) else None
    names = [cell_id for cell_id, _ in _named(notebook)]
    return {names.index(cell_id): reason for cell_id, reason in execution.ended.items() if cell_id in names}


def _named(notebook: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """Return the cells, each with a name that no other has."""
    named: dict[str, NotebookNode] = {}
    for number, cell in enumerate(notebook.cells):
        name = str(cell.get("id", "")) or f"cell-{number}"
        named[name if name not in named else f"{name}-{number}"] = cell
    return list(named.items())
