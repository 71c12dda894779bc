"""The verdicts on a submission, from what was recorded of it: trusted code, in a sandbox without student code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.scoring.warm import JudgeService
from yolotrt_lab.grading.suite import LoadedExercise, load_exercise

__all__ = ["fitting", "score", "trouble"]

_ATTEMPTS = 2


def score(
    recorded: Path,
    *,
    exercises: Sequence[str],
    hidden_seed: int | None,
    reference: Path | None = None,
    warm: JudgeService | None = None,
    slot: int = 0,
    unsafe: bool = False,
    root: Path | None = None,
    timeout_s: float = 3600.0,
) -> dict[str, ExerciseResult]:
    """Return the verdict on each exercise. Trouble of the judge's is tried once more, and then said to be trouble.

    Args:
        recorded: The folder of the records.
        exercises: The exercises to judge.
        hidden_seed: The seed that hidden cases were recorded with.
        reference: The folder with the reference solution's records, where there is no warm judge.
        warm: A judge that is kept warm for the lab.
        slot: The worker's number on this machine.
        unsafe: Without a sandbox.
        root: The grading suite; by default the course's.
        timeout_s: How long judging may take.

    Raises:
        SandboxError: No sandbox can be made here.
    """
    results: dict[str, ExerciseResult] = {}
    judge = warm or JudgeService(
        exercises, hidden_seed=hidden_seed, reference=reference, requests=1, slot=slot, unsafe=unsafe, root=root
    )
    try:
        for _ in range(_ATTEMPTS):
            waiting = [name for name in exercises if name not in results or results[name].state is State.TROUBLE]
            if not waiting:
                break
            try:
                found = judge.judge(recorded, waiting, timeout_s=timeout_s)
                results |= {name: fitting(name, result, root) for name, result in found.items()}
            except SandboxError:
                raise
            except LabError as error:
                results |= {name: trouble(name, error.one_line, root=root) for name in waiting}
            if warm is None:
                judge.close()
    finally:
        if warm is None:
            judge.close()
    return results


def trouble(exercise_id: str, reason: str, *, root: Path | None = None) -> ExerciseResult:
    """Return the result of an exercise that nobody could judge."""
    try:
        loaded = load_exercise(exercise_id, root=root)
    except Exception:  # a file of the suite that does not load may raise anything
        return ExerciseResult(exercise_id, exercise_id, State.TROUBLE, (), reason)
    return _trouble_of(loaded, reason)


def _trouble_of(loaded: LoadedExercise, reason: str) -> ExerciseResult:
    tests = tuple(TestResult(test.name, test.title, test.points, passed=False) for test in loaded.tests)
    return ExerciseResult(loaded.exercise.id, loaded.exercise.title, State.TROUBLE, tests, reason)


def fitting(name: str, result: ExerciseResult, root: Path | None) -> ExerciseResult:
    """Return a verdict as the judge gave it, if it is one on this exercise: its tests, with their points."""
    if result.state is State.TROUBLE and not result.tests:
        return trouble(name, result.note, root=root)
    try:
        loaded = load_exercise(name, root=root)
    except Exception as error:  # as in `trouble`
        return trouble(name, f"The exercise cannot be loaded: {type(error).__name__}: {error}", root=root)
    known = [(test.name, test.points) for test in loaded.tests]
    if result.exercise_id != name or [(test.name, test.points) for test in result.tests] != known:
        return _trouble_of(loaded, "The judge's answer is about other tests than the suite's.")
    if result.state is State.TROUBLE:
        broken = "; ".join(f"{test.name}: {test.trouble}" for test in result.tests if test.trouble)
        return dataclasses.replace(result, note=f"A test of the suite is broken: {broken or result.note}")
    if result.state in (State.MISSING, State.UNFINISHED):
        return dataclasses.replace(result, tests=tuple(dataclasses.replace(t, passed=False) for t in result.tests))
    return result
