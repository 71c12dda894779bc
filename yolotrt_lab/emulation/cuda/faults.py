"""CUDA's numbers and words for what can go wrong; the driver's, the runtime's and PyCUDA's errors share them."""

from __future__ import annotations

import logging

from yolotrt_lab.emulation.cuda.described import bindings
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["fault_number", "fault_text", "log_fault"]

_NUMBERS = {
    "invalid value": 1,
    "out of memory": 2,
    "not initialised": 3,
    "invalid pitch": 12,
    "invalid direction": 21,
    "no device": 100,
    "invalid device": 101,
    "no context": 201,
    "device uninitialised": 201,
    "invalid handle": 400,
    "illegal state": 401,
    "not found": 500,
    "not ready": 600,
    "illegal address": 700,
    "dead context": 709,
    "already registered": 712,
    "not registered": 713,
    "not permitted": 800,
    "capture unsupported": 900,
    "capture invalidated": 901,
    "capture merge": 902,
    "capture unmatched": 903,
    "capture unjoined": 904,
    "capture isolation": 905,
    "capture implicit": 906,
    "captured event": 907,
    "capture wrong thread": 908,
}
_log = logging.getLogger("yolotrt_lab.emulation")


def fault_number(fault: DeviceFault) -> int:
    """Return the error's number, the same in `cudaError_t` and in `CUresult`."""
    return _NUMBERS[fault.kind]


def fault_text(fault: DeviceFault) -> str:
    """Return what CUDA says: "invalid argument"."""
    text: str = bindings()["error_texts"][str(_NUMBERS[fault.kind])]
    return text


def log_fault(function: str, fault: DeviceFault) -> None:
    """Log why a function returns an error, unless that is its way to answer "not yet"."""
    if fault.kind != "not ready":
        _log.error("%s: %s", function, fault.detail)
