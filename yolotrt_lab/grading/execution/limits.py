"""What a student reads where a limit of the sandbox ended the code."""

from __future__ import annotations

from yolotrt_lab.grading.sandbox.policy import SandboxLimits

__all__ = ["died_of"]


def died_of(limit: str, limits: SandboxLimits) -> str:
    """Return what the code did, completing "your code …".

    Args:
        limit: "memory", "processes", "disk", "cpu" or "wall".
        limits: What was allowed.

    Example:
        >>> died_of("memory", SandboxLimits())
        'used more than 4 GiB of memory'
    """
    sentences = {
        "memory": f"used more than {limits.memory_bytes / 2**30:.3g} GiB of memory",
        "processes": f"started more than {limits.processes} processes and threads",
        "disk": f"wrote more than {limits.disk_bytes / 2**20:.0f} MiB, or {limits.files} files",
        "cpu": f"used more than {limits.cpu_s:.0f} s of processor time",
        "wall": f"took longer than {limits.wall_s:.0f} s",
    }
    return sentences.get(limit, f"went beyond the grader's limit of {limit}")
