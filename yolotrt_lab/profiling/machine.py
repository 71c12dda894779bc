"""What a measurement ran on, so that a number can be judged a year later."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from yolotrt_lab.optional import package_version

__all__ = ["cpu_name", "machine_description"]

_PACKAGES = (
    "numpy",
    "torch",
    "ultralytics",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt-cu13",
    "cuda-bindings",
    "opencv-python",
)


def cpu_name() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def machine_description() -> dict[str, Any]:
    """Return processor, memory, system and package versions; what is not installed is left out."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: version for name in _PACKAGES if (version := package_version(name)) is not None}
    return {
        "processor": cpu_name(),
        "cores": usable,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }
