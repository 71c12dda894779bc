"""`yolotrt lint`: will TensorRT take this INT8 model, and run it in INT8?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolotrt_lab.cli.console import JsonOption, emit, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.precision.lint.fix import FixReport
    from yolotrt_lab.precision.lint.rule import Rule, RuleViolation

__all__ = ["register"]

_SHOWN = 2


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(lint)


def lint(
    model: Annotated[Path, typer.Argument(help="A quantized .onnx file, from any quantizer.")],
    fix: Annotated[bool, typer.Option("--fix", help="Also write a repaired model.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where it goes; by default MODEL-fixed.onnx.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of TensorRT's rules for Q/DQ graphs a model breaks, where, how bad that is, and what to do.

    *refused*: TensorRT stops with an error. *slow*: it builds, but not all runs in INT8. *inaccurate*: boxes and scores
    are worse than they need to be. With --fix, what can be repaired without calibrating again is, and the outputs are
    compared. Exit code 1 when something would be refused (with --fix: is still).

    **Examples**

    `yolotrt lint model.int8.onnx`

    `yolotrt lint model.int8.onnx --fix -o model.fixed.onnx`
    """
    from yolotrt_lab.errors import InputError, VerificationError
    from yolotrt_lab.precision.lint.fix import fix_qdq
    from yolotrt_lab.precision.lint.linter import count_by_severity, lint_qdq
    from yolotrt_lab.precision.lint.rule import Severity
    from yolotrt_lab.precision.lint.table import RULES

    if output is not None and not fix:
        raise InputError("There is nothing to write.", expected="--fix with --output", got="--output alone")
    violations = lint_qdq(model)
    report = fix_qdq(model, output or model.with_name(f"{model.stem}-fixed.onnx")) if fix else None
    left = violations if report is None else report.left
    counts = count_by_severity(left)
    result = {
        "model": model,
        "passed": not counts[Severity.REFUSED],
        "counts": {str(severity): count for severity, count in counts.items()},
        "violations": [asdict(violation) for violation in violations],
        "rules": {rule.id: _facts(rule) for rule in RULES if any(rule.id == each.id for each in violations)},
        "fix": None if report is None else asdict(report),
    }
    human: list[Table | str] = _findings(model, violations)
    if report is not None:
        human += _repairs(report)
    emit(result, as_json=as_json, human=human)
    if counts[Severity.REFUSED]:
        first = next(violation for violation in left if violation.severity is Severity.REFUSED)
        raise VerificationError(
            f"TensorRT would refuse {model if report is None else report.path}.",
            got=f"{counts[Severity.REFUSED]} nodes; the first, {first.node}: {first.answer}",
            fix=_way_out(left, fixed=report is not None),
        )


def _facts(rule: Rule) -> dict[str, str]:
    return {key: getattr(rule, key) for key in ("title", "explanation", "remedy", "repair", "source")}


def _way_out(left: Sequence[RuleViolation], *, fixed: bool) -> str:
    refused = [violation for violation in left if violation.severity == "refused"]
    if not fixed and all(violation.fixable for violation in refused):
        return "Run again with --fix."
    return "Quantize the FP32 model again with `yolotrt quantize`."


def _findings(model: Path, violations: Sequence[RuleViolation]) -> list[Table | str]:
    from yolotrt_lab.precision.lint.table import RULES

    if not violations:
        return [f"{model} breaks none of the {len(RULES)} rules for Q/DQ graphs that TensorRT runs in INT8."]
    rows = []
    explained: list[Table | str] = []
    for rule in RULES:
        mine = [violation for violation in violations if violation.id == rule.id]
        for severity in dict.fromkeys(violation.severity for violation in mine):
            nodes = [violation.node for violation in mine if violation.severity is severity]
            more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
            where = ", ".join(nodes[:_SHOWN]) + more
            rows.append((severity, rule.id, len(nodes), where, "yes" if rule.repair else "no"))
        if mine:
            answers = [violation.answer for violation in mine if violation.answer]
            explained.append(f"{rule.id} ({rule.title}): {mine[0].node}: {mine[0].message}.")
            explained.append(f"  Why: {rule.explanation}")
            explained += [f"  TensorRT: {answers[0]}"] if answers else []
            explained += [f"  What to do: {rule.remedy}", f"  Source: {rule.source}"]
    rows.sort(key=lambda row: ("refused", "slow", "inaccurate").index(row[0]))
    columns = ("", "rule", "nodes", "first", "--fix")
    return [table(f"{model}: {len(violations)} places", columns, rows), *explained]


def _repairs(report: FixReport) -> list[Table | str]:
    if not report.repairs:
        return [f"{report.path}: a copy; there was nothing to repair."]
    rows = [(repair.rule, len(repair.nodes), repair.done) for repair in report.repairs]
    parts: list[Table | str] = [table(f"Repaired: {report.path}", ("rule", "nodes", "what was done"), rows)]
    parts.append(f"{len(report.int8)} nodes read INT8.")
    if report.dropped:
        parts.append("Back in high precision: " + "; ".join(f"{node} ({why})" for node, why in report.dropped.items()))
    parts += [f"Not repaired: {violation.node}: {violation.message}" for violation in report.left[:10]]
    change = report.difference
    if change.relative_l2 is None:
        parts.append(f"Outputs not compared: {change.reason}.")
    else:
        parts.append(
            f"Outputs on {change.inputs} inputs, repaired against given: relative L2 {change.relative_l2:.2g}, "
            f"largest difference {change.largest:.3g}. Accuracy: `yolotrt evaluate`."
        )
    return parts
