"""What the execution asks of a device's memory and streams, and the GPU's answers, straight from the CUDA driver.

A wrong address ends a CUDA context for good: every later call fails. So addresses are looked up before they are used.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = ["CudaMemory", "DeviceMemory"]

_CONTEXT, _MEMORY_TYPE, _DEVICE_ORDINAL, _RANGE_START, _RANGE_SIZE = 1, 2, 9, 11, 12  # CUpointer_attribute
_ON_HOST, _ON_DEVICE = 1, 2  # CUmemorytype
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_LEGACY_STREAM, _PER_THREAD_STREAM = 1, 2
_OTHER_CONTEXT = (
    "belongs to another CUDA context than the GPU's primary one, in which the engine runs, as `pycuda.autoinit` and "
    "`Device.make_context` make them; use `pycuda.driver.Device(0).retain_primary_context()` and push it, or "
    "`yolotrt_lab.runtimes.tensorrt_buffers.use_primary_context()`"
)


class DeviceMemory(Protocol):
    """Device memory and streams.

    Attributes:
        name: The device's name.
        provider: ONNX Runtime's execution provider for it.
        kind: What ONNX Runtime calls its memory.
        ordinal: The device's number.
        total_bytes: How much memory it has.
    """

    name: str
    provider: str
    kind: str
    ordinal: int
    total_bytes: int

    def compute(self) -> str:
        """Return the kind of device, for which a plan is built."""

    def provider_options(self, stream_handle: int | None) -> dict[str, str]:
        """Return the provider's settings; None lets it use a stream of its own."""

    def current(self) -> AbstractContextManager[None]:
        """Make the device's primary context current for the time of a block."""

    def check(self, address: int, nbytes: int, *, what: str) -> None:
        """Make sure that the bytes there are the device's.

        Raises:
            DeviceFault: They are not.
        """

    def check_stream(self, stream_handle: int) -> None:
        """Make sure that work can be enqueued in a stream.

        Raises:
            DeviceFault: It cannot.
        """

    def synchronize(self, stream_handle: int) -> None:
        """Wait for a stream."""

    def read(self, address: int, nbytes: int) -> bytes:
        """Return the content of checked device memory, after the default stream's work."""


class CudaMemory:
    """The first GPU; implements `DeviceMemory`.

    Raises:
        OSError: There is no driver, or no GPU.
    """

    provider = "CUDAExecutionProvider"
    kind = "cuda"
    ordinal = 0

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        device, name, total = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_size_t()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), self.ordinal)
        self._call("cuDeviceGetName", name, len(name), device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
        self._device = device
        self.name = name.value.decode(errors="replace")
        self.total_bytes = int(total.value)

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._cuda, function)(*arguments)
        if code != 0:
            raise OSError(f"{function} failed with CUDA error {code} ({self._error_name(code)})")

    def _error_name(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorName(code, ctypes.byref(text))
        return (text.value or b"unknown").decode()

    @functools.cached_property
    def _primary(self) -> int:
        """The primary context; kept for the rest of the process, as PyTorch and ONNX Runtime do."""
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        return int(context.value or 0)

    def compute(self) -> str:
        """Return the compute capability, like "9.0"."""
        numbers = []
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
            number = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(number), attribute, self._device)
            numbers.append(str(number.value))
        return ".".join(numbers)

    def provider_options(self, stream_handle: int | None) -> dict[str, str]:
        """Return ONNX Runtime's settings.

        Full FP32: `BuilderFlag.TF32` allows TF32, it does not demand it. Algorithms by heuristic: the default, trying
        all of them, makes the first inference of every shape wait for the GPU. Half of the memory at most, taken as
        needed: the rest is the program's.
        """
        options = {
            "device_id": str(self.ordinal),
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "gpu_mem_limit": str(self.total_bytes // 2),
            "do_copy_in_default_stream": "1",
            "enable_cuda_graph": "0",
        }
        if stream_handle is not None:
            options["user_compute_stream"] = str(stream_handle or _LEGACY_STREAM)  # 0 would mean: none was given
        return options

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current for the time of a block."""
        self._call("cuCtxPushCurrent_v2", ctypes.c_void_p(self._primary))
        try:
            yield
        finally:
            popped = ctypes.c_void_p()
            self._call("cuCtxPopCurrent_v2", ctypes.byref(popped))

    def check(self, address: int, nbytes: int, *, what: str) -> None:
        """Make sure that the bytes there are this GPU's, in its primary context; see `DeviceMemory`."""
        kind = self._attribute(_MEMORY_TYPE, address, ctypes.c_uint)
        if kind is None:
            raise DeviceFault("illegal address", f"{what} uses {address:#x}: this is not device memory")
        if kind == _ON_HOST:
            raise DeviceFault("illegal address", f"{what} uses {address:#x}: this is pinned host memory")
        if kind != _ON_DEVICE or self._attribute(_DEVICE_ORDINAL, address, ctypes.c_int) != self.ordinal:
            raise DeviceFault("illegal address", f"{what} uses {address:#x}: this is not memory of GPU {self.ordinal}")
        context = self._attribute(_CONTEXT, address, ctypes.c_void_p)
        if context and context != self._primary:  # memory from a pool has no context
            raise DeviceFault("invalid context", f"the memory of {what} {_OTHER_CONTEXT}")
        start = self._attribute(_RANGE_START, address, ctypes.c_void_p)
        size = self._attribute(_RANGE_SIZE, address, ctypes.c_size_t)
        if start is None or size is None:
            return
        left = start + size - address
        if nbytes > left:
            raise DeviceFault(
                "illegal address",
                f"{what} needs {nbytes} bytes at {address:#x}, but only {left} bytes are allocated from there",
            )

    def _attribute(self, attribute: int, address: int, kind: Any) -> int | None:
        """Return what the driver knows about an address; None if it does not know the address."""
        value = kind()
        code = self._cuda.cuPointerGetAttribute(ctypes.byref(value), attribute, ctypes.c_uint64(address))
        return int(value.value or 0) if code == 0 else None

    def check_stream(self, stream_handle: int) -> None:
        """Make sure that work can be enqueued in a stream; see `DeviceMemory`."""
        if stream_handle > _PER_THREAD_STREAM:
            context = ctypes.c_void_p()
            if self._cuda.cuStreamGetCtx(ctypes.c_void_p(stream_handle), ctypes.byref(context)) != 0:
                raise DeviceFault("invalid handle", f"{stream_handle:#x} is not a stream, or was destroyed")
            if context.value != self._primary:
                raise DeviceFault("invalid context", f"the stream {_OTHER_CONTEXT}")
        status = ctypes.c_int()
        with self.current():
            self._call("cuStreamIsCapturing", ctypes.c_void_p(stream_handle), ctypes.byref(status))
        if status.value != 0:
            raise EmulationError(
                "Emulated engines cannot be captured in a CUDA graph on a GPU.",
                fix="Enqueue them, or use real TensorRT; on the processor, the emulation emulates graphs.",
            )

    def synchronize(self, stream_handle: int) -> None:
        """Wait for a stream.

        Raises:
            DeviceFault: The GPU reports an error.
        """
        with self.current():
            code = self._cuda.cuStreamSynchronize(ctypes.c_void_p(stream_handle))
        if code != 0:
            raise DeviceFault("illegal address", f"the GPU reports {self._error_name(code)}")

    def read(self, address: int, nbytes: int) -> bytes:
        """Return the content of checked device memory; see `DeviceMemory`."""
        content = ctypes.create_string_buffer(nbytes)
        with self.current():
            self._call("cuMemcpyDtoH_v2", content, ctypes.c_uint64(address), ctypes.c_size_t(nbytes))
        return content.raw
