"""What is asked of the CUDA driver, and what follows from its answers.

The driver here is a stand-in that answers as NVIDIA's did on an H200; the real one is asked by
`benchmarks/gpu_device_memory.py`.
"""

import ctypes
from dataclasses import dataclass

import pytest

from yolotrt_lab.emulation.gpu import memory as gpu_memory
from yolotrt_lab.emulation.gpu.memory import CudaMemory
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

PRIMARY, OTHER = 0xC0FFEE, 0xBAD
INVALID = 1


@dataclass
class Block:
    """An allocation as the driver knows it."""

    start: int
    size: int = 1024
    kind: int = 2
    context: int = PRIMARY
    ordinal: int = 0


class Driver:
    """Answers like libcuda.so.1; functions that are not here fail the test."""

    blocks = (
        Block(0x1000),
        Block(0x2000, kind=1),
        Block(0x3000, context=OTHER),
        Block(0x4000, context=0),  # cudaMallocAsync's
        Block(0x5000, ordinal=1),
    )
    streams = {0x100: PRIMARY, 0x200: OTHER}  # noqa: RUF012 - never changed

    def __init__(self):
        self.stack = []
        self.capturing = False

    def cuInit(self, flags):
        return 0

    def cuDeviceGet(self, device, ordinal):
        return 0

    def cuDeviceGetName(self, name, length, device):
        name.value = b"NVIDIA Test GPU"
        return 0

    def cuDeviceTotalMem_v2(self, total, device):
        total._obj.value = 80 << 30
        return 0

    def cuDeviceGetAttribute(self, number, attribute, device):
        number._obj.value = {75: 8, 76: 6}[attribute]
        return 0

    def cuGetErrorName(self, code, text):
        text._obj.value = b"CUDA_ERROR_MADE_UP"
        return 0

    def cuDevicePrimaryCtxRetain(self, context, device):
        context._obj.value = PRIMARY
        return 0

    def cuCtxPushCurrent_v2(self, context):
        self.stack.append(context.value)
        return 0

    def cuCtxPopCurrent_v2(self, context):
        self.stack.pop()
        return 0

    def cuPointerGetAttribute(self, value, attribute, address):
        for block in self.blocks:
            if block.start <= address.value < block.start + block.size:
                answers = {1: block.context, 2: block.kind, 9: block.ordinal, 11: block.start, 12: block.size}
                value._obj.value = answers[attribute]
                return 0
        return INVALID

    def cuStreamGetCtx(self, stream, context):
        if stream.value not in self.streams:
            return INVALID
        context._obj.value = self.streams[stream.value]
        return 0

    def cuStreamIsCapturing(self, stream, status):
        assert self.stack == [PRIMARY]
        status._obj.value = int(self.capturing)
        return 0

    def cuStreamSynchronize(self, stream):
        return 700 if stream.value == 0x200 else 0

    def cuMemcpyDtoH_v2(self, target, address, nbytes):
        assert self.stack == [PRIMARY]
        ctypes.memmove(target, bytes(range(nbytes.value)), nbytes.value)
        return 0


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(gpu_memory.ctypes, "CDLL", lambda name: driver)
    yield driver
    assert driver.stack == []  # the program's context is current again


@pytest.fixture
def cuda(driver):
    return CudaMemory()


@pytest.mark.parametrize(("address", "nbytes"), [(0x1000, 1024), (0x1000, 0), (0x1010, 1008), (0x4000, 1024)])
def test_good_memory(cuda, address, nbytes):
    cuda.check(address, nbytes, what="input tensor 'images'")


@pytest.mark.parametrize(
    ("address", "nbytes", "kind", "words"),
    [
        (0x1000, 1025, "illegal address", "needs 1025 bytes at 0x1000, but only 1024 bytes are allocated from there"),
        (0x1010, 1024, "illegal address", "but only 1008 bytes"),
        (0x4001, 1024, "illegal address", "but only 1023 bytes"),
        (0x9000, 1, "illegal address", "this is not device memory"),
        (0x2000, 1, "illegal address", "this is pinned host memory"),
        (0x5000, 1, "illegal address", "this is not memory of GPU 0"),
        (0x3000, 1, "invalid context", "retain_primary_context"),
    ],
)
def test_bad_memory(cuda, address, nbytes, kind, words):
    with pytest.raises(DeviceFault) as caught:
        cuda.check(address, nbytes, what="input tensor 'images'")
    assert caught.value.kind == kind
    assert "input tensor 'images'" in caught.value.detail
    assert words in caught.value.detail


@pytest.mark.parametrize("handle", [0, 1, 2, 0x100])
def test_good_streams(cuda, handle):
    cuda.check_stream(handle)


@pytest.mark.parametrize(("handle", "kind"), [(0x200, "invalid context"), (0x300, "invalid handle")])
def test_bad_streams(cuda, handle, kind):
    with pytest.raises(DeviceFault) as caught:
        cuda.check_stream(handle)
    assert caught.value.kind == kind


def test_no_graph_capture(driver, cuda):
    driver.capturing = True
    with pytest.raises(EmulationError, match="cannot be captured"):
        cuda.check_stream(0x100)


def test_waiting(cuda):
    cuda.synchronize(0x100)
    with pytest.raises(DeviceFault, match="CUDA_ERROR_MADE_UP"):
        cuda.synchronize(0x200)


def test_reading(cuda):
    assert cuda.read(0x1000, 5) == bytes(range(5))


def test_the_device(cuda):
    assert (cuda.name, cuda.compute(), cuda.total_bytes) == ("NVIDIA Test GPU", "8.6", 80 << 30)


@pytest.mark.parametrize(("handle", "stream"), [(None, None), (0, "1"), (1, "1"), (0x100, "256")])
def test_settings(cuda, handle, stream):
    options = cuda.provider_options(handle)
    assert options.get("user_compute_stream") == stream
    assert (options["use_tf32"], options["gpu_mem_limit"]) == ("0", str(40 << 30))


def test_no_gpu(driver):
    driver.cuInit = lambda flags: 100
    with pytest.raises(OSError, match="cuInit failed with CUDA error 100"):
        CudaMemory()
