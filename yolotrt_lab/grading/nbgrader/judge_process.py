"""Judge recorded answers in a process of their own, which runs no code of the student's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.errors import LabError
from yolotrt_lab.files import read_json
from yolotrt_lab.grading.judging import HIDDEN_SEED_VARIABLE
from yolotrt_lab.grading.notebook import RECORD_VARIABLE
from yolotrt_lab.grading.results import ExerciseResult

__all__ = ["JudgeError", "judge_in_process"]


class JudgeError(LabError):
    """The judge gave no verdicts."""


def judge_in_process(
    recorded: Path, *, exercises: Sequence[str], hidden_seed: int, timeout_s: float
) -> dict[str, ExerciseResult]:
    """Return the verdict on each exercise.

    Args:
        recorded: The folder of the records.
        exercises: Ids of the exercises, at least one.
        hidden_seed: The seed that the hidden cases were recorded with.
        timeout_s: How long judging may take.

    Raises:
        JudgeError: It took too long, failed, or left out an exercise.
    """
    environment = {name: value for name, value in os.environ.items() if name != RECORD_VARIABLE}
    environment |= {HIDDEN_SEED_VARIABLE: str(hidden_seed), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory(prefix="yolotrt-judge-", ignore_cleanup_errors=True) as folder:
        verdicts = Path(folder) / "results.json"
        command = [sys.executable, "-m", "yolotrt_lab.grading.judging"]
        command += ["--recorded", str(recorded), "--out", str(verdicts)]
        for name in exercises:
            command += ["--exercise", name]
        try:
            done = subprocess.run(
                command,
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise JudgeError("The judge took too long.", expected=f"verdicts within {timeout_s:.0f} s") from None
        if done.returncode != 0:
            raise JudgeError("The judge failed.", expected="exit code 0", got=_last_words(done))
        content = read_json(verdicts)
    missing = sorted(set(exercises) - set(content))
    if missing:
        raise JudgeError("The judge left out exercises.", expected=", ".join(exercises), got=f"no {', '.join(missing)}")
    return {name: ExerciseResult.from_json(content[name]) for name in exercises}


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}"
