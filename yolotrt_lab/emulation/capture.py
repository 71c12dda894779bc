"""CUDA graphs: work of streams is captured instead of enqueued, and launched as often as wanted.

While a stream captures, what is put into it becomes a node of a graph, with the addresses and shapes of that moment,
and does not run. Events carry a capture into other streams ("fork") and back ("join"). Calls that would have to wait
for captured work spoil the capture. The rules and error codes were read off an NVIDIA H200 (CUDA 13.0).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.queues import Event, Operation, Stream
from yolotrt_lab.emulation.trace import Task
from yolotrt_lab.errors import EmulationError

__all__ = ["Capture", "CaptureMode", "Captures", "Graph", "GraphExec", "Node"]

CaptureMode = Literal["global", "thread local", "relaxed"]


@dataclass(frozen=True, eq=False)
class Node:
    """One piece of captured work.

    Attributes:
        bind: Returns what runs; called at every launch, for copies that look at host memory then.
        task: What it is.
        after: What it comes after.
        stream: The stream it was captured in.
        at_once: Whether a launch cannot return before it is done.
    """

    bind: Callable[[], Callable[[], None]]
    task: Task
    after: tuple[Node, ...]
    stream: Stream
    at_once: bool = False


@dataclass(frozen=True, eq=False)
class Graph:
    """Captured work, each node after those it depends on."""

    nodes: tuple[Node, ...]


@dataclass(eq=False)
class GraphExec:
    """A graph that can be launched.

    Attributes:
        graph: Its work.
        last: What ended its latest launch; a launch waits for the one before.
    """

    graph: Graph
    last: Operation | None = None


@dataclass(eq=False)
class Capture:
    """Work being captured.

    Attributes:
        number: Tells captures apart.
        origin: The stream it began in, and has to end in.
        mode: How much the program may do meanwhile.
        thread: Who began it.
        nodes: The work so far.
        tails: For every stream that takes part, what its next work comes after.
        valid: Whether nothing forbidden was done.
    """

    number: int
    origin: Stream
    mode: CaptureMode
    thread: int
    nodes: list[Node] = field(default_factory=list)
    tails: dict[Stream, tuple[Node, ...]] = field(default_factory=dict)
    valid: bool = True

    def unjoined(self) -> bool:
        """Return whether work captured in other streams was not brought back to the stream it began in."""
        joined: set[int] = set()
        stack = list(self.tails[self.origin])
        while stack:
            node = stack.pop()
            if id(node) not in joined:
                joined.add(id(node))
                stack.extend(node.after)
        return any(id(node) not in joined for node in self.nodes)


class Captures:
    """The captures in progress, and what may not be done meanwhile. The scheduler holds its lock around all calls."""

    def __init__(self) -> None:
        self._active: list[Capture] = []
        self._numbers = itertools.count(1)

    def begin(self, stream: Stream, mode: CaptureMode) -> None:
        """Let a stream capture.

        Raises:
            DeviceFault: It is the legacy default stream, or captures already.
        """
        if stream.handle == 0:
            raise DeviceFault("capture unsupported", "the legacy default stream cannot capture; make a stream")
        if stream.capture is not None:
            raise DeviceFault("illegal state", "this stream is capturing already")
        stream.capture = Capture(next(self._numbers), stream, mode, threading.get_ident(), tails={stream: ()})
        self._active.append(stream.capture)

    def end(self, stream: Stream) -> Graph:
        """Stop capturing and return the graph.

        Raises:
            DeviceFault: The stream does not capture, or the capture failed. It is over then, unless it began elsewhere.
        """
        capture = stream.capture
        if capture is None:
            raise DeviceFault("illegal state", "this stream is not capturing")
        if capture.origin is not stream:
            self._invalidate([capture])
            raise DeviceFault("capture unmatched", "end the capture in the stream in which it began")
        self._forget(capture)
        if not capture.valid:
            self._invalidated()
        if capture.mode != "relaxed" and capture.thread != threading.get_ident():
            raise DeviceFault("capture wrong thread", "end the capture in the thread that began it")
        if capture.unjoined():
            raise DeviceFault(
                "capture unjoined",
                "work captured in another stream was not joined: record an event there, and let the first stream wait "
                "for it before the capture ends",
            )
        return Graph(tuple(capture.nodes))

    def status(self, stream: Stream) -> int:
        """Return 0 if a stream does not capture, 1 if it does, 2 if its capture failed.

        Raises:
            DeviceFault: It is the legacy default stream, while a stream captures that synchronises with it.
        """
        if stream.handle == 0:
            self.check_legacy(invalidate=False)
        return 0 if stream.capture is None else 1 if stream.capture.valid else 2

    def add(self, stream: Stream, bind: Callable[[], Callable[[], None]], task: Task, *, at_once: bool = False) -> None:
        """Capture a piece of work.

        Raises:
            DeviceFault: The capture failed before.
            EmulationError: It is memory freed in stream order.
        """
        capture = self._valid(stream)
        if task.kind == "free":
            raise EmulationError(
                "cudaFreeAsync in a stream that captures is not emulated; on a GPU it becomes a node of the graph.",
                fix="Allocate before the capture, and free when the graph is no longer needed.",
            )
        node = Node(bind, task, capture.tails[stream], stream, at_once)
        capture.nodes.append(node)
        capture.tails[stream] = (node,)

    def record(self, stream: Stream, event: Event) -> None:
        """Let an event mark the present end of the captured work of a stream."""
        event.mark, event.captured = None, (self._valid(stream), self._valid(stream).tails[stream])

    def wait(self, stream: Stream, event: Event) -> None:
        """Let a stream wait for an event, where one of them belongs to a capture.

        Raises:
            DeviceFault: The event belongs to no capture, or to another one, or to one that is over.
        """
        if event.captured is None:
            capture = self._valid(stream)
            if event.mark is not None:
                self._invalidate([capture])
                raise DeviceFault(
                    "capture isolation", "a stream that captures cannot wait for an event recorded outside the capture"
                )
            return
        source, nodes = event.captured
        if source not in self._active:
            raise DeviceFault("invalid value", "the event was last recorded in a capture that is over")
        if stream.handle == 0:
            self._invalidate([source])
            raise DeviceFault("capture implicit", "the legacy default stream cannot take part in a capture")
        if stream.capture not in (None, source):
            self._invalidate([source, stream.capture])
            raise DeviceFault("capture merge", "the event belongs to another capture")
        stream.capture = source
        present = self._valid(stream).tails.get(stream, ())
        source.tails[stream] = tuple(dict.fromkeys((*present, *nodes)))

    def forget(self, stream: Stream) -> None:
        """Give up the capture a stream takes part in; the stream is being destroyed."""
        if stream.capture is not None:
            self._forget(stream.capture)

    def check_legacy(self, *, invalidate: bool = True) -> None:
        """Refuse the use of the legacy default stream while a stream captures that synchronises with it."""
        spoilt = [capture for capture in self._active if any(stream.blocking for stream in capture.tails)]
        if spoilt:
            self._invalidate(spoilt if invalidate else ())
            raise DeviceFault(
                "capture implicit",
                "the legacy default stream waits for all blocking streams, and one of them is capturing: use another "
                "stream, or capture in a non-blocking one",
            )

    def check_wait(self, stream: Stream | None, *, whole_device: bool = False) -> None:
        """Refuse a call that waits, or may wait, while something captures.

        Args:
            stream: The stream waited for, None if it is none in particular.
            whole_device: Whether all streams are waited for.
        """
        if not self._active:
            return
        own = threading.get_ident()
        spoilt = [
            capture
            for capture in self._active
            if whole_device
            or (stream is not None and stream.capture is capture)
            or capture.mode == "global"
            or (capture.mode == "thread local" and capture.thread == own)
        ]
        if spoilt:
            self._invalidate(spoilt)
            raise DeviceFault(
                "capture unsupported", "captured work does not run, so nothing can wait for it; end the capture first"
            )

    def check_event(self, event: Event, *, elapsed: bool = False) -> None:
        """Refuse to wait for, to ask for, or to take the time of an event recorded in a capture."""
        if event.captured is None:
            return
        capture = event.captured[0]
        if capture not in self._active:
            raise DeviceFault("invalid value", "the event was last recorded in a capture, where it marks no time")
        if not elapsed:
            self._invalidate([capture])
        raise DeviceFault("captured event", "the event was recorded in a capture: it is never reached")

    def _valid(self, stream: Stream) -> Capture:
        capture = stream.capture
        if capture is None:
            raise DeviceFault("illegal state", "this stream is not capturing")
        if not capture.valid:
            self._invalidated()
        return capture

    @staticmethod
    def _invalidated() -> NoReturn:
        raise DeviceFault(
            "capture invalidated", "something that cannot be captured was done before, see the first error"
        )

    @staticmethod
    def _invalidate(captures: Iterable[Capture | None]) -> None:
        for capture in captures:
            if capture is not None:
                capture.valid = False

    def _forget(self, capture: Capture) -> None:
        self._active.remove(capture)
        for stream in capture.tails:
            stream.capture = None
