"""The emulated engine: a loaded plan."""

from __future__ import annotations

import functools
import math
from typing import Any, NoReturn

from yolotrt_lab.emulation.tensorrt.config import default_tactic_sources
from yolotrt_lab.emulation.tensorrt.layers import EngineLayer
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.plan_format import Plan, TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, fixed
from yolotrt_lab.emulation.tensorrt.serialization import PlanHolder
from yolotrt_lab.emulation.tensorrt.target import LoadedNetwork
from yolotrt_lab.errors import EmulationError

__all__ = ["ICudaEngine"]

_WORDS = {"FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "INT8", "INT32": "INT32", "INT64": "INT64"}


def _budget(name: str) -> Any:
    return fixed("ICudaEngine", name, 0, "The budget of weight streaming.", meaning="the engine streams no weights")


_DATA_DEPENDENT = ("NonMaxSuppression", "NonZero", "Compress", "Unique")


class ICudaEngine(PlanHolder):
    """A compiled network. Contexts made from it run it."""

    def _setup(self, reporter: Reporter, plan: Plan, network: LoadedNetwork | None, data: bytes) -> None:
        super()._setup(reporter, plan, network, data)
        self._records = {record.name: record for record in plan.head.tensors}
        self._shape_cache: dict[tuple[Shape, ...], dict[str, Shape]] = {}

    # What contexts and the inspector need

    def _layers(self) -> tuple[EngineLayer, ...]:
        return self._network.layers()

    def _output_shapes(self, inputs: dict[str, Shape]) -> dict[str, Shape]:
        """Return the shapes of all outputs for concrete input shapes.

        By the rule worked out when the plan was built; if there is none, by running the network once on zeros.
        """
        outputs = [record for record in self._head.tensors if record.mode == "OUTPUT"]
        if all(-1 not in record.shape for record in outputs):
            return {record.name: record.shape for record in outputs}
        if self._head.shape_rules:
            size = self._moving_size(inputs)
            return {
                name: tuple(factor * size + offset for factor, offset in rule)
                for name, rule in self._head.shape_rules.items()
            }
        key = tuple(inputs[name] for name in sorted(inputs))
        if key not in self._shape_cache:
            self._shape_cache[key] = self._network.output_shapes(inputs, [record.name for record in outputs])
        return self._shape_cache[key]

    def _depends_on_data(self, name: str) -> bool:
        """Return whether an output's size is known only when the inputs' values are."""
        known = self._head.shape_rules or not any(node.op in _DATA_DEPENDENT for node in self._head.nodes)
        return not known and -1 in self._records[name].shape

    def _greatest_shape(self, name: str, profile: dict[str, ShapeRange]) -> Shape:
        """Return the shape of an output for the greatest inputs of a profile."""
        if self._depends_on_data(name):
            raise EmulationError(
                f"How large {name} can become is not emulated: its size depends on the data.",
                fix="Give the output an allocator with set_output_allocator.",
            )
        return self._output_shapes({key: shapes[2] for key, shapes in profile.items()})[name]

    def _moving_size(self, inputs: dict[str, Shape]) -> int:
        for record in self._head.tensors:
            if record.mode == "INPUT" and -1 in record.shape:
                return inputs[record.name][record.shape.index(-1)]
        raise EmulationError("The plan has a rule for output shapes but no dynamic input.", fix="Build it again.")

    def _profile_range(self, name: str, profile_index: int) -> ShapeRange | None:
        if not 0 <= profile_index < len(self._head.profiles):
            return None
        return self._head.profiles[profile_index].get(name)

    def _record(self, where: str, name: str) -> TensorRecord | None:
        record = self._records.get(name)
        if record is None:
            text = f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()"
            self._reporter.usage_error(f"ICudaEngine::{where}", text)
        return record

    # Facts

    @property
    def name(self) -> str:
        """The network's name."""
        return self._head.network_name

    @property
    def num_layers(self) -> int:
        """How many layers run; fewer than the network has, since layers are fused."""
        return len(self._layers())

    @property
    def num_optimization_profiles(self) -> int:
        """How many optimization profiles there are; at least one."""
        return len(self._head.profiles)

    @property
    def profiling_verbosity(self) -> Any:
        """How much the inspector tells."""
        return getattr(self._api.ProfilingVerbosity, self._head.verbosity)

    @property
    def engine_capability(self) -> Any:
        """The kind of runtime the engine needs: the standard one."""
        return self._api.EngineCapability.STANDARD

    @property
    def hardware_compatibility_level(self) -> Any:
        """Which other devices may load the plan: none."""
        return self._api.HardwareCompatibilityLevel.NONE

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """Whether the batch dimension is implicit: never."""
        return False

    @property
    def num_aux_streams(self) -> int:
        """How many extra streams an inference uses: none."""
        return 0

    @property
    def tactic_sources(self) -> int:
        """The libraries kernels come from as bits."""
        return default_tactic_sources(self._api)

    @property
    def streamable_weights_size(self) -> int:
        """How many bytes of weights could be streamed: none, as BuilderFlag.WEIGHT_STREAMING is refused."""
        return 0

    weight_streaming_budget = _budget("weight_streaming_budget")
    weight_streaming_budget_v2 = _budget("weight_streaming_budget_v2")

    @property
    def minimum_weight_streaming_budget(self) -> int:
        """The least budget of weight streaming."""
        return 0

    @property
    def weight_streaming_scratch_memory_size(self) -> int:
        """How many bytes weight streaming needs besides."""
        return 0

    def get_weight_streaming_automatic_budget(self) -> int:
        """Return the budget TensorRT would choose for weight streaming."""
        return 0

    @functools.cached_property
    def _activation_bytes(self) -> int:
        """The most bytes of intermediate tensors alive at once at the largest shapes, in execution order."""
        layers = self._layers()
        io_names = set(self._records)
        largest = self._largest_batch()
        last_use = {tensor.name: index for index, layer in enumerate(layers) for tensor in layer.inputs}
        alive: dict[str, int] = {}
        peak = 0
        for index, layer in enumerate(layers):
            for tensor in layer.outputs:
                if tensor.name not in io_names:
                    sizes = [largest if size == -1 else size for size in tensor.dimensions]
                    alive[tensor.name] = math.prod(sizes) * _BYTES.get(tensor.dtype, 4)
            peak = max(peak, sum(alive.values()))
            for name in [name for name in alive if last_use.get(name, index) <= index]:
                del alive[name]
        return peak

    def _largest_batch(self) -> int:
        sizes = [shapes[2][0] for profile in self._head.profiles for shapes in profile.values() if shapes[2]]
        return max(sizes, default=1)

    @property
    def device_memory_size(self) -> int:
        """How many bytes of intermediate tensors a context needs."""
        return self._activation_bytes

    @property
    def device_memory_size_v2(self) -> int:
        """How many bytes of intermediate tensors a context needs."""
        return self._activation_bytes

    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        """Return how many bytes of intermediate tensors a context needs with a profile."""
        return self._activation_bytes

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """Return how many bytes of intermediate tensors a context needs with a profile."""
        return self._activation_bytes

    error_recorder = error_recorder()

    # Inputs and outputs

    @property
    def num_io_tensors(self) -> int:
        """How many inputs and outputs there are."""
        return len(self._head.tensors)

    def get_tensor_name(self, index: int) -> str | None:
        """Return the name of an input or output, None if there are not so many."""
        if 0 <= index < len(self._head.tensors):
            return self._head.tensors[index].name
        text = f"Parameter check failed, condition: index >= 0 && index < getNbIOTensors(). index is {index}."
        self._reporter.usage_error("ICudaEngine::getIOTensorName", text)
        return None

    def __getitem__(self, arg0: int) -> str:
        if not 0 <= arg0 < len(self._head.tensors):
            raise IndexError("Out of bounds")
        return self._head.tensors[arg0].name

    def get_tensor_mode(self, name: str) -> Any:
        """Return whether a tensor is an input or an output; NONE if there is no such tensor."""
        record = self._records.get(name)
        return getattr(self._api.TensorIOMode, "NONE" if record is None else record.mode)

    def get_tensor_dtype(self, name: str) -> Any:
        """Return a tensor's data type."""
        record = self._record("getTensorDataType", name)
        return self._api.DataType.FLOAT if record is None else getattr(self._api.DataType, record.dtype)

    def get_tensor_shape(self, name: str) -> Any:
        """Return a tensor's dimensions, -1 where they are dynamic."""
        record = self._record("getTensorShape", name)
        return self._api.Dims(() if record is None else record.shape)

    def get_tensor_location(self, name: str) -> Any:
        """Return where a tensor has to be: on the device."""
        self._record("getTensorLocation", name)
        return self._api.TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        """Return least, preferred and greatest shape of an input in a profile; three times nothing for what is none."""
        known = self._record("getProfileShape", name)
        shapes = None if known is None else self._profile_range(name, profile_index)
        return [self._api.Dims(shape) for shape in shapes or ((), (), ())]

    def get_tensor_profile_values(self, name: int, profile_index: str) -> NoReturn:
        """Refuse: there are no inputs whose values decide shapes. The bindings call the two parameters by wrong names.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("Binding index does not correspond to an input shape tensor.")

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        """Return a tensor's memory format: linear."""
        self._record("getTensorFormat", name)
        return self._api.TensorFormat.LINEAR

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        """Return a tensor's memory format in words."""
        record = self._record("getTensorFormatDesc", name)
        return "" if record is None else f"Row major linear {_WORDS.get(record.dtype, record.dtype)} format"

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        """Return the bytes of one vector component; -1, as tensors are not vectorised."""
        return -1

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        """Return the components of one vector; -1, as tensors are not vectorised."""
        return -1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        """Return the vectorised dimension; -1, as tensors are not vectorised."""
        return -1

    def is_shape_inference_io(self, name: str) -> bool:
        """Return whether a tensor's values decide shapes: never."""
        return False

    def is_debug_tensor(self, name: str) -> bool:
        """Return whether a tensor was marked for debugging: never."""
        return False

    def get_aliased_input_tensor(self, name: str) -> str | None:
        """Return the input whose memory an output shares, None if it has its own: always."""
        return None

    # What comes out of an engine

    def create_execution_context(self, strategy: Any = None, runtime_config: Any = None) -> Any:
        """Return a context that runs the engine, None if the engine still lacks its weights."""
        if self._head.stripped:
            text = "The engine was built with kSTRIP_PLAN: refit it with its weights before creating a context."
            self._reporter.usage_error("ICudaEngine::createExecutionContext", text)
            return None
        settings = runtime_config if runtime_config is not None else strategy
        if isinstance(settings, self._api.IRuntimeConfig):
            settings = settings.get_execution_context_allocation_strategy()
        strategies = self._api.ExecutionContextAllocationStrategy
        settings = strategies.STATIC if settings is None else settings
        if settings == strategies.ON_PROFILE_CHANGE:
            self._reporter.warning(
                "[emulation] ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE has no effect: OpenVINO manages its "
                "memory."
            )
        context = self._api.IExecutionContext._create(self._reporter.child(), self, settings)
        self._contexts.add(context)
        return context

    def create_execution_context_without_device_memory(self) -> Any:
        """Return a context that the program has to give memory for intermediate tensors."""
        return self.create_execution_context(self._api.ExecutionContextAllocationStrategy.USER_MANAGED)

    def create_engine_inspector(self) -> Any:
        """Return an inspector that tells about the layers."""
        return self._api.EngineInspector._create(self._reporter.child(), self)


_BYTES = {"FP32": 4, "FP16": 2, "BF16": 2, "Int8": 1, "Int32": 4, "Int64": 8, "Bool": 1}
