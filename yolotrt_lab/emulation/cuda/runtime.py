"""The emulated `cuda.bindings.runtime`: every function returns a tuple, the error code first.

Nothing here raises for a CUDA error: as with the real bindings, a program that ignores the code goes on with nonsense.
The reason is logged under `yolotrt_lab.emulation`, because an error number teaches little. All names of NVIDIA's module
are known; the functions that are not implemented say so when they are asked for.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import runtime_copies, runtime_device, runtime_graphs, runtime_memory, runtime_streams
from yolotrt_lab.emulation.cuda.described import names, types
from yolotrt_lab.errors import EmulationError

_IMPLEMENTATIONS: tuple[Any, ...] = (runtime_copies, runtime_device, runtime_graphs, runtime_memory, runtime_streams)

_namespace: dict[str, Any] = dict(types("runtime"))
for _module in _IMPLEMENTATIONS:
    _namespace.update({name: getattr(_module, name) for name in _module.__all__})
globals().update(_namespace)

__all__ = sorted(_namespace)


def __getattr__(name: str) -> Any:
    if name in names("runtime"):
        raise EmulationError(
            f"cuda.bindings.runtime.{name} is not emulated.",
            expected="memory, copies, streams, events and device queries",
            got=name,
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )
    raise AttributeError(f"module 'cuda.bindings.runtime' has no attribute '{name}'")
