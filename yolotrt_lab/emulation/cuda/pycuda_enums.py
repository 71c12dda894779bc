"""PyCUDA's enumerations and sets of flags, with CUDA's numbers."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.described import pycuda, pycuda_enum

__all__ = ["ENUMERATIONS", "device_attribute", "event_flags"]

ENUMERATIONS: dict[str, Any] = {name: pycuda_enum(name) for name in pycuda()["driver"]["enums"]}
"""All of them by name."""

event_flags: Any = ENUMERATIONS["event_flags"]
device_attribute: Any = ENUMERATIONS["device_attribute"]
