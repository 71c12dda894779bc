"""What streams are made of: queues of operations, and events that mark a place in them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yolotrt_lab.emulation.trace import Entry

if TYPE_CHECKING:
    from yolotrt_lab.emulation.capture import Capture, Node

__all__ = ["Event", "Operation", "Stream"]


@dataclass(eq=False)
class Stream:
    """An ordered queue of work.

    Attributes:
        handle: The integer programs pass around.
        blocking: Whether it synchronises with the legacy default stream.
        priority: Lower numbers go first, as in CUDA; it matters to the modelled timeline only.
        queue: Work not done yet.
        last: The work enqueued last, done or not.
        end_s: When its last finished work ended, on the device's clock.
        capture: What is being captured in it, None most of the time.
    """

    handle: int
    blocking: bool
    priority: int = 0
    queue: deque[Operation] = field(default_factory=deque)
    last: Operation | None = None
    end_s: float = 0.0
    capture: Capture | None = None


@dataclass(eq=False)
class Operation:
    """One piece of work: it runs after everything before it in its stream and after `waits`.

    The device's clock is the processor's, but counts waiting as a GPU does. Work begins when it is enqueued, or as soon
    as the processor and everything it waits for are done with what was enqueued earlier; that its execution is really
    put off until somebody synchronises does not count.

    Attributes:
        stream: The stream it is in.
        number: Position among all operations.
        run: What to do, None for a mark.
        waits: What it comes after, besides the work before it in its stream.
        entry: Where it is recorded.
        issued_s: When it was enqueued, by `time.perf_counter`.
        end_s: When it was done on the device's clock; None before, and when it was dropped.
        done: Whether it was run or dropped.
    """

    stream: Stream
    number: int
    run: Callable[[], None] | None
    waits: tuple[Operation, ...]
    entry: Entry | None = None
    issued_s: float = field(default_factory=lambda: time.perf_counter())
    end_s: float | None = None
    done: bool = False

    @property
    def ready_s(self) -> float:
        """When it could begin, if the processor were free."""
        return max(self.issued_s, self.stream.end_s, *(wait.end_s or 0.0 for wait in self.waits))

    def drop(self) -> None:
        """Give it up."""
        self.run, self.waits, self.done = None, (), True


@dataclass(eq=False)
class Event:
    """A mark in a stream.

    Attributes:
        timed: Whether it notes the time when the work before it is done.
        mark: The recorded mark, None before the first record.
        captured: The capture it was last recorded in and what it marks there, None if it was recorded outside.
    """

    timed: bool = True
    mark: Operation | None = None
    captured: tuple[Capture, tuple[Node, ...]] | None = None

    @property
    def time_s(self) -> float | None:
        """When the mark was reached on the device's clock; None if it was not."""
        return None if self.mark is None else self.mark.end_s
