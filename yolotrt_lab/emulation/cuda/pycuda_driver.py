"""The emulated `pycuda.driver`: contexts, streams, events, memory and copies, with PyCUDA's names and errors.

Compiling and launching CUDA kernels is not emulated and says so. Like PyCUDA, everything needs a current context in the
calling thread (`pycuda.autoinit`, or `Device(0).make_context()`), and memory is freed when its object goes away.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.pycuda_context import Context, Device, get_driver_version, get_version, init
from yolotrt_lab.emulation.cuda.pycuda_core import Error, LaunchError, LogicError, MemoryError, RuntimeError
from yolotrt_lab.emulation.cuda.pycuda_enums import (
    ctx_flags,
    device_attribute,
    event_flags,
    host_alloc_flags,
    mem_host_register_flags,
)
from yolotrt_lab.emulation.cuda.pycuda_memory import (
    DeviceAllocation,
    HostAllocation,
    PagelockedHostAllocation,
    PointerHolderBase,
    from_device,
    from_device_like,
    mem_alloc,
    mem_get_info,
    memcpy_dtod,
    memcpy_dtod_async,
    memcpy_dtoh,
    memcpy_dtoh_async,
    memcpy_htod,
    memcpy_htod_async,
    memset_d8,
    memset_d8_async,
    memset_d32,
    pagelocked_empty,
    pagelocked_empty_like,
    pagelocked_zeros,
    pagelocked_zeros_like,
    to_device,
)
from yolotrt_lab.emulation.cuda.pycuda_stream import Event, Stream
from yolotrt_lab.errors import EmulationError

_BEHAVIOURS = {
    "In": "wraps an argument of a kernel launch",
    "Out": "wraps an argument of a kernel launch",
    "InOut": "wraps an argument of a kernel launch",
    "Function": "launches a CUDA kernel",
    "Module": "holds compiled CUDA code",
    "module_from_file": "loads compiled CUDA code",
    "module_from_buffer": "loads compiled CUDA code",
    "Array": "holds texture data",
    "TextureReference": "reads through the texture unit",
    "Memcpy2D": "copies a pitched rectangle",
    "Memcpy3D": "copies a pitched box",
    "mem_alloc_pitch": "allocates pitched memory",
    "managed_empty": "allocates memory that migrates between host and GPU",
    "managed_zeros": "allocates memory that migrates between host and GPU",
    "register_host_memory": "page-locks existing host memory",
    "aligned_empty": "allocates page-aligned host memory for page-locking",
    "aligned_zeros": "allocates page-aligned host memory for page-locking",
    "IPCMemoryHandle": "shares device memory with another process",
    "IPCEventHandle": "shares an event with another process",
    "memcpy_peer": "copies between two GPUs",
    "memcpy_peer_async": "copies between two GPUs",
    "start_profiler": "starts NVIDIA's profiler",
    "stop_profiler": "stops NVIDIA's profiler",
    "matrix_to_texref": "binds a matrix to the texture unit",
    "prepare_kernel": "prepares a kernel launch",
    "jit_input_type": "chooses what the CUDA compiler reads",
    "jit_option": "configures the CUDA compiler",
    "func_cache": "configures the cache of a kernel",
    "limit": "limits resources of a context",
    "memset_d16": "fills device memory with a 16-bit word",
    "memset_d2d8": "fills a pitched rectangle",
    "ManagedAllocation": "holds memory that migrates between host and GPU",
}
"""What the parts of PyCUDA that are not emulated do on a GPU."""


def __getattr__(name: str) -> Any:
    if name in _BEHAVIOURS:
        raise EmulationError(
            f"pycuda.driver.{name} is not emulated: on a GPU it {_BEHAVIOURS[name]}.",
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )
    raise AttributeError(f"module 'pycuda.driver' has no attribute '{name}'")


__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "HostAllocation",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "PagelockedHostAllocation",
    "PointerHolderBase",
    "RuntimeError",
    "Stream",
    "ctx_flags",
    "device_attribute",
    "event_flags",
    "from_device",
    "from_device_like",
    "get_driver_version",
    "get_version",
    "host_alloc_flags",
    "init",
    "mem_alloc",
    "mem_get_info",
    "mem_host_register_flags",
    "memcpy_dtod",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8",
    "memset_d8_async",
    "memset_d32",
    "pagelocked_empty",
    "pagelocked_empty_like",
    "pagelocked_zeros",
    "pagelocked_zeros_like",
    "to_device",
]
