"""One sandbox: started, watched and ended from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from yolotrt_lab.grading.sandbox.bubblewrap import uid_inside
from yolotrt_lab.grading.sandbox.container import Container
from yolotrt_lab.grading.sandbox.policy import SandboxLimits, SandboxPolicy
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.python_view import base_environment
from yolotrt_lab.grading.sandbox.seccomp import filter_program
from yolotrt_lab.grading.sandbox.transfer import copy_back, copy_in
from yolotrt_lab.grading.sandbox.watching import Usage, Watchdog

__all__ = ["SandboxedProcess", "Usage", "confinement"]

_CONFINE = str(Path(__file__).with_name("confine.py"))
_POLL_S = 0.02
_TOLD_S = 2.0
_FLOOD_S = 0.001


class SandboxedProcess:
    """A command in a sandbox of its own. Leaving the context kills whatever runs in it and copies the folders back.

    Args:
        container: The sandbox, whose first program waits for its order.
        policy: What is inside.
        output: Where to read what is written to standard output and standard error.
        exit_code: Tells the command's exit code; None while it runs.
    """

    def __init__(
        self, container: Container, policy: SandboxPolicy, output: int, exit_code: Callable[[], int | None]
    ) -> None:
        self._container, self._policy, self._exit_code = container, policy, exit_code
        self._output = _Collector(output, policy.limits.output_bytes)
        self._closed = False
        uid = uid_inside(policy)
        try:
            for source, place in policy.writable:
                copy_in(source, container.folders[place], uid=uid)
        except OSError as error:
            container.kill()
            container.close()
            raise SandboxError("The sandbox's folders could not be filled.", got=error) from None
        self._watchdog = Watchdog(container, policy.limits, exit_code)

    @classmethod
    def start(cls, command: Sequence[str], policy: SandboxPolicy) -> Self:
        """Start a command.

        Args:
            command: Program and arguments, as they are called inside.
            policy: What it may see and use.

        Raises:
            SandboxError: No sandbox can be made here, or this one did not start.
        """
        reading, writing = os.pipe()
        try:
            first = [sys.executable, "-I", "-S", _CONFINE]
            container = Container(first, policy, errors=writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        process = cls(container, policy, reading, container.exit_code)
        order = {**confinement(policy), "command": list(command)}
        container.send(json.dumps(order).encode() + b"\n")
        return process

    @property
    def killed(self) -> str:
        """Why the watchdog ended it: "memory", "processes", "disk", "wall" or "cpu"; "" if it did not."""
        if not self._watchdog.killed and self.poll() == -signal.SIGXCPU:
            return "cpu"  # one process alone used it up, so the system was there first
        return self._watchdog.killed

    @property
    def output(self) -> bytes:
        """The beginning of what was written to standard output and standard error; all of it after `kill`."""
        return self._output.content

    def poll(self) -> int | None:
        """Return the exit code (minus the signal's number where one ended it), None while the command runs."""
        return self._exit_code()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the command's end and return its exit code.

        Raises:
            TimeoutError: It still runs.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the command still runs after {timeout_s} s")
            time.sleep(_POLL_S)
        return code

    def kill(self) -> None:
        """End everything in the sandbox, and wait until nothing of it runs. Safe to call again."""
        if not self._closed:
            self._container.kill()
            self._watchdog.stop()
            self._output.finish()
            with contextlib.suppress(TimeoutError):
                self.wait(_TOLD_S)  # a zygote's program is waited for by another process, which tells a moment later

    def close(self) -> None:
        """Kill, then copy what is in the writable folders to the host's. Safe to call again."""
        if self._closed:
            return
        self.kill()
        self._closed = True
        limits = self._policy.limits
        try:
            for target, place in self._policy.writable:
                folder = self._container.folders[place]
                copy_back(folder, target, max_bytes=limits.disk_bytes, max_files=limits.files)
        finally:
            self._container.close()

    def folder(self, place: str) -> Path:
        """Return a path by which this process sees a writable folder while the sandbox is open."""
        return Path(f"/proc/self/fd/{self._container.folders[place]}")

    def usage(self) -> Usage:
        """Return what it has used so far."""
        return self._watchdog.usage

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def confinement(policy: SandboxPolicy) -> dict[str, Any]:
    """Return the order to the program that confines itself in a sandbox; see `confine`."""
    return {
        "uid": uid_inside(policy),
        "limits": _resource_limits(policy.limits),
        "filter": filter_program(gpu=policy.gpu).hex(),
        "environment": {**base_environment(cores=policy.limits.cores), **policy.environment},
        "work": policy.work,
    }


def _resource_limits(limits: SandboxLimits) -> dict[str, int]:
    """Return the limits that the system itself keeps, for one process each; the watchdog sees to their sum."""
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": max(1, round(limits.cpu_s)),
        "RLIMIT_DATA": limits.memory_bytes,  # not the address space: CUDA reserves more of it than there is memory
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": limits.processes,
    }


class _Collector:
    """Reads a pipe to its end, so that nobody waits for a reader, and keeps the beginning."""

    def __init__(self, descriptor: int, max_bytes: int) -> None:
        self._pieces: list[bytes] = []
        self._room = max_bytes
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read, name="sandbox-output", daemon=True)
        self._thread.start()

    @property
    def content(self) -> bytes:
        return b"".join(self._pieces)

    def finish(self) -> None:
        """Wait for the end; nothing writes any more."""
        self._thread.join()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(self._descriptor, 1 << 16):
                kept = piece[: self._room]
                self._room -= len(kept)
                if kept:
                    self._pieces.append(kept)
                else:
                    time.sleep(_FLOOD_S)  # who floods is to wait, not to keep this process busy
        os.close(self._descriptor)
