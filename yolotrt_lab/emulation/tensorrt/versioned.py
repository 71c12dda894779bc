"""The emulated versioned interfaces: who implements an interface, and the device memory allocators of programs."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, not_overridden

__all__ = ["IGpuAllocator", "IGpuAsyncAllocator", "IVersionedInterface", "InterfaceInfo"]


class InterfaceInfo(ApiObject):
    """The name and version of an interface."""

    def _setup(self, kind: str, major: int, minor: int) -> None:
        self._facts: dict[str, Any] = {"kind": kind, "major": major, "minor": minor}

    @property
    def kind(self) -> str:
        """The interface's name."""
        return str(self._facts["kind"])

    @kind.setter
    def kind(self, value: str) -> None:
        self._facts["kind"] = value

    @property
    def major(self) -> int:
        """The version's first number."""
        return int(self._facts["major"])

    @major.setter
    def major(self, value: int) -> None:
        self._facts["major"] = value

    @property
    def minor(self) -> int:
        """The version's second number."""
        return int(self._facts["minor"])

    @minor.setter
    def minor(self, value: int) -> None:
        self._facts["minor"] = value


class IVersionedInterface(ApiObject):
    """Base of interfaces that have a version."""

    _interface: ClassVar[tuple[str, int, int]] = ("", 1, 0)
    _language: ClassVar[str] = "CPP"

    @property
    def api_language(self) -> Any:
        """The language of the implementation."""
        return getattr(self._api.APILanguage, self._language)

    @property
    def interface_info(self) -> Any:
        """The interface's name and version."""
        return self._api.InterfaceInfo._create(*self._interface)


class IGpuAllocator(IVersionedInterface):
    """Base of device memory allocators.

    A subclass implements `allocate(size, alignment, flags)`, `deallocate(memory)` and `reallocate(address, alignment,
    new_size)`. The emulation has its own device memory and refuses to be given another.
    """

    _interface = ("IGpuAllocator", 1, 0)

    def allocate(self, size: int, alignment: int, flags: int) -> Any:
        """Return the address of new memory."""
        _deprecated("allocate")
        not_overridden("allocate")

    def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> Any:
        """Return the address of new memory, in the order of a stream."""
        not_overridden("allocate")

    def deallocate(self, memory: Any) -> bool:
        """Give memory back."""
        _deprecated("deallocate_async")
        not_overridden("deallocate")
        return False

    def deallocate_async(self, memory: Any, stream: int) -> bool:
        """Give memory back, in the order of a stream."""
        not_overridden("deallocate")
        return False

    def reallocate(self, address: Any, alignment: int, new_size: int) -> Any:
        """Return the address of larger memory with the same content."""
        not_overridden("reallocate")


class IGpuAsyncAllocator(IGpuAllocator):
    """Base of device memory allocators that work in the order of a stream.

    A subclass implements `allocate_async(size, alignment, flags, stream)` and `deallocate_async(memory, stream)`.
    """

    def allocate(self, size: int, alignment: int, flags: int) -> Any:
        """Return the address of new memory."""
        _deprecated("allocate")
        not_overridden("allocate_async")

    def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> Any:
        """Return the address of new memory, in the order of a stream."""
        not_overridden("allocate_async")

    def deallocate(self, memory: Any) -> bool:
        """Give memory back."""
        _deprecated("deallocate_async")
        not_overridden("deallocate_async")
        return False

    def deallocate_async(self, memory: Any, stream: int) -> bool:
        """Give memory back, in the order of a stream."""
        not_overridden("deallocate_async")
        return False


def _deprecated(successor: str) -> None:
    text = f"Use Deprecated in TensorRT 10.0. Superseded by {successor} instead."
    warnings.warn(text, DeprecationWarning, stacklevel=4)  # past this, the method and the argument check
