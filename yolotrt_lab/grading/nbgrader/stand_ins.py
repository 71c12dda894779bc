"""What the grader itself reads and writes among the records of an exercise.

Where an answer gave nothing because it hung, ended the kernel or was interrupted, a stand-in says so: the judge then
says so in the exercise's table, and the tests of other cases keep their points.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, write_json
from yolotrt_lab.grading.execution.job import ExercisePlan

__all__ = ["has_records", "shortcuts_in", "write_stand_ins"]

_MESSAGES = {
    "died": ("KernelDied", "the kernel ended while your code ran"),
    "raised": ("Interrupted", "the check was interrupted while your code ran"),
}


def has_records(folder: Path, exercise_id: str) -> bool:
    """Whether the kernel wrote anything for an exercise."""
    return any((folder / exercise_id).glob("*/record.json"))


def shortcuts_in(folder: Path, exercise_id: str) -> set[str]:
    """Return the forbidden functions that an answer called on some case."""
    found = set()
    for path in (folder / exercise_id).glob("*/record.json"):
        with contextlib.suppress(InputError):
            content = read_json(path)
            if isinstance(content, dict) and content.get("status") == "shortcut":
                found.add(str(content.get("name"))[:200])
    return found


def write_stand_ins(folder: Path, plan: ExercisePlan, *, reason: str, limit: str = "") -> None:
    """Write a record for each case that has none.

    Args:
        folder: The folder of the records.
        plan: The exercise.
        reason: "hung", "died" or "raised".
        limit: What the code did beyond the limits of its sandbox, completing "your code …"; "" if it kept them.
    """
    for case in plan.cases:
        path = folder / plan.id / case / "record.json"
        if path.is_file() and not path.is_symlink():
            continue
        if reason == "hung":
            content: dict[str, object] = {"status": "timeout", "seconds": plan.seconds}
        else:
            kind, message = ("LimitExceeded", f"your code {limit}") if limit else _MESSAGES[reason]
            content = {"status": "raised", "type": kind, "message": message, "where": None, "of": plan.answer}
        write_json(path, content)
