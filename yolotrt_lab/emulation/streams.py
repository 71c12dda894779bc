"""Streams and events of the emulated device: asynchronous work waits until something synchronises with it.

A GPU runs enqueued work "some time soon"; a program that reads the result too early is wrong but may look right. Here
enqueued work never runs before the host waits for it, so such a program always reads stale data. And where the order of
two streams is left open, the device-wide wait runs them in the order least convenient to the program.

The ordering rules are CUDA's: work of one stream runs in order; the legacy default stream (handle 0) waits for all
earlier work of blocking streams and holds up their later work; a stream can be told to wait for an event. Every thread
has a default stream of its own besides (handle 2).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable

from yolotrt_lab.emulation.capture import CaptureMode, Captures, Graph, GraphExec
from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.lock import DEVICE_LOCK
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.queues import Event, Operation, Stream
from yolotrt_lab.emulation.trace import Entry, Task, active, begin_work, end_work, leave

__all__ = ["GREATEST_PRIORITY", "LEAST_PRIORITY", "Event", "Operation", "Scheduler", "Stream"]

LEAST_PRIORITY, GREATEST_PRIORITY = 0, -5
"""What `cudaDeviceGetStreamPriorityRange` gives on an H200."""

_PER_THREAD = 2
_OTHER, _MARK, _WAIT, _JOIN = Task("other"), Task("event"), Task("wait"), Task("join")


class Scheduler:
    """Keeps the streams and runs their work when something waits for it. Calls are serialised by one lock."""

    def __init__(self) -> None:
        self.lock = DEVICE_LOCK
        self.captures = Captures()
        self._handles = itertools.count(0x5EED0000, 0x10)
        self._number = 0
        self._free_s = 0.0
        self._in_host_function = False
        self._forget_streams()

    def _forget_streams(self) -> None:
        self._default = Stream(handle=0, blocking=True)
        self._streams: dict[int, Stream] = {0: self._default}
        self._per_thread: dict[int, Stream] = {}
        self._retired: dict[int, Stream] = {}  # destroyed, or branches of a graph, with work still to do

    # Streams

    def create_stream(self, *, blocking: bool = True, priority: int = 0) -> Stream:
        """Return a new stream; a priority out of range becomes the nearest one, as in CUDA."""
        with self.lock:
            self._enter()
            stream = Stream(next(self._handles), blocking, min(max(priority, GREATEST_PRIORITY), LEAST_PRIORITY))
            self._streams[stream.handle] = stream
            recorder.add("streams_created")
            return stream

    def destroy_stream(self, handle: int) -> None:
        """Forget a stream. Like CUDA, this does not wait: outstanding work is done before the device is next idle."""
        with self.lock:
            stream = self.stream(handle)
            if stream.handle in (0, _PER_THREAD):
                raise DeviceFault("invalid handle", "the default stream cannot be destroyed")
            self.captures.forget(stream)
            del self._streams[handle]
            self._retire([stream])

    def stream(self, handle: int) -> Stream:
        """Return the stream with this handle; 1 is another name of the legacy default stream, 2 the thread's own one.

        Raises:
            DeviceFault: No such stream.
        """
        if handle == _PER_THREAD:
            return self._per_thread.setdefault(threading.get_ident(), Stream(_PER_THREAD, blocking=True))
        found = self._streams.get(0 if handle == 1 else handle)
        if found is None:
            raise DeviceFault("invalid handle", f"{handle:#x} is not a stream, or was destroyed")
        return found

    # Work

    def enqueue(
        self,
        handle: int,
        run: Callable[[], None],
        task: Task = _OTHER,
        *,
        rebind: Callable[[], Callable[[], None]] | None = None,
        at_once: bool = False,
    ) -> None:
        """Add work to a stream without running it; a stream that captures makes it a node of its graph.

        Args:
            handle: The stream.
            run: What to do.
            task: What it is, for counters and recordings.
            rebind: Returns what to do at each launch of a graph the work is captured into; by default `run` again.
            at_once: Do it, and everything it comes after, before returning.
        """
        with self.lock:
            stream = self._open(handle)
            if stream.capture is not None:
                self.captures.add(stream, rebind or (lambda: run), task, at_once=at_once)
                return
            operation = self._append(stream, run, (), task)
            recorder.did(task, stream.handle)
            if at_once:
                self._run_until(operation)
                leave()

    def run_now(self, run: Callable[[], None], task: Task = _OTHER) -> None:
        """Do work in the legacy default stream and wait for it: what a synchronous copy does."""
        with self.lock:
            stream = self._open(0)
            operation = self._append(stream, run, (), task)
            recorder.did(task, stream.handle)
            self._run_until(operation)
            leave()

    def launch_host_function(self, handle: int, call: Callable[[], None]) -> None:
        """Add a function of the host to a stream. As in CUDA, it may not use CUDA itself."""

        def run() -> None:
            self._in_host_function = True
            try:
                call()
            finally:
                self._in_host_function = False

        self.enqueue(handle, run, Task("host function"))

    def record(self, event: Event, handle: int) -> None:
        """Mark the present end of a stream with an event."""
        with self.lock:
            stream = self._open(handle)
            if stream.capture is not None:
                self.captures.record(stream, event)
            else:
                event.captured, event.mark = None, self._append(stream, None, (), _MARK)

    def wait_for_event(self, handle: int, event: Event) -> None:
        """Make later work of a stream wait for an event; an event never recorded is no obstacle."""
        with self.lock:
            stream = self._open(handle)
            if stream.capture is not None or event.captured is not None:
                self.captures.wait(stream, event)
            elif event.mark is not None:
                self._append(stream, None, (event.mark,), _WAIT)

    # Graphs

    def begin_capture(self, handle: int, mode: CaptureMode = "global") -> None:
        """Let a stream capture what is put into it."""
        with self.lock:
            self._enter()
            self.captures.begin(self.stream(handle), mode)

    def end_capture(self, handle: int) -> Graph:
        """Stop capturing and return the graph."""
        with self.lock:
            self._enter()
            return self.captures.end(self.stream(handle))

    def capture_status(self, handle: int) -> int:
        """Return 0 if a stream does not capture, 1 if it does, 2 if its capture failed and has to be ended."""
        with self.lock:
            return self.captures.status(self.stream(handle))

    def launch_graph(self, graph: GraphExec, handle: int) -> None:
        """Enqueue all work of a graph after the work of a stream, and after the graph's own latest launch."""
        nodes = graph.graph.nodes
        with self.lock:
            stream = self._open(handle)
            if stream.capture is not None:
                for node in nodes:
                    self.captures.add(stream, node.bind, node.task, at_once=node.at_once)
                return
            recording = active()
            launch = None if recording is None else recording.launched(stream=stream.handle, nodes=len(nodes))
            recorder.add("graph_launches")
            begin = self._append(stream, None, () if graph.last is None else (graph.last,), _WAIT, launch)
            operations: dict[int, Operation] = {}
            branches: dict[Stream, Stream] = {}
            for node in nodes:
                # Work of the first captured stream goes into the stream itself, other branches beside it.
                beside = Stream(-1 - len(branches), blocking=False, priority=stream.priority)
                branch = branches.setdefault(node.stream, beside if branches else stream)
                waits = (begin, *(operations[id(earlier)] for earlier in node.after))
                operations[id(node)] = self._append(branch, node.bind(), waits, node.task, launch)
                recorder.did(node.task, stream.handle)
            self._retire(branch for branch in branches.values() if branch is not stream)
            ends = tuple(branch.last for branch in branches.values() if branch.last is not None)
            graph.last = self._append(stream, None, ends, _JOIN, launch)
            for node in nodes:
                if node.at_once:
                    self._run_until(operations[id(node)])
            leave()

    # Waiting

    def synchronize_stream(self, handle: int) -> None:
        """Do all work of a stream, and what it waits for.

        Raises:
            DeviceFault: Some of that work was illegal; the rest of the stream's work is dropped.
        """
        with self.lock:
            stream = self._open(handle)
            self.captures.check_wait(stream)
            self._waits("stream", [stream.last])
            self._run_to_end(stream)
            leave()

    def synchronize_event(self, event: Event) -> None:
        """Do all work up to an event."""
        with self.lock:
            self._enter()
            self.captures.check_event(event)
            self.captures.check_wait(None)
            self._waits("event", [event.mark])
            self._run_until(event.mark)
            leave()

    def synchronize_device(self) -> None:
        """Do all work of all streams; where order is open, the work enqueued last goes first."""
        with self.lock:
            self._enter()
            self.captures.check_wait(None, whole_device=True)
            self._waits("device", [stream.last for stream in self._all()])
            self._run_all()
            leave()

    def poll_stream(self, handle: int) -> bool:
        """Return whether a stream has nothing left to do; otherwise let it do its work before the next poll."""
        with self.lock:
            stream = self._open(handle)
            self.captures.check_wait(stream)
            idle = not stream.queue
            self._waits("stream", [stream.last if idle else None], polled=True)
            self._run_to_end(stream)
            leave()
            return idle

    def poll_event(self, event: Event) -> bool:
        """Return whether an event was reached; otherwise let it be reached before the next poll."""
        with self.lock:
            self._enter()
            self.captures.check_event(event)
            self.captures.check_wait(None)
            reached = event.mark is None or event.mark.done
            self._waits("event", [event.mark if reached else None], polled=True)
            self._run_until(event.mark)
            leave()
        return reached

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Return the milliseconds between two events on the device's clock; see `Operation`.

        Raises:
            DeviceFault: One was never recorded, takes no time, was recorded in a capture, or was not reached yet.
        """
        with self.lock:
            for event in (start, end):
                self.captures.check_event(event, elapsed=True)
            if not (start.timed and end.timed) or start.mark is None or end.mark is None:
                raise DeviceFault("invalid handle", "an event that takes times, and was recorded, is needed")
            if start.time_s is None or end.time_s is None:
                raise DeviceFault("not ready", "the event was not reached yet: wait for it first")
            return (end.time_s - start.time_s) * 1e3

    def before_waiting_call(self, *, waits: bool = False) -> None:
        """Refuse a call that may wait for the device while something captures; wait, if it does like `cudaFree`."""
        with self.lock:
            self._enter()
            self.captures.check_wait(None)
            if waits:
                self._run_all()

    def discard_all(self) -> None:
        """Drop all streams and their work."""
        with self.lock:
            self._forget_streams()
            self.captures = Captures()

    # How work is done

    def _enter(self) -> None:
        if self._in_host_function:
            raise DeviceFault("not permitted", "a host function in a stream may not call CUDA")

    def _open(self, handle: int) -> Stream:
        """Return a stream to use."""
        self._enter()
        stream = self.stream(handle)
        if stream is self._default:
            self.captures.check_legacy()
        return stream

    def _retire(self, streams: Iterable[Stream]) -> None:
        """Keep streams without a handle as long as they have work to do."""
        self._retired.update((id(stream), stream) for stream in streams)
        for key in [key for key, stream in list(self._retired.items()) if not stream.queue]:
            self._retired.pop(key, None)

    def _all(self) -> list[Stream]:
        self._retire(())
        return [*self._streams.values(), *self._per_thread.values(), *self._retired.values()]

    def _append(
        self,
        stream: Stream,
        run: Callable[[], None] | None,
        waits: tuple[Operation, ...],
        task: Task,
        launch: Entry | None = None,
    ) -> Operation:
        if stream is self._default:
            others: Iterable[Stream] = (other for other in self._all() if other.blocking and other is not stream)
        else:
            others = (self._default,) if stream.blocking else ()
        barrier = tuple(other.last for other in others if other.last is not None)
        pending = tuple(other for other in (*waits, *barrier) if not other.done)
        self._number += 1
        operation = Operation(stream, self._number, run, pending)
        recording = active()
        if recording is not None:
            earlier = () if stream.last is None else (stream.last,)
            entries = [other.entry for other in (*earlier, *waits, *barrier)]
            operation.entry = recording.enqueued(
                task, stream=stream.handle, after=entries, priority=stream.priority, launch=launch
            )
        stream.queue.append(operation)
        stream.last = operation
        return operation

    @staticmethod
    def _waits(what: str, work: Iterable[Operation | None], *, polled: bool = False) -> None:
        """Count and record that the host waits for work, or asks whether it is done."""
        if polled:
            recorder.add("polls")
        else:
            recorder.synchronized(what)
        recording = active()
        if recording is not None:
            entries = [None if operation is None else operation.entry for operation in work]
            recording.waited(what, entries, polled=polled)

    def _run_to_end(self, stream: Stream) -> None:
        if stream.queue:
            self._run_until(stream.queue[-1])

    def _run_all(self) -> None:
        busy = [stream for stream in self._all() if stream.queue]
        for stream in sorted(busy, key=lambda stream: -stream.queue[-1].number):
            self._run_to_end(stream)

    def _run_until(self, target: Operation | None) -> None:
        """Run `target` and everything it has to come after; a stack instead of recursion, queues can be long."""
        stack = [] if target is None else [target]
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

    def _run(self, operation: Operation) -> None:
        run, stream, end_s = operation.run, operation.stream, operation.ready_s
        operation.drop()
        if run is not None:
            begin_work(operation.entry)
            began_s = time.perf_counter()
            try:
                run()
            except BaseException:
                for dropped in stream.queue:
                    dropped.drop()
                stream.queue.clear()
                raise
            finally:
                end_work()
            took_s = time.perf_counter() - began_s
            end_s = self._free_s = max(end_s, self._free_s) + took_s
            if operation.entry is not None:
                operation.entry.ran(took_s)
        operation.end_s = stream.end_s = end_s
