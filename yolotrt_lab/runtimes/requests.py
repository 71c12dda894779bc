"""Inferences in flight: asking and waiting apart, so that several frames are on their way at once.

`Runtime.infer` asks and waits in one call. An `InferenceRequest` has memory of its own, which the caller fills in
place, and returns from `submit` while the device works: OpenVINO calls this an infer request, TensorRT an execution
context with its stream.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from yolotrt_lab.detection.pipeline import InferenceBackend
from yolotrt_lab.errors import LabError
from yolotrt_lab.types import Array

__all__ = ["BackendRequest", "InferenceRequest"]


class InferenceRequest(ABC):
    """Memory for one inference, and the means to run it without waiting; use it as a context manager.

    Fill `inputs`, `submit`, do something else, `wait`. One request holds one inference at a time; it may be submitted
    in one thread and waited for in another, but not by two at once. It must be closed before its runtime.

    Attributes:
        inputs: Array to write each input into, by name. Only between `wait` and the next `submit`.

    Example:
        >>> from yolotrt_lab.runtimes import open_runtime
        >>> with open_runtime("model.onnx") as runtime:  # doctest: +SKIP
        ...     with runtime.create_request({"images": (1, 3, 640, 640)}) as request:
        ...         request.inputs["images"][...] = batch
        ...         request.submit()
        ...         outputs = request.wait()
    """

    def __init__(self, inputs: Mapping[str, Array]) -> None:
        self.inputs = dict(inputs)
        self._is_submitted = False
        self._is_closed = False

    def submit(self) -> None:
        """Start the inference on what `inputs` holds, and return.

        Raises:
            LabError: The request is closed, the last inference was not waited for, or the framework refuses.
        """
        if self._is_closed or self._is_submitted:
            raise LabError(
                "This request is closed." if self._is_closed else "The last inference was not waited for.",
                expected="an open request with no inference in flight",
                fix="Create another request." if self._is_closed else "Call wait() before the next submit().",
            )
        self._submit()
        self._is_submitted = True

    def wait(self) -> dict[str, Array]:
        """Wait for the inference and return its outputs by name: the request's own memory, until the next `submit`.

        Raises:
            LabError: Nothing was submitted, or the framework failed; after that the request may be used again.
        """
        if not self._is_submitted:
            raise LabError("There is nothing to wait for.", fix="Call submit() first.")
        self._is_submitted = False
        return self._wait()

    def close(self) -> None:
        """Wait for what is in flight, then free the memory; calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._is_submitted:
                with contextlib.suppress(LabError):  # nobody asks for this result any more
                    self._abandon()
        finally:
            self.inputs = {}
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _submit(self) -> None:
        """Start the inference; called by `submit`."""

    @abstractmethod
    def _wait(self) -> dict[str, Array]:
        """Wait for the inference and return the outputs; called by `wait`, once for each `_submit`."""

    def _abandon(self) -> None:
        """Make sure that the device no longer uses the memory, where something is in flight; called by `close`."""
        self._wait()

    @abstractmethod
    def _close(self) -> None:
        """Free what the request holds; called once, by `close`, with nothing in flight."""


class BackendRequest(InferenceRequest):
    """A request for a backend that can only infer and wait in one: the work is done in `wait`.

    Args:
        backend: Runs the network.
        shapes: Shape of every input by name.
    """

    def __init__(self, backend: InferenceBackend, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__({spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in backend.inputs})
        self._backend = backend

    def _submit(self) -> None:
        pass

    def _wait(self) -> dict[str, Array]:
        return self._backend.infer(self.inputs)

    def _abandon(self) -> None:
        pass

    def _close(self) -> None:
        pass
