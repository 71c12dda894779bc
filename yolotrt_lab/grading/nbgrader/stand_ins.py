"""Write down that an answer gave nothing: it hung, it ended the kernel, or its check raised.

The judge then says so in the exercise's table, and the tests of other cases keep their points.
"""

from __future__ import annotations

from pathlib import Path

from yolotrt_lab.files import write_json
from yolotrt_lab.grading.exercise import Exercise

__all__ = ["has_records", "write_stand_ins"]

_MESSAGES = {
    "died": ("KernelDied", "the kernel ended while your code ran"),
    "raised": ("Interrupted", "the check was interrupted while your code ran"),
}


def has_records(folder: Path, exercise_id: str) -> bool:
    """Whether the kernel wrote anything for an exercise."""
    return any((folder / exercise_id).glob("*/record.json"))


def write_stand_ins(folder: Path, exercise: Exercise, *, reason: str) -> None:
    """Write a record for each case that has none.

    Args:
        folder: The folder of the records.
        exercise: The exercise.
        reason: "hung", "died" or "raised".
    """
    for case in exercise.all_cases(with_hidden=True):
        path = folder / exercise.id / case.key / "record.json"
        if path.is_file() and not path.is_symlink():
            continue
        if reason == "hung":
            content: dict[str, object] = {"status": "timeout", "seconds": exercise.seconds}
        else:
            kind, message = _MESSAGES[reason]
            content = {"status": "raised", "type": kind, "message": message, "where": None, "of": exercise.answer}
        write_json(path, content)
