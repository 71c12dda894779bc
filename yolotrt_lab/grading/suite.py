"""Find and load the exercises of the grading suite."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.exercise import Case, Exercise, points_of
from yolotrt_lab.grading.generators import generator_from_seed, seed_of

__all__ = ["SUITE_VARIABLE", "GradedTest", "LoadedExercise", "exercise_ids", "load_exercise", "sibling", "suite_root"]

SUITE_VARIABLE = "YOLOTRT_GRADING_SUITE"


@dataclass(frozen=True)
class GradedTest:
    """One test of an exercise: its function's name, its title for the student, its points."""

    name: str
    title: str
    points: int


@dataclass(frozen=True)
class LoadedExercise:
    """An exercise with the module that makes its inputs and holds its tests."""

    exercise: Exercise
    path: Path
    module: ModuleType
    tests: tuple[GradedTest, ...]

    @property
    def points(self) -> int:
        """The most that can be earned."""
        return sum(test.points for test in self.tests)

    def inputs(self, case: Case, *, hidden_seed: int | None = None, seed: str | None = None) -> dict[str, object]:
        """Return the keyword arguments of one case, made anew.

        Args:
            case: The case.
            hidden_seed: The instructor's secret, for a hidden case.
            seed: The case's own seed, as `seed_of` derives it; where it is given, no secret is needed.

        Raises:
            InputError: The exercise's `inputs` does not return a dict, or a hidden case has no seed.
        """
        known = seed if seed is not None else seed_of(self.exercise.id, case, hidden_seed=hidden_seed)
        made = self.module.inputs(case.name, generator_from_seed(known))
        if not isinstance(made, dict):
            raise InputError(
                f"{self.path.name}: inputs() of case {case.name!r} gave no arguments.",
                expected="a dict",
                got=type(made),
            )
        return made

    def run(self, answer: object, inputs: Mapping[str, object]) -> object:
        """Call the student's answer in the way the exercise says."""
        run: Callable[..., object] | None = getattr(self.module, "run", None)
        if run is not None:
            return run(answer, **inputs)
        if not callable(answer):
            raise TypeError(f"{self.exercise.answer} is a {type(answer).__name__}, not a function")
        return answer(**inputs)


def suite_root() -> Path:
    """Return the folder of the grading suite: `tests/grading` of this repository, or `YOLOTRT_GRADING_SUITE`.

    Raises:
        InputError: It is not there.
    """
    chosen = os.environ.get(SUITE_VARIABLE)
    root = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "tests" / "grading"
    if not root.is_dir():
        raise InputError(
            "The grading suite is not there.",
            expected="a folder of exercises",
            got=root,
            fix=f"Work in a clone of the course, or set {SUITE_VARIABLE} to the suite's folder.",
        )
    return root


def exercise_ids(lab: str | None = None, *, root: Path | None = None) -> tuple[str, ...]:
    """Return the ids of all exercises, or of one lab ("lab4"), sorted."""
    folder = root or suite_root()
    found = (f"{path.parent.name}.{path.stem.removeprefix('test_')}" for path in folder.glob("*/test_*.py"))
    return tuple(sorted(name for name in found if lab is None or name.startswith(f"{lab}.")))


def load_exercise(exercise_id: str, *, root: Path | None = None) -> LoadedExercise:
    """Return an exercise of the suite.

    Raises:
        InputError: There is no such exercise, or its file declares another or no exercise.
    """
    folder = root or suite_root()
    lab, _, name = exercise_id.partition(".")
    path = folder / lab / f"test_{name}.py"
    if not name.isidentifier() or not lab.isidentifier() or not path.is_file():
        known = exercise_ids(root=folder)
        raise InputError(
            f"There is no exercise {exercise_id!r}.",
            expected=f"one of {', '.join(known)}" if known else "an exercise in the suite",
            got=exercise_id,
            fix="Take the id from the lab's notebook.",
        )
    module = _module(path, f"yolotrt_suite_{lab}_{name}")
    exercise = getattr(module, "EXERCISE", None)
    if (
        not isinstance(exercise, Exercise)
        or exercise.id != exercise_id
        or not callable(getattr(module, "inputs", None))
    ):
        raise InputError(
            f"{path.name} does not declare the exercise {exercise_id}.",
            expected=f"EXERCISE = Exercise(id={exercise_id!r}, …) and a function inputs(case, rng)",
            got=getattr(exercise, "id", exercise),
        )
    return LoadedExercise(exercise, path, module, _graded_tests(module))


def sibling(file: str, name: str) -> ModuleType:
    """Return a module that lies beside a file of the suite.

    Example:
        >>> networks = sibling(__file__, "networks")  # doctest: +SKIP
    """
    path = Path(file).resolve().parent / f"{name}.py"
    return _module(path, f"yolotrt_suite_{path.parent.name}_{name}")


def _graded_tests(module: ModuleType) -> tuple[GradedTest, ...]:
    tests = [
        GradedTest(name, (inspect.getdoc(test) or "").splitlines()[0].rstrip("."), points_of(test))
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test) and points_of(test)
    ]
    return tuple(tests)


def _module(path: Path, name: str) -> ModuleType:
    """Load a file, once for as long as it does not change."""
    stamp = (str(path), path.stat().st_mtime_ns, path.stat().st_size)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__stamp__", None) == stamp:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded.", expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with np.errstate(all="warn"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    vars(module)["__stamp__"] = stamp
    return module
