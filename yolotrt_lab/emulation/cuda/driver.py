"""The emulated `cuda.bindings.driver`: what programs call before the runtime, device queries and contexts."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.runtime_types import CudaEnum, _Handle
from yolotrt_lab.emulation.device import device
from yolotrt_lab.errors import EmulationError


class CUresult(CudaEnum):
    """What every function returns first."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class CUdevice(_Handle):
    """A device."""


class CUcontext(_Handle):
    """A context."""


_CONTEXT = 0xC0DE0000
_initialised = False
_contexts: list[CUcontext] = []


def cuInit(Flags: int) -> tuple[CUresult]:
    """Initialise CUDA."""
    global _initialised
    _initialised = True
    return (CUresult.CUDA_SUCCESS,)


def cuDriverGetVersion() -> tuple[CUresult, int]:
    """Return the CUDA version that is emulated."""
    return CUresult.CUDA_SUCCESS, 13000


def cuDeviceGetCount() -> tuple[CUresult, int | None]:
    """Return 1."""
    return (CUresult.CUDA_SUCCESS, 1) if _initialised else (CUresult.CUDA_ERROR_NOT_INITIALIZED, None)


def cuDeviceGet(ordinal: int) -> tuple[CUresult, CUdevice | None]:
    """Return device 0."""
    if not _initialised:
        return CUresult.CUDA_ERROR_NOT_INITIALIZED, None
    return (CUresult.CUDA_SUCCESS, CUdevice(0)) if ordinal == 0 else (CUresult.CUDA_ERROR_INVALID_DEVICE, None)


def cuDeviceGetName(length: int, dev: Any) -> tuple[CUresult, bytes]:
    """Return the device's name, padded with zero bytes; it says that the device is emulated."""
    return CUresult.CUDA_SUCCESS, device().name.encode()[: length - 1].ljust(length, b"\0")


def cuDeviceTotalMem(dev: Any) -> tuple[CUresult, int]:
    """Return the device's memory in bytes."""
    return CUresult.CUDA_SUCCESS, device().heap.capacity


def cuDevicePrimaryCtxRetain(dev: Any) -> tuple[CUresult, CUcontext]:
    """Return the primary context."""
    return CUresult.CUDA_SUCCESS, CUcontext(_CONTEXT)


def cuDevicePrimaryCtxRelease(dev: Any) -> tuple[CUresult]:
    """Give the primary context up."""
    return (CUresult.CUDA_SUCCESS,)


def cuCtxCreate(ctxCreateParams: Any, flags: int, dev: Any) -> tuple[CUresult, CUcontext | None]:
    """Make a context and make it current."""
    if not _initialised:
        return CUresult.CUDA_ERROR_NOT_INITIALIZED, None
    _contexts.append(CUcontext(_CONTEXT + 0x10 * (len(_contexts) + 1)))
    return CUresult.CUDA_SUCCESS, _contexts[-1]


def cuCtxDestroy(ctx: Any) -> tuple[CUresult]:
    """Destroy a context."""
    if ctx not in _contexts:
        return (CUresult.CUDA_ERROR_INVALID_CONTEXT,)
    _contexts.remove(ctx)
    return (CUresult.CUDA_SUCCESS,)


def cuCtxGetCurrent() -> tuple[CUresult, CUcontext]:
    """Return the current context; the null handle if there is none."""
    return CUresult.CUDA_SUCCESS, _contexts[-1] if _contexts else CUcontext(0)


def cuCtxSetCurrent(ctx: Any) -> tuple[CUresult]:
    """Make a context current."""
    if int(ctx) == 0:
        _contexts.clear()
    else:
        _contexts.append(CUcontext(int(ctx)))
    return (CUresult.CUDA_SUCCESS,)


def cuCtxSynchronize() -> tuple[CUresult]:
    """Wait for all work."""
    if not _contexts:
        return (CUresult.CUDA_ERROR_INVALID_CONTEXT,)
    device().scheduler.synchronize_device()
    return (CUresult.CUDA_SUCCESS,)


def cuGetErrorName(error: CUresult) -> tuple[CUresult, bytes]:
    """Return an error code's name."""
    return CUresult.CUDA_SUCCESS, CUresult(error).name.encode()


__all__ = [
    "CUcontext",
    "CUdevice",
    "CUresult",
    "cuCtxCreate",
    "cuCtxDestroy",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuInit",
]


def __getattr__(name: str) -> Any:
    if name.startswith(("cu", "CU")):
        raise EmulationError(
            f"cuda.bindings.driver.{name} is not emulated.",
            expected="initialisation, device queries and contexts",
            got=name,
            fix="Use cuda.bindings.runtime, or run this on a machine with an NVIDIA GPU.",
        )
    raise AttributeError(f"module 'cuda.bindings.driver' has no attribute '{name}'")
