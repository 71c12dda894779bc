"""The emulated `pycuda.driver`: contexts, streams, events, memory and copies, with PyCUDA's names and errors.

Compiling and launching CUDA kernels is not emulated and says so. Like PyCUDA, everything needs a current context in the
calling thread (`pycuda.autoinit`, or `Device(0).make_context()`), and memory is freed when its object goes away.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import (
    pycuda_context,
    pycuda_copies,
    pycuda_host,
    pycuda_memory,
    pycuda_stream,
    pycuda_tools,
)
from yolotrt_lab.emulation.cuda.described import pycuda
from yolotrt_lab.emulation.cuda.pycuda_core import (
    CompileError,
    Error,
    LaunchError,
    LogicError,
    MemoryError,
    RuntimeError,
)
from yolotrt_lab.emulation.cuda.pycuda_enums import ENUMERATIONS
from yolotrt_lab.emulation.cuda.pycuda_pools import PooledDeviceAllocation, PooledHostAllocation
from yolotrt_lab.errors import EmulationError

_BEHAVIOURS = {
    "Function": "launches a CUDA kernel",
    "Module": "holds compiled CUDA code",
    "Linker": "links compiled CUDA code",
    "module_from_file": "loads compiled CUDA code",
    "module_from_buffer": "loads compiled CUDA code",
    "Array": "holds texture data",
    "ArrayDescriptor": "describes texture data",
    "ArrayDescriptor3D": "describes texture data",
    "TextureReference": "reads through the texture unit",
    "SurfaceReference": "reads and writes through the texture unit",
    "Memcpy2D": "copies a pitched rectangle",
    "Memcpy3D": "copies a pitched box",
    "Memcpy3DPeer": "copies a pitched box between two GPUs",
    "managed_empty": "allocates memory that migrates between host and GPU",
    "managed_empty_like": "allocates memory that migrates between host and GPU",
    "managed_zeros": "allocates memory that migrates between host and GPU",
    "managed_zeros_like": "allocates memory that migrates between host and GPU",
    "ManagedAllocation": "holds memory that migrates between host and GPU",
    "ManagedAllocationOrStub": "holds memory that migrates between host and GPU",
    "IPCMemoryHandle": "shares device memory with another process",
    "mem_get_ipc_handle": "shares device memory with another process",
    "memcpy_peer": "copies between two GPUs",
    "memcpy_peer_async": "copies between two GPUs",
    "start_profiler": "starts NVIDIA's profiler",
    "stop_profiler": "stops NVIDIA's profiler",
    "initialize_profiler": "configures NVIDIA's profiler",
}
"""What the parts of PyCUDA that programs ask for, and that are not emulated, do on a GPU."""

_OTHERS = "works on kernels, textures or pitched memory"

_MODULES: tuple[Any, ...] = (pycuda_context, pycuda_copies, pycuda_host, pycuda_memory, pycuda_stream)
_namespace: dict[str, Any] = dict(ENUMERATIONS)
for _module in _MODULES:
    _namespace.update({name: getattr(_module, name) for name in _module.__all__})
for _kind in (CompileError, Error, LaunchError, LogicError, MemoryError, RuntimeError):
    _namespace[_kind.__name__] = _kind
_namespace |= {
    "DeviceMemoryPool": pycuda_tools.DeviceMemoryPool,
    "PageLockedAllocator": pycuda_tools.PageLockedAllocator,
    "PageLockedMemoryPool": pycuda_tools.PageLockedMemoryPool,
    "PooledDeviceAllocation": PooledDeviceAllocation,
    "PooledHostAllocation": PooledHostAllocation,
    "bitlog2": pycuda_tools.bitlog2,
}
for _value in _namespace.values():
    if isinstance(_value, type) and _value.__module__.startswith("yolotrt_lab."):
        _value.__module__ = "pycuda._driver"  # programs print and pickle by it
globals().update(_namespace)

__all__ = sorted(_namespace)


def __getattr__(name: str) -> Any:
    known = pycuda()["driver"]
    if name in _BEHAVIOURS or name in known["functions"] or name in known["classes"]:
        raise EmulationError(
            f"pycuda.driver.{name} is not emulated: on a GPU it {_BEHAVIOURS.get(name, _OTHERS)}.",
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )
    raise AttributeError(f"module 'pycuda.driver' has no attribute '{name}'")
