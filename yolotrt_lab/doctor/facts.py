"""What the doctor knows about a machine. Plain values, so that a test can make up any machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Facts", "Gpu", "Probe", "version_tuple"]


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver describes it."""

    name: str
    memory_gib: float
    compute_capability: tuple[int, int]


@dataclass(frozen=True)
class Probe:
    """What came of trying a package in a process of its own.

    Attributes:
        values: What it answered.
        error: Why it failed, or None. A crash or a hang is an error too.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def works(self) -> bool:
        """Whether it answered."""
        return self.error is None


@dataclass(frozen=True)
class Facts:
    """A machine.

    Attributes:
        python: Version of the running interpreter.
        system: Operating system, as it calls itself.
        machine: Processor architecture ("x86_64").
        cpu: Processor model.
        cores: Cores this process may use.
        cpu_flags: Features as the Linux kernel names them.
        memory_gib: Main memory.
        disk_free_gib: Free space where the program was started.
        gpus: NVIDIA GPUs.
        driver: Version of the NVIDIA driver ("580.65.06"), None without one.
        driver_error: What `nvidia-smi` said if it is there but fails.
        nvcc: Version of the CUDA compiler, None without one.
        packages: Installed distributions of interest, with versions.
        requirements: What some of them require, as written in their metadata.
        probes: By module name, what came of trying it; a module that is not installed has no entry.
        programs: Path of "bwrap" and "chromium", where found.
        bubblewrap_error: Why a trial run of bubblewrap failed.
        platform_override: `YOLOTRT_PLATFORM`, if set.
    """

    python: str
    system: str = "Linux"
    machine: str = "x86_64"
    cpu: str = ""
    cores: int = 1
    cpu_flags: frozenset[str] = frozenset()
    memory_gib: float = 0.0
    disk_free_gib: float = 0.0
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    driver_error: str | None = None
    nvcc: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    requirements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    bubblewrap_error: str | None = None
    platform_override: str | None = None

    def works(self, module: str) -> bool:
        """Return whether a module is installed and answered its probe."""
        probe = self.probes.get(module)
        return probe is not None and probe.works

    def value(self, module: str, key: str) -> Any:
        """Return what a probe answered under `key`, or None."""
        probe = self.probes.get(module)
        return None if probe is None else probe.values.get(key)


def version_tuple(version: object) -> tuple[int, ...]:
    """Return the leading numbers of a version.

    Example:
        >>> version_tuple("2.11.0+cu130"), version_tuple("580.65.06"), version_tuple(None)
        ((2, 11, 0), (580, 65, 6), ())
    """
    match = re.match(r"\d+(?:\.\d+)*", str(version))
    return tuple(int(number) for number in match.group().split(".")) if match else ()
