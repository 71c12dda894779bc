"""The only place that decides between real TensorRT and its emulation.

Everything else calls `activate()` and uses what it returns, or imports `tensorrt`, `pycuda.driver` and
`cuda.bindings.runtime` afterwards, and does not know the difference.

`YOLOTRT_PLATFORM=real|emulated|emulated-on-gpu` overrides the choice; `YOLOTRT_TRT_API=10|11` chooses the version that
is emulated. `emulated-on-gpu` is for a GPU without TensorRT's libraries: memory, streams and events are the GPU's, and
ONNX Runtime runs the engines there. It is never chosen by itself, because the emulation on the processor is what the
course's results come from, computes in INT8, times layers, and finds more mistakes; its one line mentions the other.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.tensorrt.namespace import requested_api
from yolotrt_lab.emulation.tensorrt.plan_format import MAGIC as _EMULATED_MAGIC
from yolotrt_lab.errors import InputError, MissingDependencyError

__all__ = ["Platform", "PlatformKind", "activate", "deactivate", "plan_kind"]

PlatformKind = Literal["real", "emulated"]

_REAL_MAGIC = (b"ftrt", b"ptrt")
_ON_GPU = "emulated-on-gpu"
_BY_ONNX_RUNTIME = ", emulated TensorRT by ONNX Runtime CUDA"


@dataclass(frozen=True)
class Platform:
    """What engines are built for and run on.

    Attributes:
        kind: "real" (TensorRT on a GPU) or "emulated" (OpenVINO on the CPU; on demand, ONNX Runtime on a GPU).
        trt: The `tensorrt` module.
        api_major: 10 or 11.
        tensorrt_version: The full version, emulated or real.
        device_name: The GPU, or the emulated device's name, which says that it is emulated.
        memory: The device's memory in bytes.
    """

    kind: PlatformKind
    trt: ModuleType
    api_major: int
    tensorrt_version: str
    device_name: str
    memory: int


_active: tuple[tuple[str, int], Platform] | None = None
_announced = False


def activate() -> Platform:
    """Return the platform to use: real TensorRT if it imports and a GPU answers, otherwise the emulation.

    The first time the emulation is chosen, one line says so, on stderr or, in a notebook, on stdout.

    Raises:
        MissingDependencyError: Real TensorRT, or its emulation on a GPU, was demanded and something is missing.
        InputError: `YOLOTRT_PLATFORM` or `YOLOTRT_TRT_API` has another value.
    """
    global _active
    wanted = os.environ.get("YOLOTRT_PLATFORM", "")
    if wanted not in ("", "real", "emulated", _ON_GPU):
        expected = f"real, emulated or {_ON_GPU}"
        raise InputError("YOLOTRT_PLATFORM names no platform.", expected=expected, got=wanted)
    key = (wanted, requested_api())
    if _active is not None and _active[0] == key and _is_there(_active[1]):
        return _active[1]
    deactivate()
    if wanted == _ON_GPU:
        platform = _on_gpu_platform(key[1])
        _announce(platform, "Results and precisions are real, timings are the GPU's, but not TensorRT's.")
    elif wanted == "emulated" or (found := _real_platform(demanded=wanted == "real")) is None:
        platform = _emulated_platform(key[1])
        hint = f" YOLOTRT_PLATFORM={_ON_GPU} emulates it on {found_gpu}." if (found_gpu := _unused_gpu(wanted)) else ""
        _announce(platform, f"Results and precisions are real, timings are CPU timings.{hint}")
    else:
        platform = found
    _active = (key, platform)
    return platform


def deactivate() -> None:
    """Undo `activate`: imports find again what is installed."""
    global _active
    _active = None
    modules.deactivate()


def _is_there(platform: Platform) -> bool:
    """Return whether imports still find the platform: the emulation can be switched off by itself."""
    on_gpu = platform.device_name.endswith(_BY_ONNX_RUNTIME)
    there = (modules.active_api(), modules.is_on_gpu()) == (platform.api_major, on_gpu)
    return platform.kind == "real" or there


def plan_kind(data: bytes) -> PlatformKind | None:
    """Return which platform a plan was built on, by its first bytes; None if it is no plan."""
    if data.startswith(_EMULATED_MAGIC):
        return "emulated"
    return "real" if data.startswith(_REAL_MAGIC) else None


def _emulated_platform(major: int) -> Platform:
    modules.activate(major)
    trt = importlib.import_module("tensorrt")
    emulated = device()
    return Platform("emulated", trt, major, str(trt.__version__), emulated.name, emulated.heap.capacity)


def _on_gpu_platform(major: int) -> Platform:
    """Return the platform on which TensorRT alone is emulated, by ONNX Runtime on a GPU."""
    try:
        name, memory = _gpu()
        onnxruntime: Any = importlib.import_module("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ImportError(f"onnxruntime {onnxruntime.__version__} has no CUDAExecutionProvider")
        if not any(map(_is_installed, ("cuda.bindings.runtime", "pycuda.driver"))):
            raise ImportError("neither cuda-python nor PyCUDA is installed")
        modules.activate(major, on_gpu=True)
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"The emulation on a GPU is demanded (YOLOTRT_PLATFORM={_ON_GPU}), but something is missing.",
            expected="an NVIDIA GPU with driver, onnxruntime-gpu, and cuda-python or PyCUDA",
            got=error,
            fix="Install them, or set YOLOTRT_PLATFORM=emulated to emulate the GPU too.",
        ) from error
    trt = importlib.import_module("tensorrt")
    return Platform("emulated", trt, major, str(trt.__version__), f"{name}{_BY_ONNX_RUNTIME}", memory)


def _unused_gpu(wanted: str) -> str | None:
    """Return the name of a GPU that could be used but was not, if the choice was left open."""
    if wanted:
        return None
    try:
        return _gpu()[0]
    except OSError:
        return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _announce(platform: Platform, truth: str) -> None:
    global _announced
    if _announced:
        return
    _announced = True
    # Output on stderr fails a graded notebook cell.
    stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    print(
        f"TensorRT {platform.tensorrt_version} is emulated: {platform.device_name}. {truth}",
        file=stream,
    )


def _real_platform(*, demanded: bool) -> Platform | None:
    try:
        name, memory = _gpu()
        trt = importlib.import_module("tensorrt")
        importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        if demanded:
            raise MissingDependencyError(
                "Real TensorRT is demanded (YOLOTRT_PLATFORM=real) but not there.",
                expected="an NVIDIA GPU with driver, tensorrt and cuda-python",
                got=error,
                fix="pip install 'yolotrt-lab[gpu]' on a machine with an NVIDIA GPU, or unset YOLOTRT_PLATFORM.",
            ) from error
        return None
    return Platform("real", trt, int(trt.__version__.split(".")[0]), str(trt.__version__), name, memory)


def _gpu() -> tuple[str, int]:
    """Return the first GPU's name and memory in bytes, straight from the driver.

    Raises:
        OSError: No driver, or no GPU.
    """
    cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    count, handle, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    _driver_call(cuda.cuInit(0), "cuInit")
    _driver_call(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if count.value == 0:
        raise OSError("the CUDA driver finds no GPU")
    _driver_call(cuda.cuDeviceGet(ctypes.byref(handle), 0), "cuDeviceGet")
    _driver_call(cuda.cuDeviceGetName(name, len(name), handle), "cuDeviceGetName")
    _driver_call(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle), "cuDeviceTotalMem")
    return name.value.decode(errors="replace"), int(memory.value)


def _driver_call(code: Any, function: str) -> None:
    if code != 0:
        raise OSError(f"{function} failed with CUDA error {code}")
