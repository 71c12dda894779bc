"""One sandbox: started, watched and ended from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from yolotrt_lab.grading.sandbox.policy import SandboxPolicy

__all__ = ["SandboxedProcess", "Usage"]


@dataclass(frozen=True)
class Usage:
    """What a sandbox has used so far.

    Attributes:
        wall_s: Seconds since the start.
        cpu_s: Seconds of processor time of everything in it.
        memory_bytes: Highest memory seen.
        processes: Most processes and threads seen.
        disk_bytes: Most that was seen in its folders.
    """

    wall_s: float
    cpu_s: float
    memory_bytes: int
    processes: int
    disk_bytes: int


class SandboxedProcess:
    """A command in a sandbox of its own. Leaving the context kills whatever runs in it and copies the folders back.

    Attributes:
        killed: Why the watchdog ended it: "memory", "processes", "disk", "wall" or "cpu"; "" if it did not.
        output: The beginning of what was written to standard output and standard error.
    """

    killed: str
    output: bytes

    @classmethod
    def start(cls, command: Sequence[str], policy: SandboxPolicy) -> Self:
        """Start a command.

        Args:
            command: Program and arguments, as they are called inside.
            policy: What it may see and use.

        Raises:
            SandboxError: No sandbox can be made here, or this one did not start.
        """
        raise NotImplementedError

    def poll(self) -> int | None:
        """Return the exit code (minus the signal's number where one ended it), None while the command runs."""
        raise NotImplementedError

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the command's end and return its exit code.

        Raises:
            TimeoutError: It still runs.
        """
        raise NotImplementedError

    def kill(self) -> None:
        """End everything in the sandbox, and wait until nothing of it runs. Safe to call again."""
        raise NotImplementedError

    def close(self) -> None:
        """Kill, then copy what is in the writable folders to the host's. Safe to call again."""
        raise NotImplementedError

    def folder(self, place: str) -> Path:
        """Return a path by which the host sees a writable folder while the sandbox is open."""
        raise NotImplementedError

    def usage(self) -> Usage:
        """Return what it has used so far."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
