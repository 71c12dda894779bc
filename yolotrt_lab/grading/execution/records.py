"""Take over what a kernel recorded: of the exercises that it was asked for, regular files, no more than is sane."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.execution.job import CodeCell
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.stand_ins import has_records
from yolotrt_lab.grading.nbgrader.untrusted_files import Limits, copy_folder, read_regular
from yolotrt_lab.grading.sandbox.policy import SandboxLimits

__all__ = ["EVIDENCE", "take_records"]

EVIDENCE = "_evidence.json"
"""What the proctor noticed, beside the records; written where the student's code runs."""

_EVIDENCE_BYTES = 1_000_000
_FILES = 5_000
_DEPTH = 2  # an exercise's cases, and their files


def take_records(source: Path, target: Path, checked: Sequence[CodeCell], limits: SandboxLimits) -> list[Finding]:
    """Copy the records of the exercises that were checked, and return what was left out.

    Args:
        source: What a kernel left.
        target: Where the records of all kernels go; what is there stays.
        checked: The check cells that this kernel was given.
        limits: How large files may be.
    """
    asked = {cell.exercise for cell in checked}
    findings = []
    allowed = Limits(file_bytes=limits.file_bytes, total_bytes=limits.disk_bytes, files=_FILES, depth=_DEPTH)
    for exercise_id in sorted(asked):
        if has_records(target, exercise_id) or not (source / exercise_id).is_dir():
            continue
        try:
            findings += copy_folder(source / exercise_id, target / exercise_id, allowed)
        except InputError as error:
            shutil.rmtree(target / exercise_id, ignore_errors=True)
            findings.append(Finding("unfit file", f"`{exercise_id}`: {error.one_line}", suspicious=True))
    findings += [
        Finding("forged records", f"There were records of `{name}`, which had not been checked.", suspicious=True)
        for name in sorted(path.name for path in source.iterdir())
        if name not in asked and name != EVIDENCE
    ][:5]
    _take_evidence(source, target)
    return findings


def _take_evidence(source: Path, target: Path) -> None:
    try:
        content = read_regular(source / EVIDENCE, max_bytes=_EVIDENCE_BYTES)
    except InputError:
        return
    names = (EVIDENCE, *(f"_evidence-{number}.json" for number in range(2, 100)))
    (target / next(name for name in names if not (target / name).exists())).write_bytes(content)
