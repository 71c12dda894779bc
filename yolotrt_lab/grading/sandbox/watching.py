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
# Memory that a process wrote to, without files that others read as well; mmap(-1, …) is shared memory.
_WRITTEN = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_WRITTEN_SHARE = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
_TABLES = (b"VmPTE:",)  # reading a byte here and there in terabytes of nothing fills these, and nothing else
_FEW_SOCKETS = 64
_UNIX_BUFFER, _TCP_BUFFER = 256 * 1024, 8 * 2**20
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
                self._look()  # before what it counts is gone
                self._container.kill()  # what the program left running, nobody would watch
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
        kernel = _of_sockets(self._container.proc)
        if memory + kernel + disk > self._limits.memory_bytes:  # perhaps because forks that share were counted in full
            memory = _shared_out(self._container.proc)
        memory += kernel
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
    for name in _processes(proc):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may end while it is looked at
            # The program's name may hold anything, blanks and brackets too; after the last bracket come numbers.
            fields = _read(proc, f"{name}/stat").rpartition(b")")[2].split()
            cpu_ticks += sum(int(field) for field in fields[11:15])
            threads += int(fields[17])
            memory += _sum_of(_read(proc, f"{name}/status"), _WRITTEN + _TABLES)
    return cpu_ticks / _TICKS, memory, threads


def _shared_out(proc: int) -> int:
    """Return the memory of all processes, with what several share counted once. Takes the system a while."""
    total = 0
    for name in _processes(proc):
        with contextlib.suppress(OSError, ValueError):
            status = _read(proc, f"{name}/status")
            total += _sum_of(status, _TABLES)
            try:
                total += _sum_of(_read(proc, f"{name}/smaps_rollup"), _WRITTEN_SHARE)
            except PermissionError:  # it hides; then it counts in full
                total += _sum_of(status, _WRITTEN)
    return total


def _of_sockets(proc: int) -> int:
    """Return the most memory that sockets can hold, beyond the few that every program has.

    What is sent and not received belongs to no process: a program could fill the machine's memory with it.
    """
    unix = tcp = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _read(proc, "1/net/sockstat").splitlines():
            if line.startswith(b"sockets:"):
                unix = int(line.split()[2])
            elif line.startswith(b"TCP:"):
                tcp = int(line.split()[2])
    return _UNIX_BUFFER * max(0, unix - _FEW_SOCKETS) + _TCP_BUFFER * max(0, tcp - _FEW_SOCKETS)


def _processes(proc: int) -> list[str]:
    try:
        return [name for name in os.listdir(proc) if name.isdecimal()]
    except OSError:  # the sandbox has ended
        return []


def _sum_of(text: bytes, names: tuple[bytes, ...]) -> int:
    """Return the bytes that the lines beginning with these names add up to."""
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith(names))


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
