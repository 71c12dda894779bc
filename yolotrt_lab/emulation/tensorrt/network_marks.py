"""What a program marks in a network definition: outputs, names of weights, weights to be refitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.types import Array

__all__ = ["NetworkMarks"]


class NetworkMarks(ApiObject):
    """The methods of networks that mark tensors and weights."""

    _reporter: Any
    _graph: Any
    _layers: list[Any]
    _inputs: list[Any]
    _outputs: list[Any]
    _tensors: dict[str, Any]

    def _forget_marks(self) -> None:
        self._refittable_weights: set[str] = set()
        self._weights_names: list[tuple[Array, str]] = []

    def _own(self, tensor: Any, where: str) -> bool:
        raise NotImplementedError

    def mark_output(self, tensor: Any) -> None:
        """Make a tensor an output."""
        if not self._own(tensor, "INetworkDefinition::markOutput"):
            return
        if tensor.is_network_output:
            self._reporter.usage_error("INetworkDefinition::markOutput", f"{tensor.name} is already an output")
            return
        self._outputs.append(tensor)

    def unmark_output(self, tensor: Any) -> None:
        """Make a tensor no output any more."""
        self._outputs = [output for output in self._outputs if output is not tensor]

    def remove_tensor(self, tensor: Any) -> None:
        """Remove a tensor that no layer reads or makes: an input nobody needs."""
        used = any(tensor is other for layer in self._layers for other in [*layer.inputs, *layer.outputs])
        if used or not tensor.is_network_input:
            self._reporter.warning(f"Tensor {tensor.name} is an input or output of a layer and was not removed.")
            return
        self._inputs = [one for one in self._inputs if one is not tensor]
        self._tensors.pop(tensor._onnx_name, None)
        self.unmark_output(tensor)
        self._graph.changed([])

    def set_weights_name(self, weights: Any, name: str) -> bool:
        """Name weights of a layer, so that a refitter finds them; False if no layer has them."""
        array = weights if isinstance(weights, np.ndarray) else weights.numpy()
        found = [
            (layer, value)
            for layer in self._layers
            for value in layer.settings.values()
            if isinstance(value, np.ndarray) and _same_memory(value, array)
        ]
        if not found or not name or any(known == name for _, known in self._weights_names):
            return False
        self._weights_names.append((found[0][1], name))
        self._graph.changed(layer for layer, _ in found if layer.source is None)
        return True

    def _name_of_weights(self, array: Array) -> str | None:
        return next((name for known, name in self._weights_names if _same_memory(known, array)), None)

    def mark_weights_refittable(self, name: str) -> bool:
        """Let a refitter replace weights; for `BuilderFlag.REFIT_INDIVIDUAL`."""
        if not self._has_weights(name):
            return False
        self._refittable_weights.add(name)
        return True

    def unmark_weights_refittable(self, name: str) -> bool:
        """Take the permission back."""
        if not self._has_weights(name):
            return False
        self._refittable_weights.discard(name)
        return True

    def are_weights_marked_refittable(self, name: str) -> bool:
        """Return whether a refitter may replace weights."""
        return name in self._refittable_weights

    def _has_weights(self, name: str) -> bool:
        model = self._graph.model()
        return model is not None and any(tensor.name == name for tensor in model.graph.initializer)

    def mark_output_for_shapes(self, tensor: Any) -> bool:
        """Refuse: outputs in host memory are not emulated."""
        raise EmulationError(
            "Outputs whose values are shapes, in host memory, are not emulated.", fix="Use mark_output: on the device."
        )

    def unmark_output_for_shapes(self, tensor: Any) -> bool:
        """Return False: no tensor was marked."""
        return False

    def mark_debug(self, tensor: Any) -> bool:
        """Refuse: on a GPU a debug listener gets such tensors."""
        raise EmulationError(
            "Debug tensors are not emulated; on a GPU a debug listener gets their values.",
            fix="Make the tensor an output with mark_output.",
        )

    def unmark_debug(self, tensor: Any) -> bool:
        """Return False: no tensor was marked."""
        return False

    def is_debug_tensor(self, tensor: Any) -> bool:
        """Return whether a tensor was marked for debugging: never."""
        return False


def _same_memory(one: Array, other: Array) -> bool:
    same = one.__array_interface__["data"][0] == other.__array_interface__["data"][0]
    return bool(same and one.nbytes == other.nbytes)
