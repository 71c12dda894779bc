"""Which rules a model breaks, where, and how bad that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from onnx import ModelProto

from yolotrt_lab.export.graph import node_label
from yolotrt_lab.export.loading import load_onnx_any
from yolotrt_lab.precision.lint.graph import QdqGraph
from yolotrt_lab.precision.lint.rule import Rule, RuleViolation, Severity
from yolotrt_lab.precision.lint.table import RULES

__all__ = ["count_by_severity", "lint_qdq"]


def lint_qdq(model: ModelProto | Path, *, rules: Sequence[Rule] = RULES) -> tuple[RuleViolation, ...]:
    """Return every place where a model breaks TensorRT's rules for Q/DQ graphs; nothing means it keeps them all.

    Args:
        model: Any ONNX model or the path of one; it need not be a detector, nor valid in ONNX Runtime.
        rules: The rules to look for.

    Returns:
        The violations, in the order of the nodes they are at.

    Raises:
        InputError: The file is no ONNX model, its weights are missing, or its graph has a cycle.

    Example:
        >>> from onnx import TensorProto, helper, numpy_helper
        >>> import numpy as np
        >>> value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8])
        >>> constants = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(5), "z")]
        >>> nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "Q"),
        ...          helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "DQ"),
        ...          helper.make_node("Relu", ["d"], ["y"], "relu")]
        >>> graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], constants)
        >>> [(v.id, v.node, str(v.severity)) for v in lint_qdq(helper.make_model(graph))]
        [('zero-point', 'Q', 'refused'), ('zero-point', 'DQ', 'refused')]
    """
    graph = QdqGraph(load_onnx_any(model) if isinstance(model, Path) else model)
    found = [violation for rule in rules for violation in _violations(rule, graph)]
    places: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        places.setdefault(node_label(node), position)
    return tuple(sorted(found, key=lambda violation: places.get(violation.node, -1)))


def _violations(rule: Rule, graph: QdqGraph) -> list[RuleViolation]:
    return [
        RuleViolation(
            node=finding.node,
            rule=rule.lesson or rule.title,
            message=finding.message,
            id=rule.id,
            severity=finding.severity or rule.severity,
            answer=rule.answer if finding.answer is None else finding.answer,
            fixable=bool(rule.repair),
        )
        for finding in rule.check(graph)
    ]


def count_by_severity(violations: Collection[RuleViolation]) -> dict[Severity, int]:
    """Return how many violations there are of each severity, worst first."""
    counts = Counter(violation.severity for violation in violations)
    return {severity: counts[severity] for severity in Severity}
