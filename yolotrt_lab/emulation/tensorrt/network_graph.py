"""The ONNX graph behind a network definition: written layer by layer, with shapes that are right at any time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.graph import data_type_name
from yolotrt_lab.emulation.tensorrt.network_layers import EMITTERS
from yolotrt_lab.emulation.tensorrt.network_layers.state import LayerProblem, LayerState
from yolotrt_lab.emulation.tensorrt.network_layers.writer import FLOAT_TYPES, ONNX_TYPES, Fragment, GraphWriter
from yolotrt_lab.errors import EmulationError

__all__ = ["NetworkGraph"]

_OPSET = 19
_OLDEST_OPSET = 13
_SMALL = 1024  # elements; larger constants decide no shapes


class NetworkGraph:
    """What the layers of a network come to in ONNX.

    Args:
        network: The network definition; its layers and inputs are read from it.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self.base: Any = None
        self.problems: dict[LayerState, LayerProblem] = {}
        self._base_weights: dict[str, Any] = {}
        self._fragments: dict[LayerState, Fragment] = {}
        self._stale: set[LayerState] = set()
        self._busy = False
        self._model: Any = None

    def take_base(self, model: Any) -> None:
        """Start from a parsed model."""
        self.base = model
        self._base_weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._model = None

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        if self.base is None:
            return _OPSET
        return next((entry.version for entry in self.base.opset_import if entry.domain in ("", "ai.onnx")), _OPSET)

    def base_weight(self, name: str) -> Any:
        """Return a weight tensor of the parsed model, None if there is none of that name."""
        return self._base_weights.get(name)

    def changed(self, layers: Iterable[LayerState]) -> None:
        """Note that layers, and so what follows them, have to be written anew."""
        self._stale.update(layers)
        self._model = None

    def refresh(self) -> None:
        """Write what has changed, in order, and work out its shapes."""
        if not self._stale or self._busy:
            return
        self._busy = True
        try:
            for layer in self.ordered():
                if layer in self._stale:
                    self._write(layer)
        finally:
            self._busy = False
            self._stale.clear()

    def ordered(self) -> list[LayerState]:
        """Return the layers so that each comes after those it reads.

        Raises:
            LayerProblem: Layers wait for each other.
        """
        ready: set[int] = set()
        produced = {id(tensor) for layer in self._network._layers for tensor in layer.outputs}
        waiting, done = list(self._network._layers), []
        while waiting:
            held = []
            for layer in waiting:
                reads = {id(tensor) for tensor in layer.inputs if tensor is not None} & produced
                if reads <= ready or layer.source is not None:
                    done.append(layer)
                    ready.update(id(tensor) for tensor in layer.outputs)
                else:
                    held.append(layer)
            if len(held) == len(waiting):
                raise LayerProblem(f"Network has a cycle through layer {held[0].name}")
            waiting = held
        return done

    def model(self) -> Any:
        """Return the network as a `ModelProto`, None if it is empty; outputs are not in it."""
        self.refresh()
        network = self._network
        if not network._layers and not network._inputs and self.base is None:
            return None
        if self._model is None:
            grown = self.base is None or any(layer.source is None or layer.output_types for layer in network._layers)
            self._model = self._assembled() if grown else self.base
        return self._model

    def nodes_of(self, layer: LayerState) -> list[Any]:
        """Return the ONNX nodes of a layer."""
        self.refresh()
        fragment = self._fragments.get(layer)
        return [layer.source] if fragment is None else fragment.nodes

    def _assembled(self) -> Any:
        from onnx import helper

        if self.base is not None and self.opset < _OLDEST_OPSET:
            raise EmulationError(
                "Changing a network that was parsed from an old ONNX model is not emulated.",
                expected=f"opset {_OLDEST_OPSET} or later",
                got=self.opset,
                fix="Export the model with a later opset.",
            )
        layers = [] if self.problems else self.ordered()
        fragments = [self._fragments.get(layer) or Fragment([layer.source]) for layer in layers]
        initializers = [*self._base_weights.values(), *(item for f in fragments for item in f.initializers)]
        graph = helper.make_graph(
            [node for fragment in fragments for node in fragment.nodes],
            self._network._name,
            [_value(tensor._onnx_name, tensor._graph_dtype, tensor._graph_shape) for tensor in self._network._inputs],
            [],
            initializers,
        )
        opsets = [helper.make_opsetid("", self.opset)] if self.base is None else list(self.base.opset_import)
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=9 if self.base is None else self.base.ir_version
        )

    def _write(self, layer: LayerState) -> None:
        self.problems.pop(layer, None)
        try:
            self._check_inputs(layer)
            fragment = Fragment([layer.source]) if layer.source is not None else self._emitted(layer)
            self._fragments[layer] = self._typed(layer, fragment)
            self._infer(layer, self._fragments[layer])
        except LayerProblem as problem:
            self.problems[layer] = problem
            for tensor in layer.outputs:
                tensor._graph_shape = None

    def _check_inputs(self, layer: LayerState) -> None:
        if any(tensor is not None and tensor._graph_shape is None for tensor in layer.inputs):
            text = f"Output shape can not be computed for node {layer.name}."
            raise LayerProblem(text, kind="API Usage Error")

    def _emitted(self, layer: LayerState) -> Fragment:
        writer = GraphWriter(layer, self.opset)
        return writer.finish(EMITTERS[layer.kind](writer))

    def _typed(self, layer: LayerState, fragment: Fragment) -> Fragment:
        """Return a layer's nodes with the conversions its output types ask for.

        Between floating point types the choice is the builder's; other conversions are part of the network.
        """
        from onnx import NodeProto, helper

        own_type = layer.settings.get("to_type", "FLOAT") in FLOAT_TYPES and layer.kind != "IDENTITY"
        wanted = {i: dtype for i, dtype in layer.output_types.items() if not (own_type and dtype in FLOAT_TYPES)}
        if not wanted:
            return fragment
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in fragment.nodes]
        for index, dtype in wanted.items():
            name = layer.outputs[index]._onnx_name
            for node in nodes:
                for position, output in enumerate(node.output):
                    if output == name:
                        node.output[position] = f"{name}/untyped"
            target = "FLOAT" if dtype in FLOAT_TYPES and not self._network._strongly_typed else dtype
            nodes.append(helper.make_node("Cast", [f"{name}/untyped"], [name], to=ONNX_TYPES[target]))
        return Fragment(nodes, fragment.initializers, fragment.weights)

    def _infer(self, layer: LayerState, fragment: Fragment) -> None:
        """Work out the types and shapes of a layer's outputs from those of its inputs."""
        import onnx
        from onnx import helper

        nodes, initializers, values = self._with_shape_sources(fragment)
        opsets = [helper.make_opsetid("", self.opset)] if self.base is None else list(self.base.opset_import)
        graph = helper.make_graph(nodes, "part", values, [], initializers)
        part = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        strict = not layer.parsed
        try:
            inferred = onnx.shape_inference.infer_shapes(part, check_type=strict, strict_mode=strict, data_prop=True)
        except Exception as error:  # onnx's InferenceError has no common base in its type stubs
            reason = str(error).strip().splitlines()[-1]
            text = f"Output shape can not be computed for node {layer.name}. [emulation: {reason}]"
            raise LayerProblem(text, kind="API Usage Error") from error
        found = {value.name: value.type.tensor_type for value in inferred.graph.value_info}
        for tensor in layer.outputs:
            kind = found.get(tensor._onnx_name)
            if kind is None or not kind.HasField("shape"):
                if strict:
                    raise LayerProblem(
                        f"Output shape can not be computed for node {layer.name}.", kind="API Usage Error"
                    )
                continue
            tensor._graph_dtype = data_type_name(kind.elem_type) or "FLOAT"
            tensor._graph_shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
        for tensor, value in zip(layer.outputs, self._values(layer, fragment), strict=False):
            tensor._graph_value = value

    def _values(self, layer: LayerState, fragment: Fragment) -> list[Any]:
        """Return the values of outputs that may be shapes, where they follow from shapes and constants alone."""
        from onnx.reference import ReferenceEvaluator

        if layer.kind == "SHAPE":
            shape = layer.inputs[0]._graph_shape
            return [np.array(shape, np.int64)] if -1 not in shape else [None]
        if layer.source is not None or not all(_may_be_shape(tensor) for tensor in layer.outputs):
            return [None]
        values = {t._onnx_name: self._network._constant_value(t) for t in layer.inputs if t is not None}
        if not values or any(value is None or value.size > _SMALL for value in values.values()):
            return [None]
        names = [tensor._onnx_name for tensor in layer.outputs]
        return list(ReferenceEvaluator(self._part(fragment, names)).run(names, values))

    def _part(self, fragment: Fragment, names: list[str]) -> Any:
        """Return a layer as a model of its own."""
        from onnx import helper

        read = {name for node in fragment.nodes for name in node.input} & self._network._tensors.keys()
        tensors = [self._network._tensors[name] for name in sorted(read)]
        inputs = [_value(t._onnx_name, t._graph_dtype, t._graph_shape) for t in tensors]
        outputs = [_value(name, self._network._tensors[name]._graph_dtype, None) for name in names]
        graph = helper.make_graph(fragment.nodes, "part", inputs, outputs, fragment.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def _with_shape_sources(self, fragment: Fragment) -> tuple[list[Any], list[Any], list[Any]]:
        """Return nodes, constants and values to infer a fragment's shapes from.

        Where an input is a short list of integers, it may be a shape: then the nodes that compute it come along.
        """
        nodes: list[Any] = []
        initializers: list[Any] = []
        values: dict[str, Any] = {}
        seen: set[str] = set()

        def include(part: Fragment) -> None:
            own = {tensor.name: tensor for tensor in part.initializers}
            inside = {name for node in part.nodes for name in node.output}
            for name in {name: None for node in part.nodes for name in node.input if name}:
                if name in inside or name in seen:
                    continue
                weight = own.get(name) or self._base_weights.get(name) or self._as_weight(name)
                tensor = self._network._tensors.get(name)
                if weight is not None:
                    seen.add(name)
                    self._include_weight(weight, initializers, values)
                elif tensor is not None and _may_be_shape(tensor) and (source := self._source_of(name)) is not None:
                    seen.update(output for node in source.nodes for output in node.output)
                    include(source)
                elif tensor is not None:
                    seen.add(name)
                    values[name] = _value(name, tensor._graph_dtype, tensor._graph_shape)
            nodes.extend(part.nodes)

        include(fragment)
        return nodes, initializers, list(values.values())

    def _as_weight(self, name: str) -> Any:
        """Return a tensor that may be a shape as a constant, if its value is known."""
        from onnx import numpy_helper

        tensor = self._network._tensors.get(name)
        if tensor is None or not _may_be_shape(tensor):
            return None
        value = self._network._constant_value(tensor)
        return None if value is None else numpy_helper.from_array(np.array(value), name)

    def _include_weight(self, weight: Any, initializers: list[Any], values: dict[str, Any]) -> None:
        from onnx import helper

        if np.prod(weight.dims) <= _SMALL:
            initializers.append(weight)
        else:
            values[weight.name] = helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))

    def _source_of(self, name: str) -> Fragment | None:
        layer = self._network._producer(name)
        if layer is None:
            return None
        found = self._fragments.get(layer)
        return Fragment([layer.source]) if found is None and layer.source is not None else found


def _may_be_shape(tensor: Any) -> bool:
    shape = tensor._graph_shape
    return tensor._graph_dtype in ("INT32", "INT64") and shape is not None and len(shape) <= 1


def _value(name: str, dtype: str, shape: tuple[int, ...] | None) -> Any:
    from onnx import helper

    sizes = None if shape is None else [None if size == -1 else size for size in shape]
    return helper.make_tensor_value_info(name, ONNX_TYPES[dtype], sizes)
