"""What the student's kernel learns of the instructor's secret: the seeds of its own cases, never the secret.

The grader derives a seed for each case, writes them to a file, and names it in `YOLOTRT_CASE_SEEDS`. Whoever gets
hold of the file knows the inputs that the kernel is about to see anyway; the seeds of other labs stay unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, write_json
from yolotrt_lab.grading.generators import seed_of
from yolotrt_lab.grading.suite import load_exercise

__all__ = [
    "CASE_SEEDS_VARIABLE",
    "HIDDEN_SEED_VARIABLE",
    "case_seeds",
    "hidden_seed_from_environment",
    "read_case_seeds",
    "seeds_from_environment",
    "write_case_seeds",
]

CASE_SEEDS_VARIABLE = "YOLOTRT_CASE_SEEDS"
HIDDEN_SEED_VARIABLE = "YOLOTRT_HIDDEN_SEED"


def case_seeds(
    exercise_ids: Iterable[str], hidden_seed: int | None, *, root: Path | None = None
) -> dict[str, dict[str, str]]:
    """Return the seed of every case that is called: exercise id -> case key ("public-0") -> hexadecimal digits.

    Args:
        exercise_ids: The exercises.
        hidden_seed: The instructor's secret; without it only the public cases are called.
        root: The grading suite; by default the course's.

    Raises:
        InputError: There is no such exercise.
    """
    seeds = {}
    for name in exercise_ids:
        cases = load_exercise(name, root=root).exercise.all_cases(with_hidden=hidden_seed is not None)
        seeds[name] = {case.key: seed_of(name, case, hidden_seed=hidden_seed) for case in cases}
    return seeds


def write_case_seeds(path: Path, seeds: Mapping[str, Mapping[str, str]]) -> None:
    """Write what `case_seeds` returned, for the recorder in the kernel."""
    write_json(path, {name: dict(cases) for name, cases in sorted(seeds.items())})


def read_case_seeds(path: Path) -> dict[str, dict[str, str]]:
    """Return what `write_case_seeds` wrote.

    Raises:
        InputError: The file is missing or something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(cases, dict) for cases in content.values()):
        raise InputError(
            f"{path.name} does not hold the seeds of cases.", expected="exercise -> case -> seed", got=type(content)
        )
    return {str(name): {str(key): str(seed) for key, seed in cases.items()} for name, cases in content.items()}


def seeds_from_environment() -> dict[str, dict[str, str]] | None:
    """Return the seeds that the grader handed to this kernel, or None where it is no grader's.

    Raises:
        InputError: The file that `YOLOTRT_CASE_SEEDS` names is missing or something else.
    """
    path = os.environ.get(CASE_SEEDS_VARIABLE, "")
    return read_case_seeds(Path(path)) if path else None


def hidden_seed_from_environment() -> int | None:
    """Return the instructor's secret, where the grader has set it: for the judge, never for the student's kernel.

    Raises:
        InputError: It is not a whole number.
    """
    text = os.environ.get(HIDDEN_SEED_VARIABLE, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{HIDDEN_SEED_VARIABLE} is not a seed.", expected="a whole number", got="text") from None
