"""The emulated `cuda.bindings.runtime`: pools of stream-ordered memory, which TensorRT's allocators are written with.

All pools take their memory from the one heap and keep nothing back.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.arguments import handle_of, size
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call
from yolotrt_lab.emulation.cuda.runtime_device import need_device
from yolotrt_lab.emulation.cuda.runtime_types import cudaMemPool_t
from yolotrt_lab.emulation.device import device as emulated_device
from yolotrt_lab.emulation.memory import Allocation, DeviceFault, origin_of_call

__all__ = [
    "cudaDeviceGetDefaultMemPool",
    "cudaDeviceGetMemPool",
    "cudaDeviceSetMemPool",
    "cudaMallocFromPoolAsync",
    "cudaMemPoolCreate",
    "cudaMemPoolDestroy",
    "cudaMemPoolGetAttribute",
    "cudaMemPoolSetAttribute",
    "cudaMemPoolTrimTo",
]

_DEFAULT = 0x9001000
_USED_NOW, _USED_MOST = 7, 8
_SETTABLE = (1, 2, 3, 4)


@dataclass
class _Pool:
    """A pool.

    Attributes:
        attributes: Its settings by CUDA's number.
        allocations: What was taken from it.
        most: The most bytes that were in use at once.
    """

    attributes: dict[int, int] = field(default_factory=dict)
    allocations: list[Allocation] = field(default_factory=list)
    most: int = 0

    @property
    def used(self) -> int:
        """Bytes in use."""
        living = {id(allocation) for allocation in emulated_device().heap.living()}
        self.allocations = [allocation for allocation in self.allocations if id(allocation) in living]
        return sum(allocation.nbytes for allocation in self.allocations)


_pools: dict[int, _Pool] = {_DEFAULT: _Pool()}
_handles = itertools.count(_DEFAULT + 0x100, 0x100)
_current = _DEFAULT


def forget_pools() -> None:
    """Start like a new process: with the default pool, as it was."""
    global _current
    _pools.clear()
    _pools[_DEFAULT], _current = _Pool(), _DEFAULT


def _pool(handle: Any) -> _Pool:
    found = _pools.get(handle_of(handle))
    if found is None:
        raise DeviceFault("invalid value", f"{handle_of(handle):#x} is not a memory pool, or was destroyed")
    return found


@runtime_call(results=1)
def cudaMemPoolCreate(poolProps: Any) -> Any:
    """Make a pool of device memory."""
    if poolProps is None:
        raise DeviceFault("invalid value", "a pool needs cudaMemPoolProps")
    if int(poolProps.location.type) != 1:
        raise DeviceFault("invalid value", "the memory of a pool has to be on the device: cudaMemLocationTypeDevice")
    need_device(poolProps.location.id)
    handle = next(_handles)
    _pools[handle] = _Pool()
    return cudaMemPool_t(handle)


@runtime_call(results=0)
def cudaMemPoolDestroy(memPool: Any) -> Any:
    """Destroy a pool; memory that was taken from it stays until it is freed."""
    _pool(memPool)
    if handle_of(memPool) == _DEFAULT:
        raise DeviceFault("invalid value", "the default pool cannot be destroyed")
    del _pools[handle_of(memPool)]


@runtime_call(results=1)
def cudaDeviceGetDefaultMemPool(device: int) -> Any:
    """Return the pool that is always there."""
    need_device(device)
    return cudaMemPool_t(_DEFAULT)


@runtime_call(results=1)
def cudaDeviceGetMemPool(device: int) -> Any:
    """Return the pool that `cudaMallocAsync` takes from."""
    need_device(device)
    return cudaMemPool_t(_current if _current in _pools else _DEFAULT)


@runtime_call(results=0)
def cudaDeviceSetMemPool(device: int, memPool: Any) -> Any:
    """Choose the pool that `cudaMallocAsync` takes from."""
    global _current
    need_device(device)
    _pool(memPool)
    _current = handle_of(memPool)


@runtime_call(results=0)
def cudaMemPoolSetAttribute(memPool: Any, attr: Any, value: Any) -> Any:
    """Configure a pool; pools here give memory back at once, whatever their threshold."""
    number = int(attr)
    pool = _pool(memPool)
    if number not in _SETTABLE and not (number == _USED_MOST and int(value) == 0):
        raise DeviceFault("invalid value", f"the attribute {number} of a pool cannot be set to {int(value)}")
    if number == _USED_MOST:
        pool.most = 0
    else:
        pool.attributes[number] = int(value)


@runtime_call(results=1)
def cudaMemPoolGetAttribute(memPool: Any, attr: Any) -> Any:
    """Return a setting of a pool, or how much of it is in use."""
    pool, number = _pool(memPool), int(attr)
    if number in (_USED_NOW, _USED_NOW - 2):
        return pool.used
    if number in (_USED_MOST, _USED_MOST - 2):
        return max(pool.most, pool.used)
    return pool.attributes.get(number, 1 if number in (1, 2, 3) else 0)


@runtime_call(results=0)
def cudaMemPoolTrimTo(memPool: Any, minBytesToKeep: int) -> Any:
    """Give back what a pool keeps: nothing."""
    _pool(memPool)
    size(minBytesToKeep)


@runtime_call(results=1)
def cudaMallocFromPoolAsync(size: int, memPool: Any, stream: Any) -> Any:
    """Allocate device memory from a pool in stream order; here the memory is there at once."""
    pool = _pool(memPool)
    emulated_device().scheduler.stream(handle_of(stream))
    if int(size) == 0:
        return 0
    allocation = emulated_device().heap.allocate(int(size), origin=origin_of_call("cudaMallocFromPoolAsync"))
    pool.allocations.append(allocation)
    pool.most = max(pool.most, pool.used)
    return contexts.note_allocation(allocation.address)
