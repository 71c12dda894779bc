"""Device and pinned host memory for TensorRT, through `cuda.bindings.runtime`.

Of the two CUDA bindings this course teaches, the runtimes use NVIDIA's own `cuda.bindings.runtime`: it is a plain wheel
(PyCUDA needs a CUDA compiler to install) and shares the primary context with PyTorch and ONNX Runtime, so nothing has
to push or pop contexts. On a machine without a GPU the emulation registers a module of the same name, and this code
does not know the difference.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any, Self

import numpy as np

from yolotrt_lab.errors import LabError
from yolotrt_lab.optional import require
from yolotrt_lab.types import Array

__all__ = ["Stream", "TensorBuffer", "cuda_call"]


def _cudart() -> Any:
    return require("cuda.bindings.runtime", purpose="allocate device memory")


def cuda_call(result: tuple[Any, ...], *, action: str) -> Any:
    """Return the value of a `cuda.bindings.runtime` call, or raise when its error code is not success.

    Args:
        result: What the call returned: the error code, then its values.
        action: What was tried, completing "Could not ...".

    Raises:
        LabError: The call failed.
    """
    code, *values = result
    if int(code) != 0:
        _, text = _cudart().cudaGetErrorString(code)
        _cudart().cudaGetLastError()  # clears it, or the next library that asks would take the error for its own
        reason = text.decode() if isinstance(text, bytes) else str(text)
        out_of_memory = "memory" in reason and "illegal" not in reason
        raise LabError(
            f"Could not {action}.",
            got=f"{getattr(code, 'name', code)}: {reason}",
            fix="Use a smaller batch, or end other programs on the GPU (nvidia-smi lists them)."
            if out_of_memory
            else None,
        )
    return values[0] if values else None


class Stream:
    """A CUDA stream of its own, which does not wait for the default stream.

    Attributes:
        handle: The stream as an integer, for `execute_async_v3`.
    """

    def __init__(self) -> None:
        self._rt = _cudart()
        flags = self._rt.cudaStreamNonBlocking
        self._stream: Any = cuda_call(self._rt.cudaStreamCreateWithFlags(flags), action="create a CUDA stream")
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        """Wait until everything queued on the stream is done."""
        cuda_call(self._rt.cudaStreamSynchronize(self._stream), action="finish the work on the GPU")

    def close(self) -> None:
        """Destroy the stream; calling it again does nothing."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            cuda_call(self._rt.cudaStreamDestroy(stream), action="destroy a CUDA stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class TensorBuffer:
    """Memory for one engine input or output at its largest: page-locked on the host, and on the device.

    Page-locked (pinned) host memory is what lets a copy run asynchronously at full speed.

    Args:
        name: Tensor name, for messages.
        dtype: NumPy dtype of its elements.
        max_shape: Largest shape it will hold.

    Attributes:
        device_address: Address on the device, for `set_tensor_address`.
        nbytes: Bytes allocated on each side.
    """

    def __init__(self, name: str, *, dtype: np.dtype[Any], max_shape: tuple[int, ...]) -> None:
        self._rt = _cudart()
        self.name = name
        self.nbytes = int(np.prod(max_shape, dtype=np.int64)) * dtype.itemsize
        self._dtype = dtype
        size_text = f"{self.nbytes / 2**20:.1f} MiB for tensor {name!r}"
        self.device_address = int(
            cuda_call(self._rt.cudaMalloc(self.nbytes), action=f"allocate {size_text} on the device")
        )
        try:
            self._host_address = int(
                cuda_call(self._rt.cudaMallocHost(self.nbytes), action=f"allocate {size_text} of pinned host memory")
            )
        except LabError:
            self._rt.cudaFree(self.device_address)
            raise
        block = (ctypes.c_ubyte * self.nbytes).from_address(self._host_address)
        self._elements: Array | None = np.frombuffer(memoryview(block), dtype=dtype)

    def host_view(self, shape: tuple[int, ...]) -> Array:
        """Return the start of the pinned memory as an array of `shape`; valid until `close`."""
        if self._elements is None:
            raise LabError(f"The memory of tensor {self.name!r} was freed.")
        return self._elements[: int(np.prod(shape, dtype=np.int64))].reshape(shape)

    def copy_to_device(self, shape: tuple[int, ...], *, stream: Stream) -> None:
        """Queue the copy of the first `shape` elements from pinned host memory to the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.device_address, self._host_address, shape=shape, kind=kind, stream=stream)

    def copy_to_host(self, shape: tuple[int, ...], *, stream: Stream) -> None:
        """Queue the copy of the first `shape` elements from the device to pinned host memory."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._host_address, self.device_address, shape=shape, kind=kind, stream=stream)

    def _copy(self, target: int, source: int, *, shape: tuple[int, ...], kind: Any, stream: Stream) -> None:
        nbytes = int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize
        cuda_call(
            self._rt.cudaMemcpyAsync(target, source, nbytes, kind, stream.handle),
            action=f"copy tensor {self.name!r} ({nbytes} bytes)",
        )

    def close(self) -> None:
        """Free both sides; calling it again does nothing."""
        if self._elements is not None:
            self._elements = None
            cuda_call(self._rt.cudaFree(self.device_address), action=f"free tensor {self.name!r} on the device")
            cuda_call(self._rt.cudaFreeHost(self._host_address), action=f"free tensor {self.name!r} on the host")
