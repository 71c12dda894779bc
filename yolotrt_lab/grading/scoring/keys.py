"""The keys under which verdicts are kept: one per exercise, so that a changed test rescores its exercise only."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from yolotrt_lab.grading.digests import environment_digest, exercise_digest, package_digest
from yolotrt_lab.grading.untrusted_records import load_bytes

__all__ = ["records_digest", "score_key"]

_FORMAT = 1  # goes into every key: raise it when what a verdict means changes
_MOST_FILES = 10_000


def records_digest(recorded: Path, exercise_id: str) -> str:
    """Return the digest of what was recorded of an exercise; links and other special files are noted, not followed."""
    digest = hashlib.sha256()
    folder = recorded / exercise_id
    names = sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, folders, files in os.walk(folder, followlinks=False)
        for name in (*files, *(each for each in folders if os.path.islink(os.path.join(place, each))))
    )
    for name in names[:_MOST_FILES]:
        try:
            content = hashlib.sha256(load_bytes(folder / name)).hexdigest()
        except (OSError, ValueError):
            content = "unreadable"
        digest.update(os.fsencode(name) + f"\0{content}\0".encode())
    return digest.hexdigest()


def score_key(
    exercise_id: str, recorded: Path, *, hidden_seed: int | None, outcome: str = "", root: Path | None = None
) -> str:
    """Return 64 hexadecimal digits: equal where the verdict on an exercise must be equal.

    Args:
        exercise_id: The exercise.
        recorded: The folder of the records.
        hidden_seed: The seed that hidden cases were recorded with.
        outcome: What else is known of the run and enters the verdict.
        root: The grading suite; by default the course's.

    Raises:
        InputError: There is no such exercise.
    """
    content = {
        "format": _FORMAT,
        "exercise": exercise_id,
        "suite": exercise_digest(exercise_id, root=root),
        "package": package_digest(),
        "environment": environment_digest(),
        "seed": hidden_seed,
        "records": records_digest(recorded, exercise_id),
        "outcome": outcome,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
