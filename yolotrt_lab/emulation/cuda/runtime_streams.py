"""The emulated `cuda.bindings.runtime`: streams and events."""

from __future__ import annotations

import itertools
from typing import Any

from yolotrt_lab.emulation.cuda.runtime_core import handle_of, runtime_call
from yolotrt_lab.emulation.cuda.runtime_types import cudaError_t, cudaEvent_t, cudaStream_t
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import Event

__all__ = [
    "cudaEventBlockingSync",
    "cudaEventCreate",
    "cudaEventCreateWithFlags",
    "cudaEventDefault",
    "cudaEventDestroy",
    "cudaEventDisableTiming",
    "cudaEventElapsedTime",
    "cudaEventQuery",
    "cudaEventRecord",
    "cudaEventSynchronize",
    "cudaStreamCreate",
    "cudaStreamCreateWithFlags",
    "cudaStreamCreateWithPriority",
    "cudaStreamDefault",
    "cudaStreamDestroy",
    "cudaStreamLegacy",
    "cudaStreamNonBlocking",
    "cudaStreamQuery",
    "cudaStreamSynchronize",
    "cudaStreamWaitEvent",
]

cudaStreamDefault = 0
cudaStreamNonBlocking = 1
cudaStreamLegacy = 1
cudaEventDefault = 0
cudaEventBlockingSync = 1
cudaEventDisableTiming = 2

_events: dict[int, Event] = {}
_event_handles = itertools.count(0xE0E00000, 0x10)


@runtime_call(results=1)
def cudaStreamCreate() -> Any:
    """Make a stream that synchronises with the default stream."""
    return cudaStream_t(device().scheduler.create_stream().handle)


@runtime_call(results=1)
def cudaStreamCreateWithFlags(flags: int) -> Any:
    """Make a stream; `cudaStreamNonBlocking` frees it of the default stream."""
    return cudaStream_t(device().scheduler.create_stream(blocking=not flags & cudaStreamNonBlocking).handle)


@runtime_call(results=1)
def cudaStreamCreateWithPriority(flags: int, priority: int) -> Any:
    """Make a stream; priorities have no effect here."""
    return cudaStream_t(device().scheduler.create_stream(blocking=not flags & cudaStreamNonBlocking).handle)


@runtime_call(results=0)
def cudaStreamDestroy(stream: Any) -> Any:
    """Destroy a stream; its outstanding work is still done."""
    device().scheduler.destroy_stream(handle_of(stream))


@runtime_call(results=0)
def cudaStreamSynchronize(stream: Any) -> Any:
    """Wait for a stream's work."""
    device().scheduler.synchronize_stream(handle_of(stream))


@runtime_call(results=0)
def cudaStreamQuery(stream: Any) -> Any:
    """Say whether a stream's work is done: `cudaSuccess` or `cudaErrorNotReady`."""
    return None if device().scheduler.poll_stream(handle_of(stream)) else cudaError_t.cudaErrorNotReady


@runtime_call(results=0)
def cudaStreamWaitEvent(stream: Any, event: Any, flags: int) -> Any:
    """Let later work of a stream wait for an event."""
    device().scheduler.wait_for_event(handle_of(stream), _event(event))


def _event(handle: Any) -> Event:
    found = _events.get(int(handle))
    if found is None:
        raise DeviceFault("invalid handle", f"{int(handle):#x} is not an event, or was destroyed")
    return found


def _new_event(flags: int) -> cudaEvent_t:
    handle = next(_event_handles)
    _events[handle] = Event(timed=not flags & cudaEventDisableTiming)
    return cudaEvent_t(handle)


@runtime_call(results=1)
def cudaEventCreate() -> Any:
    """Make an event."""
    return _new_event(cudaEventDefault)


@runtime_call(results=1)
def cudaEventCreateWithFlags(flags: int) -> Any:
    """Make an event; `cudaEventDisableTiming` makes it useless for timing."""
    return _new_event(flags)


@runtime_call(results=0)
def cudaEventDestroy(event: Any) -> Any:
    """Destroy an event."""
    _event(event)
    del _events[int(event)]


@runtime_call(results=0)
def cudaEventRecord(event: Any, stream: Any) -> Any:
    """Mark the present end of a stream."""
    device().scheduler.record(_event(event), handle_of(stream))


@runtime_call(results=0)
def cudaEventSynchronize(event: Any) -> Any:
    """Wait until an event is reached."""
    device().scheduler.synchronize_event(_event(event))


@runtime_call(results=0)
def cudaEventQuery(event: Any) -> Any:
    """Say whether an event was reached: `cudaSuccess` or `cudaErrorNotReady`."""
    return None if device().scheduler.poll_event(_event(event)) else cudaError_t.cudaErrorNotReady


@runtime_call(results=1)
def cudaEventElapsedTime(start: Any, end: Any) -> Any:
    """Return the milliseconds between two events; CPU time of the emulation."""
    first, last = _event(start), _event(end)
    if not (first.timed and last.timed) or first.mark is None or last.mark is None:
        return cudaError_t.cudaErrorInvalidResourceHandle
    if first.time_s is None or last.time_s is None:
        return cudaError_t.cudaErrorNotReady
    return (last.time_s - first.time_s) * 1e3
