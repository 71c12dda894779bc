"""The emulated network definition: what the ONNX parser made of a model, for looking at and small changes."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.graph import data_type_name, tensor_shapes
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged
from yolotrt_lab.emulation.tensorrt.onnx_ops import layer_type_name
from yolotrt_lab.errors import EmulationError

__all__ = ["ILayer", "INetworkDefinition", "ITensor"]


class ITensor(ApiObject):
    """A tensor of a network."""

    def _setup(self, network: INetworkDefinition, onnx_name: str, dtype: str, shape: tuple[int, ...]) -> None:
        self._network = network
        self._onnx_name = onnx_name
        self._name = onnx_name
        self._dtype = dtype
        self._dtype_changed = False
        self._shape = shape
        self._dimension_names: dict[int, str] = {}

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def shape(self) -> Any:
        """The dimensions, -1 where they are known at run time only. Settable for network inputs."""
        return self._api.Dims(self._shape)

    @shape.setter
    def shape(self, value: Any) -> None:
        if not self.is_network_input:
            self._network._reporter.usage_error("ITensor::setDimensions", f"{self._name} is not a network input")
            return
        self._shape = tuple(int(item) for item in value)
        self._network._infer_again()

    @property
    def dtype(self) -> Any:
        """The data type. Settable for inputs and outputs of weakly typed networks."""
        return getattr(self._api.DataType, self._dtype)

    @dtype.setter
    def dtype(self, value: Any) -> None:
        if self._network._strongly_typed:
            text = f"the type of tensor {self._name} cannot be set in a strongly typed network"
            self._network._reporter.usage_error("ITensor::setType", text)
            return
        self._dtype = value.name
        self._dtype_changed = True

    @property
    def is_network_input(self) -> bool:
        """Whether programs feed it."""
        return any(self is tensor for tensor in self._network._inputs)

    @property
    def is_network_output(self) -> bool:
        """Whether programs get it."""
        return any(self is tensor for tensor in self._network._outputs)

    @property
    def is_shape_tensor(self) -> bool:
        """Whether its values decide shapes; never for inputs and outputs here."""
        return False

    @property
    def is_execution_tensor(self) -> bool:
        """Whether its values are computed on the device."""
        return True

    @property
    def location(self) -> Any:
        """Where it is: on the device."""
        return self._api.TensorLocation.DEVICE

    @location.setter
    def location(self, value: Any) -> None:
        if value != self.location:
            raise EmulationError("Tensors in host memory are not emulated.", fix="Leave location alone.")

    @property
    def allowed_formats(self) -> int:
        """The memory formats as bits: linear only."""
        return 1 << int(self._api.TensorFormat.LINEAR)

    @allowed_formats.setter
    def allowed_formats(self, value: int) -> None:
        if int(value) != self.allowed_formats:
            raise EmulationError(
                "Input and output formats other than LINEAR are not emulated; TensorRT can vectorise them.",
                fix="Leave allowed_formats alone.",
            )

    def get_dimension_name(self, index: int) -> str | None:
        """Return a dimension's name, None if it has none."""
        return self._dimension_names.get(index)

    def set_dimension_name(self, index: int, name: str) -> None:
        """Name a dimension."""
        self._dimension_names[index] = name


class ILayer(ApiObject):
    """A layer of a network: one ONNX node."""

    def _setup(self, network: INetworkDefinition, node: Any, name: str) -> None:
        self._network = network
        self._name = name
        self._op = node.op_type
        self._inputs = [item for item in node.input if item in network._tensors]
        self._outputs = list(node.output)
        self._metadata = f"[ONNX Layer: {node.name}]" if node.name else ""

    @property
    def name(self) -> str:
        """The layer's name, the ONNX node's at first."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def metadata(self) -> str:
        """Free text that the inspector shows, the ONNX node's name at first."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: str) -> None:
        self._metadata = value

    @property
    def type(self) -> Any:
        """The layer's type."""
        return getattr(self._api.LayerType, layer_type_name(self._op))

    @property
    def num_inputs(self) -> int:
        """The number of input tensors; weights do not count."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """The number of output tensors."""
        return len(self._outputs)

    def get_input(self, index: int) -> Any:
        """Return an input tensor, None if there are not so many."""
        return self._network._tensors[self._inputs[index]] if 0 <= index < len(self._inputs) else None

    def get_output(self, index: int) -> Any:
        """Return an output tensor, None if there are not so many."""
        return self._network._tensors.get(self._outputs[index]) if 0 <= index < len(self._outputs) else None

    def get_output_type(self, index: int) -> Any:
        """Return the data type of an output."""
        tensor = self.get_output(index)
        return self._api.DataType.FLOAT if tensor is None else tensor.dtype

    @property
    def precision(self) -> Any:
        """The precision asked for; constraining single layers is not emulated."""
        return self.get_output_type(0)

    @precision.setter
    def precision(self, value: Any) -> None:
        raise EmulationError(
            f"Setting the precision of a single layer ({self._name}) is not emulated; TensorRT 10 can.",
            fix="Put the precision into the ONNX graph: Q/DQ nodes for INT8, FP16 tensors for FP16.",
        )

    @property
    def precision_is_set(self) -> bool:
        """Whether a precision was asked for: never."""
        return False

    def output_type_is_set(self, index: int) -> bool:
        """Return whether an output type was asked for: never."""
        return False


class INetworkDefinition(ContextManaged):
    """A network: inputs, layers and outputs. It is filled by the ONNX parser; adding layers by hand is not emulated."""

    def _setup(self, builder: Any, reporter: Reporter, flags: int, *, strongly_typed: bool) -> None:
        self._builder = builder
        self._reporter = reporter
        self._flags = flags
        self._strongly_typed = strongly_typed
        self._name = "Unnamed Network 0"
        self._model: Any = None
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._layers: list[Any] = []

    def _fill(self, model: Any) -> None:
        """Take the content of a parsed ONNX model."""
        if self._model is not None:
            raise EmulationError(
                "Parsing a second model into one network is not emulated.", fix="Create a network for each model."
            )
        self._model = model
        weights = {tensor.name for tensor in model.graph.initializer}
        for name, (dtype, shape, dimension_names) in tensor_shapes(model).items():
            if name not in weights:
                tensor = self._api.ITensor._create(self, name, dtype, shape)
                tensor._dimension_names = {i: text for i, text in enumerate(dimension_names) if text}
                self._tensors[name] = tensor
        for node in model.graph.node:
            for name in node.output:
                if name and name not in self._tensors:
                    self._tensors[name] = self._api.ITensor._create(self, name, "FLOAT", ())
        self._inputs = [self._tensors[value.name] for value in model.graph.input if value.name not in weights]
        self._outputs = [self._tensors[value.name] for value in model.graph.output]
        self._name = model.graph.name or self._name
        for index, node in enumerate(model.graph.node):
            name = node.name or f"(Unnamed Layer* {index}) [{node.op_type}]"
            self._layers.append(self._api.ILayer._create(self, node, name))

    def _infer_again(self) -> None:
        """Work the shapes out again after an input's shape was set."""
        for tensor, value in zip(self._inputs, self._graph_inputs(), strict=True):
            dims = value.type.tensor_type.shape.dim
            if len(tensor._shape) != len(dims):
                text = f"{tensor._name} has {len(dims)} dimensions, not {len(tensor._shape)}"
                self._reporter.usage_error("ITensor::setDimensions", text)
                tensor._shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
                return
            for size, dim in zip(tensor._shape, dims, strict=True):
                if size == -1:
                    if dim.HasField("dim_value"):
                        dim.ClearField("dim_value")
                else:
                    dim.dim_value = size
        for intermediate in [*self._model.graph.value_info, *self._model.graph.output]:
            intermediate.type.tensor_type.ClearField("shape")
        for name, (_, shape, _) in tensor_shapes(self._model).items():
            if name in self._tensors:
                self._tensors[name]._shape = shape

    def _graph_inputs(self) -> list[Any]:
        weights = {tensor.name for tensor in self._model.graph.initializer}
        return [value for value in self._model.graph.input if value.name not in weights]

    def _layer_named(self, name: str) -> Any:
        return next((layer for layer in self._layers if layer._name == name), None)

    def _precisions(self) -> set[str]:
        """Return the data types of all tensors and weights: what decides the arithmetic of a strongly typed network."""
        found = {tensor._dtype for tensor in self._tensors.values()}
        return found | {data_type_name(tensor.data_type) or "" for tensor in self._model.graph.initializer}

    @property
    def name(self) -> str:
        """The network's name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def builder(self) -> Any:
        """The builder that made the network."""
        return self._builder

    @property
    def flags(self) -> int:
        """The creation flags as bits."""
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        """Return whether a creation flag is set."""
        return bool(self._flags >> int(flag) & 1)

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """Whether the batch dimension is implicit: never."""
        return False

    @property
    def error_recorder(self) -> Any:
        """The error recorder."""
        return self._reporter.recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._reporter.own_recorder = value

    @property
    def num_inputs(self) -> int:
        """The number of inputs."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """The number of outputs."""
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        """The number of layers: ONNX nodes."""
        return len(self._layers)

    def get_input(self, index: int) -> Any:
        """Return an input, None if there are not so many."""
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    def get_output(self, index: int) -> Any:
        """Return an output, None if there are not so many."""
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    def get_layer(self, index: int) -> Any:
        """Return a layer, None if there are not so many."""
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, arg0: int) -> Any:
        if not 0 <= arg0 < len(self._layers):
            raise IndexError("Out of bounds")
        return self._layers[arg0]

    def mark_output(self, tensor: Any) -> None:
        """Make a tensor an output."""
        if tensor.is_network_output:
            self._reporter.usage_error("INetworkDefinition::markOutput", f"{tensor.name} is already an output")
            return
        self._outputs.append(tensor)

    def unmark_output(self, tensor: Any) -> None:
        """Make a tensor no output any more."""
        self._outputs = [output for output in self._outputs if output is not tensor]
