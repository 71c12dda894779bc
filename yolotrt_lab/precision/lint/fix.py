"""Repairing a Q/DQ graph that someone else's quantizer made: same ranges, TensorRT's places and types."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from yolotrt_lab.errors import LabError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import all_tensors, opset_version, tensor_specs
from yolotrt_lab.export.loading import load_onnx_any
from yolotrt_lab.export.metadata import parse_model
from yolotrt_lab.files import atomic_path
from yolotrt_lab.precision.casting import check_result
from yolotrt_lab.precision.lint.linter import lint_qdq
from yolotrt_lab.precision.lint.rebuild import Rebuilt, place_pairs
from yolotrt_lab.precision.lint.rule import RuleViolation
from yolotrt_lab.precision.lint.strip import strip_pairs
from yolotrt_lab.precision.lint.table import rule_by_id
from yolotrt_lab.precision.qdq import FP16_SCALE_OPSET, PER_CHANNEL_OPSET, raised_opset
from yolotrt_lab.types import Array

__all__ = ["FixReport", "OutputDifference", "Repair", "fix_qdq"]

_SIZE = 64  # of axes whose length the model leaves open
_PAIRS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Repair:
    """What was done about one rule.

    Attributes:
        rule: Identifier of the rule.
        title: The rule.
        done: What was done.
        nodes: Where it was broken.
    """

    rule: str
    title: str
    done: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class OutputDifference:
    """How far the repaired model's outputs are from the original's, both in ONNX Runtime.

    Attributes:
        relative_l2: ||repaired - original|| / ||original||, over all float outputs; 0 where nothing changed.
        largest: The largest difference of any number.
        inputs: What they were given: "random" or "given".
        reason: Why there are no numbers, where the original does not run; otherwise empty.
    """

    relative_l2: float | None
    largest: float | None
    inputs: str
    reason: str = ""


@dataclass(frozen=True)
class FixReport:
    """What a repair changed, and what it could not.

    Attributes:
        path: The written model.
        repairs: What was done, rule by rule; empty when nothing was wrong, and the file is the original's copy.
        left: Violations that remain.
        dropped: Node that read INT8 before and is back in high precision, to the reason.
        int8: Labels of the nodes that read INT8 now; empty if nothing was changed.
        difference: Of the outputs.
    """

    path: Path
    repairs: tuple[Repair, ...]
    left: tuple[RuleViolation, ...]
    dropped: Mapping[str, str]
    int8: tuple[str, ...]
    difference: OutputDifference

    @property
    def clean(self) -> bool:
        """Whether the result keeps all rules."""
        return not self.left


def fix_qdq(onnx_in: Path, onnx_out: Path, *, inputs: Mapping[str, Array] | None = None) -> FixReport:
    """Repair a quantized model so that TensorRT takes it, runs it in INT8, and loses no accuracy it need not.

    All pairs are taken out and placed anew: at the inputs of the convolutions and residual Adds that were quantized
    before, with symmetric INT8 ranges that cover the old ones, weights per output channel, biases and the head in high
    precision. What was in high precision stays there. A model that breaks no rule is copied, so repairing twice
    changes nothing. No calibration is done: a layer whose range nothing says goes back to high precision, and
    constants that were stored as integers keep their rounding.

    Args:
        onnx_in: Any model with Q/DQ nodes.
        onnx_out: Where the repaired one goes.
        inputs: Inputs by name to compare both on; random ones by default.

    Raises:
        InputError: The model cannot be loaded.
        LabError: ONNX cannot raise the operator set, where that is needed.
        OutputError: The result cannot be written.
    """
    original = load_onnx_any(onnx_in)
    before = lint_qdq(original)
    if not any(violation.fixable for violation in before):
        scattered = any(tensor.data_location == TensorProto.EXTERNAL for tensor in all_tensors(parse_model(onnx_in)))
        data = original.SerializeToString(deterministic=True) if scattered else onnx_in.read_bytes()
        with atomic_path(onnx_out) as target:
            target.write_bytes(data)
        return FixReport(onnx_out, (), before, {}, (), OutputDifference(0.0, 0.0, "none"))
    rebuilt = _repaired(original)
    after = lint_qdq(rebuilt.model)
    with atomic_path(onnx_out) as target:
        if not after:
            check_result(rebuilt.model)  # what is left may be why the checker refuses
        target.write_bytes(rebuilt.model.SerializeToString(deterministic=True))
    return FixReport(
        path=onnx_out,
        repairs=_repairs(before, after),
        left=after,
        dropped=rebuilt.dropped,
        int8=rebuilt.int8,
        difference=_difference(original, rebuilt.model, inputs),
    )


def _repaired(original: ModelProto) -> Rebuilt:
    model = ModelProto()
    model.CopyFrom(original)
    for node in model.graph.node:
        if node.op_type in _PAIRS and node.domain:
            node.domain = ""
    stripped = strip_pairs(model)
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in stripped.model.graph.initializer)
    needed = FP16_SCALE_OPSET if halves else PER_CHANNEL_OPSET
    if opset_version(stripped.model) < needed:  # without pairs it is valid, which the converter asks for
        stripped.model = raised_opset(stripped.model, needed)
    return place_pairs(stripped)


def _repairs(before: tuple[RuleViolation, ...], after: tuple[RuleViolation, ...]) -> tuple[Repair, ...]:
    left = {violation.id for violation in after}
    nodes: dict[str, list[str]] = defaultdict(list)
    for violation in before:
        if violation.id not in left:
            nodes[violation.id].append(violation.node)
    rules = {rule_id: rule_by_id(rule_id) for rule_id in nodes}
    return tuple(Repair(key, rule.title, rule.repair, tuple(nodes[key])) for key, rule in rules.items())


def _difference(original: ModelProto, repaired: ModelProto, inputs: Mapping[str, Array] | None) -> OutputDifference:
    name = "random" if inputs is None else "given"
    feeds = _random_inputs(original) if inputs is None else dict(inputs)
    results = []
    for model, which in ((original, "original"), (repaired, "repaired model")):
        try:
            results.append(make_session(model, threads=1, optimize=False).run(None, feeds))
        except LabError:
            raise
        except Exception as error:  # ONNX Runtime's own types, which it does not export
            text = str(error).splitlines()[0]
            return OutputDifference(None, None, name, f"ONNX Runtime does not run the {which}: {text}")
    pairs = [
        (now.astype(np.float64).ravel(), then.astype(np.float64).ravel())
        for now, then in zip(results[1], results[0], strict=True)
        if now.shape == then.shape
    ]
    if not pairs:
        return OutputDifference(None, None, name, "no output has the shape it had")
    now, then = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if not np.all(np.isfinite(then)):
        return OutputDifference(None, None, name, "the original puts out numbers that are not finite")
    length = float(np.linalg.norm(then))
    distance = float(np.linalg.norm(now - then))
    return OutputDifference(distance / length if length else distance, float(np.abs(now - then).max(initial=0.0)), name)


def _random_inputs(model: ModelProto) -> dict[str, Array]:
    """Return smooth random images between 0 and 1: a third of the frequencies of noise, as pictures have."""
    rng = np.random.default_rng(0)
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, Array] = {}
    for spec in tensor_specs([value for value in model.graph.input if value.name not in stored]):
        shape = [1 if axis == 0 and size is None else (size or _SIZE) for axis, size in enumerate(spec.shape)]
        coarse = [(size + 3) // 4 if axis >= 2 else size for axis, size in enumerate(shape)]
        values = rng.random(coarse)
        for axis in range(2, len(shape)):
            values = np.repeat(values, 4, axis=axis).take(range(shape[axis]), axis=axis)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds
