"""What every runtime shares: the checks before an inference, and the life of the resources behind it.

`Runtime.infer` checks everything a caller can get wrong (closed runtime, names, dtypes, shapes, memory layout) and then
calls the subclass's `_infer`, so each framework file holds only what is particular to that framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes.requests import BackendRequest, InferenceRequest
from yolotrt_lab.types import Array, Precision, TensorSpec

__all__ = ["LayerTime", "Runtime", "check_feeds", "input_hw_from_specs"]


@dataclass(frozen=True)
class LayerTime:
    """Time one executed layer took in one inference.

    Attributes:
        name: The framework's name of the layer.
        kind: What it does ("Convolution", "Reorder"); empty when the framework does not say.
        precision: The arithmetic it ran in, as the framework calls it; empty when it does not say.
        time_ms: Milliseconds.
        origins: Names of the ONNX nodes fused into it, as far as the framework knows them.
    """

    name: str
    kind: str
    precision: str
    time_ms: float
    origins: tuple[str, ...] = ()


def input_hw_from_specs(inputs: Sequence[TensorSpec]) -> tuple[int, int] | None:
    """Return the fixed (height, width) of a single (n, 3, height, width) image input, or None."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    height, width = inputs[0].shape[2:]
    return None if height is None or width is None else (height, width)


def _shape_text(spec: TensorSpec) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in spec.shape) + ")"


def check_feeds(feeds: Mapping[str, Array], *, inputs: Sequence[TensorSpec], runtime: str) -> None:
    """Check that `feeds` holds exactly the inputs, each an array of the right dtype, shape and layout.

    Args:
        feeds: Input name to array.
        inputs: What the model takes.
        runtime: Name of the runtime, for the messages.

    Raises:
        InputError: Naming the input, what it should have been, and the line of NumPy that fixes it.
    """
    names = [spec.name for spec in inputs]
    if missing := [name for name in names if name not in feeds]:
        raise InputError(
            f"{runtime}: input {', '.join(map(repr, missing))} is missing.",
            expected=", ".join(map(repr, names)),
            got=", ".join(map(repr, feeds)) or "no inputs",
            fix=f"Call infer({{{', '.join(f'{name!r}: array' for name in names)}}}).",
        )
    if unknown := [name for name in feeds if name not in names]:
        raise InputError(
            f"{runtime}: the model has no input {', '.join(map(repr, unknown))}.",
            expected=", ".join(map(repr, names)),
            got=", ".join(map(repr, feeds)),
            fix="Use the names in `runtime.inputs`.",
        )
    for spec in inputs:
        _check_array(feeds[spec.name], spec=spec, runtime=runtime)


def _check_array(array: object, *, spec: TensorSpec, runtime: str) -> None:
    label = f"{runtime}: input {spec.name!r}"
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{label} is not a NumPy array.",
            expected=f"numpy.ndarray of {spec.dtype}",
            got=type(array).__name__,
            fix="Pass numpy.asarray(value), or tensor.cpu().numpy() for a PyTorch tensor.",
        )
    if array.dtype != np.dtype(spec.dtype):
        raise InputError(
            f"{label} has the wrong dtype.",
            expected=spec.dtype,
            got=array.dtype,
            fix=f"Convert it once, before the loop: array.astype(numpy.{spec.dtype}).",
        )
    if not spec.accepts(array.shape):
        raise InputError(
            f"{label} has the wrong shape.",
            expected=_shape_text(spec),
            got=array.shape,
            fix="Letterbox to the model's input size and stack images as (batch, 3, height, width).",
        )
    if array.size == 0:
        raise InputError(f"{label} is empty.", expected="a batch of at least one image", got=f"shape {array.shape}")
    if not array.flags.c_contiguous:
        raise InputError(
            f"{label} is not contiguous in memory (a transposed or sliced view).",
            expected="C-contiguous memory",
            got=f"strides {array.strides}",
            fix="Pass numpy.ascontiguousarray(array).",
        )


class Runtime(ABC):
    """A loaded model that turns input arrays into output arrays; implements `InferenceBackend`.

    A runtime is ready when it is constructed and must be closed; use it as a context manager. Returned arrays belong
    to the caller and are not overwritten by the next call. One runtime serves one thread at a time.

    Attributes:
        name: Framework, version and device, for people ("ONNX Runtime 1.31.1, CPU").
        backend: One of `open.BACKENDS`.
        platform: "cpu" or "cuda"; for TensorRT "real" or "emulated".
        inputs: Name, dtype and shape of every input.
        outputs: The same of every output.
        executed_precision: The arithmetic that really runs, which may differ from the one asked for.
        class_names: Name of each class id; empty when the model file does not say.
        input_hw: Height and width of the image input; None when the model takes any size.
        max_batch: Largest batch it takes; None when there is no limit.
        parallel_requests: How many requests in flight keep the device busy; others only wait in line.

    Example:
        >>> import numpy as np
        >>> class Doubling(Runtime):
        ...     def _infer(self, feeds):
        ...         return {"y": feeds["x"] * 2}
        ...     def _close(self):
        ...         pass
        >>> specs = (TensorSpec("x", "float32", (None,)),)
        >>> with Doubling(name="demo", backend="demo", platform="cpu", inputs=specs,
        ...               outputs=(TensorSpec("y", "float32", (None,)),)) as runtime:
        ...     runtime.infer({"x": np.ones(2, np.float32)})["y"].tolist()
        [2.0, 2.0]
    """

    def __init__(
        self,
        *,
        name: str,
        backend: str,
        platform: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        executed_precision: Precision = Precision.FP32,
        class_names: tuple[str, ...] = (),
        input_hw: tuple[int, int] | None = None,
        max_batch: int | None = None,
        parallel_requests: int = 1,
    ) -> None:
        self.name = name
        self.backend = backend
        self.platform = platform
        self.inputs = inputs
        self.outputs = outputs
        self.executed_precision = executed_precision
        self.class_names = class_names
        self.input_hw = input_hw or input_hw_from_specs(inputs)
        self.max_batch = max_batch
        self.parallel_requests = parallel_requests
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once.

        Args:
            feeds: Every input by name, with the dtype and shape in `inputs`, C-contiguous.

        Returns:
            Every output by name, in new arrays.

        Raises:
            InputError: The runtime is closed or the inputs do not fit; the message says how to fix it.
            LabError: The framework failed.
        """
        self._check_open()
        check_feeds(feeds, inputs=self.inputs, runtime=self.name)
        return self._infer(feeds)

    def create_request(self, shapes: Mapping[str, tuple[int, ...]]) -> InferenceRequest:
        """Return a request, with memory of its own, for inferences that are waited for later; close it before this.

        Requests may be used by several threads at once, each by one; where the framework cannot run several
        inferences at once, only one request may be in `wait` at any time.

        Args:
            shapes: Shape of every input by name.

        Raises:
            InputError: The runtime is closed or takes no inputs of these shapes.
            LabError: Out of memory.
        """
        self._check_open()
        for spec in self.inputs:
            if not spec.accepts(shapes.get(spec.name, ())):
                raise InputError(
                    f"{self.name}: no request of this shape can be made.",
                    expected=f"{spec.name!r} of shape {_shape_text(spec)}",
                    got=f"shapes {dict(shapes)}",
                )
        return self._create_request(shapes)

    def layer_times(self, feeds: Mapping[str, Array]) -> tuple[LayerTime, ...]:
        """Run the model once with its profiler on and return the time of each executed layer, in execution order.

        Raises:
            InputError: The runtime is closed, the inputs do not fit, or the framework has no layer profiler here.
        """
        self._check_open()
        check_feeds(feeds, inputs=self.inputs, runtime=self.name)
        return self._layer_times(feeds)

    def close(self) -> None:
        """Free what the runtime holds; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(
                f"{self.name}: the runtime is closed.",
                expected="an open runtime",
                got="one whose `with` block has ended or whose close() was called",
                fix="Open it again: with open_runtime(path) as runtime: ...",
            )

    def _create_request(self, shapes: Mapping[str, tuple[int, ...]]) -> InferenceRequest:
        """Return a request for shapes that `create_request` has already checked."""
        return BackendRequest(self, shapes)

    @abstractmethod
    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model on inputs that `infer` has already checked."""

    def _layer_times(self, feeds: Mapping[str, Array]) -> tuple[LayerTime, ...]:
        """Return layer times for inputs that `layer_times` has already checked; called by `layer_times`."""
        raise InputError(
            f"{self.name} does not report layer times here.",
            expected="a TensorRT engine or an OpenVINO model",
            got=self.backend,
            fix='Build an engine, or open the ONNX file with backend="openvino".',
        )

    @abstractmethod
    def _close(self) -> None:
        """Free the resources; called once, by `close`."""

    def _failed(self, error: Exception) -> LabError:
        """Return the error to raise when the framework fails on checked inputs."""
        return LabError(f"{self.name} failed during inference.", got=f"{type(error).__name__}: {error}")
