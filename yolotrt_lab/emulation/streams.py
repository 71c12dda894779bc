"""Streams and events of the emulated device: asynchronous work waits until something synchronises with it.

A GPU runs enqueued work "some time soon"; a program that reads the result too early is wrong but may look right. Here
enqueued work never runs before the host waits for it, so such a program always reads stale data. And where the order of
two streams is left open, the device-wide wait runs them in the order least convenient to the program.

The ordering rules are CUDA's: work of one stream runs in order; the legacy default stream (handle 0) waits for all
earlier work of blocking streams and holds up their later work; a stream can be told to wait for an event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["Event", "Operation", "Scheduler", "Stream"]

_FIRST_HANDLE = 0x5EED0000
_HANDLE_STEP = 0x10


@dataclass(eq=False)
class Stream:
    """An ordered queue of work.

    Attributes:
        handle: The integer programs pass around.
        blocking: Whether it synchronises with the legacy default stream.
        queue: Work not done yet.
        last: The work enqueued last, done or not.
    """

    handle: int
    blocking: bool
    queue: deque[Operation] = field(default_factory=deque)
    last: Operation | None = None


@dataclass(eq=False)
class Operation:
    """One piece of work: it runs after everything before it in its stream and after `waits`."""

    stream: Stream
    number: int
    run: Callable[[], None] | None
    waits: tuple[Operation, ...]
    done: bool = False


@dataclass(eq=False)
class Event:
    """A mark in a stream.

    Attributes:
        timed: Whether it notes the time when the work before it is done.
        mark: The recorded mark, None before the first record.
        time_s: When the mark was reached, by `time.perf_counter`.
    """

    timed: bool = True
    mark: Operation | None = None
    time_s: float | None = None


class Scheduler:
    """Keeps the streams and runs their work when something waits for it. Calls are serialised by one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._default = Stream(handle=0, blocking=True)
        self._streams: dict[int, Stream] = {0: self._default}
        self._next_handle = _FIRST_HANDLE
        self._number = 0

    def create_stream(self, *, blocking: bool = True) -> Stream:
        """Return a new stream."""
        with self.lock:
            stream = Stream(self._next_handle, blocking)
            self._streams[stream.handle] = stream
            self._next_handle += _HANDLE_STEP
            recorder.add("streams_created")
            return stream

    def destroy_stream(self, handle: int) -> None:
        """Forget a stream; like CUDA, its outstanding work is still done first."""
        with self.lock:
            stream = self.stream(handle)
            if stream is self._default:
                raise DeviceFault("invalid handle", "the default stream cannot be destroyed")
            self._run_to_end(stream)
            del self._streams[handle]

    def stream(self, handle: int) -> Stream:
        """Return the stream with this handle; 1 is another name of the legacy default stream.

        Raises:
            DeviceFault: No such stream.
        """
        found = self._streams.get(0 if handle == 1 else handle)
        if found is None:
            raise DeviceFault("invalid handle", f"{handle:#x} is not a stream, or was destroyed")
        return found

    def enqueue(self, handle: int, run: Callable[[], None]) -> Operation:
        """Add work to a stream without running it."""
        with self.lock:
            return self._append(self.stream(handle), run, ())

    def record(self, event: Event, handle: int) -> None:
        """Mark the present end of a stream with an event."""

        def reach() -> None:
            event.time_s = time.perf_counter()

        with self.lock:
            event.time_s = None
            event.mark = self._append(self.stream(handle), reach, ())

    def wait_for_event(self, handle: int, event: Event) -> None:
        """Make later work of a stream wait for an event; an event never recorded is no obstacle."""
        with self.lock:
            if event.mark is not None:
                self._append(self.stream(handle), None, (event.mark,))

    def synchronize_stream(self, handle: int) -> None:
        """Do all work of a stream, and what it waits for.

        Raises:
            DeviceFault: Some of that work was illegal; the rest of the stream's work is dropped.
        """
        with self.lock:
            recorder.synchronized("stream")
            self._run_to_end(self.stream(handle))

    def synchronize_event(self, event: Event) -> None:
        """Do all work up to an event."""
        with self.lock:
            recorder.synchronized("event")
            if event.mark is not None:
                self._run_until(event.mark)

    def synchronize_device(self) -> None:
        """Do all work of all streams; where order is open, the work enqueued last goes first."""
        with self.lock:
            recorder.synchronized("device")
            self._run_all()

    def run_until(self, operation: Operation) -> None:
        """Do one operation and everything it has to come after."""
        with self.lock:
            self._run_until(operation)

    def run_before_default(self) -> None:
        """Do the work a synchronous call on the default stream has to wait for."""
        with self.lock:
            self._run_until(self._append(self._default, None, ()))

    def poll_stream(self, handle: int) -> bool:
        """Return whether a stream has nothing left to do; otherwise let it do its work before the next poll."""
        with self.lock:
            stream = self.stream(handle)
            idle = not stream.queue
            self._run_to_end(stream)
            return idle

    def poll_event(self, event: Event) -> bool:
        """Return whether an event was reached; otherwise let it be reached before the next poll."""
        with self.lock:
            if event.mark is None or event.mark.done:
                return True
            self._run_until(event.mark)
            return False

    def discard_all(self) -> None:
        """Drop all streams and their work."""
        with self.lock:
            self._default = Stream(handle=0, blocking=True)
            self._streams = {0: self._default}

    def _append(self, stream: Stream, run: Callable[[], None] | None, waits: tuple[Operation, ...]) -> Operation:
        if stream is self._default:
            others = [other for other in self._streams.values() if other.blocking and other is not stream]
        else:
            others = [self._default] if stream.blocking else []
        barrier = tuple(other.last for other in others if other.last is not None and not other.last.done)
        self._number += 1
        operation = Operation(stream, self._number, run, (*waits, *barrier))
        stream.queue.append(operation)
        stream.last = operation
        return operation

    def _run_to_end(self, stream: Stream) -> None:
        if stream.queue:
            self._run_until(stream.queue[-1])

    def _run_all(self) -> None:
        busy = [stream for stream in self._streams.values() if stream.queue]
        for stream in sorted(busy, key=lambda stream: -stream.queue[-1].number):
            self._run_to_end(stream)

    def _run_until(self, target: Operation) -> None:
        """Run `target` and everything it has to come after; a stack instead of recursion, queues can be long."""
        stack = [target]
        while stack:
            if stack[-1].done:
                stack.pop()
                continue
            stream = stack[-1].stream
            head = stream.queue[0]
            pending = next((earlier for earlier in head.waits if not earlier.done), None)
            if pending is not None:
                stack.append(pending)
                continue
            stream.queue.popleft()
            self._run(head)

    @staticmethod
    def _run(operation: Operation) -> None:
        run, operation.run, operation.waits, operation.done = operation.run, None, (), True
        if run is None:
            return
        try:
            run()
        except BaseException:
            for dropped in operation.stream.queue:
                dropped.run, dropped.waits, dropped.done = None, (), True
            operation.stream.queue.clear()
            raise
