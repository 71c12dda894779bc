"""Writes a layer as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.state import LayerProblem, LayerState
from yolotrt_lab.types import Array

__all__ = ["FLOAT_TYPES", "NUMPY_TYPES", "ONNX_TYPES", "Fragment", "GraphWriter"]

ONNX_TYPES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "INT32": 6, "INT64": 7, "BOOL": 9, "HALF": 10, "BF16": 16}
NUMPY_TYPES: dict[str, type] = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip
FLOAT_TYPES = ("FLOAT", "HALF", "BF16")


@dataclass
class Fragment:
    """The nodes of one layer and their constants.

    Attributes:
        nodes: In order.
        initializers: Constants that only these nodes read.
        weights: Name of the initializer that holds a layer's weights, by role: "KERNEL", "BIAS", …
    """

    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)


class GraphWriter:
    """Collects the nodes of one layer.

    Args:
        layer: The layer.
        opset: The version of the standard operators.
    """

    def __init__(self, layer: LayerState, opset: int) -> None:
        self.layer = layer
        self.opset = opset
        self.fragment = Fragment()
        self._count = 0
        self._main: Any = None

    def given(self, index: int) -> bool:
        """Return whether an optional input is connected."""
        return self.layer.input(index) is not None

    def input(self, index: int) -> str:
        """Return the ONNX name of an input."""
        tensor = self.layer.input(index)
        if tensor is None:
            raise LayerProblem(f"{self.layer.name}: input {index} is missing")
        return str(tensor._read_name)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return tuple(self.layer.inputs[index]._shape)

    def dtype(self, index: int) -> str:
        """Return the data type of an input as the graph computes it."""
        return str(self.layer.inputs[index]._computed_dtype)

    def known(self, index: int) -> Array | None:
        """Return an input's value if it is a constant."""
        tensor = self.layer.input(index)
        return None if tensor is None else self.layer.network._constant_value(tensor)

    def problem(self, text: str, *, before: Sequence[str] = (), kind: str = "Internal Error") -> LayerProblem:
        """Return the complaint that something does not fit."""
        return LayerProblem(f"{self.layer.name}: {text}", before=before, kind=kind)

    def add(self, op: str, inputs: Sequence[str], *, main: bool = False, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        (output,) = self.add_many(op, inputs, 1, main=main, **attributes)
        return output

    def add_many(
        self, op: str, inputs: Sequence[str], count: int, *, main: bool = False, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        from onnx import helper

        outputs = [self._fresh(op) for _ in range(count)]
        kept = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(op, list(inputs), outputs, name=f"{self.layer.name}/{op}_{self._count}", **kept)
        self.fragment.nodes.append(node)
        if main:
            self._main = node
        return outputs

    def constant(self, value: Any, dtype: str | None = None, *, role: str = "") -> str:
        """Add a constant and return its name; `role` says which of the layer's weights it is."""
        from onnx import helper, numpy_helper

        array = np.asarray(value)
        name = (role and self.layer.network._name_of_weights(array)) or self._constant_name(role)
        if dtype == "BF16":
            tensor = helper.make_tensor(name, ONNX_TYPES["BF16"], array.shape, array.astype(np.float32).ravel())
        else:
            array = array if dtype is None else array.astype(NUMPY_TYPES[dtype])
            tensor = numpy_helper.from_array(np.asarray(array), name)
        self.fragment.initializers.append(tensor)
        if role:
            self.fragment.weights[role] = name
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Add a constant list of integers."""
        return self.constant(np.array(list(values), np.int64))

    def cast(self, name: str, dtype: str) -> str:
        """Convert to another type."""
        return self.add("Cast", [name], to=ONNX_TYPES[dtype])

    def int64_input(self, index: int) -> str:
        """Return a shape tensor input as ONNX wants it: INT64, and as a constant if it is one."""
        value = self.known(index)
        if value is not None:
            return self.integers([int(item) for item in value.ravel()])
        return self.input(index) if self.dtype(index) == "INT64" else self.cast(self.input(index), "INT64")

    def indices(self, index: int) -> str:
        """Return an input of places as INT64, which some operators insist on."""
        return self.input(index) if self.dtype(index) == "INT64" else self.cast(self.input(index), "INT64")

    def alike(self, *indices: int) -> list[str]:
        """Return inputs in one type: a weakly typed network takes FP16 and FP32 together and computes in FP32."""
        types = {self.dtype(index) for index in indices}
        names = [self.input(index) for index in indices]
        if len(types) == 1 or not types <= set(FLOAT_TYPES) or self.layer.network._strongly_typed:
            return names
        return [
            name if self.dtype(index) == "FLOAT" else self.cast(name, "FLOAT")
            for name, index in zip(names, indices, strict=True)
        ]

    def finish(self, results: str | Sequence[str]) -> Fragment:
        """Give the results the names of the layer's outputs and return the nodes."""
        from onnx import helper

        nodes = self.fragment.nodes
        produced = {name for node in nodes for name in node.output}
        names = [results] if isinstance(results, str) else list(results)
        renamed: dict[str, str] = {}
        for tensor, result in zip(self.layer.outputs, names, strict=True):
            if result in produced and result not in renamed:
                renamed[result] = tensor._onnx_name
            else:
                nodes.append(helper.make_node("Identity", [result], [tensor._onnx_name]))
        for node in nodes:
            for names_of in (node.input, node.output):
                for position, name in enumerate(names_of):
                    names_of[position] = renamed.get(name, name)
        (self._main or nodes[-1]).name = self.layer.name
        return self.fragment

    def _constant_name(self, role: str) -> str:
        # A refit finds constants by the name of their layer.
        return self.layer.name if role == "CONSTANT" else self._fresh(role or "constant")

    def _fresh(self, what: str) -> str:
        self._count += 1
        return f"{self.layer.key}/{what}_{self._count}"
