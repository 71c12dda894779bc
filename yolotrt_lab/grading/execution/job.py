"""What it takes to run a submission: plain values, equal for equal answers, with nothing of who gave them or when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.sandbox.policy import SandboxLimits

__all__ = ["CodeCell", "ExecutionJob", "ExercisePlan", "Timeouts", "cells_from_json", "cells_to_json"]

_FORMAT = 1  # goes into every key: raise it when what `execute` does with a job changes


@dataclass(frozen=True)
class CodeCell:
    """One cell that runs.

    Attributes:
        id: The cell's id in the notebook, by which outputs find their way back.
        source: The code.
        exercise: The exercise that the cell checks, "" if it is no check.
        answer: Whether students write in it.
    """

    id: str
    source: str
    exercise: str = ""
    answer: bool = False


@dataclass(frozen=True, kw_only=True)
class ExercisePlan:
    """What running an exercise needs to know of it, so that whoever runs it need not load the suite.

    Attributes:
        id: "lab4.kl_threshold".
        answer: The name that the notebook defines.
        cases: The keys of its cases, hidden ones included, in order.
        seconds: The longest one call may take.
    """

    id: str
    answer: str
    cases: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long things may take, and how often they are tried again.

    Attributes:
        cell_s: A cell that is no check. A check has the time of all its calls.
        margin_s: What a check may take beyond that.
        notebook_s: The whole notebook.
        interrupt_s: How long an interrupted cell has to come to its end.
        start_s: How long a kernel may take to answer.
        restarts: How often the kernel is started anew after an answer ended it.
        retries: How often a run is repeated after trouble that is not the student's.
    """

    cell_s: float = 120.0
    margin_s: float = 30.0
    notebook_s: float = 1800.0
    interrupt_s: float = 4.0
    start_s: float = 120.0
    restarts: int = 5
    retries: int = 1


@dataclass(frozen=True, kw_only=True)
class ExecutionJob:
    """All that the result of running a submission depends on.

    Attributes:
        lab: The lab, "lab4_engines".
        notebook: The cells that run, in the form of `cells_to_json`.
        models: The models that were handed in beside the notebook: file name -> content.
        exercises: The plans of the exercises that the notebook checks.
        suite: Digest of the part of the suite that the kernel sees.
        code: Digest of the package.
        seeds: Exercise -> case key -> seed: inputs come from these; nothing else of the instructor's secret is known.
        workspace: Digest of the datasets and models that the lab finds prepared.
        limits: What the sandbox allows.
        timeouts: What the clock allows.
    """

    lab: str
    notebook: bytes
    models: Mapping[str, bytes] = field(default_factory=dict)
    exercises: tuple[ExercisePlan, ...] = ()
    suite: str = ""
    code: str = ""
    seeds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workspace: str = ""
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def key(self) -> str:
        """Return 64 hexadecimal digits: equal for equal jobs, whatever the order of their mappings."""
        content = {
            "format": _FORMAT,
            "lab": self.lab,
            "notebook": hashlib.sha256(self.notebook).hexdigest(),
            "models": {name: hashlib.sha256(model).hexdigest() for name, model in self.models.items()},
            "exercises": [dataclasses.asdict(plan) for plan in self.exercises],
            "suite": self.suite,
            "code": self.code,
            "seeds": {name: dict(cases) for name, cases in self.seeds.items()},
            "workspace": self.workspace,
            "limits": dataclasses.asdict(self.limits),
            "timeouts": dataclasses.asdict(self.timeouts),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def cells(self) -> tuple[CodeCell, ...]:
        """Return the cells that run."""
        return cells_from_json(self.notebook)

    def plan(self, exercise_id: str) -> ExercisePlan | None:
        """Return the plan of an exercise, or None where the suite has no such exercise."""
        return next((plan for plan in self.exercises if plan.id == exercise_id), None)


def cells_to_json(cells: tuple[CodeCell, ...]) -> bytes:
    """Return cells in the one form that a job holds them in.

    Example:
        >>> cells_from_json(cells_to_json((CodeCell("a", "1 + 1"),)))
        (CodeCell(id='a', source='1 + 1', exercise='', answer=False),)
    """
    content = [dataclasses.asdict(cell) for cell in cells]
    return json.dumps({"cells": content}, sort_keys=True, separators=(",", ":")).encode()


def cells_from_json(content: bytes) -> tuple[CodeCell, ...]:
    """Return what `cells_to_json` wrote.

    Raises:
        InputError: It is something else.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(content)["cells"]
        return tuple(CodeCell(**entry) for entry in entries)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError("These are not the cells of a job.", expected="what cells_to_json writes", got=error) from None
