"""The types of the emulated `cuda.bindings.runtime`, with CUDA's names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from yolotrt_lab.emulation.device import device

__all__ = [
    "CudaEnum",
    "cudaDeviceAttr",
    "cudaDeviceProp",
    "cudaError_t",
    "cudaEvent_t",
    "cudaMemcpyKind",
    "cudaStream_t",
]


class CudaEnum(IntEnum):
    """An enumeration whose `str` is its `repr`, like those of `cuda.bindings`."""

    def __str__(self) -> str:
        return repr(self)


class cudaError_t(CudaEnum):
    """What every function returns first."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInitializationError = 3
    cudaErrorInvalidMemcpyDirection = 21
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidDevice = 101
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700
    cudaErrorNotSupported = 801
    cudaErrorUnknown = 999


ERROR_TEXT: dict[cudaError_t, bytes] = {
    cudaError_t.cudaSuccess: b"no error",
    cudaError_t.cudaErrorInvalidValue: b"invalid argument",
    cudaError_t.cudaErrorMemoryAllocation: b"out of memory",
    cudaError_t.cudaErrorInitializationError: b"initialization error",
    cudaError_t.cudaErrorInvalidMemcpyDirection: b"invalid copy direction for memcpy",
    cudaError_t.cudaErrorInsufficientDriver: b"CUDA driver version is insufficient for CUDA runtime version",
    cudaError_t.cudaErrorNoDevice: b"no CUDA-capable device is detected",
    cudaError_t.cudaErrorInvalidDevice: b"invalid device ordinal",
    cudaError_t.cudaErrorInvalidResourceHandle: b"invalid resource handle",
    cudaError_t.cudaErrorNotReady: b"device not ready",
    cudaError_t.cudaErrorIllegalAddress: b"an illegal memory access was encountered",
    cudaError_t.cudaErrorNotSupported: b"operation not supported",
    cudaError_t.cudaErrorUnknown: b"unknown error",
}


class cudaMemcpyKind(CudaEnum):
    """The direction of a copy."""

    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3
    cudaMemcpyDefault = 4


class cudaDeviceAttr(CudaEnum):
    """The device attributes that mean something for an emulated device."""

    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class _Handle:
    """An opaque handle that knows its integer."""

    def __init__(self, init_value: int = 0) -> None:
        self._value = int(init_value)

    def getPtr(self) -> int:
        """Return the handle's integer."""
        return self._value

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._value:#x}>"


class cudaStream_t(_Handle):
    """A stream."""


class cudaEvent_t(_Handle):
    """An event."""


@dataclass
class cudaDeviceProp:
    """What there is to say about the emulated device. It has no compute capability."""

    name: bytes
    totalGlobalMem: int
    major: int = 0
    minor: int = 0
    warpSize: int = 32
    integrated: int = 1
    canMapHostMemory: int = 0
    concurrentKernels: int = 0
    asyncEngineCount: int = 0
    unifiedAddressing: int = 1
    managedMemory: int = 0
    textureAlignment: int = 512
    pciBusID: int = 0
    pciDeviceID: int = 0
    pciDomainID: int = 0

    @classmethod
    def of_emulated_device(cls) -> cudaDeviceProp:
        """Return the properties of the process's emulated device."""
        emulated = device()
        return cls(name=emulated.name.encode(), totalGlobalMem=emulated.heap.capacity)
