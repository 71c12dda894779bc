"""What an instructor should know about answers, from their text and from what the proctor noticed."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.integrity.evidence import evidence_findings
from yolotrt_lab.grading.integrity.similarity import copied_reference
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.suite import suite_root

__all__ = ["graders_names", "review"]

# What only somebody has a use for who wants to know whether, or how, an answer is graded.
_TELLING = re.compile(
    r"YOLOTRT_(RECORD|CASE_SEEDS|HIDDEN_SEED|GRADING_SUITE)|yolotrt_suite_|_evidence\b|^_getframe$|^_current_frames$"
    r"|^get_objects$|^get_referrers$|^addaudithook$"
    r"|yolotrt_lab\.(emulation\.(counters|memory|streams)|grading\.(proctor|recording|codec|integrity|seeds))"
)
_MAX_SOURCE = 200_000


class _Cell(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def answer(self) -> bool: ...


class _Plan(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def answer(self) -> str: ...


def review(cells: Iterable[_Cell], plans: Iterable[_Plan], recorded: Path) -> list[Finding]:
    """Return findings about the answers of a submission; none of them costs a point.

    Args:
        cells: The cells that ran.
        plans: The exercises that were checked.
        recorded: The folder of the records.
    """
    answers = [cell for cell in cells if cell.answer]
    findings = evidence_findings(recorded)
    for cell in answers:
        names = graders_names(cell.source)
        if names:
            text = f"The answer names what only the grader has a use for: {', '.join(names[:5])}."
            findings.append(Finding("looks for the grader", text, cell.id, suspicious=True))
    try:
        root = suite_root()
    except InputError:
        return findings
    for plan in plans:
        lab, _, name = plan.id.partition(".")
        defines = re.compile(rf"^\s*(def|class)\s+{re.escape(plan.answer)}\b", re.MULTILINE)
        for cell in answers:
            if defines.search(cell.source[:_MAX_SOURCE]):
                findings += copied_reference(cell.source, suite_file=root / lab / f"test_{name}.py", cell=cell.id)
    return findings


def graders_names(source: str) -> list[str]:
    r"""Return the names and texts in an answer that tell of an interest in the grader, in order.

    Example:
        >>> graders_names("import os\nif 'YOLOTRT_RECORD' in os.environ: pass")
        ['YOLOTRT_RECORD']
    """
    try:
        tree = ast.parse(textwrap.dedent(source[:_MAX_SOURCE]))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(dict.fromkeys(found[:100] for found in _names_in(tree) if _TELLING.search(found)))


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
            yield ast.unparse(node) if isinstance(node.value, ast.Attribute) else ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (alias.name for alias in node.names)
