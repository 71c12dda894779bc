"""Runs inferences with OpenVINO on emulated device memory, without copying it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.cuda.events import event_of
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import POISON, Allocation, DeviceFault
from yolotrt_lab.emulation.tensorrt.plan_format import TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape
from yolotrt_lab.emulation.tensorrt.target import Execution, LayerTimes
from yolotrt_lab.emulation.trace import Task, note_layers

if TYPE_CHECKING:
    from yolotrt_lab.emulation.tensorrt.openvino_target import OpenvinoNetwork

__all__ = ["OpenvinoExecutor"]

_NUMPY_TYPES: dict[str, Any] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "BF16": np.uint16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


_numbers = itertools.count()


@dataclass(frozen=True)
class _Place:
    """Where a tensor is."""

    record: TensorRecord
    allocation: Allocation
    offset: int
    shape: Shape
    nbytes: int


class OpenvinoExecutor:
    """Runs the inferences of one execution context; implements `Executor`.

    OpenVINO reads and writes the emulated device memory directly: its tensors are views of it, kept as long as shapes
    and addresses stay the same.
    """

    def __init__(self, network: OpenvinoNetwork, tensors: Sequence[TensorRecord]) -> None:
        self._network = network
        self._tensors = tensors
        self._requests: dict[bool, Any] = {}
        self._bound: dict[tuple[bool, str], tuple[Allocation, int, Shape]] = {}
        self._number = next(_numbers)
        self._task: Task | None = None

    def enqueue(
        self, execution: Execution, stream_handle: int, *, on_times: Callable[[LayerTimes], None] | None
    ) -> None:
        """Enqueue one inference in a stream. It runs when something synchronises with the stream."""

        def run() -> None:
            times = self._infer(execution, profiling=on_times is not None)
            if on_times is not None:
                note_layers(times)
                on_times(times)

        if self._task is None:
            kernels = len(self._network.layers())
            self._task = Task("inference", name=self._network.name, context=self._number, kernels=kernels)
        device().scheduler.enqueue(stream_handle, run, self._task)

    def run(self, execution: Execution, *, on_times: Callable[[LayerTimes], None] | None) -> None:
        """Run one inference in the default stream and wait for it; see `Executor`."""
        scheduler = device().scheduler
        with scheduler.lock:
            self.enqueue(execution, 0, on_times=on_times)
            scheduler.synchronize_stream(0)

    def sizes_from_data(self, execution: Execution, stream_handle: int) -> dict[str, Shape]:
        """Return the shapes of outputs whose size depends on the inputs' values; see `Executor`."""
        import openvino

        scheduler = device().scheduler
        with scheduler.lock:
            scheduler.synchronize_stream(stream_handle)
            request = self._network.compiled.create_infer_request()
            for record in self._tensors:
                if record.mode == "INPUT":
                    place = self._place(record, execution)
                    payload = place.allocation.payload[place.offset : place.offset + place.nbytes]
                    array = payload.view(_NUMPY_TYPES[record.dtype]).reshape(place.shape)
                    request.set_tensor(record.name, openvino.Tensor(array, shared_memory=True))
            request.infer()
        outputs = [record.name for record in self._tensors if record.mode == "OUTPUT"]
        return {name: tuple(request.get_tensor(name).get_shape()) for name in outputs}

    def check_stream(self, stream_handle: int) -> None:
        """Make sure that there is such a stream; see `Executor`."""
        device().scheduler.stream(stream_handle)

    def check_events(self) -> None:
        """Do nothing: the emulated device records events."""

    def record_event(self, event_handle: int, stream_handle: int) -> None:
        """Mark the present end of a stream; see `Executor`."""
        device().scheduler.record(event_of(event_handle), stream_handle)

    def check_profiler(self) -> None:
        """Do nothing: OpenVINO times layers."""

    def _infer(self, execution: Execution, *, profiling: bool) -> list[tuple[str, float]]:
        """Run it now; with `profiling`, return the milliseconds of every layer.

        Raises:
            DeviceFault: An address is not living device memory of sufficient size, or holds values of another type.
        """
        if execution.scratch is not None:
            self._overwrite(*execution.scratch)
        places = [self._place(record, execution) for record in self._tensors]
        if not all(self._is_initialised(place) for place in places if place.record.mode == "INPUT"):
            # A GPU computes something from whatever was there. Poison says clearly that nothing was copied.
            recorder.add("uninitialised_reads")
            self._poison(places)
            return []
        request = self._request(profiling)
        for place in places:
            self._bind(request, place, profiling=profiling)
        request.infer()
        for place in places:
            if place.record.mode == "OUTPUT":
                place.allocation.mark_written(place.offset, place.nbytes)
                place.allocation.dtype = np.dtype(_NUMPY_TYPES[place.record.dtype])
        return self._layer_times(request) if profiling else []

    def _place(self, record: TensorRecord, execution: Execution) -> _Place:
        shape = execution.shapes[record.name]
        nbytes = math.prod(shape) * np.dtype(_NUMPY_TYPES[record.dtype]).itemsize
        what = f"{record.mode.lower()} tensor '{record.name}'"
        allocation, offset = device().heap.locate(execution.addresses[record.name], nbytes, what=what)
        if record.mode == "INPUT":
            _check_type(allocation, record, nbytes)
        return _Place(record, allocation, offset, shape, nbytes)

    @staticmethod
    def _is_initialised(place: _Place) -> bool:
        return place.allocation.is_written(place.offset, place.nbytes)

    @staticmethod
    def _overwrite(address: int, nbytes: int) -> None:
        """Leave nothing usable in memory for intermediate tensors; a GPU would leave these."""
        allocation, offset = device().heap.locate(address, nbytes, what="memory for intermediate tensors")
        _fill_with_poison(allocation, offset, nbytes)

    @staticmethod
    def _poison(places: list[_Place]) -> None:
        for place in places:
            if place.record.mode == "OUTPUT":
                _fill_with_poison(place.allocation, place.offset, place.nbytes)

    def _request(self, profiling: bool) -> Any:
        if profiling not in self._requests:
            model = self._network.profiling() if profiling else self._network.compiled
            self._requests[profiling] = model.create_infer_request()
        return self._requests[profiling]

    def _bind(self, request: Any, place: _Place, *, profiling: bool) -> None:
        """Let OpenVINO use the tensor's device memory, unless it does already."""
        key = (profiling, place.record.name)
        present = self._bound.get(key)
        if present is not None and present[0] is place.allocation and present[1:] == (place.offset, place.shape):
            return
        import openvino

        payload = place.allocation.payload[place.offset : place.offset + place.nbytes]
        array = payload.view(_NUMPY_TYPES[place.record.dtype]).reshape(place.shape)
        if place.record.dtype == "BF16":
            tensor = openvino.Tensor(array, openvino.Shape(list(place.shape)), openvino.Type.bf16)
        else:
            tensor = openvino.Tensor(array, shared_memory=True)
        request.set_tensor(place.record.name, tensor)
        self._bound[key] = (place.allocation, place.offset, place.shape)

    def _layer_times(self, request: Any) -> list[tuple[str, float]]:
        measured = {info.node_name: info.real_time.total_seconds() * 1e3 for info in request.get_profiling_info()}
        return [(layer.name, measured.get(layer.openvino_name, 0.0)) for layer in self._network.layers()]


def _fill_with_poison(allocation: Allocation, offset: int, nbytes: int) -> None:
    payload = allocation.payload[offset : offset + nbytes]
    even = nbytes // 2 * 2
    payload[:even] = np.full(even // 2, POISON, np.uint16).view(np.uint8)
    payload[even:] = POISON & 0xFF


def _check_type(allocation: Allocation, record: TensorRecord, nbytes: int) -> None:
    """A GPU would misread the bytes; say so instead. Raw bytes of exactly the right number are fine."""
    wanted = np.dtype(_NUMPY_TYPES[record.dtype])
    found = allocation.dtype
    if found is None or found == wanted or record.dtype == "BF16":
        return
    if found.itemsize == 1 and wanted.itemsize != 1 and allocation.is_written(0, nbytes):
        return
    raise DeviceFault(
        "illegal address", f"input tensor '{record.name}' is {wanted}, but {found} values were copied to its memory"
    )
