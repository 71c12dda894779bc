"""Where the judge's program runs: a sandbox, or for those who ask for it a plain process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from yolotrt_lab.grading.notebook import RECORD_VARIABLE
from yolotrt_lab.grading.sandbox.policy import SandboxLimits, SandboxPolicy, slot_uid
from yolotrt_lab.grading.sandbox.process import SandboxedProcess
from yolotrt_lab.grading.sandbox.python_view import gpu_devices
from yolotrt_lab.grading.seeds import CASE_SEEDS_VARIABLE, HIDDEN_SEED_VARIABLE
from yolotrt_lab.grading.suite import SUITE_VARIABLE

__all__ = ["JudgeHost", "start_judge"]

_PROGRAM = ("-m", "yolotrt_lab.grading.scoring.service")
_SUITE, _DESK = "/suite", "/desk"
# The same everywhere, so that the same records give the same verdicts.
_FIXED = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", "MPLBACKEND": "agg"}
# What an instructor may have chosen for engines.
_PASSED_ON = ("YOLOTRT_PLATFORM", "YOLOTRT_TRT_API")
_NOT_FOR_JUDGES = (RECORD_VARIABLE, CASE_SEEDS_VARIABLE, HIDDEN_SEED_VARIABLE)
_LIMITS = SandboxLimits(wall_s=7 * 86_400, cpu_s=7 * 86_400, memory_bytes=6 << 30, disk_bytes=1 << 30, files=20_000)
_LAST_WORDS = 300


class JudgeHost(Protocol):
    """A judge's program that was started."""

    @property
    def desk(self) -> Path:
        """The desk, as this process sees it."""

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def last_words(self) -> str:
        """Return why it ended, or what it wrote last."""

    def close(self) -> None:
        """End it with all that it started. Safe to call again."""


def start_judge(folder: Path, *, root: Path, slot: int, unsafe: bool) -> JudgeHost:
    """Start the program on a desk with its orders.

    Args:
        folder: The desk.
        root: The grading suite.
        slot: The worker's number on this machine.
        unsafe: Without a sandbox: in a process that may do what its user may.

    Raises:
        SandboxError: No sandbox can be made.
    """
    return _Plain(folder, root) if unsafe else _Sandboxed(folder, root, slot)


class _Sandboxed:
    def __init__(self, folder: Path, root: Path, slot: int) -> None:
        chosen = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        policy = SandboxPolicy(
            readonly=((root, _SUITE),),
            writable=((folder, _DESK),),
            environment={**_FIXED, **chosen, SUITE_VARIABLE: _SUITE},
            limits=_LIMITS,
            uid=slot_uid(slot),
            gpu=bool(gpu_devices()),
        )
        self._process = SandboxedProcess.start([sys.executable, *_PROGRAM, _DESK], policy)

    @property
    def desk(self) -> Path:
        return self._process.folder(_DESK)

    def poll(self) -> int | None:
        return self._process.poll()

    def last_words(self) -> str:
        if self._process.killed:
            return f"ended for its use of: {self._process.killed}"
        return _last_line(self._process.output)

    def close(self) -> None:
        self._process.close()


class _Plain:
    def __init__(self, folder: Path, root: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_JUDGES}
        environment |= {**_FIXED, SUITE_VARIABLE: str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.desk = folder
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, *_PROGRAM, str(folder)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def poll(self) -> int | None:
        return self._process.poll()

    def last_words(self) -> str:
        if self._output.closed:
            return ""
        self._output.seek(0)
        return _last_line(self._output.read())

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:_LAST_WORDS] if lines else "no message"
