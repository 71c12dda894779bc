"""Memory for one engine through PyCUDA, in two halves: hand a frame in, fetch the result later.

`EngineSession` does a whole inference in one call and waits for it. `EngineBuffers` separates asking from waiting, so
that several of them can keep the GPU busy in turns: while one's result is copied out, another one computes, and a third
one's frame is on its way in. It uses PyCUDA, which the course teaches; the rest of the package uses `cuda.bindings`.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.optional import require
from yolotrt_lab.types import Array

__all__ = ["EngineBuffers", "use_primary_context"]


def use_primary_context() -> None:
    """Make the GPU's primary context current in this thread, unless some context is; PyCUDA needs one.

    The primary context is the one PyTorch, ONNX Runtime and `cuda.bindings` use too. `pycuda.autoinit` would make
    another one, whose memory they cannot reach. At the end of the process it is given back, which PyCUDA insists on.
    """
    activate()
    cuda: Any = require("pycuda.driver", purpose="manage GPU memory")
    cuda.init()
    if cuda.Context.get_current() is not None:
        return
    cuda.Device(0).retain_primary_context().push()
    atexit.register(_give_back, cuda)


def _give_back(cuda: Any) -> None:
    with contextlib.suppress(cuda.Error):
        cuda.Context.pop()


class EngineBuffers:
    """One execution context, one stream, and memory for all inputs and outputs, allocated once.

    Args:
        engine: A TensorRT engine; it must outlive this.
        batch: The largest batch there will be.
        profiler: A `trt.IProfiler` that is told the time of every layer; it makes every inference slower.

    Raises:
        InputError: The engine cannot run this batch.

    Example:
        >>> buffers = EngineBuffers(engine, 1)  # doctest: +SKIP
        >>> buffers.submit({"images": frame})  # doctest: +SKIP
        >>> outputs = buffers.wait()  # doctest: +SKIP
    """

    def __init__(self, engine: Any, batch: int, *, profiler: Any = None) -> None:
        use_primary_context()
        trt: Any = activate().trt
        self._cuda: Any = require("pycuda.driver", purpose="manage GPU memory")
        self._context = engine.create_execution_context()
        if profiler is not None:
            self._context.profiler = profiler
        self._stream = self._cuda.Stream()
        self._host: dict[str, Array] = {}
        self._device: dict[str, Any] = {}
        self._pending: dict[str, tuple[int, ...]] | None = None
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        for name in self._inputs:
            self._set_shape(name, (batch, *tuple(engine.get_tensor_shape(name))[1:]))
        for name in names:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            shape = tuple(int(size) for size in self._context.get_tensor_shape(name))
            self._host[name] = self._cuda.pagelocked_empty(shape, dtype)
            self._device[name] = self._cuda.mem_alloc(self._host[name].nbytes)
            self._context.set_tensor_address(name, int(self._device[name]))

    def _set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if not self._context.set_input_shape(name, shape):
            raise InputError(
                f"The engine cannot run shape {shape} of input {name!r}.",
                expected="a shape inside the engine's optimization profile",
                got=shape,
                fix="Build the engine with a profile that includes it.",
            )

    def submit(self, feeds: Mapping[str, Array]) -> None:
        """Queue one inference and return at once. The arrays may be changed afterwards.

        Args:
            feeds: Every input by name, with the engine's types; the batch may be smaller than the largest.

        Raises:
            InputError: An input is missing, too large or outside the profile.
            LabError: The last inference was not waited for, or TensorRT refuses.
        """
        if self._pending is not None:
            raise LabError("The last inference was not waited for.", fix="Call wait() before the next submit().")
        for name in self._inputs:
            frame = feeds.get(name)
            if frame is None or frame.shape[0] > self._host[name].shape[0]:
                raise InputError(
                    f"Input {name!r} does not fit.",
                    expected=f"an array of at most {self._host[name].shape}",
                    got="none" if frame is None else frame.shape,
                )
            self._set_shape(name, frame.shape)
            staged = self._host[name][: len(frame)]
            np.copyto(staged, frame)
            self._cuda.memcpy_htod_async(self._device[name], staged, self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise LabError("TensorRT refuses to run the engine.", fix="Look at what its logger says.")
        self._pending = {name: tuple(self._context.get_tensor_shape(name)) for name in self._outputs}
        for name, shape in self._pending.items():
            self._cuda.memcpy_dtoh_async(self._host[name][: shape[0]], self._device[name], self._stream)

    def wait(self) -> dict[str, Array]:
        """Wait for the inference that was submitted and return its outputs, in arrays of the caller's own.

        Raises:
            LabError: Nothing was submitted.
        """
        if self._pending is None:
            raise LabError("There is nothing to wait for.", fix="Call submit(feeds) first.")
        pending, self._pending = self._pending, None
        self._stream.synchronize()
        return {name: self._host[name][: shape[0]].copy() for name, shape in pending.items()}
