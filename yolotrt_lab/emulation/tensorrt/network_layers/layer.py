"""The emulated base class of layers."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.network_layers.state import LayerState
from yolotrt_lab.emulation.tensorrt.network_layers.writer import FLOAT_TYPES
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.errors import EmulationError

__all__ = ["ILayer"]


class ILayer(ApiObject):
    """A layer of a network.

    As in the bindings, `INetworkDefinition.get_layer` returns an `ILayer` whatever the layer is; programs that want
    more set `layer.__class__ = tensorrt.IConvolutionLayer`, once `layer.type` has told them what it is.
    """

    def _setup(self, state: LayerState) -> None:
        self._state = state

    @property
    def name(self) -> str:
        """The layer's name."""
        return self._state.name

    @name.setter
    def name(self, value: str) -> None:
        self._state.name = str(value)
        self._state.network._renamed(self._state)

    @property
    def metadata(self) -> str:
        """Free text that the inspector shows; for parsed layers the ONNX node's name at first."""
        return self._state.metadata

    @metadata.setter
    def metadata(self, value: str) -> None:
        self._state.metadata = value

    @property
    def type(self) -> Any:
        """The layer's type."""
        return getattr(self._api.LayerType, self._state.kind)

    @property
    def num_ranks(self) -> int:
        """The number of devices the layer works on together: one."""
        return 1

    @num_ranks.setter
    def num_ranks(self, value: int) -> None:
        if value != 1:
            raise EmulationError("Layers that work on several devices are not emulated.", fix="Leave num_ranks at 1.")

    @property
    def num_inputs(self) -> int:
        """The number of input tensors; weights do not count."""
        return len(self._state.inputs)

    @property
    def num_outputs(self) -> int:
        """The number of output tensors."""
        return len(self._state.outputs)

    def get_input(self, index: int) -> Any:
        """Return an input tensor, None if there are not so many."""
        return self._state.input(index)

    def get_output(self, index: int) -> Any:
        """Return an output tensor, None if there are not so many."""
        outputs = self._state.outputs
        return outputs[index] if 0 <= index < len(outputs) else None

    def set_input(self, index: int, tensor: Any) -> None:
        """Replace an input tensor; some layers take more inputs than they are made with."""
        network = self._state.network
        most = max(len(self._state.inputs), network._most_inputs(self._state.kind))
        if not 0 <= index < most:
            network._reporter.usage_error(
                "ILayer::setInput", f"{self.name}: index {index} is not in the range of inputs, 0 to {most - 1}"
            )
            return
        if network._own(tensor, "ILayer::setInput"):
            self._state.set_input(index, tensor)

    def get_output_type(self, index: int) -> Any:
        """Return the data type of an output."""
        tensor = self.get_output(index)
        return self._api.DataType.FLOAT if tensor is None else tensor.dtype

    def set_output_type(self, index: int, dtype: Any) -> None:
        """Ask for the data type of an output; in strongly typed networks the types follow from the inputs."""
        if self._refused_by_strong_types("ILayer::setOutputType"):
            return
        if not 0 <= index < self.num_outputs:
            self._state.network._reporter.usage_error("ILayer::setOutputType", f"{self.name}: no output {index}")
            return
        self._state.output_types[index] = dtype.name
        if dtype.name in FLOAT_TYPES:
            self._state.outputs[index]._asked_dtype = dtype.name
        self._state.network._layer_changed(self._state)

    def output_type_is_set(self, index: int) -> bool:
        """Return whether an output type was asked for."""
        return index in self._state.output_types

    def reset_output_type(self, index: int) -> None:
        """Ask for no output type any more."""
        if self._state.output_types.pop(index, None) in FLOAT_TYPES:
            self._state.outputs[index]._asked_dtype = None
        self._state.network._layer_changed(self._state)

    @property
    def precision(self) -> Any:
        """The precision asked for; the type of the first output if none was."""
        return self.get_output_type(0) if self._state.precision is None else self._data_type(self._state.precision)

    @precision.setter
    def precision(self, value: Any) -> None:
        if not self._refused_by_strong_types("ILayer::setPrecision"):
            self._state.precision = value.name

    @property
    def precision_is_set(self) -> bool:
        """Whether a precision was asked for."""
        return self._state.precision is not None

    def reset_precision(self) -> None:
        """Ask for no precision any more."""
        self._state.precision = None

    def _data_type(self, name: str) -> Any:
        return getattr(self._api.DataType, name)

    def _refused_by_strong_types(self, where: str) -> bool:
        network = self._state.network
        if network._strongly_typed:
            text = f"{self.name}: the types of a strongly typed network follow from its inputs and cannot be set"
            network._reporter.usage_error(where, text)
        return bool(network._strongly_typed)
