"""The emulated optimization profile: the range of shapes an engine is built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.properties import fixed, kept
from yolotrt_lab.errors import EmulationError

__all__ = ["IOptimizationProfile", "Shape", "ShapeRange", "check_profiles"]

Shape = tuple[int, ...]
ShapeRange = tuple[Shape, Shape, Shape]


class IOptimizationProfile(ApiObject):
    """Least, preferred and greatest shape of every input with dynamic dimensions."""

    def _setup(self) -> None:
        self._shapes: dict[str, ShapeRange] = {}
        self._extra_memory_target = 1.0

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        """Set the three shapes of an input.

        Raises:
            ValueError: They have different numbers of dimensions, or negative ones.
        """
        shapes = tuple(tuple(int(size) for size in shape) for shape in (min, opt, max))
        earlier = self._shapes.get(input)
        rank = len(earlier[0]) if earlier else len(shapes[0])
        for label, shape in zip(("min", "opt", "max"), shapes, strict=True):
            if len(shape) != rank or any(size < 0 for size in shape):
                raise ValueError(f"Shape provided for {label} is inconsistent with other shapes.")
        self._shapes[input] = (shapes[0], shapes[1], shapes[2])

    def get_shape(self, input: str) -> list[Any]:
        """Return the three shapes of an input; empty if they were not set."""
        return [self._api.Dims(shape) for shape in self._shapes.get(input, ())]

    def set_shape_input(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> NoReturn:
        """Refuse: inputs whose values decide shapes are not emulated."""
        raise EmulationError(
            "Shape tensors as network inputs are not emulated; TensorRT takes ranges for their values.",
            fix="Make the shape a constant of the ONNX model.",
        )

    def get_shape_input(self, input: str) -> list[list[int]]:
        """Return the values set for a shape input: none."""
        return []

    extra_memory_target = kept("extra_memory_target", "How much extra memory kernels may use; unused.", convert=float)
    profile_stream = fixed("IOptimizationProfile", "profile_stream", 0, "The stream kernels are timed on: none.")

    def __bool__(self) -> bool:
        return all(
            low <= preferred <= high
            for shapes in self._shapes.values()
            for low, preferred, high in zip(*shapes, strict=True)
        )


def check_profiles(network: Any, profiles: Sequence[Any]) -> str | None:
    """Return TensorRT's complaint about profiles that do not fit a network, None if they do."""
    dynamic = [tensor for tensor in network._inputs if -1 in tensor._shape]
    if dynamic and not profiles:
        return "Network has dynamic or shape inputs, but no optimization profile has been defined."
    for index, profile in enumerate(profiles):
        known = {tensor.name for tensor in network._inputs}
        for name in profile._shapes:
            if name not in known:
                return f"{name}: profile {index} sets a shape for a tensor that is not a network input."
        for tensor in network._inputs:
            complaint = _check_input(tensor, profile._shapes.get(tensor.name), index)
            if complaint:
                return complaint
    return None


def _check_input(tensor: Any, shapes: ShapeRange | None, index: int) -> str | None:
    if shapes is None:
        if -1 in tensor._shape:
            return f"{tensor.name}: dynamic input is missing dimensions in profile {index}."
        return None
    low, preferred, high = shapes
    if len(low) != len(tensor._shape):
        return (
            f"{tensor.name}: number of dimensions in profile {index} ({len(low)}) does not match network definition "
            f"({len(tensor._shape)})."
        )
    for axis, size in enumerate(tensor._shape):
        if size != -1 and not low[axis] == preferred[axis] == high[axis] == size:
            return (
                f"{tensor.name}: for dimension number {axis} in profile {index} does not match network definition "
                f"(got min={low[axis]}, opt={preferred[axis]}, max={high[axis]}), expected min=opt=max={size}."
            )
    return None
