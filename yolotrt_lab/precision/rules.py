"""The rules for Q/DQ graphs that the course teaches, by the names its exercises know them under.

They are a part of what `precision.lint` looks for: those a graph can break that is written by hand for TensorRT.
"""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.precision.lint.linter import lint_qdq
from yolotrt_lab.precision.lint.rule import RuleViolation
from yolotrt_lab.precision.lint.table import RULES

__all__ = ["RuleViolation", "check_qdq_rules", "qdq_violations"]

# What a node carries before where it stands: the first mistake named at a node should be the one to mend first.
_ORDER = (
    "constant scale",
    "positive scale",
    "scale type",
    "INT8",
    "symmetric",
    "activations per tensor",
    "pairs",
    "inputs, not outputs",
    "head",
    "both or none",
    "bias",
    "weights per channel",
)
_TAUGHT = tuple(rule for lesson in _ORDER for rule in RULES if rule.lesson == lesson)


def check_qdq_rules(path: Path) -> tuple[RuleViolation, ...]:
    """Return every place where a quantized detector breaks a rule of the course; nothing means it keeps them all.

    Args:
        path: An ONNX detector with or without Q/DQ nodes.

    Raises:
        InputError: The model cannot be loaded, or is no detector.
    """
    return qdq_violations(load_onnx_checked(path))


def qdq_violations(model: ModelProto) -> tuple[RuleViolation, ...]:
    """Return the violations in a loaded model, in graph order."""
    return lint_qdq(model, rules=_TAUGHT)
