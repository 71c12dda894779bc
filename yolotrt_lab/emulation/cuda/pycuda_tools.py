"""The emulated `pycuda.tools`: the default context, facts of the device, and memory pools."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.described import pycuda
from yolotrt_lab.emulation.cuda.pycuda_context import Context, Device
from yolotrt_lab.emulation.cuda.pycuda_pools import DeviceMemoryPool, PageLockedAllocator, PageLockedMemoryPool
from yolotrt_lab.errors import EmulationError

__all__ = [
    "DeviceData",
    "DeviceMemoryPool",
    "PageLockedAllocator",
    "PageLockedMemoryPool",
    "bitlog2",
    "clear_context_caches",
    "context_dependent_memoize",
    "dtype_to_ctype",
    "get_default_device",
    "make_default_context",
]

_C_NAMES = {
    "float16": "half", "float32": "float", "float64": "double", "int8": "signed char", "uint8": "unsigned char",
    "int16": "short", "uint16": "unsigned short", "int32": "int", "uint32": "unsigned", "int64": "long",
    "uint64": "unsigned long", "bool": "bool", "complex64": "pycuda::complex<float>",
    "complex128": "pycuda::complex<double>",
}  # fmt: skip


def get_default_device(default: int = 0) -> Device:
    """Return the device that `CUDA_DEVICE` names."""
    return Device(int(os.environ.get("CUDA_DEVICE", default)))


def make_default_context(ctx_maker: Callable[[Any], Any] | None = None) -> Any:
    """Make a context on the device that `CUDA_DEVICE` names, and make it current."""
    owner = get_default_device()
    return owner.make_context() if ctx_maker is None else ctx_maker(owner)


_memoized: list[dict[Any, Any]] = []


def context_dependent_memoize(func: Callable[..., Any]) -> Callable[..., Any]:
    """Remember a function's results, for each context."""
    remembered: dict[Any, Any] = {}
    _memoized.append(remembered)

    def call(*args: Any) -> Any:
        key = (contexts.current(), args)
        if key not in remembered:
            remembered[key] = func(*args)
        return remembered[key]

    return call


def clear_context_caches() -> None:
    """Forget what was remembered."""
    for remembered in _memoized:
        remembered.clear()


def bitlog2(value: int) -> int:
    """Return the position of the highest bit."""
    return int(math.log2(value)) if value else 0


def dtype_to_ctype(dtype: Any, with_fp_tex_hack: bool = False) -> str:
    """Return the name of a type in C.

    Raises:
        ValueError: C has none.
    """
    name = np.dtype(dtype).name
    if name not in _C_NAMES:
        raise ValueError(f"unable to map dtype '{dtype}'")
    return _C_NAMES[name]


class DeviceData:
    """Facts about a device, for sizing kernels."""

    def __init__(self, dev: Device | None = None) -> None:
        owner: Any = Context.get_device() if dev is None else dev
        self.max_threads = owner.max_threads_per_block
        self.warp_size = owner.warp_size
        self.warps_per_mp = 24
        self.thread_blocks_per_mp = 8
        self.registers = owner.max_registers_per_block
        self.shared_memory = owner.max_shared_memory_per_block
        self.smem_alloc_granularity = 512
        self.smem_granularity = 16
        self.register_allocation_unit = "block"

    def align_bytes(self, word_size: int = 4) -> int:
        """Return what accesses of words of this size should be aligned to."""
        if word_size not in (4, 8, 16):
            raise ValueError(f"no alignment possible for fetches of size {word_size}")
        return 64 if word_size == 4 else 128

    def align_words(self, word_size: int) -> int:
        """Return the alignment in words."""
        return self.align_bytes(word_size) // word_size

    def align(self, bytes: int, word_size: int = 4) -> int:
        """Return a size rounded up to the alignment."""
        return math.ceil(bytes / self.align_bytes(word_size)) * self.align_bytes(word_size)

    def align_dtype(self, elements: int, dtype_size: int) -> int:
        """Return a number of elements rounded up to the alignment."""
        return math.ceil(elements / self.align_words(dtype_size)) * self.align_words(dtype_size)

    def coalesce(self, thread_count: int) -> int:
        """Return a number of threads rounded up to half a warp."""
        return math.ceil(thread_count / 16) * 16

    @staticmethod
    def make_valid_tex_channel_count(size: int) -> int:
        """Return a number of channels that textures can have.

        Raises:
            ValueError: More than four.
        """
        for valid in (1, 2, 4):
            if size <= valid:
                return valid
        raise ValueError("could not enlarge argument to valid channel count")


def __getattr__(name: str) -> Any:
    known = pycuda()["tools"]
    if name in known["functions"] or name in known["classes"]:
        raise EmulationError(
            f"pycuda.tools.{name} is not emulated: it is for programs that compile and run CUDA code.",
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )
    raise AttributeError(f"module 'pycuda.tools' has no attribute '{name}'")
