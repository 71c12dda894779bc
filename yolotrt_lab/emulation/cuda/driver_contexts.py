"""The emulated `cuda.bindings.driver`: initialisation, the device and contexts."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda import contexts, device_facts
from yolotrt_lab.emulation.cuda.arguments import handle_of, integer
from yolotrt_lab.emulation.cuda.described import bindings
from yolotrt_lab.emulation.cuda.driver_core import CUresult, driver_call, driver_types, need_device
from yolotrt_lab.emulation.cuda.runtime_device import CUDA_VERSION
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "cuCtxCreate",
    "cuCtxDestroy",
    "cuCtxGetApiVersion",
    "cuCtxGetCurrent",
    "cuCtxGetDevice",
    "cuCtxGetFlags",
    "cuCtxPopCurrent",
    "cuCtxPushCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceCanAccessPeer",
    "cuDeviceComputeCapability",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetByPCIBusId",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetPCIBusId",
    "cuDeviceGetUuid",
    "cuDevicePrimaryCtxGetState",
    "cuDevicePrimaryCtxRelease",
    "cuDevicePrimaryCtxReset",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxSetFlags",
    "cuDeviceTotalMem",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuProfilerStart",
    "cuProfilerStop",
]

_CUcontext: Any = driver_types["CUcontext"]
_CUdevice: Any = driver_types["CUdevice"]


@driver_call(results=0, context=False, initialised=False)
def cuInit(Flags: int) -> Any:
    """Initialise CUDA."""
    if Flags:
        raise DeviceFault("invalid value", "the flags of cuInit have to be 0")
    contexts.initialise()


@driver_call(results=1, context=False, initialised=False)
def cuDriverGetVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return CUDA_VERSION


@driver_call(results=1, context=False)
def cuDeviceGetCount() -> Any:
    """Return 1."""
    return 1


@driver_call(results=1, context=False)
def cuDeviceGet(ordinal: int) -> Any:
    """Return device 0."""
    need_device(ordinal)
    return _CUdevice(0)


@driver_call(results=1, context=False)
def cuDeviceGetName(length: int, dev: Any) -> Any:
    """Return the device's name, padded with zero bytes; it says that the device is emulated."""
    need_device(dev)
    return device().name.encode()[: length - 1].ljust(length, b"\0")


@driver_call(results=1, context=False)
def cuDeviceTotalMem(dev: Any) -> Any:
    """Return the device's memory in bytes."""
    need_device(dev)
    return device().heap.capacity


@driver_call(results=1, context=False)
def cuDeviceGetAttribute(attrib: Any, dev: Any) -> Any:
    """Return an attribute; 0 for the compute capability, which a processor does not have."""
    need_device(dev)
    return device_facts.attribute(int(attrib))


@driver_call(results=2, context=False)
def cuDeviceComputeCapability(dev: Any) -> Any:
    """Return (0, 0): a processor has no CUDA compute capability."""
    need_device(dev)
    return device_facts.COMPUTE_CAPABILITY


@driver_call(results=1, context=False)
def cuDeviceGetPCIBusId(length: int, dev: Any) -> Any:
    """Return the device's place on the bus, padded with zero bytes."""
    need_device(dev)
    return device_facts.PCI_BUS_ID.encode()[: length - 1].ljust(length, b"\0")


@driver_call(results=1, context=False)
def cuDeviceGetByPCIBusId(pciBusId: bytes) -> Any:
    """Return the device at a place on the bus."""
    if pciBusId.rstrip(b"\0").decode() != device_facts.PCI_BUS_ID:
        raise DeviceFault("invalid value", f"the one device is at {device_facts.PCI_BUS_ID}")
    return _CUdevice(0)


@driver_call(results=1, context=False)
def cuDeviceCanAccessPeer(dev: Any, peerDev: Any) -> Any:
    """Return 0: there is no other device."""
    need_device(dev)
    need_device(peerDev)
    return 0


@driver_call(results=0)
def cuProfilerStart() -> Any:
    """Tell NVIDIA's profiler to begin; none is attached, and CUDA does nothing then."""


@driver_call(results=0)
def cuProfilerStop() -> Any:
    """Tell NVIDIA's profiler to end."""


@driver_call(results=1, context=False)
def cuDeviceGetUuid(dev: Any) -> Any:
    """Return an identity of zeros."""
    need_device(dev)
    return driver_types["CUuuid"](bytes=bytes(16))


def _shown(context: contexts.CudaContext | None) -> Any:
    return _CUcontext(0 if context is None else context.handle)


def _wanted(handle: Any, *, what: str) -> contexts.CudaContext:
    number = handle_of(handle)
    if number == 0:
        raise DeviceFault("invalid value", f"{what} needs a context, got the null handle")
    return contexts.find(number)


@driver_call(results=1, context=False)
def cuDevicePrimaryCtxRetain(dev: Any) -> Any:
    """Return the primary context, which the runtime uses too; it does not become current."""
    need_device(dev)
    return _shown(contexts.retain_primary())


@driver_call(results=0, context=False)
def cuDevicePrimaryCtxRelease(dev: Any) -> Any:
    """Give the primary context up; the last to do so destroys it."""
    need_device(dev)
    contexts.release_primary()


@driver_call(results=0, context=False)
def cuDevicePrimaryCtxReset(dev: Any) -> Any:
    """Destroy the primary context and its memory."""
    need_device(dev)
    contexts.reset_primary()


@driver_call(results=0, context=False)
def cuDevicePrimaryCtxSetFlags(dev: Any, flags: int) -> Any:
    """How the host waits; without effect here."""
    need_device(dev)


@driver_call(results=2, context=False)
def cuDevicePrimaryCtxGetState(dev: Any) -> Any:
    """Return the primary context's flags, and whether it exists."""
    need_device(dev)
    found = contexts.primary()
    return (0, 0) if found is None else (found.flags, 1)


@driver_call(results=1, context=False)
def cuCtxCreate(ctxCreateParams: Any, flags: int, dev: Any) -> Any:
    """Make a context and make it current."""
    need_device(dev)
    return _shown(contexts.create(int(flags)))


@driver_call(results=0, context=False)
def cuCtxDestroy(ctx: Any) -> Any:
    """Destroy a context and its memory."""
    contexts.destroy(_wanted(ctx, what="cuCtxDestroy"))


@driver_call(results=0, context=False)
def cuCtxPushCurrent(ctx: Any) -> Any:
    """Make a context current in this thread, and remember what was current."""
    contexts.push(_wanted(ctx, what="cuCtxPushCurrent"))


@driver_call(results=1, context=False)
def cuCtxPopCurrent() -> Any:
    """Take the current context off this thread's stack and return it."""
    return _shown(contexts.pop())


@driver_call(results=0, context=False)
def cuCtxSetCurrent(ctx: Any) -> Any:
    """Replace this thread's current context; the null handle takes it off the stack."""
    number = handle_of(ctx)
    contexts.set_current(contexts.find(number) if number else None)


@driver_call(results=1, context=False)
def cuCtxGetCurrent() -> Any:
    """Return this thread's current context; the null handle if there is none."""
    return _shown(contexts.current())


@driver_call(results=1)
def cuCtxGetDevice() -> Any:
    """Return the current context's device."""
    return _CUdevice(0)


@driver_call(results=1)
def cuCtxGetFlags() -> Any:
    """Return the flags the current context was made with."""
    return contexts.need().flags


@driver_call(results=1)
def cuCtxGetApiVersion(ctx: Any) -> Any:
    """Return the driver interface's version."""
    return 3020


@driver_call(results=0)
def cuCtxSynchronize() -> Any:
    """Wait for all work."""
    device().scheduler.synchronize_device()


@driver_call(results=1, context=False, initialised=False)
def cuGetErrorName(error: Any) -> Any:
    """Return an error code's name."""
    return _known_error(error).name.encode()


@driver_call(results=1, context=False, initialised=False)
def cuGetErrorString(error: Any) -> Any:
    """Return what an error code means."""
    number = int(_known_error(error))
    return bindings()["error_texts"].get(str(number), "unknown error").encode()


def _known_error(error: Any) -> Any:
    number = integer(error)
    if number not in CUresult._value2member_map_:
        raise DeviceFault("invalid value", f"there is no CUresult {number}")
    return CUresult(number)
