"""The types of the emulated `cuda.bindings.runtime` that its functions use, by name."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.described import CudaEnum, types

__all__ = [
    "CudaEnum",
    "cudaDeviceAttr",
    "cudaDeviceProp",
    "cudaError_t",
    "cudaEvent_t",
    "cudaMemPool_t",
    "cudaMemcpyKind",
    "cudaMemoryType",
    "cudaPointerAttributes",
    "cudaStream_t",
]

_types = types("runtime")

cudaError_t: Any = _types["cudaError_t"]
cudaMemcpyKind: Any = _types["cudaMemcpyKind"]
cudaMemPool_t: Any = _types["cudaMemPool_t"]
cudaMemoryType: Any = _types["cudaMemoryType"]
cudaDeviceAttr: Any = _types["cudaDeviceAttr"]
cudaDeviceProp: Any = _types["cudaDeviceProp"]
cudaPointerAttributes: Any = _types["cudaPointerAttributes"]
cudaStream_t: Any = _types["cudaStream_t"]
cudaEvent_t: Any = _types["cudaEvent_t"]
