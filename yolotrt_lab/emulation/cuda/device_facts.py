"""What there is to say about the emulated device: its attributes, in CUDA's numbers.

The values are those of a small GPU where a program only sizes something by them, and honest where one would draw
conclusions: the name says that the device is emulated, and it has no compute capability.
"""

from __future__ import annotations

import os
from typing import Any

from yolotrt_lab.emulation.device import device

__all__ = ["COMPUTE_CAPABILITY", "PCI_BUS_ID", "attribute", "properties"]

COMPUTE_CAPABILITY = (0, 0)
"""A processor has none."""

PCI_BUS_ID = "0000:00:00.0"

_MIB = 1 << 20
_ATTRIBUTES = {
    1: 1024,  # threads per block
    2: 1024, 3: 1024, 4: 64,  # block dimensions
    5: (1 << 31) - 1, 6: 65535, 7: 65535,  # grid dimensions
    8: 48 << 10,  # shared memory per block
    9: 64 << 10,  # constant memory
    10: 32,  # warp size
    11: (1 << 31) - 1,  # pitch
    12: 65536,  # registers per block
    13: 1_000_000,  # clock rate, kHz
    14: 512,  # texture alignment
    15: 1, 40: 2,  # copy engines
    17: 0,  # kernel time limit
    18: 1,  # integrated: it shares the host's memory
    19: 0,  # mapping of host memory
    20: 0,  # compute mode: default
    31: 1,  # concurrent kernels
    32: 0,  # error correction
    33: 0, 34: 0, 50: 0,  # place on the bus
    35: 0,  # Windows driver model
    36: 1_000_000,  # memory clock, kHz
    37: 64,  # bus width
    38: 4 * _MIB,  # L2 cache
    39: 2048,  # threads per multiprocessor
    41: 1,  # unified addressing
    51: 512,  # texture pitch alignment
    75: COMPUTE_CAPABILITY[0], 76: COMPUTE_CAPABILITY[1],
    78: 1,  # stream priorities
    81: 64 << 10, 82: 65536,  # per multiprocessor
    83: 0,  # managed memory
    97: 48 << 10,  # shared memory per block, opt in
    99: 1,  # registering of host memory
    115: 1,  # memory pools
}  # fmt: skip


def attribute(number: int) -> int:
    """Return an attribute by CUDA's number; 0, "no", for what the emulated device lacks."""
    if number == 16:  # multiprocessors
        return os.cpu_count() or 1
    return _ATTRIBUTES.get(number, 0)


_FIELDS = {
    "maxThreadsPerBlock": 1, "sharedMemPerBlock": 8, "totalConstMem": 9, "warpSize": 10, "memPitch": 11,
    "regsPerBlock": 12, "textureAlignment": 14, "asyncEngineCount": 40, "multiProcessorCount": 16, "integrated": 18,
    "concurrentKernels": 31, "memoryBusWidth": 37, "l2CacheSize": 38, "maxThreadsPerMultiProcessor": 39,
    "unifiedAddressing": 41, "texturePitchAlignment": 51, "major": 75, "minor": 76, "streamPrioritiesSupported": 78,
    "sharedMemPerMultiprocessor": 81, "regsPerMultiprocessor": 82, "sharedMemPerBlockOptin": 97,
    "hostRegisterSupported": 99, "memoryPoolsSupported": 115,
}  # fmt: skip


def properties() -> dict[str, Any]:
    """Return the fields of `cudaDeviceProp` that are not zero."""
    emulated = device()
    return {field: attribute(number) for field, number in _FIELDS.items()} | {
        "name": emulated.name.encode(),
        "totalGlobalMem": emulated.heap.capacity,
        "maxThreadsDim": [attribute(2), attribute(3), attribute(4)],
        "maxGridSize": [attribute(5), attribute(6), attribute(7)],
    }
