"""The emulated tensors of a network definition."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.types import Array

__all__ = ["ITensor"]


class _NoSizes(list[int]):
    """The sizes of a shape that cannot be computed: TensorRT gives dimensions whose number is -1."""

    def __len__(self) -> int:
        return -1


class ITensor(ApiObject):
    """A tensor of a network."""

    def _setup(self, network: Any, onnx_name: str, dtype: str, shape: tuple[int, ...] | None) -> None:
        self._network = network
        self._onnx_name = onnx_name
        self._name = onnx_name
        self._graph_dtype = dtype
        self._asked_dtype: str | None = None
        self._graph_shape = shape
        self._graph_value: Array | None = None
        self._dimension_names: dict[int, str] = {}
        self._range: tuple[float, float] | None = None

    @property
    def _shape(self) -> Any:
        """The shape, None if it cannot be computed."""
        self._network._refresh()
        return self._graph_shape

    @property
    def _computed_dtype(self) -> str:
        """The type in which the graph computes it."""
        self._network._refresh()
        return self._graph_dtype

    @property
    def _dtype(self) -> str:
        """The type programs see: the one they asked for, or else that of the graph."""
        computed = self._computed_dtype
        return computed if self._asked_dtype is None else self._asked_dtype

    @property
    def _dtype_changed(self) -> bool:
        return self._asked_dtype is not None

    @property
    def _read_name(self) -> str:
        """The ONNX name layers read."""
        return self._onnx_name

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = str(value)

    @property
    def shape(self) -> Any:
        """The dimensions, -1 where they are known at run time only. Settable for network inputs."""
        sizes = self._shape
        if sizes is None:
            self._network._log_problem(self)
            unknown = self._api.Dims(())
            unknown._values = _NoSizes()
            return unknown
        return self._api.Dims(sizes)

    @shape.setter
    def shape(self, value: Any) -> None:
        if not self.is_network_input:
            self._network._reporter.usage_error("ITensor::setDimensions", f"{self._name} is not a network input")
            return
        self._network._set_input_shape(self, tuple(int(item) for item in value))

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
        self._asked_dtype = value.name

    @property
    def dynamic_range(self) -> tuple[float, float] | None:
        """The least and greatest value expected, for INT8 without a calibrator; None if not set."""
        return self._range

    @dynamic_range.setter
    def dynamic_range(self, value: Any) -> None:
        low, high = value
        self.set_dynamic_range(low, high)

    def set_dynamic_range(self, min: float, max: float) -> bool:
        """Set the least and greatest value expected; TensorRT takes the greater magnitude for both sides."""
        if not float(min) <= float(max):
            self._network._reporter.usage_error(
                "ITensor::setDynamicRange", "Parameter check failed, condition: min <= max"
            )
            return False
        self._range = (float(min), float(max))
        return True

    def reset_dynamic_range(self) -> None:
        """Forget the range."""
        self._range = None

    @property
    def broadcast_across_batch(self) -> bool:
        """A relic of implicit batches: false."""
        return False

    @broadcast_across_batch.setter
    def broadcast_across_batch(self, value: bool) -> None:
        """Accept and ignore it, as TensorRT does since batches are explicit."""

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
        """Whether its values are, or decide, a shape."""
        return bool(self._network._is_shape(self))

    @property
    def is_execution_tensor(self) -> bool:
        """Whether its values are computed on the device."""
        return not self.is_shape_tensor

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
