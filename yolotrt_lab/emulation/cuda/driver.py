"""The emulated `cuda.bindings.driver`: the device, contexts, memory, streams and events.

Every function returns a tuple, the error code first; the reason of an error is logged under `yolotrt_lab.emulation`.
All names of NVIDIA's module are known; the functions that are not implemented say so when they are asked for.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import driver_contexts, driver_graphs, driver_memory, driver_streams
from yolotrt_lab.emulation.cuda.described import names, types
from yolotrt_lab.errors import EmulationError

_IMPLEMENTATIONS: tuple[Any, ...] = (driver_contexts, driver_graphs, driver_memory, driver_streams)

_namespace: dict[str, Any] = dict(types("driver"))
for _module in _IMPLEMENTATIONS:
    _namespace.update({name: getattr(_module, name) for name in _module.__all__})
globals().update(_namespace)

__all__ = sorted(_namespace)

_RUNS_CODE = ("cuLaunch", "cuModule", "cuLibrary", "cuKernel", "cuFunc", "cuLink", "cuTex", "cuSurf")


def __getattr__(name: str) -> Any:
    if name in names("driver"):
        runs_code = name.startswith(_RUNS_CODE)
        raise EmulationError(
            f"cuda.bindings.driver.{name} is not emulated"
            + (": it loads or runs code compiled for a GPU." if runs_code else "."),
            expected="the device, contexts, memory, copies, streams, events and graphs by capture",
            got=name,
            fix=(
                "Compute with NumPy on the host, or run this on a machine with an NVIDIA GPU."
                if runs_code
                else "Use cuda.bindings.runtime, or run this on a machine with an NVIDIA GPU."
            ),
        )
    raise AttributeError(f"module 'cuda.bindings.driver' has no attribute '{name}'")
