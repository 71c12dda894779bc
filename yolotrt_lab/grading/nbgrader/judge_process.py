"""Judge recorded answers in a process of their own, which runs no code of the student's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.grading.jobs.warm import warm_judge
from yolotrt_lab.grading.results import ExerciseResult
from yolotrt_lab.grading.scoring.run import score
from yolotrt_lab.grading.scoring.warm import JudgeError

__all__ = ["JudgeError", "judge_in_process"]


def judge_in_process(
    recorded: Path,
    *,
    exercises: Sequence[str],
    hidden_seed: int,
    timeout_s: float,
    reference: Path | None = None,
    unsafe: bool = False,
) -> dict[str, ExerciseResult]:
    """Return the verdict on each exercise; what the judge fails at is tried once more, and then said to be trouble.

    Args:
        recorded: The folder of the records.
        exercises: Ids of the exercises, at least one, all of one lab.
        hidden_seed: The seed that the hidden cases were recorded with.
        timeout_s: How long judging may take.
        reference: The folder with the reference solution's records, if they are at hand.
        unsafe: Without a sandbox.

    Raises:
        SandboxError: No sandbox can be made here.
    """
    judge = warm_judge(exercises[0].partition(".")[0], hidden_seed, reference, unsafe=unsafe)
    return score(recorded, exercises=exercises, hidden_seed=hidden_seed, warm=judge, timeout_s=timeout_s)
