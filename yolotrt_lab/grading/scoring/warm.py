"""A judge that stays: imports, inputs and references are made once, and every submission gets forks of them."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.results import ExerciseResult
from yolotrt_lab.grading.scoring.desk import Desk, Orders
from yolotrt_lab.grading.scoring.forked import ForkLimits
from yolotrt_lab.grading.scoring.host import JudgeHost, start_judge
from yolotrt_lab.grading.suite import suite_root

__all__ = ["JudgeError", "JudgeService"]

_FIRST_POLL_S, _LONGEST_POLL_S = 0.005, 0.05


class JudgeError(LabError):
    """The judge gave no verdicts."""


class JudgeService:
    """A judge for submissions of one lab, in a sandbox that runs nothing of a student's; a context manager.

    It starts with the first submission, and again after it has failed. For one thread at a time.

    Args:
        exercises: The exercises that it may be asked about.
        hidden_seed: The seed that hidden cases were recorded with.
        reference: The folder with the reference solution's records. With it judging is fast, and an error in a test
            that passes the reference is the answer's failure; without it, such an answer is left to the instructor.
        requests: How many submissions it judges; 0 for as many as come.
        slot: The worker's number on this machine.
        unsafe: Without a sandbox.
        root: The grading suite; by default the course's.
        limits: What judging one exercise may take.
    """

    def __init__(
        self,
        exercises: Sequence[str],
        *,
        hidden_seed: int | None,
        reference: Path | None = None,
        requests: int = 0,
        slot: int = 0,
        unsafe: bool = False,
        root: Path | None = None,
        limits: ForkLimits | None = None,
    ) -> None:
        self._orders = Orders(
            exercises=tuple(exercises), hidden_seed=hidden_seed, requests=requests, limits=limits or ForkLimits()
        )
        self._reference, self._slot, self._unsafe = reference, slot, unsafe
        self._root = root or suite_root()
        self._host: JudgeHost | None = None
        self._asked = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def serves(self) -> tuple[str, ...]:
        """The exercises that it may be asked about."""
        return self._orders.exercises

    def judge(
        self, recorded: Path, exercises: Sequence[str], *, timeout_s: float = 3600.0
    ) -> dict[str, ExerciseResult]:
        """Return the verdict on each exercise of a submission.

        Args:
            recorded: The folder of the records.
            exercises: Some of those that it serves.
            timeout_s: How long it may take in all.

        Raises:
            SandboxError: No sandbox can be made.
            JudgeError: It took too long, failed, or left out an exercise; it starts anew with the next submission.
        """
        try:
            host = self._host or self._start()
            desk, number = Desk(host.desk), self._asked
            self._asked += 1
            desk.ask(number, recorded, exercises)
            results = self._wait(host, desk, number, timeout_s)
            desk.clear(number)
        except BaseException:
            self.close()
            raise
        missing = sorted(set(exercises) - set(results))
        if missing:
            raise JudgeError("The judge left out exercises.", expected=", ".join(exercises), got=f"no {missing}")
        return {name: results[name] for name in exercises}

    def close(self) -> None:
        """End the judge; the next submission starts another."""
        self._open.close()
        self._host, self._asked = None, 0

    def _start(self) -> JudgeHost:
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="yolotrt-judge-")))
        desk = Desk(folder)
        desk.lay_orders(self._orders)
        if self._reference is not None:
            desk.lay_reference(self._reference, self._orders.exercises)
        self._host = start_judge(folder, root=self._root, slot=self._slot, unsafe=self._unsafe)
        self._open.callback(self._host.close)
        return self._host

    def _wait(self, host: JudgeHost, desk: Desk, number: int, timeout_s: float) -> dict[str, ExerciseResult]:
        deadline, pause_s = time.monotonic() + timeout_s, _FIRST_POLL_S
        while True:
            code = host.poll()
            results = desk.verdicts(number)
            if results is not None:
                return results
            if code is not None:
                raise JudgeError("The judge failed.", expected="verdicts", got=f"exit code {code}: {host.last_words()}")
            if time.monotonic() > deadline:
                raise JudgeError("The judge took too long.", expected=f"verdicts within {timeout_s:.0f} s")
            time.sleep(pause_s)
            pause_s = min(_LONGEST_POLL_S, pause_s * 1.2)
