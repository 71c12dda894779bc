"""What is to be computed, and by whom: in this process, or by a cluster's workers."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

__all__ = ["ByKind", "Done", "InProcess", "Perform", "Pool", "Work"]


@dataclass(frozen=True)
class Work:
    """One pure computation.

    Attributes:
        name: Unique among all that are under way.
        kind: "execute" or "score".
        content: What it is about, in the form that `perform` reads.
        slots: What a worker must have free for it.
    """

    name: str
    kind: str
    content: bytes = field(repr=False)
    slots: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1})


@dataclass(frozen=True)
class Done:
    """How it came out.

    Attributes:
        work: What was computed.
        content: The packed folder of the result; None if there is none.
        trouble: Why there is none; it is not the student's doing.
    """

    work: Work
    content: bytes | None = field(default=None, repr=False)
    trouble: str = ""


Perform = Callable[[str, bytes], bytes]
"""Computes: (kind, content) -> packed folder."""


class Pool(Protocol):
    """Computes what it is given, in any order."""

    slots: int

    def submit(self, work: Work) -> None:
        """Add something to compute."""

    def next_done(self, timeout_s: float) -> Done | None:
        """Return something that is done, each once; None if nothing is by then."""

    def running(self) -> int:
        """Return how much is being computed right now."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class InProcess:
    """Computes in this process, one after the other.

    Args:
        perform: What computes.
        retries: How often it is tried again after trouble.
    """

    slots = 1

    def __init__(self, perform: Perform, *, retries: int = 1) -> None:
        self._perform, self._retries = perform, retries
        self._waiting: collections.deque[Work] = collections.deque()

    def submit(self, work: Work) -> None:
        """Add something to compute."""
        self._waiting.append(work)

    def next_done(self, timeout_s: float) -> Done | None:
        """Compute the next, however long it takes."""
        if not self._waiting:
            return None
        work = self._waiting.popleft()
        trouble = ""
        for _ in range(1 + self._retries):
            try:
                return Done(work, self._perform(work.kind, work.content))
            except Exception as error:  # whatever it is, it must not stop the others' grading
                trouble = f"{type(error).__name__}: {error}"
        return Done(work, trouble=trouble)

    def running(self) -> int:
        """Return how much is being computed right now."""
        return min(1, len(self._waiting))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()


class ByKind:
    """Runs submissions in one pool and judges them in another: judging knows the hidden seed, and stays at home.

    Args:
        execute: Where submissions run.
        score: Where they are judged.
    """

    def __init__(self, execute: Pool, score: Pool) -> None:
        self._pools = {"execute": execute, "score": score}
        self.slots = execute.slots

    def submit(self, work: Work) -> None:
        """Add something to compute."""
        self._pools[work.kind].submit(work)

    def next_done(self, timeout_s: float) -> Done | None:
        """Return something that is done in one of the pools; None if nothing is in this time."""
        return self._pools["score"].next_done(0.01) or self._pools["execute"].next_done(timeout_s)

    def running(self) -> int:
        """Return how much is being computed right now."""
        return sum(pool.running() for pool in self._pools.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self._pools.values():
            pool.__exit__(*error)
