"""The command that starts a machine's workers for a cluster."""

from __future__ import annotations

import sys

from yolotrt_lab.errors import InputError

__all__ = ["worker_command"]


def worker_command(scheduler: str, *, slots: int, gpu: bool) -> list[str]:
    """Return the command that starts Dask's workers: a process per slot, each with one thread and one resource.

    Raises:
        InputError: The address is none.
    """
    if "://" not in scheduler:
        raise InputError("This is not the address of a scheduler.", expected="tls://host:port", got=scheduler)
    resource = "GPU=1" if gpu else "CPU=1"
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    options = {"nworkers": str(slots), "nthreads": "1", "resources": resource, "memory-limit": "0"}
    return [*command, *(f"--{name}={value}" for name, value in options.items()), "--no-dashboard"]
