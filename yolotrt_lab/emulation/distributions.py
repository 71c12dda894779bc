"""What `importlib.metadata` is told about the emulated packages while they are emulated.

Programs ask for versions this way, and some install what they do not find: without an answer they would download
gigabytes that cannot run here. Every answer says that it is an emulation.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

__all__ = ["CUDA_VERSION", "PYCUDA_VERSION", "EmulatedDistribution", "emulated_distributions"]

CUDA_VERSION = "13.5.0"
PYCUDA_VERSION = "2026.1"


class EmulatedDistribution(importlib.metadata.Distribution):
    """A package that seems to be installed: a name and a version, no files."""

    def __init__(self, name: str, version: str) -> None:
        self._texts = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            f"Summary: Emulated on the CPU by yolotrt_lab.emulation, not NVIDIA's {name}\n",
            "INSTALLER": "yolotrt_lab.emulation\n",
        }
        self._called = _normalized(name)

    def is_called(self, name: str) -> bool:
        """Return whether this is the package's name, in any spelling."""
        return _normalized(name) == self._called

    def read_text(self, filename: str) -> str | None:
        """Return the text of a metadata file, None if there is none."""
        return self._texts.get(str(filename))

    def locate_file(self, path: object) -> Path:
        """Return where a file of the package would be; it has none."""
        return Path(__file__).parent / str(path)


def emulated_distributions(tensorrt_version: str) -> tuple[EmulatedDistribution, ...]:
    """Return TensorRT's distribution, and PyCUDA's and cuda-python's unless the real ones are installed."""
    versions = {"pycuda": PYCUDA_VERSION, "cuda-python": CUDA_VERSION, "cuda-bindings": CUDA_VERSION}
    missing = [EmulatedDistribution(name, version) for name, version in versions.items() if not _is_installed(name)]
    return (EmulatedDistribution("tensorrt", tensorrt_version), *missing)


def _is_installed(name: str) -> bool:
    return next(iter(importlib.metadata.distributions(name=name)), None) is not None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
