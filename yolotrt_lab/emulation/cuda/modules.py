"""What the emulated modules `pycuda.*` and `cuda.*` are filled with."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from yolotrt_lab.emulation.cuda import driver, pycuda_arrays, pycuda_driver, pycuda_tools, runtime
from yolotrt_lab.emulation.cuda.described import types
from yolotrt_lab.emulation.cuda.pycuda_core import Error
from yolotrt_lab.emulation.distributions import CUDA_VERSION, PYCUDA_VERSION
from yolotrt_lab.emulation.leaks import report_at_exit
from yolotrt_lab.errors import EmulationError

__all__ = ["cuda_fillers", "cuda_package_fillers"]

Filler = Callable[[ModuleType], None]

_UNEMULATED_PYCUDA = (
    "characterize", "compiler", "cumath", "curandom", "elementwise", "gl", "reduction", "scan", "sparse",
)  # fmt: skip


def cuda_fillers() -> dict[str, Filler]:
    """Return what gives each emulated module its content, by the module's name."""
    report_at_exit()
    fillers: dict[str, Filler] = {
        "pycuda": _fill_pycuda,
        "pycuda.driver": _copier(pycuda_driver),
        "pycuda._driver": _copier(pycuda_driver),
        "pycuda.gpuarray": _copier(pycuda_arrays),
        "pycuda.tools": _copier(pycuda_tools),
        "pycuda.autoinit": _fill_autoinit,
        "pycuda.autoprimaryctx": _fill_autoprimaryctx,
        "cuda.bindings.runtime": _copier(runtime),
        "cuda.bindings.driver": _copier(driver),
        # The names cuda-python had before version 12.6.
        "cuda.cudart": _copier(runtime),
        "cuda.cuda": _copier(driver),
        "cuda.bindings.nvrtc": _fill_nvrtc,
        "cuda.nvrtc": _fill_nvrtc,
    }
    return fillers | {f"pycuda.{name}": _refuse_kernels for name in _UNEMULATED_PYCUDA}


def cuda_package_fillers() -> dict[str, Filler]:
    """Return the packages around the modules, for where NVIDIA's are not installed."""
    return {"cuda": _fill_package, "cuda.bindings": _fill_package}


def _copier(source: ModuleType) -> Filler:
    def fill(module: ModuleType) -> None:
        """Give an emulated module the public names of the module that implements it."""
        vars(module).update({name: getattr(source, name) for name in source.__all__})
        module.__getattr__ = source.__getattr__  # type: ignore[method-assign]
        module.__doc__ = source.__doc__

    return fill


def _fill_package(module: ModuleType) -> None:
    module.__version__ = CUDA_VERSION  # type: ignore[attr-defined]


def _fill_pycuda(module: ModuleType) -> None:
    version = tuple(int(part) for part in PYCUDA_VERSION.split("."))
    vars(module).update(VERSION=version, VERSION_STATUS="", VERSION_TEXT=PYCUDA_VERSION)


def _fill_autoinit(module: ModuleType) -> None:
    """Do what importing `pycuda.autoinit` does: make a context for the rest of the process."""
    pycuda_driver.init()
    _keep(module, pycuda_tools.make_default_context())


def _fill_autoprimaryctx(module: ModuleType) -> None:
    """Do what importing `pycuda.autoprimaryctx` does: use the context that the CUDA runtime uses."""

    def retain(device: Any) -> Any:
        context = device.retain_primary_context()
        context.push()
        return context

    pycuda_driver.init()
    _keep(module, pycuda_tools.make_default_context(retain))


def _keep(module: ModuleType, context: Any) -> None:
    def finish() -> None:
        with contextlib.suppress(Error):
            context.pop()

    vars(module).update(context=context, device=context.get_device())
    atexit.register(finish)


def _refuse_kernels(module: ModuleType) -> None:
    def refuse(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise EmulationError(
            f"{module.__name__}.{name} is not emulated: it compiles and runs CUDA code.",
            fix="Run this on a machine with an NVIDIA GPU, or compute with NumPy.",
        )

    module.__getattr__ = refuse  # type: ignore[method-assign]


def _fill_nvrtc(module: ModuleType) -> None:
    """The compiler's types, for programs that tell its errors from others; compiling is refused."""
    vars(module).update(types("nvrtc"))
    _refuse_kernels(module)
