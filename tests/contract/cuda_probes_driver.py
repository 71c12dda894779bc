"""Probes of `cuda.bindings.driver`, alone and beside the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from cuda_probing import DATA, HUGE, Modules, each, in_thread


def driver_contexts(drv: Any) -> list[str]:
    device = drv.cuDeviceGet(0)[1]
    made: list[Any] = []
    return each(
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuCtxGetDevice(),
        lambda: drv.cuCtxSynchronize(),
        lambda: drv.cuMemAlloc(32),
        lambda: drv.cuStreamCreate(0),
        lambda: drv.cuCtxPopCurrent(),
        lambda: made.append(drv.cuCtxCreate(None, 0, device)[1]),
        lambda: type(made[0]).__name__,
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: made.append(drv.cuCtxCreate(None, 0, device)[1]),
        lambda: drv.cuCtxPopCurrent()[1] == made[1],
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: in_thread(lambda: drv.cuCtxGetCurrent()),
        lambda: in_thread(lambda: drv.cuMemAlloc(32)),
        lambda: in_thread(lambda: (drv.cuCtxSetCurrent(made[0]), drv.cuMemAlloc(32)[0])),
        lambda: drv.cuCtxPushCurrent(made[1]),
        lambda: drv.cuCtxGetCurrent()[1] == made[1],
        lambda: drv.cuCtxSetCurrent(made[0]),
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: drv.cuCtxSetCurrent(0),
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: drv.cuCtxGetDevice(),
        lambda: drv.cuCtxDestroy(made[0]),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuCtxDestroy(0),
        lambda: drv.cuCtxPushCurrent(0),
        lambda: drv.cuDevicePrimaryCtxGetState(device),
        lambda: made.append(drv.cuDevicePrimaryCtxRetain(device)[1]),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuDevicePrimaryCtxGetState(device),
        lambda: drv.cuCtxSetCurrent(made[2]),
        lambda: drv.cuDevicePrimaryCtxRetain(device)[1] == made[2],
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuMemAlloc(32)[0],
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuMemAlloc(32)[0],
        lambda: drv.cuCtxCreate(None, 0, 5)[0],
        lambda: drv.cuCtxGetApiVersion(0)[0],
    )


def driver_and_runtime(modules: Modules) -> list[str]:
    drv, rt = modules.drv, modules.rt
    return each(
        lambda: drv.cuDeviceGetCount(),
        lambda: drv.cuDeviceGet(0),
        lambda: drv.cuMemAlloc(32),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuInit(1),
        lambda: rt.cudaFree(0),
        lambda: drv.cuCtxGetCurrent()[1] == drv.cuDevicePrimaryCtxRetain(0)[1],
        lambda: drv.cuMemAlloc(32)[0],
        lambda: in_thread(lambda: (rt.cudaMalloc(32)[0], int(drv.cuCtxGetCurrent()[1]) != 0)),
        lambda: rt.cudaFree(drv.cuMemAlloc(32)[1]),
        lambda: drv.cuMemFree(rt.cudaMalloc(32)[1]),
        lambda: rt.cudaStreamSynchronize(drv.cuStreamCreate(0)[1]),
        lambda: drv.cuStreamSynchronize(rt.cudaStreamCreate()[1]),
        lambda: rt.cudaEventQuery(drv.cuEventCreate(0)[1]),
        lambda: drv.cuMemGetInfo()[1:] == rt.cudaMemGetInfo()[1:],
    )


def driver_device(drv: Any) -> list[str]:
    device = drv.cuDeviceGet(0)[1]
    attribute = drv.CUdevice_attribute
    return each(
        lambda: device,
        lambda: type(device).__name__,
        lambda: drv.cuDeviceGet(99),
        lambda: drv.cuDeviceGet(-1),
        lambda: drv.cuDeviceGetCount(),
        lambda: len(drv.cuDeviceGetName(64, device)[1]),
        lambda: len(drv.cuDeviceGetName(4, device)[1]),
        lambda: drv.cuDeviceGetName(4, 99),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, device),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, 99),
        lambda: type(drv.cuDeviceGetUuid(device)[1]).__name__,
        lambda: len(drv.cuDeviceComputeCapability(device)),
        lambda: drv.cuGetErrorName(drv.CUresult.CUDA_ERROR_INVALID_VALUE),
        lambda: drv.cuGetErrorString(drv.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS),
        lambda: drv.cuGetErrorString(12345),
        lambda: drv.cuGetErrorName(12345),
        lambda: drv.CUresult.CUDA_SUCCESS,
    )


def driver_memory(drv: Any) -> list[str]:
    memory, back = drv.cuMemAlloc(32)[1], np.zeros_like(DATA)
    pinned = drv.cuMemHostAlloc(64, 0)[1]
    pointer = drv.CUpointer_attribute
    return each(
        lambda: type(memory).__name__,
        lambda: type(pinned).__name__,
        lambda: drv.cuMemAlloc(0),
        lambda: drv.cuMemAlloc(HUGE),
        lambda: drv.cuMemcpyHtoD(memory, DATA, 32),
        lambda: drv.cuMemcpyHtoD(int(memory), DATA.ctypes.data, 32),
        lambda: drv.cuMemcpyDtoH(back, memory, 32),
        lambda: back.tolist(),
        lambda: drv.cuMemcpyDtoH(back, 0, 32),
        lambda: drv.cuMemcpyHtoD(memory, DATA, 8 << 20),
        lambda: drv.cuMemcpyDtoD(memory, memory, 16),
        lambda: drv.cuMemcpyHtoDAsync(memory, DATA, 32, 0),
        lambda: drv.cuMemcpyDtoHAsync(back, memory, 32, 0),
        lambda: drv.cuMemcpy(memory, memory, 16),
        lambda: drv.cuMemcpyAsync(memory, memory, 16, 0),
        lambda: drv.cuMemsetD8(memory, 7, 32),
        lambda: drv.cuMemsetD32(memory, 7, 8),
        lambda: drv.cuMemsetD32(memory, 7, 8 << 20),
        lambda: drv.cuMemsetD8(0, 7, 32),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pinned),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, DATA.ctypes.data),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory),
        lambda: drv.cuMemGetAddressRange(int(memory) + 4)[2],
        lambda: type(drv.cuMemGetAddressRange(int(memory) + 4)[1]).__name__,
        lambda: drv.cuMemGetAddressRange(DATA.ctypes.data),
        lambda: drv.cuMemFree(int(memory) + 4),
        lambda: drv.cuMemFree(0),
        lambda: drv.cuMemFree(memory),
        lambda: drv.cuMemFree(memory),
        lambda: drv.cuMemFreeHost(pinned),
        lambda: drv.cuMemFreeHost(pinned),
        lambda: drv.cuMemHostUnregister(DATA.ctypes.data),
        lambda: [type(item).__name__ for item in drv.cuMemAllocPitch(100, 4, 4)],
        lambda: drv.cuMemAllocPitch(100, 4, 4)[2],
        lambda: drv.cuMemAllocPitch(100, 4, 3)[0],
    )


def driver_streams(drv: Any) -> list[str]:
    stream, event = drv.cuStreamCreate(0)[1], drv.cuEventCreate(0)[1]
    return each(
        lambda: (type(stream).__name__, type(event).__name__),
        lambda: drv.cuStreamCreate(9)[0],
        lambda: drv.cuStreamQuery(stream),
        lambda: drv.cuEventQuery(event),
        lambda: drv.cuEventElapsedTime(event, event),
        lambda: drv.cuEventRecord(event, stream),
        lambda: drv.cuEventSynchronize(event),
        lambda: drv.cuEventElapsedTime(event, event),
        lambda: drv.cuStreamWaitEvent(stream, event, 0),
        lambda: drv.cuStreamGetFlags(stream),
        lambda: drv.cuStreamGetPriority(stream),
        lambda: drv.cuCtxGetStreamPriorityRange(),
        lambda: drv.cuStreamGetCtx(stream)[1] == drv.cuCtxGetCurrent()[1],
        lambda: drv.cuStreamSynchronize(stream),
        lambda: drv.cuEventDestroy(event),
        lambda: drv.cuEventDestroy(0),
        lambda: drv.cuStreamDestroy(stream),
        lambda: drv.cuStreamDestroy(0),
    )


def context_destroyed_twice(drv: Any) -> list[str]:
    context = drv.cuCtxGetCurrent()[1]
    return each(lambda: drv.cuCtxDestroy(context), lambda: drv.cuCtxDestroy(context))
