"""The emulated `cuda.bindings.runtime`: the device, versions and errors."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import contexts, device_facts
from yolotrt_lab.emulation.cuda.arguments import integer, size
from yolotrt_lab.emulation.cuda.described import bindings
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call, take_last_error
from yolotrt_lab.emulation.cuda.runtime_types import cudaDeviceAttr, cudaDeviceProp, cudaError_t
from yolotrt_lab.emulation.device import device as emulated_device
from yolotrt_lab.emulation.leaks import abandon
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "cudaChooseDevice",
    "cudaDeviceCanAccessPeer",
    "cudaDeviceGetAttribute",
    "cudaDeviceGetByPCIBusId",
    "cudaDeviceGetPCIBusId",
    "cudaDeviceReset",
    "cudaDeviceSynchronize",
    "cudaDriverGetVersion",
    "cudaGetDevice",
    "cudaGetDeviceCount",
    "cudaGetDeviceFlags",
    "cudaGetDeviceProperties",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaInitDevice",
    "cudaPeekAtLastError",
    "cudaProfilerStart",
    "cudaProfilerStop",
    "cudaRuntimeGetVersion",
    "cudaSetDevice",
    "cudaSetDeviceFlags",
    "getLocalRuntimeVersion",
]

CUDA_VERSION = 13000
_MAP_HOST = 8


def need_device(number: Any) -> None:
    """Refuse devices that do not exist.

    Raises:
        DeviceFault: It is not device 0.
    """
    if integer(number) != 0:
        raise DeviceFault("invalid device", f"there is one device, number 0; got {int(number)}")


@runtime_call(results=0)
def cudaDeviceSynchronize() -> Any:
    """Wait for all work."""
    emulated_device().scheduler.synchronize_device()


@runtime_call(results=0)
def cudaDeviceReset() -> Any:
    """Drop all memory and work, and the primary context."""
    contexts.reset_primary()
    for allocation in emulated_device().heap.living():
        abandon(allocation)
    emulated_device().reset()


@runtime_call(results=1, context=False)
def cudaGetDeviceCount() -> Any:
    """Return 1."""
    contexts.initialise()
    return 1


@runtime_call(results=1, context=False)
def cudaGetDevice() -> Any:
    """Return 0."""
    return 0


@runtime_call(results=0, context=False)
def cudaSetDevice(device: int) -> Any:
    """Choose device 0, and make its primary context current."""
    need_device(device)
    contexts.use_primary()


@runtime_call(results=0, context=False)
def cudaInitDevice(device: int, deviceFlags: int, flags: int) -> Any:
    """Make the primary context of device 0; it does not become current."""
    need_device(device)
    contexts.initialise()


@runtime_call(results=1, context=False)
def cudaGetDeviceProperties(device: int) -> Any:
    """Return the device's properties; the name says that it is emulated."""
    need_device(device)
    return cudaDeviceProp(**device_facts.properties())


@runtime_call(results=1, context=False)
def cudaChooseDevice(prop: Any) -> Any:
    """Return 0."""
    return 0


@runtime_call(results=1, context=False)
def cudaDeviceGetAttribute(attr: Any, device: int) -> Any:
    """Return an attribute; 0 for the compute capability, which a processor does not have."""
    need_device(device)
    number = int(attr)
    if number not in cudaDeviceAttr._value2member_map_:
        raise DeviceFault("invalid value", f"there is no device attribute {number}")
    return device_facts.attribute(number)


@runtime_call(results=1, context=False)
def cudaDeviceGetPCIBusId(length: int, device: int) -> Any:
    """Return the device's place on the bus, padded with zero bytes."""
    need_device(device)
    return device_facts.PCI_BUS_ID.encode()[: size(length) - 1].ljust(size(length), b"\0")


@runtime_call(results=1, context=False)
def cudaDeviceGetByPCIBusId(pciBusId: bytes) -> Any:
    """Return 0 for the place of the one device."""
    if pciBusId.rstrip(b"\0").decode() != device_facts.PCI_BUS_ID:
        raise DeviceFault("invalid value", f"the one device is at {device_facts.PCI_BUS_ID}")
    return 0


@runtime_call(results=1, context=False)
def cudaDeviceCanAccessPeer(device: int, peerDevice: int) -> Any:
    """Return 0: there is no other device."""
    need_device(device)
    need_device(peerDevice)
    return 0


@runtime_call(results=1)
def cudaGetDeviceFlags() -> Any:
    """Return the flags of the current context, and that host memory can be mapped, as CUDA always says."""
    found = contexts.current()
    return _MAP_HOST | (found.flags if found else 0)


@runtime_call(results=0, context=False)
def cudaSetDeviceFlags(flags: int) -> Any:
    """How the host waits; without effect here."""


@runtime_call(results=1, context=False)
def cudaRuntimeGetVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return CUDA_VERSION


@runtime_call(results=1, context=False)
def cudaDriverGetVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return CUDA_VERSION


@runtime_call(results=1, context=False)
def getLocalRuntimeVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return CUDA_VERSION


@runtime_call(results=0, context=False)
def cudaProfilerStart() -> Any:
    """Tell NVIDIA's profiler to begin; none is attached, and CUDA does nothing then."""


@runtime_call(results=0, context=False)
def cudaProfilerStop() -> Any:
    """Tell NVIDIA's profiler to end."""


@runtime_call(results=1, context=False)
def cudaGetErrorString(error: Any) -> Any:
    """Return what an error code means."""
    return bindings()["error_texts"].get(str(int(error)), "unrecognized error code").encode()


@runtime_call(results=1, context=False)
def cudaGetErrorName(error: Any) -> Any:
    """Return an error code's name."""
    number = int(error)
    known = number in cudaError_t._value2member_map_
    return (cudaError_t(number).name if known else "unrecognized error code").encode()


def cudaGetLastError() -> tuple[Any]:
    """Return the calling thread's last error and forget it."""
    return (take_last_error(forget=True),)


def cudaPeekAtLastError() -> tuple[Any]:
    """Return the calling thread's last error."""
    return (take_last_error(forget=False),)
