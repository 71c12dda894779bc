"""Notes everything a program asks of the emulated device, as NVIDIA's Nsight Systems would, for `timeline`.

A recording holds the calls of the host in their order, the work they put into streams, what that work has to come
after, and how long it took when it really ran on the processor. When it would have run on a GPU is another module's
business: `timeline` places these records by a documented model.

Example:
    >>> from yolotrt_lab.emulation.trace import record_timeline
    >>> with record_timeline() as recording:
    ...     pass  # the program
    >>> recording.records
    ()
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = [
    "Call",
    "Entry",
    "Record",
    "Recording",
    "Task",
    "TaskKind",
    "active",
    "begin_work",
    "end_work",
    "leave",
    "note_layers",
    "record_timeline",
]

TaskKind = Literal["copy", "memset", "inference", "host function", "free", "event", "wait", "join", "other"]
Call = Literal["enqueue", "synchronize", "poll", "allocate", "free", "graph launch", "graph node"]


@dataclass(frozen=True, slots=True)
class Task:
    """What a piece of work in a stream is.

    Attributes:
        kind: copy, memset, inference, host function and free do something; event is a mark, wait holds a stream up
            until a mark in another one is reached, join ends a graph.
        name: For inferences the engine's name; for others what to show.
        nbytes: Bytes copied or set.
        direction: "h2d", "d2h", "d2d" or "h2h" for copies.
        pinned: Whether all host memory of a copy is page-locked.
        is_async: Whether an asynchronous function was called.
        context: For inferences, which execution context runs it; one context runs one inference at a time.
        kernels: For inferences, how many layers are launched.
    """

    kind: TaskKind
    name: str = ""
    nbytes: int = 0
    direction: str = ""
    pinned: bool = True
    is_async: bool = True
    context: int = 0
    kernels: int = 1


@dataclass(frozen=True)
class Record:
    """One thing the device was asked for.

    Attributes:
        number: Position in the recording, from 0.
        call: "enqueue" puts work into a stream; "synchronize" makes the host wait, "poll" asks without waiting; "graph
            launch" enqueues the "graph node" records that follow it; "allocate" and "free" are about device memory.
        thread: Which thread of the host called, from 0, in the order of their first calls.
        what: What is shown for a call that enqueues nothing: "stream", "event", "device", "pinned", ...
        task: The work, None for calls that enqueue none.
        stream: The handle of the stream it is in; branches of a graph have numbers of their own, below 0.
        priority: The stream's priority; lower numbers go first, as in CUDA.
        after: Numbers of the work it has to come after.
        awaits: Numbers of the work the host waits for.
        graph: For graph nodes, the number of the launch.
        nbytes: Bytes allocated.
        measured_ms: What the work took on the processor; None if it did not run during the recording.
        layers_ms: The layers' share of it, where layer times were taken.
        program_ms: What the thread did by itself since its last call, on the processor.
    """

    number: int
    call: Call
    thread: int = 0
    what: str = ""
    task: Task | None = None
    stream: int | None = None
    priority: int = 0
    after: tuple[int, ...] = ()
    awaits: tuple[int, ...] = ()
    graph: int | None = None
    nbytes: int = 0
    measured_ms: float | None = None
    layers_ms: tuple[tuple[str, float], ...] = ()
    program_ms: float = 0.0


@dataclass(eq=False)
class Entry:
    """A record that work can still be told about: when it has run, and how long it took."""

    recording: Recording
    record: Record
    measured_ms: float | None = None
    layers_ms: tuple[tuple[str, float], ...] = ()

    def ran(self, seconds: float) -> None:
        """Note how long the work took."""
        self.measured_ms = seconds * 1e3


@dataclass(eq=False)
class Recording:
    """What happens while it is active; see `record_timeline`."""

    _entries: list[Entry | None] = field(default_factory=list)
    _threads: dict[int, int] = field(default_factory=dict)
    _left_s: dict[int, float] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)  # the garbage collector may free memory meanwhile

    def __post_init__(self) -> None:
        self._thread()
        self.leave()

    @property
    def records(self) -> tuple[Record, ...]:
        """Everything so far, in the order of the calls."""
        with self._lock:
            return tuple(_frozen(entry) for entry in list(self._entries) if entry is not None)

    def enqueued(
        self,
        task: Task,
        *,
        stream: int,
        after: Iterable[Entry | None],
        priority: int = 0,
        launch: Entry | None = None,
    ) -> Entry:
        """Note work put into a stream by a call, or by the launch of a graph."""
        graph = None if launch is None else launch.record.number
        call: Call = "enqueue" if launch is None else "graph node"
        return self._note(call, task=task, stream=stream, after=self._numbers(after), priority=priority, graph=graph)

    def launched(self, *, stream: int, nodes: int) -> Entry:
        """Note the launch of a graph; its nodes follow."""
        return self._note("graph launch", what=f"{nodes} nodes", stream=stream)

    def waited(self, what: str, work: Iterable[Entry | None], *, polled: bool = False) -> None:
        """Note that the host waits for work, or asks whether it is done. Call `leave` when it goes on."""
        self._note("poll" if polled else "synchronize", what=what, awaits=self._numbers(work))

    def memory(self, call: Literal["allocate", "free"], *, what: str = "", nbytes: int = 0) -> None:
        """Note that memory is taken or given back by the program; what a stream frees is work of the stream."""
        if not _State.in_work:
            self._note(call, what=what, nbytes=nbytes)

    def leave(self) -> None:
        """Note that the calling thread goes on with the program; the time until its next call is its own."""
        self._left_s[threading.get_ident()] = time.perf_counter()

    def _thread(self) -> int:
        return self._threads.setdefault(threading.get_ident(), len(self._threads))

    def _numbers(self, entries: Iterable[Entry | None]) -> tuple[int, ...]:
        """Return the records' numbers, of this recording only: what was enqueued before it is taken as done."""
        found = {entry.record.number for entry in entries if entry is not None and entry.recording is self}
        return tuple(sorted(found))

    def _note(
        self,
        call: Call,
        *,
        what: str = "",
        task: Task | None = None,
        stream: int | None = None,
        after: tuple[int, ...] = (),
        awaits: tuple[int, ...] = (),
        priority: int = 0,
        graph: int | None = None,
        nbytes: int = 0,
    ) -> Entry:
        now = time.perf_counter()
        with self._lock:
            number = len(self._entries)
            self._entries.append(None)  # a place of its own, before anything can start the garbage collector
            program_ms = (now - self._left_s.get(threading.get_ident(), now)) * 1e3 if graph is None else 0.0
            record = Record(
                number, call, self._thread(), what, task, stream, priority, after, awaits, graph, nbytes,
                program_ms=program_ms,
            )  # fmt: skip
            entry = self._entries[number] = Entry(self, record)
        self.leave()
        return entry


def _frozen(entry: Entry) -> Record:
    return replace(entry.record, measured_ms=entry.measured_ms, layers_ms=entry.layers_ms)


class _State:
    """The active recording, and the work being run."""

    recording: Recording | None = None
    running: Entry | None = None
    in_work: bool = False


def active() -> Recording | None:
    """Return the active recording, None if there is none."""
    return _State.recording


def leave() -> None:
    """Note that the calling thread goes on with the program, if that is being recorded."""
    if _State.recording is not None:
        _State.recording.leave()


def begin_work(entry: Entry | None) -> None:
    """Say that work is being run now, and where it is recorded, if it is."""
    _State.running, _State.in_work = entry, True


def end_work() -> None:
    """Say that the work is done."""
    _State.running, _State.in_work = None, False


def note_layers(times_ms: Sequence[tuple[str, float]]) -> None:
    """Add layer times to the inference being run, if it is being recorded."""
    if _State.running is not None:
        _State.running.layers_ms = tuple((str(name), float(value)) for name, value in times_ms)


@contextlib.contextmanager
def record_timeline() -> Iterator[Recording]:
    """Record what the block asks of the emulated device; read `.records` inside or after it.

    Work that the block enqueues and nobody waits for is in the recording, but was never run: as on a GPU, nobody knows
    when it would have been done. Recordings can be nested; the inner one then takes the calls.
    """
    outer, _State.recording = _State.recording, Recording()
    try:
        yield _State.recording
    finally:
        _State.recording = outer
