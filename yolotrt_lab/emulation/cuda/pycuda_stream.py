"""The emulated `pycuda.driver`: streams and events."""

from __future__ import annotations

from yolotrt_lab.emulation.cuda.pycuda_core import LogicError, cuda_call
from yolotrt_lab.emulation.cuda.pycuda_enums import event_flags
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.streams import Event as _Event

__all__ = ["Event", "Stream"]


class Event:
    """A mark in a stream, for waiting and for timing. Times are CPU times of the emulation."""

    @cuda_call("cuEventCreate", explicit=True)
    def __init__(self, flags: int = 0) -> None:
        self._event = _Event(timed=not int(flags) & int(event_flags.DISABLE_TIMING))

    @cuda_call("cuEventRecord")
    def record(self, stream: Stream | None = None) -> Event:
        """Mark the present end of the stream."""
        device().scheduler.record(self._event, 0 if stream is None else stream.handle)
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

    def time_since(self, event: Event) -> float:
        """Return the milliseconds from `event` to this one."""
        unrecorded = self._event.mark is None or event._event.mark is None
        if unrecorded or not (self._event.timed and event._event.timed):
            raise LogicError("cuEventElapsedTime failed: invalid resource handle")
        if self._event.time_s is None or event._event.time_s is None:
            raise LogicError("cuEventElapsedTime failed: device not ready")
        return (self._event.time_s - event._event.time_s) * 1e3

    def time_till(self, event: Event) -> float:
        """Return the milliseconds from this event to `event`."""
        return event.time_since(self)


class Stream:
    """An own queue of work."""

    @cuda_call("cuStreamCreate", explicit=True)
    def __init__(self, flags: int = 0) -> None:
        self._stream = device().scheduler.create_stream(blocking=not flags & 1)

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
    def wait_for_event(self, event: Event) -> None:
        """Let later work of this stream wait for an event."""
        device().scheduler.wait_for_event(self.handle, event._event)
