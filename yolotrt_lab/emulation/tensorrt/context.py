"""The emulated execution context: shapes, addresses, and inferences enqueued in streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.tensorrt.context_memory import ContextMemory
from yolotrt_lab.emulation.tensorrt.debug_tensors import DebugStates
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged, call_user
from yolotrt_lab.emulation.tensorrt.plan_format import TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, kept
from yolotrt_lab.emulation.tensorrt.target import Execution, Executor, LayerTimes
from yolotrt_lab.errors import EmulationError

__all__ = ["IExecutionContext"]

_ITEM_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1, "UINT8": 1}
_ENQUEUE = "IExecutionContext::enqueueV3"
_ILLEGAL_ACCESS = "an illegal memory access was encountered"
_FAILURES = {
    "invalid context": "invalid device context",
    "invalid handle": "invalid resource handle",
    "not permitted": "operation not permitted",
    "capture unsupported": "operation not permitted when stream is capturing",
    "capture invalidated": "operation failed due to a previous error during capture",
    "capture implicit": "operation would make the legacy stream depend on a capturing blocking stream",
}


class IExecutionContext(ContextMemory, DebugStates, ContextManaged):
    """Runs an engine. Shapes and addresses are set by tensor name; inferences run in the order of their stream."""

    def _setup(self, reporter: Reporter, engine: Any, strategy: Any) -> None:
        self._reporter = reporter
        self._engine = engine
        self._take_strategy(strategy)
        self._name = ""
        self._profile = 0
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._profiler: Any = None
        self._emits_profile = True
        self._debug_sync = False
        self._nvtx_verbosity = engine.profiling_verbosity
        self._persistent_cache_limit = 0
        self._outputs_known: tuple[tuple[Shape, ...], dict[str, Shape]] | None = None
        self._executor: Executor = engine._network.executor(engine._head.tensors)
        self._last_times: LayerTimes | None = None
        self._reset_shapes()
        recorder.add("execution_contexts")

    def _reset_shapes(self) -> None:
        self._shapes = {record.name: record.shape for record in self._inputs() if -1 not in record.shape}

    def _inputs(self) -> list[TensorRecord]:
        return [record for record in self._engine._head.tensors if record.mode == "INPUT"]

    def _outputs(self) -> list[TensorRecord]:
        return [record for record in self._engine._head.tensors if record.mode == "OUTPUT"]

    def _known(self, where: str, name: str) -> TensorRecord | None:
        record: TensorRecord | None = self._engine._records.get(name)
        if record is None:
            text = f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()"
            self._reporter.usage_error(f"IExecutionContext::{where}", text)
        return record

    # Plain facts

    @property
    def engine(self) -> Any:
        """The engine this context runs."""
        return self._engine

    name = kept("name", "The context's name.")
    debug_sync = kept("debug_sync", "Whether every layer is waited for; here they always are.", convert=bool)
    nvtx_verbosity = kept("nvtx_verbosity", "How much is told to NVIDIA's profiler; there is none here.")
    persistent_cache_limit = kept(
        "persistent_cache_limit", "How much L2 cache activations may keep; without effect here.", convert=int
    )
    error_recorder = error_recorder()

    # Profiles and shapes

    @property
    def active_optimization_profile(self) -> int:
        """The profile in use."""
        return self._profile

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Use another profile; all input shapes have to be set again."""
        if not 0 <= profile_index < len(self._engine._head.profiles):
            text = f"Parameter check failed, condition: profileIndex is in [0, {len(self._engine._head.profiles)})."
            self._reporter.usage_error("IExecutionContext::setOptimizationProfileAsync", text)
            return False
        self._executor.check_stream(stream_handle)
        self._profile = profile_index
        self._reset_shapes()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        """Set the shape of an input; it has to be inside the active profile."""
        record = self._known("setInputShape", name)
        if record is None:
            return False
        wanted = tuple(int(size) for size in shape)
        complaint = self._shape_complaint(record, wanted)
        if complaint:
            self._reporter.usage_error("IExecutionContext::setInputShape", complaint)
            return False
        self._shapes[name] = wanted
        return True

    def _shape_complaint(self, record: TensorRecord, wanted: Shape) -> str | None:
        failed = "Parameter check failed, condition:"
        if record.mode != "INPUT":
            return f"{failed} engine.getTensorIOMode(tensorName) == TensorIOMode::kINPUT. {record.name} is an output."
        if len(wanted) != len(record.shape):
            return (
                f"{failed} engineDims.nbDims == dims.nbDims. Input {record.name} has {len(record.shape)} dimensions, "
                f"but {len(wanted)} were set."
            )
        if any(fixed not in (-1, size) for fixed, size in zip(record.shape, wanted, strict=True)):
            return (
                f"{failed} engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting input shape for "
                f"{record.name}. Set dimensions are {_text(wanted)}. Expected dimensions are {_text(record.shape)}."
            )
        low, _, high = self._engine._profile_range(record.name, self._profile)
        if not all(a <= size <= b for a, size, b in zip(low, wanted, high, strict=True)):
            return (
                f"{failed} satisfyProfile. Set dimension {_text(wanted)} for tensor {record.name} does not satisfy any "
                f"optimization profiles. Valid range for profile {self._profile}: {_text(low)}..{_text(high)}."
            )
        return None

    def infer_shapes(self) -> list[str]:
        """Return the names of the inputs whose shapes are not known yet."""
        return [record.name for record in self._inputs() if record.name not in self._shapes]

    @property
    def all_binding_shapes_specified(self) -> bool:
        """Whether all input shapes are known."""
        return not self.infer_shapes()

    @property
    def all_shape_inputs_specified(self) -> bool:
        """Whether the values of all shape inputs are known; there are no such inputs."""
        return True

    def _output_shapes(self) -> dict[str, Shape]:
        """Return the output shapes for the present input shapes; -1s as long as those are not known."""
        if self.infer_shapes():
            return {record.name: record.shape for record in self._outputs()}
        key = tuple(self._shapes[record.name] for record in self._inputs())
        if self._outputs_known is None or self._outputs_known[0] != key:
            self._outputs_known = (key, self._engine._output_shapes(dict(self._shapes)))
        return self._outputs_known[1]

    def _shape(self, record: TensorRecord) -> Shape:
        if record.mode == "INPUT":
            return self._shapes.get(record.name, record.shape)
        if self._engine._depends_on_data(record.name):
            return record.shape
        return self._output_shapes()[record.name]

    def get_tensor_shape(self, name: str) -> Any:
        """Return the shape of an input or output, -1 where it is not known yet."""
        record = self._known("getTensorShape", name)
        return self._api.Dims(() if record is None else self._shape(record))

    def get_tensor_strides(self, name: str) -> Any:
        """Return the strides of a tensor in elements: it is contiguous."""
        record = self._known("getTensorStrides", name)
        shape = () if record is None else self._shape(record)
        if -1 in shape:
            return self._api.Dims([-1] * len(shape))
        return self._api.Dims([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])

    def get_max_output_size(self, name: str) -> int:
        """Return the most bytes an output can have with the active profile; -1 if that is not known."""
        record = self._engine._records.get(name)
        if record is None or record.mode != "OUTPUT":
            return -1
        profile = self._engine._head.profiles[self._profile]
        shape = self._engine._greatest_shape(name, profile)
        return int(math.prod(shape) * _ITEM_BYTES[record.dtype])

    def update_device_memory_size_for_shapes(self) -> int:
        """Return how many bytes of intermediate tensors an inference needs."""
        return int(self._engine._activation_bytes)

    # Addresses

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Set the device address of an input or output. Like TensorRT, this does not look at what is there."""
        if self._known("setTensorAddress", name) is None:
            return False
        self._addresses[name] = memory
        return True

    def get_tensor_address(self, name: str) -> int:
        """Return the device address of an input or output, 0 if it was not set."""
        self._known("getTensorAddress", name)
        return self._addresses.get(name, 0)

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        """Let an allocator decide where an output goes; None takes it away again."""
        record = self._known("setOutputAllocator", name)
        if record is None or record.mode != "OUTPUT":
            return False
        if output_allocator is None:
            self._allocators.pop(name, None)
        else:
            self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> Any:
        """Return an output's allocator, None if it has none."""
        return self._allocators.get(name)

    # Running

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue one inference in a stream; it is done when something has synchronised with the stream."""
        try:
            execution = self._prepare(_ENQUEUE, stream_handle)
            if execution is None:
                return False
            self._executor.enqueue(execution, stream_handle, on_times=self._on_times())
            if self._consumed_event:
                self._executor.record_event(self._consumed_event, stream_handle)
        except DeviceFault as fault:
            return self._failed(_ENQUEUE, fault)
        return True

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """Run one inference now; the addresses come in the order of the engine's tensors."""
        where = "IExecutionContext::executeV2"
        if len(bindings) != len(self._engine._head.tensors):
            raise EmulationError(
                "execute_v2 was given the wrong number of addresses; TensorRT would read past their end.",
                expected=f"{len(self._engine._head.tensors)}, one for each input and output, in the engine's order",
                got=len(bindings),
            )
        for record, address in zip(self._engine._head.tensors, bindings, strict=True):
            self._addresses[record.name] = int(address)
        try:
            execution = self._prepare(where, 0)
            if execution is None:
                return False
            self._executor.run(execution, on_times=self._on_times())
        except DeviceFault as fault:
            return self._failed(where, fault)
        return True

    def _failed(self, where: str, fault: DeviceFault) -> bool:
        text = f"Cuda failure: {_FAILURES.get(fault.kind, _ILLEGAL_ACCESS)} [emulation: {fault.detail}]"
        self._reporter.error(where, text, code=1, kind="Cuda Runtime", recorder_code="FAILED_EXECUTION")
        return False

    def _prepare(self, where: str, stream_handle: int) -> Execution | None:
        """Return what is to be run, None with the reason in the log if it cannot be run."""
        owed = self._memory_complaint()
        if owed is not None:
            self._reporter.usage_error(where, owed)
            return None
        missing = self.infer_shapes()
        if missing:
            text = (
                f"Parameter check failed, condition: allInputDimensionsSpecified(routine). {missing[0]}: the shape of "
                f"this dynamic input was not set. Call setInputShape before enqueue/execute."
            )
            self._reporter.usage_error(where, text)
            return None
        failed = "Parameter check failed, condition: mContext.profileObliviousBindings.at(profileObliviousIndex)"
        for record in self._inputs():
            if not self._addresses.get(record.name):
                text = (
                    f"{failed} != nullptr. Address is not set for input tensor {record.name}. Call "
                    f"setInputTensorAddress or setTensorAddress before enqueue/execute."
                )
                self._reporter.usage_error(where, text)
                return None
        shapes = {**self._shapes, **self._output_shapes()}
        unknown = [record.name for record in self._outputs() if self._engine._depends_on_data(record.name)]
        if unknown:  # TensorRT waits here, too: allocators are asked for as much as is needed
            found = self._executor.sizes_from_data(Execution(shapes, dict(self._addresses)), stream_handle)
            shapes.update({name: found[name] for name in unknown})
        for record in self._outputs():
            if record.name in self._allocators:
                self._allocate(record, shapes[record.name], stream_handle)
            if not self._addresses.get(record.name):
                text = (
                    f"{failed} || getPtrOrNull(mOutputAllocators, profileObliviousIndex). Neither address or allocator "
                    f"is set for output tensor {record.name}. Call setOutputTensorAddress, setTensorAddress or "
                    f"setOutputAllocator before enqueue/execute."
                )
                self._reporter.usage_error(where, text)
                return None
        return Execution(shapes, dict(self._addresses), self._memory)

    def _allocate(self, record: TensorRecord, shape: Shape, stream_handle: int) -> None:
        """Ask an output's allocator for memory, and tell it the shape."""
        allocator = self._allocators[record.name]
        nbytes = math.prod(shape) * _ITEM_BYTES[record.dtype]
        present = self._addresses.get(record.name, 0)
        if hasattr(allocator, "reallocate_output_async"):
            arguments: tuple[Any, ...] = (record.name, present, nbytes, 256, stream_handle)
            address = call_user(allocator.reallocate_output_async, *arguments)
        else:
            address = call_user(allocator.reallocate_output, record.name, present, nbytes, 256)
        self._addresses[record.name] = int(address or 0)
        call_user(allocator.notify_shape, record.name, self._api.Dims(shape))

    def _on_times(self) -> Callable[[LayerTimes], None] | None:
        """Return what takes the layer times of the inference now enqueued, None if nobody wants them."""
        profiler = self._profiler
        if profiler is None:
            return None

        def take(times: LayerTimes) -> None:
            self._last_times = times
            if self._emits_profile:
                self._report(profiler, times)

        return take

    # Layer times

    @property
    def profiler(self) -> Any:
        """Who is told the time of every layer."""
        return self._profiler

    @profiler.setter
    def profiler(self, value: Any) -> None:
        if value is not None:
            self._executor.check_profiler()
        self._profiler = value

    @property
    def enqueue_emits_profile(self) -> bool:
        """Whether inferences report layer times by themselves."""
        return self._emits_profile

    @enqueue_emits_profile.setter
    def enqueue_emits_profile(self, value: bool) -> None:
        self._emits_profile = bool(value)

    def report_to_profiler(self) -> bool:
        """Report the layer times of the last inference."""
        if self._profiler is None or self._last_times is None:
            return False
        self._report(self._profiler, self._last_times)
        return True

    @staticmethod
    def _report(profiler: Any, times: Sequence[tuple[str, float]]) -> None:
        for layer_name, time_ms in times:
            call_user(profiler.report_layer_time, layer_name, time_ms)


def _text(shape: Sequence[int]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"
