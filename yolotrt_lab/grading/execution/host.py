"""One kernel and the place it runs in: a sandbox, or for those who ask for it a plain process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import psutil

from yolotrt_lab.grading.execution.job import ExecutionJob
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.notebook import RECORD_VARIABLE, WORKSPACE_VARIABLE
from yolotrt_lab.grading.sandbox.policy import SandboxPolicy, slot_uid
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.process import SandboxedProcess
from yolotrt_lab.grading.sandbox.zygote import Zygote
from yolotrt_lab.grading.seeds import CASE_SEEDS_VARIABLE, HIDDEN_SEED_VARIABLE, write_case_seeds

__all__ = ["KERNEL_ENVIRONMENT", "KernelHost", "PlainHost", "SandboxedHost", "Spent"]

_START = "from yolotrt_lab.grading import proctor; proctor.install(); from ipykernel.kernelapp import main; main()"
_ENTRY = ("-c", _START, "-f")
_SUITE_VARIABLE = "YOLOTRT_GRADING_SUITE"
# Where no installation of Python lies, which would be covered.
_INSIDE = "/grading"
_GPU = "CUDA_VISIBLE_DEVICES"
_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_LONGEST_SOCKET = 100  # of the 107 bytes that the system allows; a number is appended
KERNEL_ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
}
"""What is the same for every kernel, so that the same submission gives the same result; zygotes need it, too."""


@dataclass(frozen=True)
class Spent:
    """What a kernel has used: processor seconds, and the most memory in bytes."""

    cpu_s: float = 0.0
    memory_bytes: int = 0


class KernelHost(Protocol):
    """A kernel that was started; leaving the context ends it and all that it started, and fills the results' folder."""

    connection: Mapping[str, Any]

    def alive(self) -> bool:
        """Whether the kernel's process still runs."""

    def killed(self) -> str:
        """Return which limit ended it: "memory", "processes", "disk", "cpu" or "wall"; "" if none."""

    def said(self) -> str:
        """Return the last line that it wrote to its standard error, for the instructor."""

    def kill(self) -> None:
        """End the kernel and all that it started."""

    def spent(self) -> Spent:
        """Return what it has used."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class SandboxedHost:
    """A kernel in a sandbox.

    Args:
        job: What runs.
        folder: An empty folder; `results` in it holds the records afterwards.
        materials: What is there to read.
        slot: The worker's number on this machine.
        wall_s: How long it may live.
        warm: Starts processes that have their imports done, if there is one.

    Raises:
        SandboxError: The sandbox does not start.
    """

    def __init__(
        self,
        job: ExecutionJob,
        folder: Path,
        materials: Materials,
        *,
        slot: int,
        wall_s: float,
        warm: Zygote | None = None,
    ) -> None:
        info = _connection(f"{_INSIDE}/channels/k")
        writable = []
        for name in ("work", "results", "channels"):
            (folder / name).mkdir()
            writable.append((folder / name, f"{_INSIDE}/{name}"))
        for name, content in job.models.items():
            (folder / "work" / name).write_bytes(content)
        # A slot with a GPU has been told which.
        gpu = {_GPU: os.environ[_GPU]} if os.environ.get(_GPU) else {}
        policy = SandboxPolicy(
            readonly=((materials.suite, f"{_INSIDE}/suite"), (materials.workspace, f"{_INSIDE}/workspace")),
            writable=tuple(writable),
            files={
                f"{_INSIDE}/seeds.json": json.dumps(_plain(job.seeds)).encode(),
                f"{_INSIDE}/kernel.json": json.dumps(info).encode(),
            },
            environment={
                **KERNEL_ENVIRONMENT,
                RECORD_VARIABLE: f"{_INSIDE}/results",
                WORKSPACE_VARIABLE: f"{_INSIDE}/workspace",
                _SUITE_VARIABLE: f"{_INSIDE}/suite",
                CASE_SEEDS_VARIABLE: f"{_INSIDE}/seeds.json",
                **gpu,
            },
            limits=dataclasses.replace(job.limits, wall_s=wall_s),
            uid=slot_uid(slot),
            gpu=bool(gpu),
            work=f"{_INSIDE}/work",
        )
        command = [sys.executable, *_ENTRY, f"{_INSIDE}/kernel.json"]
        self._process = _started(command, policy, warm)
        self.connection: Mapping[str, Any] = {**info, "ip": str(self._process.folder(f"{_INSIDE}/channels") / "k")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def alive(self) -> bool:
        """Whether the kernel's process still runs."""
        return self._process.poll() is None

    def killed(self) -> str:
        """Return which limit ended it, "" if none."""
        return self._process.killed

    def said(self) -> str:
        """Return the last line that it wrote."""
        return (self._process.output.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:300]

    def kill(self) -> None:
        """End everything in the sandbox."""
        self._process.kill()

    def spent(self) -> Spent:
        """Return what it has used."""
        usage = self._process.usage()
        return Spent(usage.cpu_s, usage.memory_bytes)


class PlainHost:
    """A kernel in a plain process, which can do whatever its user can; arguments as for `SandboxedHost`."""

    def __init__(self, job: ExecutionJob, folder: Path, materials: Materials) -> None:
        for name in ("work", "results"):
            (folder / name).mkdir()
        for name, content in job.models.items():
            (folder / "work" / name).write_bytes(content)
        write_case_seeds(folder / "seeds.json", job.seeds)
        self.connection: Mapping[str, Any] = _connection(str(folder / "k"))
        (folder / "kernel.json").write_text(json.dumps(self.connection))
        environment = {name: value for name, value in os.environ.items() if name != HIDDEN_SEED_VARIABLE} | {
            **KERNEL_ENVIRONMENT,
            "IPYTHONDIR": str(folder / ".ipython"),
            "OMP_NUM_THREADS": str(job.limits.cores),
            RECORD_VARIABLE: str(folder / "results"),
            WORKSPACE_VARIABLE: str(materials.workspace),
            _SUITE_VARIABLE: str(materials.suite),
            CASE_SEEDS_VARIABLE: str(folder / "seeds.json"),
        }
        self._process = subprocess.Popen(
            [sys.executable, *_ENTRY, str(folder / "kernel.json")],
            env=environment,
            cwd=folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._spent = Spent()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def alive(self) -> bool:
        """Whether the kernel's process still runs."""
        return self._process.poll() is None

    def killed(self) -> str:
        """Return "": there are no limits here."""
        return ""

    def said(self) -> str:
        """Return "": nobody listens."""
        return ""

    def kill(self) -> None:
        """End the kernel and its process group."""
        self.spent()
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def spent(self) -> Spent:
        """Return what it has used, as long as that can be seen."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            times = process.cpu_times()
            self._spent = Spent(times.user + times.system, process.memory_info().rss)
        return self._spent


def _started(command: list[str], policy: SandboxPolicy, warm: Zygote | None) -> SandboxedProcess:
    """Start a program, cold where it cannot be forked.

    Raises:
        SandboxError: The sandbox does not start.
    """
    if warm is not None and warm.usable:
        try:
            return warm.spawn(command, policy)
        except SandboxError as error:
            logging.getLogger(__name__).warning("A kernel starts cold: %s", error.one_line)
    return SandboxedProcess.start(command, policy)


def _connection(sockets: str) -> dict[str, Any]:
    """Return the content of a connection file: sockets in a folder of ours where names may be so long, else TCP."""
    info: dict[str, Any] = {"key": secrets.token_hex(32), "signature_scheme": "hmac-sha256", "kernel_name": "python3"}
    if len(os.fsencode(sockets)) <= _LONGEST_SOCKET and hasattr(socket, "AF_UNIX"):
        ports = {f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)}
        return {**info, "transport": "ipc", "ip": sockets, **ports}
    return {**info, "transport": "tcp", "ip": "127.0.0.1", **_free_ports()}


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in _CHANNELS]
        return {f"{name}_port": held.getsockname()[1] for name, held in zip(_CHANNELS, taken, strict=True)}


def _plain(seeds: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {name: dict(cases) for name, cases in seeds.items()}
