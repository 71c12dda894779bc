"""`yolotrt course worker`: let this machine run submissions for a Dask cluster."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from yolotrt_lab.errors import InputError

__all__ = ["worker", "worker_command"]


def worker(
    scheduler: Annotated[str, typer.Argument(help="The scheduler's address: tls://grader:8786.")],
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Submissions that run at once [one per core, one with --gpu].", show_default=False),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="The GPU that CUDA_VISIBLE_DEVICES names.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Do not insist on a sandbox on this machine.")
    ] = False,
) -> None:
    """Run submissions that `yolotrt course grade --scheduler` sends to a cluster, until you stop it.

    Start `dask scheduler` on one machine and this on every other. Use addresses with tls:// and certificates of your
    own (Dask's `distributed.comm.tls`): whoever reaches the scheduler can run programs on the workers.

    **Examples**

    `yolotrt course worker tls://grader:8786 --slots 8`

    `CUDA_VISIBLE_DEVICES=0 yolotrt course worker tls://grader:8786 --gpu`
    """
    from yolotrt_lab.grading.sandbox.preflight import require_sandbox
    from yolotrt_lab.optional import require
    from yolotrt_lab.system import usable_cores

    require("distributed", purpose="work for a cluster")
    if not unsafe:
        require_sandbox()
    code = subprocess.call(worker_command(scheduler, slots=slots or (1 if gpu else usable_cores()), gpu=gpu))
    if code:
        raise typer.Exit(code)


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
