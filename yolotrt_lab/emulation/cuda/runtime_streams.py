"""The emulated `cuda.bindings.runtime`: streams, events and functions of the host in a stream."""

from __future__ import annotations

import ctypes
from typing import Any

from yolotrt_lab.emulation.cuda.arguments import address_of, handle_of
from yolotrt_lab.emulation.cuda.events import destroy_event, event_of, new_event
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call
from yolotrt_lab.emulation.cuda.runtime_types import cudaEvent_t, cudaStream_t
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import GREATEST_PRIORITY, LEAST_PRIORITY

__all__ = [
    "cudaDeviceGetStreamPriorityRange",
    "cudaEventCreate",
    "cudaEventCreateWithFlags",
    "cudaEventDestroy",
    "cudaEventElapsedTime",
    "cudaEventQuery",
    "cudaEventRecord",
    "cudaEventRecordWithFlags",
    "cudaEventSynchronize",
    "cudaLaunchHostFunc",
    "cudaStreamCreate",
    "cudaStreamCreateWithFlags",
    "cudaStreamCreateWithPriority",
    "cudaStreamDestroy",
    "cudaStreamGetDevice",
    "cudaStreamGetFlags",
    "cudaStreamGetPriority",
    "cudaStreamQuery",
    "cudaStreamSynchronize",
    "cudaStreamWaitEvent",
]

_NON_BLOCKING = 1


def _new_stream(flags: Any, priority: Any = 0) -> Any:
    if int(flags) & ~_NON_BLOCKING:
        raise DeviceFault("invalid value", f"a stream has no flags {int(flags):#x}")
    blocking = not int(flags) & _NON_BLOCKING
    return cudaStream_t(device().scheduler.create_stream(blocking=blocking, priority=int(priority)).handle)


@runtime_call(results=1)
def cudaStreamCreate() -> Any:
    """Make a stream that synchronises with the default stream."""
    return _new_stream(0)


@runtime_call(results=1)
def cudaStreamCreateWithFlags(flags: int) -> Any:
    """Make a stream; `cudaStreamNonBlocking` frees it of the default stream."""
    return _new_stream(handle_of(flags))


@runtime_call(results=1)
def cudaStreamCreateWithPriority(flags: int, priority: int) -> Any:
    """Make a stream; its priority only matters to the modelled timeline."""
    return _new_stream(handle_of(flags), handle_of(priority))


@runtime_call(results=2)
def cudaDeviceGetStreamPriorityRange() -> Any:
    """Return the least and the greatest priority; lower numbers go first."""
    return LEAST_PRIORITY, GREATEST_PRIORITY


@runtime_call(results=1)
def cudaStreamGetDevice(hStream: Any) -> Any:
    """Return 0, the one device."""
    device().scheduler.stream(handle_of(hStream))
    return 0


@runtime_call(results=1)
def cudaStreamGetFlags(hStream: Any) -> Any:
    """Return a stream's flags."""
    return 0 if device().scheduler.stream(handle_of(hStream)).blocking else _NON_BLOCKING


@runtime_call(results=1)
def cudaStreamGetPriority(hStream: Any) -> Any:
    """Return a stream's priority."""
    return device().scheduler.stream(handle_of(hStream)).priority


@runtime_call(results=0)
def cudaStreamDestroy(stream: Any) -> Any:
    """Destroy a stream; its outstanding work is still done."""
    handle = handle_of(stream)
    device().scheduler.destroy_stream(handle)


@runtime_call(results=0)
def cudaStreamSynchronize(stream: Any) -> Any:
    """Wait for a stream's work."""
    device().scheduler.synchronize_stream(handle_of(stream))


@runtime_call(results=0)
def cudaStreamQuery(stream: Any) -> Any:
    """Say whether a stream's work is done: `cudaSuccess` or `cudaErrorNotReady`."""
    if not device().scheduler.poll_stream(handle_of(stream)):
        raise DeviceFault("not ready", "the stream has work to do")


@runtime_call(results=0)
def cudaStreamWaitEvent(stream: Any, event: Any, flags: int) -> Any:
    """Let later work of a stream wait for an event."""
    if int(flags) not in (0, 1):
        raise DeviceFault("invalid value", f"cudaStreamWaitEvent has no flags {int(flags):#x}")
    device().scheduler.wait_for_event(handle_of(stream), event_of(event))


@runtime_call(results=0)
def cudaLaunchHostFunc(stream: Any, fn: Any, userData: Any) -> Any:
    """Call a C function `void fn(void *userData)` when the stream gets there."""
    function, data = address_of(fn), address_of(userData)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    device().scheduler.launch_host_function(handle_of(stream), lambda: call(data))


@runtime_call(results=1)
def cudaEventCreate() -> Any:
    """Make an event."""
    return cudaEvent_t(new_event(0))


@runtime_call(results=1)
def cudaEventCreateWithFlags(flags: int) -> Any:
    """Make an event; `cudaEventDisableTiming` makes it useless for timing."""
    return cudaEvent_t(new_event(handle_of(flags)))


@runtime_call(results=0)
def cudaEventDestroy(event: Any) -> Any:
    """Destroy an event."""
    destroy_event(event)


@runtime_call(results=0)
def cudaEventRecord(event: Any, stream: Any) -> Any:
    """Mark the present end of a stream."""
    device().scheduler.record(event_of(event), handle_of(stream))


@runtime_call(results=0)
def cudaEventRecordWithFlags(event: Any, stream: Any, flags: int) -> Any:
    """Mark the present end of a stream."""
    device().scheduler.record(event_of(event), handle_of(stream))


@runtime_call(results=0)
def cudaEventSynchronize(event: Any) -> Any:
    """Wait until an event is reached."""
    device().scheduler.synchronize_event(event_of(event))


@runtime_call(results=0)
def cudaEventQuery(event: Any) -> Any:
    """Say whether an event was reached: `cudaSuccess` or `cudaErrorNotReady`."""
    if not device().scheduler.poll_event(event_of(event)):
        raise DeviceFault("not ready", "the event was not reached yet")


@runtime_call(results=1)
def cudaEventElapsedTime(start: Any, end: Any) -> Any:
    """Return the milliseconds between two events; CPU time of the emulation."""
    return device().scheduler.elapsed_ms(event_of(start), event_of(end))
