"""Properties that many emulated classes share: values that are kept, bits of flags, and the error recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yolotrt_lab.errors import EmulationError

__all__ = ["FlagBits", "error_recorder", "fixed", "gpu_allocator", "kept", "max_threads"]


def kept(name: str, document: str, *, convert: Callable[[Any], Any] | None = None) -> Any:
    """Return a property over the attribute `_name`; `convert` turns what a program sets into what is kept."""
    attribute = f"_{name}"

    def read(self: Any) -> Any:
        return getattr(self, attribute)

    def write(self: Any, value: Any) -> None:
        setattr(self, attribute, value if convert is None else convert(value))

    return property(read, write, doc=document)


def error_recorder() -> Any:
    """Return the property `error_recorder` of a class with a `_reporter`."""

    def read(self: Any) -> Any:
        return self._reporter.recorder

    def write(self: Any, value: Any) -> None:
        self._reporter.own_recorder = value

    return property(read, write, doc="The error recorder.")


class FlagBits:
    """Adds `set_flag`, `clear_flag` and `get_flag` to a class that keeps the bits in `_flags`."""

    _flags: int

    def set_flag(self, flag: Any) -> Any:
        """Set a flag."""
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> Any:
        """Clear a flag."""
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is set."""
        return bool(self._flags >> int(flag) & 1)


def fixed(owner: str, name: str, value: Any, document: str, *, meaning: str = "") -> Any:
    """Return a property that allows one value only, because any other would change what an engine is.

    Args:
        owner: The class that programs see.
        name: The property's name.
        value: A plain value, or the names of an enum and its member.
        document: What the property is.
        meaning: What another value does on a GPU, as a clause; "" if that goes without saying.
    """

    def read(self: Any) -> Any:
        if isinstance(value, tuple):
            return getattr(getattr(self._api, value[0]), value[1])
        return list(value) if isinstance(value, list) else value

    def write(self: Any, given: Any) -> None:
        if given != read(self):
            raise EmulationError(
                f"{owner}.{name} = {given} is not emulated{f': {meaning}' if meaning else ''}.",
                expected=read(self),
                got=given,
                fix="Leave it.",
            )

    return property(read, write, doc=document)


def max_threads(interface: str) -> Any:
    """Return the property `max_threads` over `_max_threads`, which starts at 1 and allows nothing less."""

    def read(self: Any) -> Any:
        return self._max_threads

    def write(self: Any, value: Any) -> None:
        if int(value) < 1:
            text = f"Parameter check failed, condition: maxThreads >= 1. maxThreads is {int(value)}."
            self._reporter.usage_error(f"{interface}::setMaxThreads", text)
            return
        self._max_threads = int(value)

    return property(read, write, doc="How many threads may be used; OpenVINO decides for itself.")


def gpu_allocator(owner: str) -> Any:
    """Return the property `gpu_allocator`, which allows the default only."""
    meaning = "an IGpuAllocator provides memory for weights and intermediate tensors, which OpenVINO keeps in its own"
    return fixed(owner, "gpu_allocator", None, "Who provides device memory: nobody but the default.", meaning=meaning)
