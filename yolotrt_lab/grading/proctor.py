"""Take down the answers of an exercise in the grader's kernel.

`install` runs before any of the student's code, `take` in the place of each check cell. Neither uses a name that the
notebook could have given another meaning: not `check`, not the environment as it is by then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.getipython import get_ipython

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.integrity.guard import Guard
from yolotrt_lab.grading.notebook import RECORD_VARIABLE
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.seeds import CASE_SEEDS_VARIABLE, hidden_seed_from_environment, seeds_from_environment
from yolotrt_lab.grading.suite import load_exercise, suite_root

__all__ = ["install", "is_installed", "take"]


@dataclass(frozen=True)
class _Orders:
    """What the grader wants, as the environment said before any of the student's code ran."""

    folder: Path
    suite: Path
    hidden_seed: int | None
    seeds: dict[str, dict[str, str]] | None


_installed: _Orders | None = None
_guard: Guard | None = None


def install() -> None:
    """Read the grader's orders, and take down what recording depends on. Called by the kernel's entry.

    Raises:
        InputError: The environment names no folder for the records, or no suite.
    """
    global _installed, _guard
    folder = os.environ.get(RECORD_VARIABLE, "")
    if not folder:
        raise InputError(f"{RECORD_VARIABLE} is not set.", expected="the folder that the records go to")
    _installed = _Orders(Path(folder), suite_root(), hidden_seed_from_environment(), seeds_from_environment())
    private = [_installed.folder, _installed.suite, *map(Path, filter(None, [os.environ.get(CASE_SEEDS_VARIABLE)]))]
    _guard = Guard(private=tuple(private))
    _guard.install()
    # A quit() at the end of a cell would end the kernel a moment later, within somebody else's cell.
    ZMQInteractiveShell.ask_exit = _stay  # type: ignore[method-assign]


def _stay(_shell: ZMQInteractiveShell) -> None:
    """Do nothing where a notebook asks the kernel to end."""


def is_installed() -> bool:
    """Whether the proctor takes down the answers here, so that a `check` of the student's own has nothing to do."""
    return _installed is not None


def take(exercise_id: str) -> str:
    """Call the notebook's answer on the cases of an exercise, and write down what it does.

    Returns:
        "taken", for the log.

    Raises:
        InputError: `install` was not called, or there is no such exercise.
        OutputError: The records cannot be written.
    """
    orders, guard = _installed, _guard
    if orders is None or guard is None:
        raise InputError("The proctor is not installed.", fix="Call install() before the kernel serves.")
    guard.begin(exercise_id)
    try:
        guard.expect_no_records(orders.folder / exercise_id)
        loaded = load_exercise(exercise_id, root=orders.suite)
        guard.put_back()
        answer = _user_namespace().get(loaded.exercise.answer, MISSING)
        seeds = orders.seeds.get(exercise_id, {}) if orders.seeds is not None else None
        record(loaded, answer, folder=orders.folder, hidden_seed=orders.hidden_seed, seeds=seeds, guard=guard)
    finally:
        guard.end(orders.folder)
    return "taken"


def _user_namespace() -> dict[str, Any]:
    shell = get_ipython()
    return {} if shell is None else shell.user_ns
