"""The emulated `cuda.bindings.driver`: streams and events."""

from __future__ import annotations

import ctypes
from typing import Any

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.arguments import address_of, handle_of
from yolotrt_lab.emulation.cuda.driver_core import driver_call, driver_types
from yolotrt_lab.emulation.cuda.events import destroy_event, event_of, new_event
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import GREATEST_PRIORITY, LEAST_PRIORITY

__all__ = [
    "cuCtxGetStreamPriorityRange",
    "cuEventCreate",
    "cuEventDestroy",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventRecordWithFlags",
    "cuEventSynchronize",
    "cuLaunchHostFunc",
    "cuStreamCreate",
    "cuStreamCreateWithPriority",
    "cuStreamDestroy",
    "cuStreamGetCtx",
    "cuStreamGetFlags",
    "cuStreamGetPriority",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
]

_NON_BLOCKING = 1


def _new_stream(flags: int, priority: int = 0) -> Any:
    if flags & ~_NON_BLOCKING:
        raise DeviceFault("invalid value", f"a stream has no flags {flags:#x}")
    stream = device().scheduler.create_stream(blocking=not flags & _NON_BLOCKING, priority=priority)
    return driver_types["CUstream"](stream.handle)


@driver_call(results=1)
def cuStreamCreate(Flags: int) -> Any:
    """Make a stream; `CU_STREAM_NON_BLOCKING` frees it of the default stream."""
    return _new_stream(int(Flags))


@driver_call(results=1)
def cuStreamCreateWithPriority(flags: int, priority: int) -> Any:
    """Make a stream; its priority only matters to the modelled timeline."""
    return _new_stream(int(flags), int(priority))


@driver_call(results=2)
def cuCtxGetStreamPriorityRange() -> Any:
    """Return the least and the greatest priority; lower numbers go first."""
    return LEAST_PRIORITY, GREATEST_PRIORITY


@driver_call(results=0)
def cuStreamDestroy(hStream: Any) -> Any:
    """Destroy a stream; its outstanding work is still done."""
    device().scheduler.destroy_stream(handle_of(hStream))


@driver_call(results=1)
def cuStreamGetFlags(hStream: Any) -> Any:
    """Return a stream's flags."""
    return 0 if device().scheduler.stream(handle_of(hStream)).blocking else _NON_BLOCKING


@driver_call(results=1)
def cuStreamGetPriority(hStream: Any) -> Any:
    """Return a stream's priority."""
    return device().scheduler.stream(handle_of(hStream)).priority


@driver_call(results=1)
def cuStreamGetCtx(hStream: Any) -> Any:
    """Return the context of a stream; here, the current one."""
    device().scheduler.stream(handle_of(hStream))
    return driver_types["CUcontext"](contexts.need().handle)


@driver_call(results=0)
def cuStreamSynchronize(hStream: Any) -> Any:
    """Wait for a stream's work."""
    device().scheduler.synchronize_stream(handle_of(hStream))


@driver_call(results=0)
def cuStreamQuery(hStream: Any) -> Any:
    """Say whether a stream's work is done."""
    if not device().scheduler.poll_stream(handle_of(hStream)):
        raise DeviceFault("not ready", "the stream has work to do")


@driver_call(results=0)
def cuStreamWaitEvent(hStream: Any, hEvent: Any, Flags: int) -> Any:
    """Let later work of a stream wait for an event."""
    if int(Flags) not in (0, 1):
        raise DeviceFault("invalid value", f"cuStreamWaitEvent has no flags {int(Flags):#x}")
    device().scheduler.wait_for_event(handle_of(hStream), event_of(hEvent))


@driver_call(results=0)
def cuLaunchHostFunc(hStream: Any, fn: Any, userData: Any) -> Any:
    """Call a C function `void fn(void *userData)` when the stream gets there."""
    call, data = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address_of(fn)), address_of(userData)
    device().scheduler.launch_host_function(handle_of(hStream), lambda: call(data))


@driver_call(results=1)
def cuEventCreate(Flags: int) -> Any:
    """Make an event; `CU_EVENT_DISABLE_TIMING` makes it useless for timing."""
    return driver_types["CUevent"](new_event(int(Flags)))


@driver_call(results=0)
def cuEventDestroy(hEvent: Any) -> Any:
    """Destroy an event."""
    destroy_event(hEvent)


@driver_call(results=0)
def cuEventRecord(hEvent: Any, hStream: Any) -> Any:
    """Mark the present end of a stream."""
    device().scheduler.record(event_of(hEvent), handle_of(hStream))


@driver_call(results=0)
def cuEventRecordWithFlags(hEvent: Any, hStream: Any, flags: int) -> Any:
    """Mark the present end of a stream."""
    device().scheduler.record(event_of(hEvent), handle_of(hStream))


@driver_call(results=0)
def cuEventSynchronize(hEvent: Any) -> Any:
    """Wait until an event is reached."""
    device().scheduler.synchronize_event(event_of(hEvent))


@driver_call(results=0)
def cuEventQuery(hEvent: Any) -> Any:
    """Say whether an event was reached."""
    if not device().scheduler.poll_event(event_of(hEvent)):
        raise DeviceFault("not ready", "the event was not reached yet")


@driver_call(results=1)
def cuEventElapsedTime(hStart: Any, hEnd: Any) -> Any:
    """Return the milliseconds between two events; CPU time of the emulation."""
    return device().scheduler.elapsed_ms(event_of(hStart), event_of(hEnd))
