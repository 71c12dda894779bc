"""What an ONNX graph asks for by itself: its types decide the precision of a strongly typed engine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import EngineBuildError
from yolotrt_lab.export.metadata import parse_model
from yolotrt_lab.types import Precision

__all__ = ["GraphFacts", "check_requested_precision", "read_graph_facts"]

_FLOAT_TYPES = {1: Precision.FP32, 10: Precision.FP16, 16: Precision.BF16}


@dataclass(frozen=True)
class GraphFacts:
    """What is needed of an ONNX model before TensorRT sees it.

    Attributes:
        precision: INT8 if there are Q/DQ nodes, otherwise the commonest type of the weights.
        base: The commonest type of the weights.
        metadata: Its metadata properties.
    """

    precision: Precision
    base: Precision
    metadata: dict[str, str]


def read_graph_facts(path: Path) -> GraphFacts:
    """Read an ONNX file's facts; weights are not loaded.

    Raises:
        InputError: Missing, empty, truncated, or not ONNX.
    """
    model: Any = parse_model(path)
    quantized = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
    counted: Counter[Precision] = Counter()
    for tensor in model.graph.initializer:
        # Scalars and shapes say nothing about the arithmetic; weights have several dimensions.
        if len(tensor.dims) > 1 and tensor.data_type in _FLOAT_TYPES:
            counted[_FLOAT_TYPES[tensor.data_type]] += 1
    base = counted.most_common(1)[0][0] if counted else Precision.FP32
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return GraphFacts(Precision.INT8 if quantized else base, base, metadata)


def check_requested_precision(path: Path, requested: Precision, facts: GraphFacts) -> None:
    """Check that a strongly typed engine of this graph can be what is asked.

    Raises:
        EngineBuildError: The graph says otherwise; the message tells which command makes the right graph.
    """
    if requested is facts.precision:
        return
    fixes = {
        Precision.INT8: f"Quantize the FP32 model first: yolotrt quantize {path} --precision int8 --data <data.yaml>",
        Precision.FP16: f"Convert the FP32 model first: yolotrt quantize {path} --precision fp16",
        Precision.BF16: "Convert its tensors to bfloat16 first.",
        Precision.FP32: "Use the FP32 model that `yolotrt export` wrote.",
    }
    raise EngineBuildError(
        f"{path} is {facts.precision.upper()}, so its engine cannot be {requested.upper()}: the types in the graph "
        f"decide.",
        expected=_description(requested),
        got=_description(facts.precision),
        fix=f"{fixes[requested]}, or leave --precision out to build what the graph says.",
    )


def _description(precision: Precision) -> str:
    if precision is Precision.INT8:
        return "an ONNX graph with QuantizeLinear/DequantizeLinear nodes"
    return f"an ONNX graph with {precision.upper()} weights and no Q/DQ nodes"
