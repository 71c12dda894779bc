"""The one emulated device of this process: its identity, its memory and its streams."""

from __future__ import annotations

import functools
import os
import platform
import re
import struct
from pathlib import Path
from typing import Any

from yolotrt_lab.emulation.lock import DEVICE_LOCK
from yolotrt_lab.emulation.memory import DeviceHeap, PinnedHeap
from yolotrt_lab.emulation.streams import Scheduler
from yolotrt_lab.optional import package_version, require

__all__ = ["Device", "core", "device", "is_present", "isa", "processor_name"]

_MIB = 1 << 20
_BLOB_MAGIC = b"RR_UPCVO"


class Device:
    """Memory and streams shared by everything emulated.

    Attributes:
        heap: Device memory.
        pinned: Page-locked host memory.
        scheduler: Streams and their work.
    """

    def __init__(self) -> None:
        self.pinned = PinnedHeap()
        self.heap = DeviceHeap(_memory_bytes(), pinned=self.pinned)
        self.scheduler = Scheduler()

    @property
    def name(self) -> str:
        """What `cudaGetDeviceProperties` and PyCUDA call the device; it says that it is no GPU."""
        return f"Emulated GPU (OpenVINO on {processor_name()})"

    def reset(self) -> None:
        """Forget all memory and work, like `cudaDeviceReset`."""
        self.scheduler.discard_all()
        self.pinned = PinnedHeap()
        self.heap = DeviceHeap(_memory_bytes(), pinned=self.pinned)


def _memory_bytes() -> int:
    """Half of the machine's memory, or `YOLOTRT_EMULATED_MEMORY_MIB`."""
    asked = os.environ.get("YOLOTRT_EMULATED_MEMORY_MIB", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked) * _MIB
    import psutil

    return int(psutil.virtual_memory().total) // 2


def is_present() -> bool:
    """Return whether there is a device; `YOLOTRT_EMULATED_DEVICES=0` takes it away, to see what fails then."""
    return os.environ.get("YOLOTRT_EMULATED_DEVICES") != "0"


_device: Device | None = None


def device() -> Device:
    """Return the emulated device, made on first use."""
    global _device
    with DEVICE_LOCK:
        if _device is None:
            _device = Device()
        return _device


@functools.cache
def core() -> Any:
    """Return the process's OpenVINO core, the compiler and executor behind the emulation."""
    openvino = require("openvino", purpose="emulate TensorRT on the CPU")
    return openvino.Core()


@functools.cache
def processor_name() -> str:
    """Return the processor's marketing name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


@functools.cache
def isa() -> str:
    """Return the instruction set OpenVINO compiles for: the emulation's "compute capability".

    OpenVINO writes it into every blob it exports and refuses a blob with another one; a tiny model tells it.
    """
    openvino = require("openvino", purpose="emulate TensorRT on the CPU")
    from openvino import opset13 as operations

    parameter = operations.parameter([1], dtype=openvino.Type.f32)
    model = openvino.Model([operations.relu(parameter)], [parameter], "isa")
    blob = core().compile_model(model, "CPU").export_model().getvalue()
    return isa_from_blob(blob) or f"{platform.machine()}-{package_version('openvino')}"


def isa_from_blob(blob: bytes) -> str | None:
    """Return the instruction set named in the head of an OpenVINO blob, if it is there.

    The head is a magic number, a version (u32), a length (u64) and that many bytes of `key=value;` text.
    """
    if blob[:8] != _BLOB_MAGIC or len(blob) < 20:
        return None
    (length,) = struct.unpack_from("<Q", blob, 12)
    text = blob[20 : 20 + min(length, 4096)].decode("utf-8", "replace")
    found = re.search(r"(?:^|;)isa=([^;]+)", text)
    return found.group(1) if found else None
