"""Running an FP16 graph as FP16 hardware would, and finding the layer where it departs from FP32.

ONNX Runtime's CPU provider computes FP16 graphs in FP32 from end to end: it rounds the inputs, the weights and the
outputs, and nothing in between, so it can show neither rounding nor overflow inside a network. Here every node runs by
itself, its sums in FP32 as tensor cores add them up, and its result is rounded to FP16 before the next one reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.export.divergence import make_session, run_all
from yolotrt_lab.export.graph import GraphIndex, infer_tensor_types, node_label, opset_version, topological_order
from yolotrt_lab.export.loading import detector_io, load_onnx_checked
from yolotrt_lab.types import Array, FloatArray, Precision

__all__ = ["Departure", "Fp16Check", "NodeByNode", "check_fp16"]


@dataclass(frozen=True)
class Departure:
    """A node whose result is not what FP32 makes of the same image.

    Attributes:
        node: Its name.
        op_type: Its operator.
        relative_l2: Relative L2 error of its result, infinite where that is not finite.
        input_error: The largest relative L2 error among what it read.
        non_finite: How many values of its result are inf or NaN.
    """

    node: str
    op_type: str
    relative_l2: float
    input_error: float
    non_finite: int


@dataclass(frozen=True)
class Fp16Check:
    """How an FP16 graph compares with its FP32 original, rounded node by node.

    Attributes:
        output_error: Largest relative L2 error of an output.
        first: The first node, in the graph's order, beyond the tolerance or not finite; None when there is none.
        worst: The node with the largest error.
        tolerance: The relative L2 error up to which a tensor agrees.
        image_count: How many images were compared.
    """

    output_error: float
    first: Departure | None
    worst: Departure | None
    tolerance: float
    image_count: int

    @property
    def passed(self) -> bool:
        """Whether the outputs are finite and within the tolerance."""
        return self.output_error <= self.tolerance


def check_fp16(
    reference: Path | ModelProto,
    half: Path | ModelProto,
    batches: Iterable[FloatArray],
    *,
    tolerance: float = TOLERANCES[Precision.FP16].relative_l2,
) -> Fp16Check:
    """Compare an FP16 graph with the FP32 graph it was made from, tensor by tensor.

    Args:
        reference: The FP32 model.
        half: What `convert_to_fp16` made of it: tensors have the same names.
        batches: Preprocessed images, (n, 3, H, W) float32.
        tolerance: Relative L2 error up to which a tensor agrees.

    Raises:
        InputError: A model cannot be loaded, or there are no images.
    """
    original, converted = (
        source if isinstance(source, ModelProto) else load_onnx_checked(source) for source in (reference, half)
    )
    spec, _ = detector_io(original, Path("model.onnx"))
    runner = NodeByNode(converted)
    worst: dict[str, Departure] = {}
    order: list[str] = []
    output_error, count = 0.0, 0
    for batch in batches:
        expected = run_all(original, {spec.name: np.ascontiguousarray(batch)})
        found = list(_departures(runner, {spec.name: batch}, expected))
        order = [name for name, _ in found]
        for name, departure in found:
            if name not in worst or not departure.relative_l2 <= worst[name].relative_l2:
                worst[name] = departure
        output_error = max([output_error, *(worst[name].relative_l2 for name in runner.output_makers if name in worst)])
        count += len(batch)
    if not count:
        raise InputError("There are no images to compare FP16 with FP32 on.", expected="at least one", got="0")
    departures = [worst[name] for name in order]
    first = next((item for item in departures if not item.relative_l2 <= tolerance), None)
    largest = max(departures, key=lambda item: item.relative_l2, default=None)
    return Fp16Check(output_error, first, largest, tolerance, count)


def _departures(
    runner: NodeByNode, feeds: Mapping[str, Array], expected: Mapping[str, Array]
) -> Iterator[tuple[str, Departure]]:
    """Yield first output and error of each node whose result the reference has under the same name."""
    errors: dict[str, float] = {}
    for node, outputs in runner.run(feeds):
        inherited = max((errors.get(name, 0.0) for name in node.input), default=0.0)
        for name, value in outputs.items():
            twin = expected.get(name.removesuffix("_uncast"))
            errors[name] = inherited if twin is None or twin.shape != value.shape else _relative_l2(value, twin)
        first = node.output[0]
        if first.removesuffix("_uncast") in expected and node.op_type != "Cast":
            value = outputs[first]
            bad = int(np.count_nonzero(~np.isfinite(value))) if value.dtype.kind == "f" else 0
            yield first, Departure(node_label(node), node.op_type, errors[first], inherited, bad)


def _relative_l2(actual: Array, expected: Array) -> float:
    difference = actual.astype(np.float64) - expected.astype(np.float64)
    if not np.all(np.isfinite(difference)):
        return float("inf")
    size = float(np.linalg.norm(expected.astype(np.float64)))
    # A tensor that is all but zero, such as scores on an empty image, is compared with float32's own rounding.
    return float(np.linalg.norm(difference)) / max(size, 1e-4 * float(np.sqrt(expected.size)), 1e-300)


class NodeByNode:
    """Runs a graph one node at a time, and keeps only the tensors that are still needed.

    Args:
        model: The graph, of any float types.

    Attributes:
        output_makers: First outputs of the nodes that make the graph's outputs, casts at the end looked through.
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._order = topological_order(model.graph)
        self._types = {name: element for name, (element, _) in infer_tensor_types(model).items()}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._outputs = frozenset(value.name for value in model.graph.output)
        self._sessions: dict[str, Any] = {}
        index = GraphIndex(model.graph)
        self.output_makers = tuple(self._look_through_cast(name, index) for name in self._outputs)

    @staticmethod
    def _look_through_cast(name: str, index: GraphIndex) -> str:
        node = index.producer(name)
        if node is not None and node.op_type == "Cast" and index.producer(node.input[0]) is not None:
            return str(node.input[0])
        return name

    def run(self, feeds: Mapping[str, Array]) -> Iterator[tuple[NodeProto, dict[str, Array]]]:
        """Run once, and give each node with its results, rounded to the types that the graph gives them."""
        values: dict[str, Array] = dict(self._constants)
        for name, value in feeds.items():
            values[name] = self._rounded(name, np.ascontiguousarray(value))
        uses = Counter(name for node in self._order for name in node.input if name)
        for node in self._order:
            outputs = self._run_node(node, {name: values[name] for name in node.input if name})
            yield node, outputs
            values.update(outputs)
            for name in node.input:
                uses[name] -= 1
                if name and not uses[name] and name not in self._outputs and name not in self._constants:
                    values.pop(name, None)

    def _rounded(self, name: str, value: Array) -> Array:
        if self._types.get(name) != TensorProto.FLOAT16:
            return value
        with np.errstate(over="ignore", invalid="ignore"):
            return value.astype(np.float16)

    def _run_node(self, node: NodeProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if node.op_type == "Cast":
            target = helper.tensor_dtype_to_np_dtype(self._types[node.output[0]])
            with np.errstate(over="ignore", invalid="ignore"):
                return {node.output[0]: next(iter(inputs.values())).astype(target)}
        wide = {
            name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in inputs.items()
        }
        key = node.output[0]
        if key not in self._sessions:
            # One thread: the idle threads of hundreds of sessions would spin and leave no processor to the busy one.
            self._sessions[key] = make_session(self._single(node, wide), threads=1, optimize=False)
        names = [name for name in node.output if name]
        results = self._sessions[key].run(names, wide)
        return {name: self._rounded(name, value) for name, value in zip(names, results, strict=True)}

    def _single(self, node: NodeProto, inputs: Mapping[str, Array]) -> ModelProto:
        """Return a model of one node that computes in FP32."""
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
            for name, value in inputs.items()
        ]
        made = []
        for name in node.output:
            element = self._types.get(name, TensorProto.FLOAT)
            element = TensorProto.FLOAT if element == TensorProto.FLOAT16 else element
            made.append(helper.make_tensor_value_info(name, element, None))
        graph = helper.make_graph([node], "node", given, [value for value in made if value.name])
        version = helper.make_opsetid("", opset_version(self._model))
        return onnx.helper.make_model(graph, opset_imports=[version], ir_version=self._model.ir_version)
