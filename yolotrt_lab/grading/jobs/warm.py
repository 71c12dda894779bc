"""What a worker's process keeps warm between one piece of work and the next."""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.grading.digests import suite_digest
from yolotrt_lab.grading.execution.host import KERNEL_ENVIRONMENT
from yolotrt_lab.grading.jobs.slots import claim_slot
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.zygote import Zygote
from yolotrt_lab.grading.scoring.warm import JudgeService
from yolotrt_lab.grading.suite import exercise_ids, suite_root

__all__ = ["end_warm", "warm_judge", "warm_kernels"]

_judges: dict[str, JudgeService] = {}
_zygotes: dict[tuple[str, ...], Zygote | None] = {}


def warm_kernels(preload: Sequence[str], *, cores: int) -> Zygote | None:
    """Return the process that kernels with these imports are forked from; None where kernels start cold.

    Args:
        preload: The modules; none for a cold start.
        cores: Threads that numerical libraries use.
    """
    key = (str(cores), *preload)
    if not preload:
        return None
    if key not in _zygotes:
        _end_zygotes()
        try:
            zygote = _zygotes[key] = Zygote(preload, environment=KERNEL_ENVIRONMENT, cores=cores)
            if zygote.busy_threads:
                text = "Kernels start cold: the lab's imports leave %d threads at work, which a fork would lose."
                logging.getLogger(__name__).warning(text, zygote.busy_threads)
        except SandboxError as error:
            logging.getLogger(__name__).warning("Kernels start cold: %s", error.one_line)
            _zygotes[key] = None
    kept = _zygotes[key]
    return kept if kept is not None and kept.usable else None


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
        _end_judges()  # one lab at a time: each takes the memory of its references
        _judges[key] = JudgeService(
            exercise_ids(lab), hidden_seed=hidden_seed, reference=reference, slot=claim_slot(), unsafe=unsafe
        )
    return _judges[key]


def end_warm() -> None:
    """End what is kept warm. Safe to call again."""
    _end_judges()
    _end_zygotes()


def _end_judges() -> None:
    while _judges:
        _judges.popitem()[1].close()


def _end_zygotes() -> None:
    while _zygotes:
        zygote = _zygotes.popitem()[1]
        if zygote is not None:
            zygote.close()


atexit.register(end_warm)
