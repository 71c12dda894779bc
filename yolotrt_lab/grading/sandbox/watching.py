"""What goes on in a sandbox, measured from outside, where nothing inside can change it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from yolotrt_lab.grading.sandbox.container import Container
from yolotrt_lab.grading.sandbox.policy import SandboxLimits

__all__ = ["Usage", "Watchdog"]

_INTERVAL_S = 0.05
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Usage:
    """What a sandbox has used so far.

    Attributes:
        wall_s: Seconds since the start.
        cpu_s: Seconds of processor time of everything in it.
        memory_bytes: Highest memory seen, files in memory included.
        processes: Most processes and threads seen.
        disk_bytes: Most that was seen in its folders.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    processes: int = 0
    disk_bytes: int = 0


class Watchdog:
    """A thread that measures a sandbox, and ends it when it goes beyond its limits.

    Args:
        container: The sandbox.
        limits: What it may use.
        exit_code: Tells that it has ended.

    Attributes:
        killed: Which limit it went beyond: "memory", "processes", "disk", "wall" or "cpu"; "" if none.
    """

    def __init__(self, container: Container, limits: SandboxLimits, exit_code: Callable[[], int | None]) -> None:
        self.killed = ""
        self._container, self._limits, self._exit_code = container, limits, exit_code
        self._started = time.monotonic()
        self._usage = Usage()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sandbox-watchdog", daemon=True)
        self._thread.start()

    @property
    def usage(self) -> Usage:
        """What the sandbox has used so far."""
        return self._usage

    def stop(self) -> None:
        """Measure a last time and end. Safe to call again."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            if self._exit_code() is not None:
                return
            self.killed = self._look()
            if self.killed:
                self._container.kill()
                return
        self._look()

    def _look(self) -> str:
        """Measure, and return which limit is passed."""
        cpu_s, memory, processes = _of_processes(self._container.proc)
        disk, files = _of_folders(self._container.folders)
        if memory + disk > self._limits.memory_bytes:  # perhaps only because forks that share it were counted in full
            memory = _shared_out(self._container.proc)
        seen = self._usage
        self._usage = replace(
            seen,
            wall_s=time.monotonic() - self._started,
            cpu_s=max(seen.cpu_s, cpu_s),
            memory_bytes=max(seen.memory_bytes, memory + disk),
            processes=max(seen.processes, processes),
            disk_bytes=max(seen.disk_bytes, disk),
        )
        limits = self._limits
        passed = {
            "memory": memory + disk > limits.memory_bytes,
            "processes": processes > limits.processes,
            "disk": files > limits.files,
            "cpu": cpu_s > limits.cpu_s,
            "wall": self._usage.wall_s > limits.wall_s,
        }
        return next((name for name, is_passed in passed.items() if is_passed), "")


def _of_processes(proc: int) -> tuple[float, int, int]:
    """Return processor seconds, bytes of memory, and number of processes and threads of what a /proc shows."""
    cpu_ticks = memory = threads = 0
    try:
        names = os.listdir(proc)
    except OSError:  # the sandbox has ended
        return 0.0, 0, 0
    for name in names:
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may end while it is looked at
            # The program's name may hold anything, blanks and brackets too; after the last bracket come numbers.
            fields = _read(proc, f"{name}/stat").rpartition(b")")[2].split()
            cpu_ticks += sum(int(field) for field in fields[11:15])
            threads += int(fields[17])
            memory += _resident(_read(proc, f"{name}/status"))
    return cpu_ticks / _TICKS, memory, threads


def _shared_out(proc: int) -> int:
    """Return the memory of all processes, with what several share counted once. Takes the system a while."""
    total = 0
    for name in os.listdir(proc):
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                for line in _read(proc, f"{name}/smaps_rollup").splitlines():
                    if line.startswith((b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")):
                        total += 1024 * int(line.split()[1])
    return total


def _resident(status: bytes) -> int:
    """Return a process's own memory: what it wrote to, without files that others read as well."""
    total = 0
    for line in status.splitlines():
        if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):  # mmap(-1, …) is shared memory
            total += 1024 * int(line.split()[1])
    return total


def _read(folder: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)


def _of_folders(folders: Mapping[str, int]) -> tuple[int, int]:
    """Return the bytes in all folders, and the files of the fullest."""
    used = files = 0
    for descriptor in list(folders.values()):
        with contextlib.suppress(OSError):
            state = os.fstatvfs(descriptor)
            used += (state.f_blocks - state.f_bfree) * state.f_frsize
            files = max(files, state.f_files - state.f_ffree)
    return used, files
