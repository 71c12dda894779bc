"""What a batch has computed before nbgrader's steps run: they take it from nbconvert's resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.grading.execution.artifact import Execution
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.results import ExerciseResult

__all__ = ["GIVEN_KEY", "Given", "given_in"]

GIVEN_KEY = "yolotrt_given"
"""Where it is in nbconvert's resources; without it the steps compute themselves."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is known of a submission.

    Attributes:
        execution: What came of running it; None where nothing was run.
        recorded: The folder of its records, for reading only.
        results: The verdict on each exercise that was judged.
        findings: What was noticed beyond that.
        record: Takes what ScoreExercises would write to the submission's record of grading: the batch writes it itself,
            when the gradebook has the scores.
    """

    execution: Execution | None = None
    recorded: Path | None = None
    results: Mapping[str, ExerciseResult] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)


def given_in(resources: Any) -> Given | None:
    """Return what was computed before, or None if the steps are to compute it."""
    given = resources.get(GIVEN_KEY) if resources else None
    return given if isinstance(given, Given) else None
