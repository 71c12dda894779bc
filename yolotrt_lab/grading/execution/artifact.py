"""What came of running a submission, as values and as a folder.

The folder holds `run.json`, `outputs.json` and `recorded/<exercise>/<case>/…`, which are the same for equal jobs where
the answers are deterministic, and `usage.json`, which is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_json
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular

__all__ = ["Execution", "Usage", "read_execution", "recorded_in", "write_execution"]

_MAX_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What running took.

    Attributes:
        cpu_s: Processor seconds of everything in the sandbox.
        peak_memory_bytes: The most memory that everything in the sandbox had at once.
        wall_s: From the first kernel's start to the last one's end.
        kernels: How many kernels it took.
    """

    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    wall_s: float = 0.0
    kernels: int = 0


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What came of running a submission.

    Attributes:
        key: The job's key.
        ended: Why a cell did not come to its end, by its id: "hung", "died" or "raised".
        killed: What the student should know about it, for cells that a limit of the sandbox ended.
        trouble: What went wrong that is not the student's doing; "" if nothing.
        findings: What was noticed.
        outputs: The outputs by cell id, in the notebook format, cleaned and capped.
        sandboxed: Whether it ran in a sandbox.
        usage: What it took.
        seconds: How long each cell took, by its id.
    """

    key: str
    ended: Mapping[str, str] = field(default_factory=dict)
    killed: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    findings: tuple[Finding, ...] = ()
    outputs: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    sandboxed: bool = True
    usage: Usage = field(default_factory=Usage)
    seconds: Mapping[str, float] = field(default_factory=dict)


def recorded_in(folder: Path) -> Path:
    """Return the folder of the records within an artifact's folder."""
    return folder / "recorded"


def write_execution(execution: Execution, folder: Path) -> None:
    """Write everything but the records, which lie in the folder already.

    Raises:
        OutputError: The folder cannot be written.
    """
    run = {
        "key": execution.key,
        "ended": dict(execution.ended),
        "killed": dict(execution.killed),
        "trouble": execution.trouble,
        "findings": [finding.to_json() for finding in execution.findings],
        "sandboxed": execution.sandboxed,
    }
    recorded_in(folder).mkdir(parents=True, exist_ok=True)
    write_json(folder / "outputs.json", {name: list(outputs) for name, outputs in execution.outputs.items()})
    write_json(folder / "usage.json", {"usage": asdict(execution.usage), "seconds": dict(execution.seconds)})
    write_json(folder / "run.json", run)  # last: with it the artifact is whole


def read_execution(folder: Path) -> Execution:
    """Return what `write_execution` wrote.

    Raises:
        InputError: The folder holds no execution, or a damaged one.
    """
    run, outputs, usage = (_read(folder / name) for name in ("run.json", "outputs.json", "usage.json"))
    try:
        return Execution(
            key=str(run["key"]),
            ended={str(name): str(reason) for name, reason in run["ended"].items()},
            killed={str(name): str(reason) for name, reason in run["killed"].items()},
            trouble=str(run["trouble"]),
            findings=tuple(Finding.from_json(item) for item in run["findings"]),
            outputs={str(name): tuple(items) for name, items in outputs.items()},
            sandboxed=bool(run["sandboxed"]),
            usage=Usage(**usage["usage"]),
            seconds={str(name): float(value) for name, value in usage["seconds"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder.name} holds a damaged execution.", expected="what execute() wrote", got=error
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, max_bytes=_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is damaged.", expected="JSON", got=error) from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name} is damaged.", expected="an object", got=type(content))
    return content
