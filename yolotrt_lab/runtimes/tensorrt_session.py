"""An engine made ready to run: an execution context, its stream, and memory for every input and output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes.tensorrt_memory import Stream, TensorBuffer
from yolotrt_lab.types import Array, TensorSpec

__all__ = ["EngineSession"]


class EngineSession:
    """Runs one engine with memory that is allocated once.

    Args:
        trt: The TensorRT module, real or emulated.
        engine: A deserialized engine; it must outlive the session.
        batch: Largest batch to allocate for; None takes the largest of the engine's profile.
        explain: Returns what TensorRT has logged since it was last asked, for error messages.

    Attributes:
        inputs: Name, dtype and shape of every input; None marks a dynamic axis.
        outputs: The same of every output.
        context: The execution context.
        max_batch: Largest batch there is memory for.

    Raises:
        InputError: The batch is outside the profile, or a tensor has a type or shape this cannot allocate.
        LabError: Out of memory.
    """

    def __init__(self, trt: Any, engine: Any, *, batch: int | None, explain: Callable[[], str]) -> None:
        self._trt = trt
        self._engine = engine
        self._explain = explain
        self._buffers: dict[str, TensorBuffer] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        specs = [self._spec(name) for name in names]
        is_input = [engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names]
        self.inputs = tuple(spec for spec, flag in zip(specs, is_input, strict=True) if flag)
        self.outputs = tuple(spec for spec, flag in zip(specs, is_input, strict=True) if not flag)
        largest = {spec.name: self._largest_shape(spec, batch) for spec in self.inputs}
        self.max_batch = min((shape[0] for shape in largest.values() if shape), default=1)
        self.context: Any = engine.create_execution_context()
        if self.context is None:
            raise LabError("TensorRT made no execution context.", got=explain() or "no message")
        self._stream = Stream()
        try:
            self._allocate(largest)
        except BaseException:
            self.close()
            raise

    def _spec(self, name: str) -> TensorSpec:
        dtype = self._engine.get_tensor_dtype(name)
        try:
            numpy_name = np.dtype(self._trt.nptype(dtype)).name
        except TypeError as error:
            raise InputError(
                f"Tensor {name!r} has a type NumPy does not know.",
                expected="float32, float16, int8, int32, int64, uint8 or bool",
                got=dtype,
                fix="Build the engine with FP32 inputs and outputs (keep_io=True).",
            ) from error
        shape = tuple(None if size < 0 else int(size) for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, numpy_name, shape)

    def profile_shapes(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the smallest and the largest shape of an input in the first optimization profile."""
        smallest, _, largest = self._engine.get_tensor_profile_shape(name, 0)
        return tuple(int(size) for size in smallest), tuple(int(size) for size in largest)

    def _largest_shape(self, spec: TensorSpec, batch: int | None) -> tuple[int, ...]:
        if None not in spec.shape:
            largest = tuple(size for size in spec.shape if size is not None)
            smallest = largest
        else:
            smallest, largest = self.profile_shapes(spec.name)
        if batch is None:
            return largest
        if not smallest[0] <= batch <= largest[0]:
            raise InputError(
                f"The engine cannot run batch {batch}.",
                expected=f"a batch from {smallest[0]} to {largest[0]}, the engine's profile",
                got=batch,
                fix=f"Build it again with a largest batch of {batch}.",
            )
        return (batch, *largest[1:])

    def _allocate(self, largest: Mapping[str, tuple[int, ...]]) -> None:
        for spec in self.inputs:
            self._set_shape(spec.name, largest[spec.name])
            self._add_buffer(spec, largest[spec.name])
        for spec in self.outputs:
            shape = self._output_shape(spec.name)
            if min(shape, default=0) < 0:
                raise InputError(
                    f"The shape of output {spec.name!r} depends on the data.",
                    expected="outputs whose size follows from the input's",
                    got=shape,
                    fix="Export the model without a built-in NMS; the detector does that part.",
                )
            self._add_buffer(spec, shape)

    def _add_buffer(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        buffer = TensorBuffer(spec.name, dtype=np.dtype(spec.dtype), max_shape=shape)
        self._buffers[spec.name] = buffer
        self._require(
            self.context.set_tensor_address(spec.name, buffer.device_address), f"set the address of {spec.name!r}"
        )

    def _set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if self._shapes.get(name) == shape:
            return
        self._require(self.context.set_input_shape(name, shape), f"use shape {shape} for input {name!r}")
        self._shapes[name] = shape

    def _output_shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(size) for size in self.context.get_tensor_shape(name))

    def _require(self, succeeded: bool, action: str) -> None:
        """Turn TensorRT's False into an error with what it logged."""
        if not succeeded:
            raise LabError(f"TensorRT could not {action}.", got=self._explain() or "no message")

    def check_shapes(self, feeds: Mapping[str, Array]) -> None:
        """Check inputs against the profile and the memory allocated.

        Raises:
            InputError: A shape is outside them.
        """
        for spec in self.inputs:
            shape = feeds[spec.name].shape
            if None not in spec.shape:
                continue
            smallest, largest = self.profile_shapes(spec.name)
            fits = all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True))
            if not fits:
                raise InputError(
                    f"Shape {shape} of input {spec.name!r} is outside the engine's profile.",
                    expected=f"from {smallest} to {largest}",
                    got=shape,
                    fix="Split the batch, or build the engine with a profile that includes this shape.",
                )
            if feeds[spec.name].nbytes > self._buffers[spec.name].nbytes:
                raise InputError(
                    f"Input {spec.name!r} is larger than the memory allocated for it.",
                    expected=f"at most {self._buffers[spec.name].nbytes} bytes",
                    got=f"{feeds[spec.name].nbytes} bytes, shape {shape}",
                    fix=f"Open the runtime with batch={shape[0]} or more.",
                )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Copy in, run, copy out, synchronise once, and return the outputs in arrays of their own."""
        for spec in self.inputs:
            np.copyto(self.host_input(spec.name, feeds[spec.name].shape), feeds[spec.name])
        shapes = self.enqueue({spec.name: feeds[spec.name].shape for spec in self.inputs})
        # The pinned memory is overwritten by the next run; what the caller gets must not be.
        return {name: output.copy() for name, output in self.wait(shapes).items()}

    def host_input(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the pinned memory that `enqueue` copies an input from, as an array of `shape`; valid until `close`."""
        return self._buffers[name].host_view(shape)

    def enqueue(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Queue copies in, inference and copies out on the session's stream, and return the outputs' shapes."""
        for name, shape in shapes.items():
            self._set_shape(name, shape)
            self._buffers[name].copy_to_device(shape, stream=self._stream)
        self._require(self.context.execute_async_v3(self._stream.handle), "run the engine")
        outputs = {spec.name: self._output_shape(spec.name) for spec in self.outputs}
        for name, shape in outputs.items():
            self._buffers[name].copy_to_host(shape, stream=self._stream)
        return outputs

    def wait(self, outputs: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        """Wait for what was queued and return the outputs as views of pinned memory, valid until the next `enqueue`."""
        self._stream.synchronize()
        return {name: self._buffers[name].host_view(shape) for name, shape in outputs.items()}

    def close(self) -> None:
        """Free the memory, the stream and the context, in that order; calling it again does nothing."""
        with contextlib.ExitStack() as stack:  # frees the rest even when one of them fails
            stack.callback(self._stream.close)
            for buffer in self._buffers.values():
                stack.callback(buffer.close)
        self._buffers = {}
        self.context = None
