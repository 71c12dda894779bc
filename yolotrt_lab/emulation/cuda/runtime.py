"""The emulated `cuda.bindings.runtime`: every function returns a tuple, the error code first.

Nothing here raises for a CUDA error: as with the real bindings, a program that ignores the code goes on with nonsense.
The reason is logged under `yolotrt_lab.emulation`, because an error number teaches little. All names of NVIDIA's module
are known; the functions that are not implemented say so when they are asked for.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import (
    runtime_copies,
    runtime_device,
    runtime_graphs,
    runtime_memory,
    runtime_pools,
    runtime_streams,
)
from yolotrt_lab.emulation.cuda.described import names, types
from yolotrt_lab.errors import EmulationError

_IMPLEMENTATIONS: tuple[Any, ...] = (
    runtime_copies,
    runtime_device,
    runtime_graphs,
    runtime_memory,
    runtime_pools,
    runtime_streams,
)

_namespace: dict[str, Any] = dict(types("runtime"))
for _module in _IMPLEMENTATIONS:
    _namespace.update({name: getattr(_module, name) for name in _module.__all__})
globals().update(_namespace)

__all__ = sorted(_namespace)


_BEHAVIOURS = {
    "cudaMallocManaged": "allocates memory that migrates between host and GPU",
    "cudaMemPrefetch": "moves memory that migrates between host and GPU",
    "cudaMemAdvise": "advises on memory that migrates between host and GPU",
    "cudaIpc": "shares memory or events with another process",
    "cudaMemcpyPeer": "copies between two GPUs",
    "cudaLaunchKernel": "launches a CUDA kernel",
    "cudaFunc": "configures a CUDA kernel",
    "cudaKernel": "configures a CUDA kernel",
    "cudaLibrary": "loads compiled CUDA code",
    "cudaGraphAdd": "builds a graph by hand; capture a stream instead",
    "cudaMemPool": "shares pools of memory between processes or devices",
}
"""What functions with these beginnings do on a GPU."""


def __getattr__(name: str) -> Any:
    if name not in names("runtime"):
        raise AttributeError(f"module 'cuda.bindings.runtime' has no attribute '{name}'")
    behaviour = next((text for start, text in _BEHAVIOURS.items() if name.startswith(start)), "")
    raise EmulationError(
        f"cuda.bindings.runtime.{name} is not emulated{': on a GPU it ' * bool(behaviour)}{behaviour}.",
        expected="memory, copies, streams, events, graphs captured from streams, and device queries",
        got=name,
        fix="Copy with cudaMemcpyAsync between cudaMalloc's and cudaMallocHost's memory, compute with NumPy or "
        "TensorRT, or run this on a machine with an NVIDIA GPU.",
    )
