"""Will this network fit into FP16? Every activation of the FP32 model, measured on images.

FP16 ends at 65504. What lies beyond becomes infinite, and an infinity seldom stays alone: the next subtraction or
product with zero makes it "not a number", which then spreads to the outputs. The model is run in FP32 with a maximum
and a count attached to every tensor inside the graph, so the activations themselves never leave ONNX Runtime: memory
depends neither on how many images there are nor on how many tensors are watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import GraphIndex, float_tensors, infer_tensor_types, node_label
from yolotrt_lab.export.loading import detector_io, load_onnx_checked
from yolotrt_lab.precision.casting import FP16_MAX
from yolotrt_lab.precision.fp16_operators import LONG_SUM, accumulated_terms
from yolotrt_lab.types import FloatArray, ProgressCallback

__all__ = [
    "FP16_SMALLEST_NORMAL",
    "SAFETY_MARGIN",
    "LongSum",
    "Overflow",
    "RangeReport",
    "TensorRange",
    "measure_ranges",
]

FP16_SMALLEST_NORMAL = 2.0**-14

SAFETY_MARGIN = 2.0
"""A tensor counts as too large from FP16's end divided by this: other images reach further than those measured."""

# What an operator makes of an infinite input: whether it passes on, and in words what happens.
_NAN, _INFINITE, _FINITE = "nan", "infinite", "finite"
_EFFECTS: dict[str, tuple[str, str]] = {
    "Softmax": (_NAN, "subtracts the largest value, and inf - inf is NaN"),
    "LogSoftmax": (_NAN, "subtracts the largest value, and inf - inf is NaN"),
    "Conv": (_NAN, "adds up inf with weights of both signs, and inf - inf is NaN"),
    "ConvTranspose": (_NAN, "adds up inf with weights of both signs, and inf - inf is NaN"),
    "MatMul": (_NAN, "adds up inf with factors of both signs, and inf - inf is NaN"),
    "Gemm": (_NAN, "adds up inf with factors of both signs, and inf - inf is NaN"),
    "Sub": (_NAN, "makes NaN where both sides are infinite"),
    "Div": (_NAN, "makes NaN of inf / inf, and 0 of a finite value / inf"),
    "LayerNormalization": (_NAN, "subtracts an infinite mean, and inf - inf is NaN"),
    "InstanceNormalization": (_NAN, "subtracts an infinite mean, and inf - inf is NaN"),
    "Sigmoid": (_FINITE, "saturates at 0 or 1"),
    "HardSigmoid": (_FINITE, "saturates at 0 or 1"),
    "Tanh": (_FINITE, "saturates at -1 or 1"),
    "Clip": (_FINITE, "cuts it to its bound"),
    "Relu": (_INFINITE, "keeps +inf"),
    "MaxPool": (_INFINITE, "spreads +inf over its window"),
    "QuantizeLinear": (_FINITE, "saturates at the largest INT8 value"),
}
_HOPS = 6


@dataclass(frozen=True)
class TensorRange:
    """What a tensor held on the images.

    Attributes:
        tensor: Its name.
        node: The node that makes it.
        op_type: Its operator.
        amax: Largest magnitude.
        tiny_share: Share of the values other than zero that lie under FP16's smallest normal number, 6.1e-5, where it
            loses bits.
    """

    tensor: str
    node: str
    op_type: str
    amax: float
    tiny_share: float


@dataclass(frozen=True)
class Overflow:
    """A tensor that does not fit into FP16, or nearly so.

    Attributes:
        node: The node that makes it.
        amax: Its largest magnitude on the images.
        certain: Whether it left FP16's range; otherwise it came within the margin.
        consequence: What happens then, in words.
        keep: The nodes that must stay in FP32 so that it does not: the maker, and those that read it.
    """

    node: str
    amax: float
    certain: bool
    consequence: str
    keep: tuple[str, ...]


@dataclass(frozen=True)
class LongSum:
    """A node that adds up many terms: harmless in an FP32 accumulator, not in one of FP16."""

    node: str
    op_type: str
    terms: int


@dataclass(frozen=True)
class RangeReport:
    """What the images showed.

    Attributes:
        ranges: Every float tensor in topological order.
        overflows: Those too large.
        long_sums: Sums of 2048 terms or more, longest first.
        image_count: How many images were seen.
        margin: The safety margin.
    """

    ranges: tuple[TensorRange, ...]
    overflows: tuple[Overflow, ...]
    long_sums: tuple[LongSum, ...]
    image_count: int
    margin: float

    @property
    def keep(self) -> tuple[str, ...]:
        """Names of all nodes that must stay in FP32."""
        return tuple(dict.fromkeys(name for overflow in self.overflows for name in overflow.keep))


def measure_ranges(
    model: Path | ModelProto,
    batches: Iterable[FloatArray],
    *,
    margin: float = SAFETY_MARGIN,
    threads: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> RangeReport:
    """Run an FP32 model on images and say which of its tensors FP16 cannot hold.

    Args:
        model: The FP32 model.
        batches: Preprocessed images, (n, 3, H, W) float32; each batch is dropped after use.
        margin: Report tensors beyond 65504 / `margin`; at least 1.
        threads: CPU threads for ONNX Runtime; by default all.
        on_progress: Called with (batches done, 0).

    Raises:
        InputError: There are no images, they do not fit, the FP32 model itself is not finite, or `margin` is under 1.
    """
    if not margin >= 1:
        raise InputError("The safety margin is out of range.", expected="1 or more", got=margin)
    graph = model if isinstance(model, ModelProto) else load_onnx_checked(model)
    source = model if isinstance(model, Path) else Path("model.onnx")
    spec, _ = detector_io(graph, source)
    watched = float_tensors(graph)
    session = make_session(_with_statistics(graph, watched), threads=threads, optimize=False)
    amax, tiny, nonzero = (np.zeros(len(watched)) for _ in range(3))
    images = 0
    for done, batch in enumerate(batches, start=1):
        for feed in _single_images(batch, dynamic=spec.shape[0] is None):
            if feed.dtype != np.float32 or not spec.accepts(feed.shape):
                raise InputError("An image does not fit the model.", expected=f"float32 {spec.shape}",
                                 got=f"{feed.dtype} {feed.shape}")  # fmt: skip
            seen, few, some = session.run(["amax_of_all", "tiny_of_all", "nonzero_of_all"], {spec.name: feed})
            _require_finite(seen, watched)
            amax = np.maximum(amax, seen)
            tiny += few
            nonzero += some
            images += len(feed)
        if on_progress is not None:
            on_progress(done, 0)
    if not images:
        raise InputError("There are no images to look for overflow on.", expected="at least one", got="0")
    index = GraphIndex(graph.graph)
    makers = [index.producers[name] for name in watched]
    share = tiny / np.maximum(nonzero, 1)
    ranges = tuple(
        TensorRange(name, node_label(node), node.op_type, float(largest), float(part))
        for name, node, largest, part in zip(watched, makers, amax, share, strict=True)
    )
    overflows = tuple(_overflow(item, index) for item in ranges if item.amax > FP16_MAX / margin)
    return RangeReport(ranges, overflows, _long_sums(graph), images, margin)


def _single_images(batch: FloatArray, *, dynamic: bool) -> list[FloatArray]:
    if not dynamic or batch.ndim != 4:
        return [np.ascontiguousarray(batch)]
    return [np.ascontiguousarray(batch[start : start + 1]) for start in range(len(batch))]


def _require_finite(amax: FloatArray, names: Sequence[str]) -> None:
    wrong = [name for name, value in zip(names, amax, strict=True) if not np.isfinite(value)]
    if wrong:
        raise InputError(
            f"The FP32 model itself makes values that are not finite, first in tensor {wrong[0]!r}.",
            expected="finite activations in FP32",
            got=f"inf or NaN in {len(wrong)} tensors",
            fix="Look at the training: the weights have diverged, or the images were not scaled to [0, 1].",
        )


def _with_statistics(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """Return a copy that gives, for each named tensor, largest magnitude, count of tiny and of nonzero values."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    limits = {"zero_of_all": 0.0, "normal_of_all": FP16_SMALLEST_NORMAL}
    for key, value in limits.items():
        copy.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), key))
    copy.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one_value_of_all"))
    rows: dict[str, list[str]] = {"amax": [], "tiny": [], "nonzero": []}
    types = infer_tensor_types(model)
    for number, name in enumerate(names):
        if types[name][0] != TensorProto.FLOAT:
            raise InputError("The model is no FP32 model.", expected="float32 tensors", got=f"FP16 in {name!r}")
        copy.graph.node.extend(_statistics_nodes(name, f"of_{number}", rows))
    for key, parts in rows.items():
        copy.graph.node.append(helper.make_node("Concat", parts, [f"{key}_of_all"], axis=0))
        copy.graph.output.append(helper.make_tensor_value_info(f"{key}_of_all", TensorProto.FLOAT, None))
    return copy


def _statistics_nodes(tensor: str, tag: str, rows: dict[str, list[str]]) -> list[NodeProto]:
    def node(op_type: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op_type, inputs, [f"{output}_{tag}"], **attributes)

    nodes = [
        node("Abs", [tensor], "magnitude"),
        # A maximum may pass over NaN, a sum does not: 0 times the sum is NaN where anything is not finite.
        node("ReduceMax", [f"magnitude_{tag}"], "peak", keepdims=0),
        node("ReduceSum", [f"magnitude_{tag}"], "sum", keepdims=0),
        node("Mul", [f"sum_{tag}", "zero_of_all"], "check"),
        node("Add", [f"peak_{tag}", f"check_{tag}"], "largest"),
        node("Greater", [f"magnitude_{tag}", "zero_of_all"], "is_nonzero"),
        node("Less", [f"magnitude_{tag}", "normal_of_all"], "is_small"),
        node("And", [f"is_nonzero_{tag}", f"is_small_{tag}"], "is_tiny"),
    ]
    for key, source in (("tiny", "is_tiny"), ("nonzero", "is_nonzero")):
        nodes.append(node("Cast", [f"{source}_{tag}"], f"{key}_as_number", to=TensorProto.FLOAT))
        nodes.append(node("ReduceSum", [f"{key}_as_number_{tag}"], f"{key}_count", keepdims=0))
    for key, source in (("amax", "largest"), ("tiny", "tiny_count"), ("nonzero", "nonzero_count")):
        nodes.append(node("Reshape", [f"{source}_{tag}", "one_value_of_all"], f"{key}_row"))
        rows[key].append(f"{key}_row_{tag}")
    return nodes


def _overflow(found: TensorRange, index: GraphIndex) -> Overflow:
    certain = found.amax > FP16_MAX
    readers = [node for node, _ in index.consumers(found.tensor)]
    start = f"{found.node} makes values up to {found.amax:.3g}"
    if certain:
        text = f"{start}, beyond FP16's 65504: they become infinite. {_what_follows(found.tensor, index)}"
    else:
        text = f"{start}, {FP16_MAX / found.amax:.2g} times below FP16's 65504: another image may pass it."
    keep = tuple(dict.fromkeys([found.node, *(node_label(node) for node in readers)]))
    return Overflow(found.node, found.amax, certain, text.strip(), keep)


def _what_follows(tensor: str, index: GraphIndex) -> str:
    """Say what the operators behind an infinite tensor make of it, as far as the first that does not pass it on."""
    readers = [node for node, _ in index.consumers(tensor)]
    gate = next((node for node in readers if node.op_type == "Sigmoid"), None)
    product = next((node for node in readers if node.op_type == "Mul" and gate and gate.output[0] in node.input), None)
    if product is not None:
        return f"{node_label(product)} multiplies -inf by sigmoid(-inf) = 0, which is NaN, and keeps +inf."
    for _ in range(_HOPS):
        if not readers:
            return "They reach the output."
        for node in readers:
            effect = _EFFECTS.get(node.op_type)
            if effect is not None and effect[0] != _INFINITE:
                return f"{node_label(node)} {effect[1]}."
        readers = [reader for node in readers for name in node.output for reader, _ in index.consumers(name)]
    return "They are passed on."


def _long_sums(model: ModelProto) -> tuple[LongSum, ...]:
    terms = accumulated_terms(model)
    nodes = {node.output[0]: node for node in model.graph.node}
    found = [
        LongSum(node_label(nodes[name]), nodes[name].op_type, count)
        for name, count in terms.items()
        if count >= LONG_SUM
    ]
    return tuple(sorted(found, key=lambda item: -item.terms))
