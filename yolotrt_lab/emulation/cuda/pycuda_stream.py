"""The emulated `pycuda.driver`: streams and events."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from typing import Any

from yolotrt_lab.emulation.cuda.events import new_event, take_event
from yolotrt_lab.emulation.cuda.pycuda_core import cuda_call, refuse_arguments, unsigned
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = ["Event", "Stream"]


class Event:
    """A mark in a stream, for waiting and for timing. Times are CPU times of the emulation."""

    @cuda_call("cuEventCreate", explicit=True)
    def __init__(self, flags: Any = 0) -> None:
        if not isinstance(flags, int):
            signatures = ("__init__(_object*)", "__init__(_object*, unsigned int flags)")
            refuse_arguments(signatures, (self, flags), owner="Event")
        self._event = take_event(new_event(int(flags)))

    @cuda_call("cuEventRecord")
    def record(self, stream: Stream | None = None) -> Event:
        """Mark the present end of the stream."""
        device().scheduler.record(self._event, stream_handle(stream))
        return self

    @cuda_call("cuEventSynchronize")
    def synchronize(self) -> Event:
        """Wait until the mark is reached."""
        device().scheduler.synchronize_event(self._event)
        return self

    @cuda_call("cuEventQuery")
    def query(self) -> bool:
        """Return whether the mark was reached."""
        return device().scheduler.poll_event(self._event)

    @cuda_call("cuEventElapsedTime")
    def time_since(self, event: Event) -> float:
        """Return the milliseconds from `event` to this one."""
        return device().scheduler.elapsed_ms(event._event, self._event)

    def time_till(self, event: Event) -> float:
        """Return the milliseconds from this event to `event`."""
        return event.time_since(self)

    def ipc_handle(self) -> Any:
        """Events for other processes are not emulated."""
        raise EmulationError(
            "pycuda.driver.Event.ipc_handle is not emulated: on a GPU it shares an event with another process.",
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )

    @staticmethod
    def from_ipc_handle(handle: Any) -> Any:
        """Events of other processes are not emulated."""
        raise EmulationError(
            "pycuda.driver.Event.from_ipc_handle is not emulated: on a GPU it takes an event of another process.",
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )


class Stream:
    """An own queue of work."""

    @cuda_call("cuStreamCreate", explicit=True)
    def __init__(self, flags: Any = 0) -> None:
        if not isinstance(flags, int):
            refuse_arguments(("__init__(_object*, unsigned int flags=0)",), (self, flags), owner="Stream")
        if unsigned(flags, 32) not in (0, 1):
            raise DeviceFault("invalid value", f"a stream has no flags {flags:#x}")
        _destroy_forgotten()
        self._stream = device().scheduler.create_stream(blocking=not flags)

    @property
    def handle(self) -> int:
        """The integer TensorRT and CUDA want."""
        return self._stream.handle

    @cuda_call("cuStreamSynchronize")
    def synchronize(self) -> None:
        """Wait for the stream's work."""
        device().scheduler.synchronize_stream(self.handle)

    @cuda_call("cuStreamQuery")
    def is_done(self) -> bool:
        """Return whether the stream's work is done."""
        return device().scheduler.poll_stream(self.handle)

    @cuda_call("cuStreamWaitEvent")
    def wait_for_event(self, event: Any) -> None:
        """Let later work of this stream wait for an event."""
        if not isinstance(event, Event):
            signature = "wait_for_event(pycuda::stream {lvalue}, pycuda::event)"
            refuse_arguments((signature,), (self, event), owner="Stream")
        device().scheduler.wait_for_event(self.handle, event._event)

    def __del__(self) -> None:
        # The stream goes with its object; a handle that was taken from it before is worth nothing then.
        if hasattr(self, "_stream") and not sys.is_finalizing():
            _forgotten.append(self.handle)
            _destroy_forgotten()


_forgotten: deque[int] = deque()
"""Streams whose objects are gone."""


def _destroy_forgotten() -> None:
    """Destroy them, unless the collector came while the scheduler is at work: then at the next occasion."""
    lock: Any = device().scheduler.lock
    if lock._is_owned() or not lock.acquire(blocking=False):
        return
    try:
        while _forgotten:
            with contextlib.suppress(DeviceFault):
                device().scheduler.destroy_stream(_forgotten.popleft())
    finally:
        lock.release()


def stream_handle(stream: Any) -> int:
    """Return a stream's integer; PyCUDA's `stream=None` is the default stream, asynchronous all the same.

    Raises:
        TypeError: It is no `Stream`.
    """
    if stream is None:
        return 0
    if not isinstance(stream, Stream):
        raise TypeError(
            "No registered converter was able to extract a C++ reference to type pycuda::stream from this Python "
            f"object of type {type(stream).__name__}"
        )
    return stream.handle
