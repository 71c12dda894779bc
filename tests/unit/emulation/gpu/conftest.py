"""Emulated TensorRT by ONNX Runtime, on a device that every machine has: emulated device memory and the CPU provider.

All but the questions to the CUDA driver is the code that runs on a GPU: ONNX Runtime reads and writes raw addresses.
"""

import contextlib

import pytest

from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.gpu.target import GpuTarget
from yolotrt_lab.emulation.tensorrt.target import use_target


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
        device().scheduler.run_before_default()
        allocation, offset = device().heap.locate(address, nbytes, what="a copy")
        return allocation.payload[offset : offset + nbytes].tobytes()


@pytest.fixture
def memory(trt):
    """The device that is compiled for and run on."""
    memory = HostMemory()
    use_target(GpuTarget(memory))
    return memory
