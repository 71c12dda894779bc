"""`yolotrt verify`: is this ONNX file sound, and does it compute what its checkpoint computes?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolotrt_lab.cli.console import JsonOption, emit, progress_bar, table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.export.verify import OnnxReport
    from yolotrt_lab.precision.rules import RuleViolation

__all__ = ["register"]

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(verify)


def verify(
    model: Annotated[Path, typer.Argument(help="The .onnx file.")],
    weights: Annotated[
        str | None, typer.Option(help="The .pt checkpoint it came from, or `base`; open only checkpoints you trust.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of real images to compare on.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many of them.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Check an ONNX detector, and compare it with its checkpoint in PyTorch.

    Looks at validity, operators, operator set, axes, constants, batches, and, in a quantized model, at TensorRT's
    rules for Q/DQ. With --weights also compares boxes and scores, and names the first node that goes wrong. Exit code 1
    when something failed.

    **Examples**

    `yolotrt verify model.onnx`

    `yolotrt verify model.onnx --weights runs/train/best.pt --images datasets/parts/images/test`
    """
    from yolotrt_lab.data.images import list_images
    from yolotrt_lab.errors import InputError, VerificationError
    from yolotrt_lab.export.verify import verify_onnx
    from yolotrt_lab.precision.calibration_images import pick_images
    from yolotrt_lab.precision.rules import check_qdq_rules
    from yolotrt_lab.types import Precision

    if images is not None and weights is None:
        raise InputError("Images are compared with a checkpoint.", expected="--weights too", got="--images alone")
    chosen = () if images is None else pick_images(list_images(images), count=count)
    if weights is None:
        report = verify_onnx(model)
    else:
        with progress_bar("Comparing with PyTorch") as on_progress:
            report = verify_onnx(model, weights=weights, images=chosen, on_progress=on_progress)
    violations = check_qdq_rules(model) if report.precision is Precision.INT8 else ()
    reasons = [*report.reasons, *(f"{violation.node}: {violation.message}" for violation in violations)]
    result = asdict(report) | {
        "passed": not reasons,
        "reasons": reasons,
        "rule_violations": [asdict(violation) for violation in violations],
    }
    emit(result, as_json=as_json, human=_human(report, violations, passed=not reasons))
    if reasons:
        shown = reasons[:_SHOWN] + ([f"… and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else [])
        raise VerificationError(f"{model} did not pass.", got="\n            ".join(shown), fix=_fix(report))


def _fix(report: OnnxReport) -> str | None:
    where = report.first_divergence
    return None if where is None else f"Look at node {where.node} first: what it reads agrees, what it makes does not."


def _human(report: OnnxReport, violations: tuple[RuleViolation, ...], *, passed: bool) -> list[Table | str]:
    shapes = [f"{spec.name} {spec.dtype} {_shape(spec.shape)}" for spec in (*report.inputs, *report.outputs)]
    operators = ", ".join(f"{name} {count}" for name, count in list(report.operators.items())[:8])
    parts: list[Table | str] = [
        f"{report.path}: {report.precision}, operator set {report.opset}, {report.size_bytes / 1e6:.1f} MB",
        f"  {shapes[0]} → {shapes[-1]}",
        f"  operators: {operators}",
    ]
    parts += [f"  {'problem' if finding.is_problem else 'remark'}: {finding.text}" for finding in report.findings]
    parts += [f"  rule: {violation.node}: {violation.message}" for violation in violations[:_SHOWN]]
    if report.comparisons:
        rows = [
            (
                comparison.name,
                f"{comparison.agreement.boxes.relative_l2:.1e}",
                f"{comparison.agreement.scores.relative_l2:.1e}",
                f"{comparison.agreement.scores.cosine:.5f}",
                "passed" if comparison.passed else "failed",
            )
            for comparison in report.comparisons
        ]
        columns = ("input", "boxes rel. L2", "scores rel. L2", "scores cosine", "")
        parts.append(table("ONNX Runtime against PyTorch", columns, rows))
    if report.first_divergence is not None:
        where = report.first_divergence
        module = f", module {where.module}" if where.module else ""
        parts.append(f"First divergence: {where.op_type} {where.node}{module}; {where.agreeing_nodes} nodes agree")
    parts.append("Verdict: passed" if passed else "Verdict: failed")
    return parts


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("N" if length is None else str(length) for length in shape)
