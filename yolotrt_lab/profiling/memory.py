"""How much host memory a model takes: resident memory, sampled while it loads and runs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from yolotrt_lab.errors import InputError, LabError

__all__ = ["MemoryUse", "RuntimeMemory", "measure_runtime_memory", "sample_memory"]

_MIB = 2**20


@dataclass
class MemoryUse:
    """Resident memory (RSS) of a process during a block, in MiB; `peak_mib` grows until the block ends."""

    before_mib: float
    peak_mib: float = field(default=0.0)

    @property
    def delta_mib(self) -> float:
        """How far the peak rose above the start."""
        return max(self.peak_mib - self.before_mib, 0.0)


@contextlib.contextmanager
def sample_memory(*, interval_s: float = 0.005) -> Iterator[MemoryUse]:
    """Sample this process's resident memory in a thread while the block runs.

    What earlier code freed and Python kept is reused first, so the first measurement in a process is the honest one;
    `measure_runtime_memory` starts a process for that.

    Example:
        >>> with sample_memory() as use:
        ...     block = bytearray(50 * 2**20)
        >>> use.delta_mib > 40
        True
    """
    process = psutil.Process()
    before = process.memory_info().rss / _MIB
    use = MemoryUse(before, before)
    stop = threading.Event()

    def sample() -> None:
        while True:
            use.peak_mib = max(use.peak_mib, process.memory_info().rss / _MIB)
            if stop.wait(interval_s):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        use.peak_mib = max(use.peak_mib, process.memory_info().rss / _MIB)
        stop.set()
        thread.join()


@dataclass(frozen=True)
class RuntimeMemory:
    """Memory one model takes in a process of its own, in MiB.

    Attributes:
        framework_mib: Resident after importing the framework, before the model.
        loaded_mib: What loading the model added.
        peak_mib: What loading and running added at most.
        device_mib: Memory the engine asks for on the device (activations; the emulation's count when emulated); None
            for other frameworks.
    """

    framework_mib: float
    loaded_mib: float
    peak_mib: float
    device_mib: float | None = None


def measure_runtime_memory(
    path: Path, *, backend: str | None = None, batch: int = 1, runs: int = 3, timeout_s: float = 300
) -> RuntimeMemory:
    """Load and run a model in a fresh process and return the memory it took.

    Args:
        path: Model file, as for `open_runtime`.
        backend: As for `open_runtime`.
        batch: Images per run.
        runs: Inferences.
        timeout_s: Give up after this many seconds.

    Raises:
        LabError: The process failed; the message is its last line.
        InputError: It took longer than `timeout_s`.
    """
    command = [sys.executable, "-m", "yolotrt_lab.profiling.memory_probe", str(path), str(batch), str(runs)]
    command += [backend] if backend else []
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"Measuring the memory of {path} took too long.", expected=f"under {timeout_s:.0f} s", got="still running"
        ) from None
    if finished.returncode != 0:
        lines = finished.stderr.strip().splitlines()
        raise LabError(f"Measuring the memory of {path} failed.", got=lines[-1] if lines else "no message")
    return RuntimeMemory(**json.loads(finished.stdout.strip().splitlines()[-1]))
