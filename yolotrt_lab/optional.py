"""Lazy imports, so that `import yolotrt_lab` stays fast and says clearly what is missing when it is."""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType

from yolotrt_lab.errors import MissingDependencyError

__all__ = ["package_version", "require"]

# module -> (distribution, how to get it)
_INSTALL_HINTS: dict[str, tuple[str, str]] = {
    "onnxruntime": ("onnxruntime", "pip install 'yolotrt-lab[cpu]' (or [gpu] on a machine with an NVIDIA GPU)"),
    "tensorrt": ("tensorrt-cu13", "pip install 'yolotrt-lab[gpu]' on a machine with an NVIDIA GPU"),
    "pycuda": ("pycuda", "pip install 'yolotrt-lab[gpu]' on a machine with the CUDA toolkit (nvcc)"),
    "cuda": ("cuda-python", "pip install 'yolotrt-lab[gpu]'"),
    "cv2": ("opencv-python", "pip install opencv-python; if libGL.so.1 is missing: apt-get install -y libgl1"),
}


def require(module: str, *, purpose: str) -> ModuleType:
    """Import `module` or explain how to install it.

    Args:
        module: Dotted module name.
        purpose: What the module is needed for, completing "... is needed to".

    Raises:
        MissingDependencyError: The module is absent, or present but fails to load.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        root = module.split(".")[0]
        distribution, hint = _INSTALL_HINTS.get(root, (root, f"pip install {root}"))
        raise MissingDependencyError(
            f"{distribution} is needed to {purpose}.", expected=f"`import {module}` works", got=error, fix=hint
        ) from error


def package_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
