"""The programs that probes run: each imports one package, tries its simplest use, and prints what it found as JSON.

Keys are module names. They run in fresh interpreters, so they share nothing with this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PROGRAMS"]

_VERSION = "import json, {module}\nprint(json.dumps({{'version': {module}.__version__}}))"

_TORCH = """
import json, torch
reason = None
try:
    if torch.version.cuda:
        torch.cuda.init()
except Exception as error:
    reason = str(error).splitlines()[0]
torch.from_numpy(__import__("numpy").zeros(1))
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available(),
    "devices": torch.cuda.device_count(), "reason": reason,
    "cudnn": torch.backends.cudnn.version() if torch.version.cuda else None,
}))
"""

_TORCHVISION = """
import json, torch, torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
print(json.dumps({"version": torchvision.__version__}))
"""

_OPENVINO = """
import json, openvino
core = openvino.Core()
devices = core.available_devices
print(json.dumps({
    "version": openvino.__version__.split("-")[0], "devices": devices,
    "capabilities": list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")) if "CPU" in devices else [],
}))
"""

# A provider library wants the shared one before it, and finds CUDA and TensorRT only if they are loaded already.
_ONNXRUNTIME = """
import contextlib, ctypes, json, re
from pathlib import Path
import onnxruntime
answer = {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}
folder = Path(onnxruntime.__file__).parent / "capi"
shared = folder / "libonnxruntime_providers_shared.so"
if shared.is_file() and "CUDAExecutionProvider" in answer["providers"]:
    with contextlib.suppress(Exception):
        onnxruntime.preload_dlls()
    with contextlib.suppress(Exception):
        import tensorrt
    ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
    for name in ("cuda", "tensorrt"):
        library = folder / f"libonnxruntime_providers_{name}.so"
        if not library.is_file():
            continue
        if name == "tensorrt":
            match = re.search(rb"libnvinfer\\.so\\.(\\d+)", library.read_bytes())
            answer["nvinfer_major"] = int(match.group(1)) if match else None
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            answer[f"{name}_error"] = str(error)[:300]
print(json.dumps(answer))
"""

_TENSORRT = """
import json, tensorrt
builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
print(json.dumps({"version": tensorrt.__version__}))
"""

_PYCUDA = """
import json, pycuda
import pycuda.driver as driver
driver.init()
context = driver.Device(0).make_context()
driver.mem_alloc(256).free()
context.pop()
print(json.dumps({"version": pycuda.VERSION_TEXT, "devices": driver.Device.count()}))
"""

_CUDA = """
import json
from importlib.metadata import version
from cuda.bindings import runtime
error, count = runtime.cudaGetDeviceCount()
if int(error):
    raise SystemExit(f"cudaGetDeviceCount: {error.name}")
print(json.dumps({"version": version("cuda-bindings"), "devices": count}))
"""

PROGRAMS: Mapping[str, str] = MappingProxyType(
    {
        "numpy": _VERSION.format(module="numpy"),
        "torch": _TORCH,
        "torchvision": _TORCHVISION,
        "ultralytics": _VERSION.format(module="ultralytics"),
        "onnx": _VERSION.format(module="onnx"),
        "onnxruntime": _ONNXRUNTIME,
        "openvino": _OPENVINO,
        "cv2": _VERSION.format(module="cv2"),
        "tensorrt": _TENSORRT,
        "pycuda": _PYCUDA,
        "cuda": _CUDA,
    }
)
"""The programs by module name."""
