"""What a program asks of the device: every PyCUDA and TensorRT call of a block, in order.

A GPU does its work out of sight. What can be seen is what the host asks for: memory, copies, inferences, waits. This
module notes these calls as NVIDIA's Nsight Systems does, from outside: for the time of a block it puts itself between
the program and `pycuda.driver` and TensorRT's execution context. It neither knows nor cares whether they are real.

Example:
    >>> with record_calls() as trace:  # doctest: +SKIP
    ...     buffers.submit({"images": batch})
    ...     buffers.wait()
    >>> trace.count("copy", direction="h2d"), trace.count("wait")  # doctest: +SKIP
    (1, 1)
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from yolotrt_lab.engines.platform import activate

__all__ = ["Action", "CallTrace", "DeviceCall", "record_calls"]

Action = Literal["allocate", "allocate_pinned", "copy", "infer", "wait", "record", "hold", "stream", "context"]


@dataclass(frozen=True)
class DeviceCall:
    """One call.

    Attributes:
        action: allocate and allocate_pinned take memory; copy and infer are work for the device; wait makes the host
            wait; record puts an event into a stream; hold makes a stream wait for an event; stream and context are
            made.
        stream: Number of the stream in the order of first use, 0 for the default stream; None for a wait for the whole
            device, and where streams play no part.
        direction: "h2d", "d2h" or "d2d" for copies.
        nbytes: Bytes taken or copied.
        is_async: Whether the call returns before the work is done.
        pinned: Whether the host memory of a copy is page-locked.
        event: Number of the event, in the order of first use.
        context: Number of the execution context, in the order of first use.
        at_us: Microseconds from the start of the recording to the call.
        took_us: Microseconds until the call returned to the program.
    """

    action: Action
    stream: int | None = None
    direction: str = ""
    nbytes: int = 0
    is_async: bool = True
    pinned: bool = True
    event: int | None = None
    context: int | None = None
    at_us: float = 0.0
    took_us: float = 0.0


@dataclass
class CallTrace:
    """The calls of a block; complete when the block has ended.

    Attributes:
        calls: In the order they were made.
    """

    calls: list[DeviceCall] = field(default_factory=list)

    def select(self, action: Action | None = None, **criteria: Any) -> tuple[DeviceCall, ...]:
        """Return the calls of a kind whose attributes have these values, `select("copy", direction="h2d")`."""
        return tuple(
            call
            for call in self.calls
            if action in (None, call.action) and all(getattr(call, name) == value for name, value in criteria.items())
        )

    def count(self, action: Action | None = None, **criteria: Any) -> int:
        """Return how many calls `select` finds."""
        return len(self.select(action, **criteria))

    def nbytes(self, action: Action | None = None, **criteria: Any) -> int:
        """Return how many bytes the calls that `select` finds took or copied."""
        return sum(call.nbytes for call in self.select(action, **criteria))

    def lines(self) -> list[str]:
        """Return the calls as text, one line each, for reading."""
        return [_line(call) for call in self.calls]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the calls in JSON's types."""
        return [asdict(call) for call in self.calls]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> CallTrace:
        """Return the trace that `to_json` wrote."""
        return cls([DeviceCall(**call) for call in value])


def _line(call: DeviceCall) -> str:
    where = "" if call.stream is None else "default stream" if call.stream == 0 else f"stream {call.stream}"
    if call.action == "copy":
        memory = "" if call.direction == "d2d" else ", pinned" if call.pinned else ", pageable"
        what = f"copy {call.direction}, {call.nbytes} bytes{memory}, {'async' if call.is_async else 'SYNCHRONOUS'}"
    else:
        what = {
            "allocate": f"allocate {call.nbytes} bytes on the device",
            "allocate_pinned": f"allocate {call.nbytes} bytes of pinned host memory",
            "infer": f"run the engine, context {call.context}" + ("" if call.is_async else ", SYNCHRONOUS"),
            "wait": "wait for the device" if call.stream is None and call.event is None else "wait",
            "record": f"record event {call.event}",
            "hold": f"wait for event {call.event} before going on",
            "stream": "make a stream",
            "context": f"make execution context {call.context}",
        }[call.action]
        if call.action == "wait" and call.event is not None:
            what = f"wait for event {call.event}"
    return f"{where:<14}  {what}"


class _Recorder:
    """Turns calls into `DeviceCall`s. Only the outermost of nested calls counts, and only those of the thread."""

    def __init__(self) -> None:
        self.trace = CallTrace()
        self._origin_ns = time.perf_counter_ns()
        self._numbers: dict[str, dict[Any, int]] = {"event": {}, "context": {}, "stream": {}}
        self._alive: list[Any] = []  # so that a number is never given to two objects at the same address
        self._thread = threading.get_ident()
        self._busy = False

    def number(self, kind: str, value: Any) -> int:
        """Return the number of an object, by identity; of a stream by its handle."""
        known = self._numbers[kind]
        key = value if kind == "stream" else id(value)
        if key not in known:
            self._alive.append(value)
            known[key] = len(known) + (kind == "stream")
        return known[key]

    def stream(self, value: Any) -> int:
        """Return the number of a PyCUDA stream, None, or a handle; 1 is CUDA's other name of the default stream."""
        handle = 0 if value is None else int(getattr(value, "handle", value))
        return 0 if handle in (0, 1) else self.number("stream", handle)

    def wrap(self, original: Callable[..., Any], describe: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        """Return a function that does what `original` does and notes it; a call that raises is not noted."""

        @functools.wraps(original, assigned=("__name__", "__doc__"), updated=())
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self._busy or threading.get_ident() != self._thread:
                return original(*args, **kwargs)
            self._busy = True
            start_ns = time.perf_counter_ns()
            try:
                result = original(*args, **kwargs)
            finally:
                self._busy = False
            end_ns = time.perf_counter_ns()
            content = describe(result, *args, **kwargs)
            at_us, took_us = (start_ns - self._origin_ns) / 1e3, (end_ns - start_ns) / 1e3
            self.trace.calls.append(DeviceCall(at_us=at_us, took_us=took_us, **content))
            return result

        return wrapped


def _is_pinned(array: Any) -> bool:
    """Whether a host array lies in page-locked memory: PyCUDA's allocation is at the end of its chain of bases."""
    while array is not None:
        if type(array).__name__ in ("PagelockedHostAllocation", "HostAllocation", "RegisteredHostMemory"):
            return True
        array = getattr(array, "base", None)
    return False


def _nbytes(buffer: Any) -> int:
    return int(buffer.nbytes) if hasattr(buffer, "nbytes") else memoryview(buffer).nbytes


def _copies(recorder: _Recorder) -> dict[str, Callable[..., dict[str, Any]]]:
    """Return what describes each copying function of `pycuda.driver`."""

    def host_copy(direction: str, host: Any, *, is_async: bool, stream: Any = None) -> dict[str, Any]:
        return {
            "action": "copy",
            "direction": direction,
            "nbytes": _nbytes(host),
            "pinned": _is_pinned(host),
            "is_async": is_async,
            "stream": recorder.stream(stream),
        }

    def device_copy(size: int, *, is_async: bool, stream: Any = None) -> dict[str, Any]:
        content = {"action": "copy", "direction": "d2d", "nbytes": int(size), "is_async": is_async}
        return {**content, "stream": recorder.stream(stream)}

    return {
        "memcpy_htod": lambda _, dest, src: host_copy("h2d", src, is_async=False),
        "memcpy_htod_async": lambda _, dest, src, stream=None: host_copy("h2d", src, is_async=True, stream=stream),
        "memcpy_dtoh": lambda _, dest, src: host_copy("d2h", dest, is_async=False),
        "memcpy_dtoh_async": lambda _, dest, src, stream=None: host_copy("d2h", dest, is_async=True, stream=stream),
        "memcpy_dtod": lambda _, dest, src, size: device_copy(size, is_async=False),
        "memcpy_dtod_async": lambda _, dest, src, size, stream=None: device_copy(size, is_async=True, stream=stream),
    }


def _allocations() -> dict[str, Callable[..., dict[str, Any]]]:
    """Return what describes each allocating function of `pycuda.driver`."""

    def pinned(array: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return {"action": "allocate_pinned", "nbytes": _nbytes(array)}

    names = ("pagelocked_empty", "pagelocked_zeros", "pagelocked_empty_like", "pagelocked_zeros_like")
    return {
        "mem_alloc": lambda _, *sizes, **named: {
            "action": "allocate",
            "nbytes": int((*sizes, *named.values())[0]),
        },
        **dict.fromkeys(names, pinned),
    }


def _methods(recorder: _Recorder, trt: Any, cuda: Any) -> list[tuple[type, str, Callable[..., dict[str, Any]]]]:
    """Return (class, method, what describes it) of streams, events, contexts and inferences."""

    def infer(context: Any, stream: Any, *, is_async: bool) -> dict[str, Any]:
        number = recorder.number("context", context)
        return {"action": "infer", "context": number, "stream": recorder.stream(stream), "is_async": is_async}

    def event(action: str, value: Any, stream: Any = None, *, has_stream: bool = True) -> dict[str, Any]:
        place = recorder.stream(stream) if has_stream else None
        return {"action": action, "event": recorder.number("event", value), "stream": place}

    def new_context(context: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return {"action": "context", "context": recorder.number("context", context)}

    return [
        (cuda.Stream, "__init__", lambda _, stream, flags=0: {"action": "stream", "stream": recorder.stream(stream)}),
        (cuda.Stream, "synchronize", lambda _, stream: {"action": "wait", "stream": recorder.stream(stream)}),
        (cuda.Stream, "wait_for_event", lambda _, stream, mark: event("hold", mark, stream)),
        (cuda.Event, "record", lambda _, mark, stream=None: event("record", mark, stream)),
        (cuda.Event, "synchronize", lambda _, mark: event("wait", mark, has_stream=False)),
        (trt.ICudaEngine, "create_execution_context", new_context),
        (trt.IExecutionContext, "execute_async_v3", lambda _, context, stream_handle: infer(
            context, stream_handle, is_async=True)),
        (trt.IExecutionContext, "execute_v2", lambda _, context, bindings: infer(context, 0, is_async=False)),
    ]  # fmt: skip


@contextlib.contextmanager
def record_calls(*namespaces: dict[str, Any]) -> Iterator[CallTrace]:
    """Note the calls that the block makes to PyCUDA and TensorRT, from this thread.

    Functions that the program imported by name before (`from pycuda.driver import mem_alloc`) are found in `__main__`,
    which is where a notebook's names are, and in the namespaces given.

    Args:
        namespaces: Dictionaries of names to look into as well, such as a function's `__globals__`.

    Yields:
        The trace, filled as the block goes on.
    """
    trt = activate().trt
    cuda = importlib.import_module("pycuda.driver")
    recorder = _Recorder()
    with contextlib.ExitStack() as stack:
        places = [vars(cuda), vars(sys.modules["__main__"]), *namespaces]
        for name, describe in {**_copies(recorder), **_allocations()}.items():
            original = getattr(cuda, name)
            _substitute(stack, places, original, recorder.wrap(original, describe))
        for owner, name, describe in _methods(recorder, trt, cuda):
            _substitute_method(stack, owner, name, recorder.wrap(getattr(owner, name), describe))
        _substitute_method(stack, cuda.Context, "synchronize", staticmethod(_device_wait(recorder, cuda)))
        yield recorder.trace


def _device_wait(recorder: _Recorder, cuda: Any) -> Callable[..., Any]:
    return recorder.wrap(cuda.Context.synchronize, lambda *_: {"action": "wait", "stream": None})


def _substitute(
    stack: contextlib.ExitStack, places: Sequence[dict[str, Any]], original: Any, substitute: Callable[..., Any]
) -> None:
    """Put a function in the place of another, wherever it is known, until the stack is left."""
    for namespace in places:
        for name in [name for name, value in namespace.items() if value is original]:
            namespace[name] = substitute
            stack.callback(namespace.__setitem__, name, original)


def _substitute_method(stack: contextlib.ExitStack, owner: type, name: str, substitute: Any) -> None:
    """Put a method in the place of another, until the stack is left."""
    own = owner.__dict__.get(name)
    setattr(owner, name, substitute)
    if own is None:
        stack.callback(delattr, owner, name)
    else:
        stack.callback(setattr, owner, name, own)
