"""Emulated TensorRT by ONNX Runtime, on a device that every machine has: emulated device memory and the CPU provider.

All but the questions to the CUDA driver is the code that runs on a GPU: ONNX Runtime reads and writes raw addresses.
With `YOLOTRT_TEST_GPU=1` the same tests run on a real GPU with onnxruntime-gpu and cuda-python.
"""

import contextlib
import importlib
import os

import pytest

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.gpu.memory import CudaMemory
from yolotrt_lab.emulation.gpu.target import GpuTarget
from yolotrt_lab.emulation.tensorrt.target import use_target

ON_GPU = os.environ.get("YOLOTRT_TEST_GPU") == "1"


class HostMemory:
    """Emulated device memory, as a device whose streams have done their work when something is enqueued in them."""

    name = "emulated memory"
    provider = "CPUExecutionProvider"
    kind = "cpu"
    ordinal = 0
    total_bytes = 3 << 30

    def __init__(self):
        self.capability = "9.0"

    def compute(self):
        return self.capability

    def provider_options(self, stream_handle):
        return {}

    def current(self):
        return contextlib.nullcontext()

    def check(self, address, nbytes, *, what):
        device().heap.locate(address, nbytes, what=what)

    def check_stream(self, stream_handle):
        device().scheduler.synchronize_stream(stream_handle)

    def synchronize(self, stream_handle):
        device().scheduler.synchronize_stream(stream_handle)

    def read(self, address, nbytes):
        device().scheduler.run_now(lambda: None)
        allocation, offset = device().heap.locate(address, nbytes, what="a copy")
        return allocation.payload[offset : offset + nbytes].tobytes()


@pytest.fixture(params=[10, 11], ids=["api10", "api11"])
def trt(request):
    """The emulated tensorrt module; on a GPU, CUDA's modules are the real ones."""
    modules.activate(request.param, on_gpu=ON_GPU)
    return importlib.import_module("tensorrt")


@pytest.fixture
def on_host():
    """Says that a test is about emulated memory, or needs OpenVINO, or would crash the CUDA driver."""
    if ON_GPU:
        pytest.skip("not on a real GPU")


@pytest.fixture
def memory(trt):
    """The device that is compiled for and run on."""
    memory = CudaMemory() if ON_GPU else HostMemory()
    use_target(GpuTarget(memory))
    return memory
