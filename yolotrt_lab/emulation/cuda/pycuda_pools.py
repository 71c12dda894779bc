"""The emulated memory pools of `pycuda.tools`: they keep what is freed and give it out again.

Memory that comes from a pool is poisoned again and counts as never written, so a forgotten copy shows as it does with
fresh memory; on a GPU it holds what was there before.
"""

from __future__ import annotations

import sys
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from yolotrt_lab.emulation.cuda.pycuda_core import LogicError, cuda_call
from yolotrt_lab.emulation.cuda.pycuda_host import ArrayBase, PagelockedHostAllocation
from yolotrt_lab.emulation.cuda.pycuda_memory import DeviceAllocation, mem_alloc
from yolotrt_lab.emulation.device import device

__all__ = ["DeviceMemoryPool", "PageLockedAllocator", "PageLockedMemoryPool"]

_MANTISSA_BITS = 2
_Block = TypeVar("_Block")


class _Pool(Generic[_Block]):
    """Blocks in bins by size; a bin's blocks are all as large as the largest size that belongs there."""

    def __init__(self) -> None:
        self._held: dict[int, list[_Block]] = {}
        self._keeps = True
        self.active_blocks = 0
        self.active_bytes = 0
        self.managed_bytes = 0

    @property
    def held_blocks(self) -> int:
        """How many blocks wait to be given out again."""
        return sum(map(len, self._held.values()))

    @staticmethod
    def bin_number(size: int) -> int:
        """Return the bin for a size: its exponent, and the two bits that follow its highest bit."""
        exponent = max(size, 1).bit_length() - 1
        shift = exponent - _MANTISSA_BITS
        shifted = size >> shift if shift >= 0 else size << -shift
        return exponent << _MANTISSA_BITS | shifted & ((1 << _MANTISSA_BITS) - 1)

    @staticmethod
    def alloc_size(bin_nr: int) -> int:
        """Return the largest size that belongs in a bin."""
        shift = (bin_nr >> _MANTISSA_BITS) - _MANTISSA_BITS
        head = 1 << _MANTISSA_BITS | bin_nr & ((1 << _MANTISSA_BITS) - 1)
        return (head << shift) | ((1 << shift) - 1) if shift >= 0 else head >> -shift

    def free_held(self) -> None:
        """Free the blocks that wait."""
        for bin_nr, blocks in self._held.items():
            self.managed_bytes -= self.alloc_size(bin_nr) * len(blocks)
        self._held.clear()

    def stop_holding(self) -> None:
        """Free the blocks that wait, and those that come back from now on."""
        self._keeps = False
        self.free_held()

    def _make(self, nbytes: int) -> _Block:
        raise NotImplementedError

    def _take(self, size: int) -> _Block:
        bin_nr = self.bin_number(size)
        waiting = self._held.get(bin_nr)
        if waiting:
            block = waiting.pop()
        else:
            block = self._make(self.alloc_size(bin_nr))
            self.managed_bytes += self.alloc_size(bin_nr)
        self.active_blocks += 1
        self.active_bytes += size
        return block

    def _give_back(self, block: _Block, size: int) -> None:
        self.active_blocks -= 1
        self.active_bytes -= size
        bin_nr = self.bin_number(size)
        if self._keeps:
            self._held.setdefault(bin_nr, []).append(block)
        else:
            self.managed_bytes -= self.alloc_size(bin_nr)


class PooledDeviceAllocation:
    """Device memory that goes back to its pool by `free`, or when nobody refers to it any more."""

    def __init__(self, pool: DeviceMemoryPool, size: int) -> None:
        self._pool, self._size = pool, size
        self._block: DeviceAllocation | None = pool._take(size)
        self._pycuda_address = int(self._block)
        device().heap.renew(self._pycuda_address)

    def free(self) -> None:
        """Give the memory back to the pool now."""
        if self._block is None:
            raise LogicError("pooled_device_allocation::free failed: invalid resource handle")
        block, self._block = self._block, None
        self._pool._give_back(block, self._size)

    def __int__(self) -> int:
        return self._pycuda_address

    def __index__(self) -> int:
        return self._pycuda_address

    def __del__(self) -> None:
        if getattr(self, "_block", None) is not None and not sys.is_finalizing():
            self.free()


class DeviceMemoryPool(_Pool[DeviceAllocation]):
    """Gives out device memory and keeps what comes back."""

    def _make(self, nbytes: int) -> DeviceAllocation:
        return mem_alloc(nbytes)

    def allocate(self, size: int) -> PooledDeviceAllocation:
        """Return device memory."""
        return PooledDeviceAllocation(self, size)


class PooledHostAllocation(ArrayBase):
    """Page-locked memory of a pool behind an array; reached as `array.base`."""

    _block: PagelockedHostAllocation | None = None

    @classmethod
    def _from(cls, pool: PageLockedMemoryPool, layout: np.ndarray[Any, Any]) -> PooledHostAllocation:
        made = cls.__new__(cls)
        made._pool, made._size = pool, layout.nbytes
        made._block = pool._take(layout.nbytes)
        made._show(layout, made._block._buffer.ctypes.data)
        return made

    _pool: PageLockedMemoryPool
    _size: int

    def free(self) -> None:
        """Give the memory back to the pool now."""
        if self._block is None:
            raise LogicError("pooled_host_allocation::free failed: invalid resource handle")
        block, self._block = self._block, None
        self._pool._give_back(block, self._size)

    def __del__(self) -> None:
        if self._block is not None and not sys.is_finalizing():
            self.free()


class PageLockedAllocator:
    """What a pool of page-locked memory gets its memory from."""

    def __init__(self, flags: int = 0) -> None:
        self.flags = flags


class PageLockedMemoryPool(_Pool[PagelockedHostAllocation]):
    """Gives out page-locked arrays and keeps what comes back."""

    def __init__(self, allocator: PageLockedAllocator | None = None) -> None:
        super().__init__()

    @cuda_call("cuMemHostAlloc")
    def _make(self, nbytes: int) -> PagelockedHostAllocation:
        return PagelockedHostAllocation._make(np.empty(nbytes, np.uint8))

    def allocate(self, shape: Any, dtype: DTypeLike, order: str = "C") -> np.ndarray[Any, Any]:
        """Return a page-locked array."""
        memory_order: Any = order
        return np.asarray(PooledHostAllocation._from(self, np.empty(shape, dtype, memory_order)))
