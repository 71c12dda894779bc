"""What a sandboxed process may see and use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from yolotrt_lab.errors import InputError

__all__ = ["SandboxLimits", "SandboxPolicy", "slot_uid"]

_FIRST_UID = 64_000
_SLOTS = 1_000
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """The most that everything in a sandbox may use together, if nothing else is said.

    Attributes:
        wall_s: Seconds from the start.
        cpu_s: Seconds of processor time.
        memory_bytes: Memory of all processes, and of what they write: files in a sandbox are in memory.
        processes: Processes and threads.
        file_bytes: Size of one file.
        disk_bytes: Size of each writable folder and of `/tmp`.
        files: Files and folders in each writable folder and in `/tmp`.
        output_bytes: What is kept of standard output and standard error; the rest is thrown away.
        open_files: Open files of one process.
        cores: Threads that numerical libraries use.
    """

    wall_s: float = 1800.0
    cpu_s: float = 1800.0
    memory_bytes: int = 4096 * _MIB
    processes: int = 256
    file_bytes: int = 200 * _MIB
    disk_bytes: int = 500 * _MIB
    files: int = 10_000
    output_bytes: int = 64 * 1024
    open_files: int = 1024
    cores: int = 1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise InputError(f"The sandbox's limit {name} is not positive.", expected="more than 0", got=value)


@dataclass(frozen=True, kw_only=True)
class SandboxPolicy:
    """What is in a sandbox, besides the system's programs.

    Attributes:
        readonly: Files and folders of the host, each with its place inside.
        writable: Folders of the host, each with its place inside. The sandbox works on a folder of its own, which
            begins with what is in the host's; when everything in the sandbox has ended, regular files and folders are
            copied back. What else was left behind, or is too much, is not.
        files: Small files that exist inside only: place to content.
        environment: The environment's variables, in addition to those that `python_view.base_environment` gives.
        limits: What it may use.
        uid: The user it runs as, where root starts it; see `slot_uid`.
        gpu: Whether it sees the NVIDIA devices.
        work: The working folder inside; `/tmp` and the writable folders exist.
    """

    readonly: tuple[tuple[Path, str], ...] = ()
    writable: tuple[tuple[Path, str], ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    uid: int | None = None
    gpu: bool = False
    work: str = "/tmp"

    def __post_init__(self) -> None:
        inside = [place for _, place in (*self.readonly, *self.writable)] + list(self.files)
        for place in (*inside, self.work):
            path = PurePosixPath(place)
            if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
                raise InputError("A place in the sandbox is not usable.", expected="an absolute path", got=place)


def slot_uid(slot: int) -> int | None:
    """Return the user for what runs in a slot: one of its own where root grades, so that slots cannot meet.

    Args:
        slot: Number of the worker on this machine, from 0.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    return _FIRST_UID + slot % _SLOTS
