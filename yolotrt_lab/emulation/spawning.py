"""Lets processes that `multiprocessing` spawns start with the emulation their parent has.

A forked child has everything its parent had. A spawned one is a new interpreter that imports the parent's script again,
`import tensorrt` included, before anything of the parent's code could switch the emulation on.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation import modules

__all__ = ["emulate_in_children"]


class _ActivatingName(str):
    """A process's name that switches the emulation on where it is unpickled: the first thing a new process does."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _activated, (str(self), modules.active_api(), modules.is_on_gpu())


def _activated(name: str, api: int | None, on_gpu: bool) -> str:
    if api is not None:
        modules.activate(api, on_gpu=on_gpu)
    return name


def emulate_in_children() -> None:
    """Start all processes that `multiprocessing` spawns from now on with the emulation that is then active."""
    from multiprocessing import spawn

    original = spawn.get_preparation_data

    def preparation_data(name: str) -> dict[str, Any]:
        return {**original(name), "name": _ActivatingName(name)}

    spawn.get_preparation_data = preparation_data
