"""Properties that many emulated classes share: values that are kept, bits of flags, and the error recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yolotrt_lab.errors import EmulationError

__all__ = ["FlagBits", "error_recorder", "gpu_allocator", "kept"]


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


def gpu_allocator() -> Any:
    """Return the property `gpu_allocator`, which allows the default only."""

    def read(self: Any) -> Any:
        return None

    def write(self: Any, value: Any) -> None:
        if value is not None:
            raise EmulationError(
                "An IGpuAllocator is not emulated: on a GPU it provides the memory for weights and intermediate "
                "tensors; OpenVINO keeps these in memory of its own.",
                fix="Leave gpu_allocator at None.",
            )

    return property(read, write, doc="Who provides device memory: nobody but the default.")
