"""PyCUDA's flag sets with CUDA's numbers."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["ctx_flags", "device_attribute", "event_flags", "host_alloc_flags", "mem_host_register_flags"]


class ctx_flags(IntFlag):
    """How a context waits for the device; accepted and without effect here."""

    SCHED_AUTO = 0
    SCHED_SPIN = 1
    SCHED_YIELD = 2
    SCHED_BLOCKING_SYNC = 4
    MAP_HOST = 8
    LMEM_RESIZE_TO_MAX = 16


class event_flags(IntFlag):
    """How an event behaves."""

    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2
    INTERPROCESS = 4


class host_alloc_flags(IntFlag):
    """How page-locked memory behaves; accepted and without effect here."""

    PORTABLE = 1
    DEVICEMAP = 2
    WRITECOMBINED = 4


class mem_host_register_flags(IntFlag):
    """How registered host memory behaves."""

    PORTABLE = 1
    DEVICEMAP = 2


class device_attribute(IntEnum):
    """The device attributes programs ask for most."""

    MAX_THREADS_PER_BLOCK = 1
    WARP_SIZE = 10
    CLOCK_RATE = 13
    MULTIPROCESSOR_COUNT = 16
    MEMORY_CLOCK_RATE = 36
    GLOBAL_MEMORY_BUS_WIDTH = 37
    L2_CACHE_SIZE = 38
    COMPUTE_CAPABILITY_MAJOR = 75
    COMPUTE_CAPABILITY_MINOR = 76
