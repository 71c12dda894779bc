"""One warm judge per process and lab, for whoever grades one submission after the other."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolotrt_lab.grading.digests import suite_digest
from yolotrt_lab.grading.scoring.warm import JudgeService
from yolotrt_lab.grading.suite import exercise_ids, suite_root

__all__ = ["shared_judge"]

_lock = threading.Lock()
_kept: dict[tuple[object, ...], JudgeService] = {}


@contextlib.contextmanager
def shared_judge(
    exercises: Sequence[str],
    *,
    hidden_seed: int | None,
    reference: Path | None = None,
    slot: int = 0,
    unsafe: bool = False,
) -> Iterator[JudgeService]:
    """Lend the process's judge for some exercises of one lab; others wait until it is given back.

    It judges all exercises of the lab, by the suite as it is now. A process keeps one: that of the lab last graded.

    Args:
        exercises: The exercises.
        hidden_seed: The seed that hidden cases were recorded with.
        reference: The folder with the reference solution's records; it may be gone after the first use.
        slot: The worker's number on this machine.
        unsafe: Without a sandbox.

    Raises:
        InputError: There is no such lab.
    """
    lab, root = exercises[0].partition(".")[0], suite_root()
    key = (root, lab, suite_digest(lab, root=root), hidden_seed, reference, slot, unsafe)
    with _lock:
        judge = _kept.get(key)
        if judge is None:
            _close_all()
            served = (*exercise_ids(lab, root=root), *exercises)
            judge = JudgeService(
                tuple(dict.fromkeys(served)),
                hidden_seed=hidden_seed,
                reference=reference,
                slot=slot,
                unsafe=unsafe,
                root=root,
            )
            _kept[key] = judge
        yield judge


def _close_all() -> None:
    for judge in _kept.values():
        judge.close()
    _kept.clear()


atexit.register(_close_all)
