"""Makes `import tensorrt`, `import pycuda.driver` and `from cuda.bindings import runtime` find the emulation.

A finder in front of Python's own serves the emulated modules. Modules of these names that were imported before are put
aside and come back when the emulation is deactivated; whoever holds a reference to them, like PyTorch to
`cuda.bindings`, keeps it.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from yolotrt_lab.emulation.cuda.ctypes_runtime import (
    POLYGRAPHY_MODULE,
    emulate_polygraphy_cuda,
    forget_polygraphy_cuda,
)
from yolotrt_lab.emulation.cuda.modules import cuda_fillers, cuda_package_fillers
from yolotrt_lab.emulation.cuda.pycuda_core import forget_contexts
from yolotrt_lab.emulation.distributions import EmulatedDistribution, emulated_distributions
from yolotrt_lab.emulation.gpu.memory import CudaMemory
from yolotrt_lab.emulation.gpu.target import GpuTarget
from yolotrt_lab.emulation.tensorrt.namespace import build, fill_module, fill_plugin_module
from yolotrt_lab.emulation.tensorrt.target import use_target

__all__ = ["activate", "active_api", "deactivate", "is_on_gpu"]

_PACKAGES = frozenset({"tensorrt", "pycuda", "cuda", "cuda.bindings"})


class _Loader(importlib.abc.Loader):
    def __init__(self, fill: Callable[[ModuleType], None]) -> None:
        self._fill = fill

    def exec_module(self, module: ModuleType) -> None:
        self._fill(module)


class _PatchingLoader(importlib.abc.Loader):
    """Loads somebody else's module as always, and has it changed before anybody sees it."""

    def __init__(self, loader: Any, patch: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._patch = patch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Serves the emulated modules.

    Args:
        fillers: What gives a module its content, by name.
        distributions: What `importlib.metadata` shall know of them.
    """

    def __init__(
        self, fillers: dict[str, Callable[[ModuleType], None]], distributions: Sequence[EmulatedDistribution]
    ) -> None:
        self.fillers = fillers
        self._distributions = distributions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to make an emulated module, None for all others."""
        if fullname == POLYGRAPHY_MODULE and not _State.on_gpu:
            return _patched_spec(fullname, path, target)
        fill = self.fillers.get(fullname)
        if fill is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, _Loader(fill), origin="yolotrt_lab.emulation", is_package=fullname in _PACKAGES
        )

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterator[EmulatedDistribution]:
        """Yield what `importlib.metadata.version("tensorrt")` asks for."""
        wanted = None if context is None else context.name
        return (found for found in self._distributions if wanted is None or found.is_called(wanted))


def _patched_spec(
    name: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    spec = importlib.machinery.PathFinder.find_spec(name, path, target)
    if spec is not None and spec.loader is not None:
        spec.loader = _PatchingLoader(spec.loader, emulate_polygraphy_cuda)
    return spec


class _State:
    """The activation in force."""

    finder: _Finder | None = None
    api: int | None = None
    on_gpu: bool = False
    set_aside: dict[str, ModuleType]


def active_api() -> int | None:
    """Return the TensorRT version being emulated, None if the emulation is not active."""
    return _State.api


def is_on_gpu() -> bool:
    """Return whether TensorRT alone is being emulated, on a GPU's own memory."""
    return _State.on_gpu


def activate(major: int, *, on_gpu: bool = False) -> None:
    """Let imports find the emulation of a TensorRT version, 10 or 11. Doing it again changes nothing.

    Args:
        major: The version.
        on_gpu: Emulate `tensorrt` alone, on the memory of a GPU and with the CUDA modules that are installed.

    Raises:
        OSError: There is no GPU.
    """
    if (_State.api, _State.on_gpu) == (major, on_gpu):
        return
    deactivate()
    fillers = _fillers(major)
    if on_gpu:
        use_target(GpuTarget(CudaMemory()))
        fillers = {name: fill for name, fill in fillers.items() if name.startswith("tensorrt")}
    _State.set_aside, _State.on_gpu = {}, on_gpu
    for name in fillers:
        module = sys.modules.pop(name, None)
        if module is not None:
            _State.set_aside[name] = module
            _unlink(name)
    distributions = emulated_distributions(build(major).version)
    # On a GPU only TensorRT, the first, is emulated.
    _State.finder, _State.api = _Finder(fillers, distributions[:1] if on_gpu else distributions), major
    sys.meta_path.insert(0, _State.finder)
    if POLYGRAPHY_MODULE in sys.modules and not on_gpu:
        emulate_polygraphy_cuda(sys.modules[POLYGRAPHY_MODULE])


def deactivate() -> None:
    """Take the emulation out of the way of imports, and put back what was there before.

    Contexts that a program pushed are forgotten: the next activation starts like a new process.
    """
    finder = _State.finder
    if finder is None:
        return
    with contextlib.suppress(ValueError):
        sys.meta_path.remove(finder)
    for name in finder.fillers:
        if sys.modules.pop(name, None) is not None:
            _unlink(name)
    for name, module in _State.set_aside.items():
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)
    if POLYGRAPHY_MODULE in sys.modules and not _State.on_gpu:
        forget_polygraphy_cuda(sys.modules[POLYGRAPHY_MODULE])
    _State.finder, _State.api, _State.on_gpu, _State.set_aside = None, None, False, {}
    use_target(None)
    forget_contexts()


def _unlink(name: str) -> None:
    """Remove a module from its parent package, so that `from package import module` looks for it again."""
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(child, None)


def _fillers(major: int) -> dict[str, Callable[[ModuleType], None]]:
    api = build(major)
    fillers: dict[str, Callable[[ModuleType], None]] = {
        "tensorrt": lambda module: fill_module(module, api),
        "tensorrt.tensorrt": lambda module: fill_module(module, api),
        "tensorrt.plugin": lambda module: fill_plugin_module(module, api),
    }
    fillers |= cuda_fillers()
    if not _is_installed("cuda.bindings"):
        fillers |= cuda_package_fillers()
    return fillers


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
