"""What a worker's process keeps warm between one piece of work and the next."""

from __future__ import annotations

import atexit
import hashlib
import json
from pathlib import Path

from yolotrt_lab.grading.digests import suite_digest
from yolotrt_lab.grading.jobs.slots import claim_slot
from yolotrt_lab.grading.scoring.warm import JudgeService
from yolotrt_lab.grading.suite import exercise_ids, suite_root

__all__ = ["end_warm", "warm_judge"]

_judges: dict[str, JudgeService] = {}


def warm_judge(lab: str, hidden_seed: int | None, reference: Path | None, *, unsafe: bool) -> JudgeService:
    """Return the judge of a lab ("lab4"): the one from last time, if nothing has changed since.

    Args:
        lab: The lab's short name.
        hidden_seed: The lab's hidden seed.
        reference: The records of the reference solution, if there are any.
        unsafe: Without a sandbox.
    """
    parts = [lab, hidden_seed, str(reference), unsafe, str(suite_root()), suite_digest(lab)]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    if key not in _judges:
        end_warm()  # one lab at a time: each takes the memory of its references
        _judges[key] = JudgeService(
            exercise_ids(lab), hidden_seed=hidden_seed, reference=reference, slot=claim_slot(), unsafe=unsafe
        )
    return _judges[key]


def end_warm() -> None:
    """End what is kept warm. Safe to call again."""
    while _judges:
        _judges.popitem()[1].close()


atexit.register(end_warm)
