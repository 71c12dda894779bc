"""The emulated network definition: inputs, layers and outputs, from the ONNX parser or added one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.graph import data_type_name, tensor_shapes
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.network_adding import LayerAdding
from yolotrt_lab.emulation.tensorrt.network_graph import NetworkGraph
from yolotrt_lab.emulation.tensorrt.network_layers.parsed import parsed_settings
from yolotrt_lab.emulation.tensorrt.network_layers.state import LayerProblem, LayerState
from yolotrt_lab.emulation.tensorrt.network_layers.writer import FLOAT_TYPES, ONNX_TYPES
from yolotrt_lab.emulation.tensorrt.network_marks import NetworkMarks
from yolotrt_lab.emulation.tensorrt.network_refused import LayerRefusing
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.onnx_ops import layer_type_name
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.types import Array

__all__ = ["INetworkDefinition"]

_MOST_DIMENSIONS = 8
_SHAPED_BY_INPUTS = ("SHUFFLE", "RESIZE", "SLICE")
_MOST_INPUTS = {
    "CONVOLUTION": 3, "DECONVOLUTION": 3, "SHUFFLE": 2, "RESIZE": 2, "SLICE": 6, "TOPK": 2, "NMS": 5, "FILL": 3,
    "SQUEEZE": 2,
}  # fmt: skip


class INetworkDefinition(LayerAdding, LayerRefusing, NetworkMarks, ContextManaged):
    """A network: inputs, layers and outputs."""

    def _setup(self, builder: Any, reporter: Reporter, flags: int, *, strongly_typed: bool) -> None:
        self._builder = builder
        self._reporter = reporter
        self._flags = flags
        self._strongly_typed = strongly_typed
        self._name = "Unnamed Network 0"
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._layers: list[LayerState] = []
        self._graph = NetworkGraph(self)
        self._producers: dict[str, LayerState] = {}
        self._count = 0
        self._forget_marks()

    @property
    def _model(self) -> Any:
        """The network as an ONNX `ModelProto`, None if it is empty."""
        return self._graph.model()

    # From a parsed model

    def _fill(self, model: Any) -> None:
        """Take the content of a parsed ONNX model."""
        if self._graph.base is not None:
            raise EmulationError(
                "Parsing a second model into one network is not emulated.", fix="Create a network for each model."
            )
        if self._layers or self._inputs:
            raise EmulationError(
                "Parsing a model into a network that has layers is not emulated.", fix="Parse first, add layers then."
            )
        self._graph.take_base(model)
        weights = {tensor.name for tensor in model.graph.initializer}
        for name, (dtype, shape, dimension_names) in tensor_shapes(model).items():
            if name not in weights:
                tensor = self._new_tensor(name, dtype, shape)
                tensor._dimension_names = {i: text for i, text in enumerate(dimension_names) if text}
        for node in model.graph.node:
            for name in node.output:
                if name and name not in self._tensors:
                    self._new_tensor(name, "FLOAT", ())
        self._inputs = [self._tensors[value.name] for value in model.graph.input if value.name not in weights]
        self._outputs = [self._tensors[value.name] for value in model.graph.output]
        self._name = model.graph.name or self._name
        for index, node in enumerate(model.graph.node):
            self._take_node(node, index)

    def _take_node(self, node: Any, index: int) -> None:
        key = node.name or f"(Unnamed Layer* {index}) [{node.op_type}]"
        first = self._shape_of(node.input[0]) if node.input else ()
        known = None if first is None else parsed_settings(node, first, self._weight_value)
        settings, names = ({}, list(node.input)) if known is None else known
        tensors = [self._tensors.get(name) or self._weight_tensor(name, whole=known is None) for name in names]
        layer = LayerState(
            self, layer_type_name(node.op_type), key, settings=settings, source=node,
            inputs=[tensor for tensor in tensors if tensor is not None],
        )  # fmt: skip
        layer.metadata = f"[ONNX Layer: {node.name}]" if node.name else ""
        layer.outputs = [self._tensors[name] for name in node.output if name]
        self._producers.update(dict.fromkeys(node.output, layer))
        self._layers.append(layer)
        self._count += 1

    def _shape_of(self, name: str) -> Sequence[int] | None:
        """Return the shape of a tensor or weight of the parsed model, None if there is none of that name."""
        weight = self._graph.base_weight(name)
        if weight is not None:
            return tuple(weight.dims)
        return self._tensors[name]._graph_shape if name in self._tensors else None

    def _weight_value(self, name: str) -> Array | None:
        from onnx import numpy_helper

        weight = self._graph.base_weight(name)
        return None if weight is None else np.asarray(numpy_helper.to_array(weight))

    def _weight_tensor(self, name: str, *, whole: bool) -> Any:
        """Return the tensor a parsed weight is for the layer that reads it; for TensorRT, a constant's output."""
        weight = self._graph.base_weight(name)
        if weight is None or whole:
            return None
        return self._api.ITensor._create(self, name, data_type_name(weight.data_type) or "FLOAT", tuple(weight.dims))

    def _set_input_shape(self, tensor: Any, shape: tuple[int, ...]) -> None:
        """Change an input's shape and what follows from it."""
        if len(tensor._graph_shape) != len(shape):
            text = f"{tensor._name} has {len(tensor._graph_shape)} dimensions, not {len(shape)}"
            self._reporter.usage_error("ITensor::setDimensions", text)
            return
        tensor._graph_shape = shape
        if self._graph.base is not None:
            self._infer_base_again()
        self._graph.changed(layer for layer in self._layers if layer.source is None or self._graph.base is None)

    def _infer_base_again(self) -> None:
        """Work the shapes of the parsed model out again after an input's shape was set."""
        model = self._graph.base
        by_name = {value.name: value for value in model.graph.input}
        for tensor in self._inputs:
            dims = by_name[tensor._onnx_name].type.tensor_type.shape.dim if tensor._onnx_name in by_name else []
            for size, dim in zip(tensor._graph_shape, dims, strict=False):
                if size != -1:
                    dim.dim_value = size
                elif dim.HasField("dim_value"):
                    dim.ClearField("dim_value")
        for intermediate in [*model.graph.value_info, *model.graph.output]:
            intermediate.type.tensor_type.ClearField("shape")
        for name, (_, shape, _) in tensor_shapes(model).items():
            if name in self._tensors:
                self._tensors[name]._graph_shape = shape

    # Layers and tensors

    def _new_tensor(self, name: str, dtype: str, shape: tuple[int, ...] | None) -> Any:
        self._tensors[name] = self._api.ITensor._create(self, name, dtype, shape)
        return self._tensors[name]

    def _next_key(self, label: str) -> str:
        self._count += 1
        return f"(Unnamed Layer* {self._count - 1}) [{label}]"

    def _register(self, layer: LayerState, outputs: int) -> None:
        for index in range(outputs):
            name = f"{layer.key}_output" if index == 0 else f"{layer.key}_output ({index})"
            layer.outputs.append(self._new_tensor(name, "FLOAT", None))
            self._producers[name] = layer
        self._layers.append(layer)
        self._graph.changed([layer])

    def _own(self, tensor: Any, where: str) -> bool:
        """Return whether a tensor belongs here, and log it if not."""
        if tensor._network is not self:
            self._reporter.usage_error(where, f"tensor {tensor._name} belongs to another network")
            return False
        return True

    def _layer_changed(self, layer: LayerState) -> None:
        position = self._layers.index(layer)
        self._graph.changed([layer, *self._layers[position + 1 :], *self._readers(layer, self._layers[:position])])

    def _readers(self, layer: LayerState, earlier: list[LayerState]) -> list[LayerState]:
        """Return earlier layers that were connected to later ones by `set_input`."""
        late = [
            one
            for one in earlier
            if any(t is not None and self._producers.get(t._onnx_name) is layer for t in one.inputs)
        ]
        return earlier if late else []

    def _renamed(self, layer: LayerState) -> None:
        """Note that the nodes of a layer carry an old name; what reads it does not mind."""
        self._graph.changed([] if layer.source is not None else [layer])

    def _refresh(self) -> None:
        self._graph.refresh()

    def _producer(self, name: str) -> LayerState | None:
        return self._producers.get(name)

    def _most_inputs(self, kind: str) -> int:
        return _MOST_INPUTS.get(kind, 0)

    def _constant_value(self, tensor: Any) -> Array | None:
        """Return a tensor's value if it is a constant of the network, or follows from shapes that are known."""
        from onnx import numpy_helper

        if tensor._graph_value is not None:
            return np.asarray(tensor._graph_value)
        layer = self._producers.get(tensor._onnx_name)
        if layer is None:
            return self._weight_value(tensor._onnx_name)
        if layer.kind == "CONSTANT" and layer.settings:
            return np.reshape(layer.settings["weights"], layer.settings["shape"])
        if layer.source is not None and layer.source.op_type == "Constant":
            values = [item.t for item in layer.source.attribute if item.name == "value"]
            return numpy_helper.to_array(values[0]) if values else None
        return None

    def _is_shape(self, tensor: Any) -> bool:
        """Return whether a tensor of a hand-written network is, or decides, a shape."""
        producer = self._producers.get(tensor._onnx_name)
        if producer is not None and producer.kind == "SHAPE" and producer.source is None:
            return True
        return any(
            layer.source is None and any(tensor is one for one in layer.inputs[1:])
            for layer in self._layers
            if layer.kind in _SHAPED_BY_INPUTS
        )

    def _layer_named(self, name: str) -> Any:
        found = next((layer for layer in self._layers if layer.name == name), None)
        return None if found is None else found.handle("ILayer")

    def _precisions(self) -> set[str]:
        """Return the data types of all tensors and weights: what decides the arithmetic of a strongly typed network."""
        found = {tensor._dtype for tensor in self._tensors.values()}
        return found | {data_type_name(tensor.data_type) or "" for tensor in self._model.graph.initializer}

    def _log_problem(self, tensor: Any) -> None:
        """Log why a tensor has no shape."""
        layer = self._producers.get(tensor._onnx_name)
        problem = None if layer is None else self._graph.problems.get(layer)
        if problem is not None:
            self._log(problem)

    def _log(self, problem: LayerProblem) -> None:
        for text in problem.before:
            self._reporter.say("ERROR", text)
        self._reporter.error("ITensor::getDimensions", problem.text, code=4, kind=problem.kind)

    def _complaint(self) -> str | None:
        """Return why the network cannot be built, None if it can; what led to it is logged."""
        self._graph.refresh()
        if not self._outputs:
            return "Network must have at least one output"
        for problem in self._graph.problems.values():
            self._log(problem)
        of_bytes = [
            layer for layer in self._layers if layer.kind == "CONSTANT" and layer.source is None and _bytes(layer)
        ]
        for layer in of_bytes:
            self._reporter.usage_error("INetworkDefinition", f"{layer.name}: invalid weights type of UInt8")
        if self._graph.problems or of_bytes:
            return "Network validation failed."
        for what, names in (
            ("tensor", Counter(t._name for t in [*self._inputs, *self._outputs])),
            ("layer", Counter(layer.name for layer in self._layers if layer.source is None)),
        ):
            repeated = [name for name, count in names.items() if count > 1]
            if repeated:
                return f"Repeated {what} name: {repeated[0]} ({what}s must have distinct names)"
        self._warn_of_unused_inputs()
        return None

    def _warn_of_unused_inputs(self) -> None:
        read = {tensor._onnx_name for layer in self._layers for tensor in layer.inputs if tensor is not None}
        read |= {name for layer in self._layers if layer.source is not None for name in layer.source.input}
        for tensor in self._inputs:
            if tensor._onnx_name not in read and not tensor.is_network_output:
                self._reporter.warning(f"Unused Input: {tensor.name}")
                text = f"Input Tensor {tensor.name} is unused or used only at compile-time, but is not being removed."
                self._reporter.warning(f"[RemoveDeadLayers] {text}")

    # What programs see

    def add_input(self, name: str, dtype: Any, shape: Any) -> Any:
        """Add an input; None if it cannot be."""
        sizes = tuple(int(size) for size in shape)
        where = "INetworkDefinition::addInput"
        if len(sizes) > _MOST_DIMENSIONS or any(size < -1 for size in sizes):
            self._reporter.usage_error(where, "Parameter check failed, condition: isValidDims(dims).")
            return None
        if dtype.name not in ONNX_TYPES:
            raise EmulationError(f"Inputs of type {dtype.name} are not emulated.", expected=sorted(ONNX_TYPES))
        # In a weakly typed network the type of an input says how it lies in memory, not how the network computes.
        weak = not self._strongly_typed and dtype.name in FLOAT_TYPES
        key = name if name not in self._tensors else f"{name} {self._count}"
        self._count += key != name
        tensor = self._new_tensor(key, "FLOAT" if weak else dtype.name, sizes)
        tensor._name = name
        tensor._asked_dtype = dtype.name if weak and dtype.name != "FLOAT" else None
        self._inputs.append(tensor)
        self._graph.changed([])
        return tensor

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
        """The number of layers."""
        return len(self._layers)

    def get_input(self, index: int) -> Any:
        """Return an input, None if there are not so many."""
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    def get_output(self, index: int) -> Any:
        """Return an output, None if there are not so many."""
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    def get_layer(self, index: int) -> Any:
        """Return a layer as an `ILayer`, None if there are not so many."""
        return self._layers[index].handle("ILayer") if 0 <= index < len(self._layers) else None

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, arg0: int) -> Any:
        if not 0 <= arg0 < len(self._layers):
            raise IndexError("Out of bounds")
        return self.get_layer(arg0)


def _bytes(constant: LayerState) -> bool:
    """Return whether a constant has weights of UINT8, a type that only inputs and outputs have."""
    return constant.settings["weights"] is not None and constant.settings["weights"].dtype == "uint8"
