"""Do one piece of work on the machine it was sent to: run a submission, or judge what was recorded."""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.files import write_json
from yolotrt_lab.grading.digests import environment_digest
from yolotrt_lab.grading.execution.job import ExecutionJob
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.execution.run import execute
from yolotrt_lab.grading.jobs.packing import pack
from yolotrt_lab.grading.jobs.slots import claim_slot
from yolotrt_lab.grading.jobs.warm import end_warm, warm_judge, warm_kernels
from yolotrt_lab.grading.scoring.run import score

__all__ = ["RESULTS", "main", "perform"]

RESULTS = "results.json"
"""The file with the verdicts."""

_JUDGE_S = 3600.0


def perform(kind: str, content: bytes, *, folders: Mapping[str, str], settings: Mapping[str, Any]) -> bytes:
    """Return the packed folder of the result.

    Args:
        kind: "execute" or "score".
        content: The job, pickled by whoever grades: workers trust the scheduler, never the other way round.
        folders: Where suite and workspace are on this machine.
        settings: `unsafe`, without a sandbox; `environment`, the digest of the libraries' versions that is asked for;
            `preload`, the modules that kernels begin with, which must not change what comes out.

    Raises:
        LabError: The sandbox does not start, the judge fails, or this machine has other libraries.
    """
    expected = settings.get("environment")
    if expected and expected != environment_digest():
        raise InputError(
            "This worker has other versions of the libraries than the machine that grades.",
            expected="the same versions: results could differ",
            fix="pip install -r requirements.lock",
        )
    job = pickle.loads(content)
    with tempfile.TemporaryDirectory(prefix="yolotrt-perform-", ignore_cleanup_errors=True) as name:
        into = Path(name) / "result"
        if isinstance(job, ExecutionJob):
            materials = Materials(Path(folders["suite"]), Path(folders["workspace"]))
            unsafe = bool(settings["unsafe"])
            warm = None if unsafe else warm_kernels(settings.get("preload", ()), cores=job.limits.cores)
            execute(job, into, slot=claim_slot(), warm=warm, unsafe=unsafe, materials=materials)
        else:
            reference = Path(job["reference"]) if job["reference"] else None
            judge = warm_judge(job["lab"], job["hidden_seed"], reference, unsafe=bool(settings["unsafe"]))
            results = score(
                Path(job["recorded"]),
                exercises=job["exercises"],
                hidden_seed=job["hidden_seed"],
                warm=judge,
                timeout_s=_JUDGE_S,
            )
            write_json(into / RESULTS, {name: result.to_json() for name, result in results.items()})
        return pack(into)


def main(arguments: list[str]) -> int:
    """Do the work that lies in a folder, and leave the result there. Called in a process of the code's own."""
    folder = Path(arguments[0])
    work = json.loads((folder / "work.json").read_text())
    try:
        result = perform(
            work["kind"], (folder / "content").read_bytes(), folders=work["folders"], settings=work["settings"]
        )
    except LabError as error:
        print(error.one_line, file=sys.stderr)
        return error.exit_code
    finally:
        end_warm()
    (folder / "result").write_bytes(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
