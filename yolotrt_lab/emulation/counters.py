"""Counts the work a program asks of the emulated device, so performance exercises can be graded without a clock.

"No allocation in the loop", "one copy each way per frame" and "pinned memory on an own stream" are statements about
counts. Take them around the code in question:

Example:
    >>> from yolotrt_lab.emulation.counters import count_work
    >>> with count_work() as measured:
    ...     pass  # the loop under test
    >>> measured.work.allocations.count, measured.work.copied("h2d").bytes_total
    (0, 0)
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from yolotrt_lab.emulation.lock import DEVICE_LOCK
from yolotrt_lab.emulation.trace import Task, active

__all__ = ["CopyKind", "Direction", "Measured", "Tally", "Work", "count_work", "diff", "snapshot"]

Direction = Literal["h2d", "d2h", "d2d", "h2h"]

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Tally:
    """How often something happened and how many bytes it moved or took in all."""

    count: int = 0
    bytes_total: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.count + other.count, self.bytes_total + other.bytes_total)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.count - other.count, self.bytes_total - other.bytes_total)


@dataclass(frozen=True)
class CopyKind:
    """What distinguishes one copy from another.

    Attributes:
        direction: From host (h) or device (d) to host or device.
        is_async: Whether an `...Async` function was called.
        pinned: Whether all host memory involved is page-locked; True for device-to-device copies.
        stream: The stream handle; 0 is the default stream.
    """

    direction: Direction
    is_async: bool
    pinned: bool
    stream: int


@dataclass(frozen=True)
class Work:
    """Everything counted so far, or between two moments.

    Attributes:
        allocations: Device memory allocations.
        frees: Device memory frees.
        pinned_allocations: Page-locked host memory allocations.
        copies: Copies by kind.
        memsets: Device memory fills.
        synchronizations: Waits of the host by what it waited for: "stream", "device", "event", or "implicit" for a
            synchronous copy.
        enqueues: Inferences handed to the device, by stream handle.
        streams_created: CUDA streams made.
        execution_contexts: TensorRT execution contexts made.
        engines_loaded: Plans deserialised.
        uninitialised_reads: Inferences that read device memory nobody had written, the trace of a forgotten copy.
        graph_launches: CUDA graphs launched. At each launch the work in a graph is counted as if it had been enqueued
            by itself; while it is being captured, it is not counted.
        host_functions: Functions of the host put into streams.
        polls: Questions whether a stream or an event is done.
    """

    allocations: Tally = Tally()
    frees: int = 0
    pinned_allocations: Tally = Tally()
    copies: Mapping[CopyKind, Tally] = field(default_factory=dict)
    memsets: int = 0
    synchronizations: Mapping[str, int] = field(default_factory=dict)
    enqueues: Mapping[int, int] = field(default_factory=dict)
    streams_created: int = 0
    execution_contexts: int = 0
    engines_loaded: int = 0
    uninitialised_reads: int = 0
    graph_launches: int = 0
    host_functions: int = 0
    polls: int = 0

    def copied(
        self,
        direction: Direction | None = None,
        *,
        is_async: bool | None = None,
        pinned: bool | None = None,
        own_stream: bool | None = None,
    ) -> Tally:
        """Return the copies that match every given criterion; `own_stream` means any but the default stream."""
        total = Tally()
        for kind, tally in self.copies.items():
            asked = (direction, is_async, pinned, own_stream)
            found = (kind.direction, kind.is_async, kind.pinned, kind.stream != 0)
            if all(want is None or want == have for want, have in zip(asked, found, strict=True)):
                total += tally
        return total

    @property
    def synchronization_count(self) -> int:
        """Explicit waits of the host: for a stream, an event or the device."""
        return sum(count for what, count in self.synchronizations.items() if what != "implicit")

    @property
    def enqueue_count(self) -> int:
        """Inferences on any stream."""
        return sum(self.enqueues.values())

    def __sub__(self, earlier: Work) -> Work:
        return Work(
            allocations=self.allocations - earlier.allocations,
            frees=self.frees - earlier.frees,
            pinned_allocations=self.pinned_allocations - earlier.pinned_allocations,
            copies={
                kind: tally - earlier.copies.get(kind, Tally())
                for kind, tally in self.copies.items()
                if tally != earlier.copies.get(kind, Tally())
            },
            memsets=self.memsets - earlier.memsets,
            synchronizations=_difference(self.synchronizations, earlier.synchronizations),
            enqueues=_difference(self.enqueues, earlier.enqueues),
            streams_created=self.streams_created - earlier.streams_created,
            execution_contexts=self.execution_contexts - earlier.execution_contexts,
            engines_loaded=self.engines_loaded - earlier.engines_loaded,
            uninitialised_reads=self.uninitialised_reads - earlier.uninitialised_reads,
            graph_launches=self.graph_launches - earlier.graph_launches,
            host_functions=self.host_functions - earlier.host_functions,
            polls=self.polls - earlier.polls,
        )


def _difference(later: Mapping[_Key, int], earlier: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: count - earlier.get(key, 0) for key, count in later.items() if count != earlier.get(key, 0)}


class Recorder:
    """Adds up work as it happens. One instance serves the process; the emulated modules call it."""

    def __init__(self) -> None:
        self._lock = DEVICE_LOCK
        self._numbers: Counter[str] = Counter()
        self._allocations = Tally()
        self._pinned_allocations = Tally()
        self._copies: dict[CopyKind, Tally] = {}
        self._synchronizations: Counter[str] = Counter()
        self._enqueues: Counter[int] = Counter()

    def add(self, name: str) -> None:
        """Count one of the plain numbers of `Work`, by attribute name."""
        with self._lock:
            self._numbers[name] += 1
        recording = active() if name == "frees" else None
        if recording is not None:
            recording.memory("free")

    def did(self, task: Task, stream: int) -> None:
        """Count work put into a stream."""
        if task.kind == "copy":
            direction = cast(Direction, task.direction)
            self.copied(CopyKind(direction, task.is_async, task.pinned, stream), task.nbytes)
        elif task.kind == "memset":
            self.add("memsets")
        elif task.kind == "inference":
            self.enqueued(stream)
        elif task.kind == "host function":
            self.add("host_functions")

    def allocated(self, nbytes: int, *, pinned: bool = False) -> None:
        """Count an allocation."""
        recording = active()
        if recording is not None:
            recording.memory("allocate", what="pinned" if pinned else "device", nbytes=nbytes)
        with self._lock:
            if pinned:
                self._pinned_allocations += Tally(1, nbytes)
            else:
                self._allocations += Tally(1, nbytes)

    def copied(self, kind: CopyKind, nbytes: int) -> None:
        """Count a copy; a synchronous one also makes the host wait."""
        with self._lock:
            self._copies[kind] = self._copies.get(kind, Tally()) + Tally(1, nbytes)
            if not kind.is_async:
                self._synchronizations["implicit"] += 1

    def synchronized(self, what: str) -> None:
        """Count a wait of the host."""
        with self._lock:
            self._synchronizations[what] += 1

    def enqueued(self, stream: int) -> None:
        """Count an inference handed to a stream."""
        with self._lock:
            self._enqueues[stream] += 1

    def work(self) -> Work:
        """Return an unchanging copy of all counts."""
        with self._lock:
            return Work(
                allocations=self._allocations,
                pinned_allocations=self._pinned_allocations,
                copies=dict(self._copies),
                synchronizations=dict(self._synchronizations),
                enqueues=dict(self._enqueues),
                **{name: self._numbers[name] for name in _NUMBERS},
            )


_NUMBERS = (
    "frees",
    "memsets",
    "streams_created",
    "execution_contexts",
    "engines_loaded",
    "uninitialised_reads",
    "graph_launches",
    "host_functions",
    "polls",
)

recorder = Recorder()


class Measured:
    """What `count_work` gives: `work` is the work since the block began, frozen when the block ends."""

    def __init__(self) -> None:
        self._start = snapshot()
        self._end: Work | None = None

    @property
    def work(self) -> Work:
        """The work of the block, so far or in all."""
        return (self._end or snapshot()) - self._start

    def stop(self) -> None:
        """Freeze the counts."""
        self._end = snapshot()


def snapshot() -> Work:
    """Return all work since the process started."""
    return recorder.work()


def diff(earlier: Work, later: Work) -> Work:
    """Return the work done between two snapshots."""
    return later - earlier


@contextlib.contextmanager
def count_work() -> Iterator[Measured]:
    """Count the work of a block; read `.work` inside or after it."""
    measured = Measured()
    try:
        yield measured
    finally:
        measured.stop()
