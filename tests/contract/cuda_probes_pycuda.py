"""Probes of PyCUDA, alone and beside the runtime."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from cuda_probing import DATA, HUGE, Modules, each, filled, in_thread, read_only


def pycuda_more(modules: Modules) -> list[str]:
    cuda, rt, arrays = modules.cuda, modules.rt, modules.gpuarray
    pinned = cuda.pagelocked_empty(8, np.float32)
    array = arrays.to_gpu(np.arange(12, dtype=np.float32).reshape(3, 4))
    return each(
        lambda: pinned.base.get_device_pointer() == pinned.ctypes.data,
        lambda: cuda.memcpy_htod(pinned.ctypes.data, DATA),
        lambda: pinned.tolist(),
        lambda: cuda.memset_d32(pinned.ctypes.data, 0, 8),
        lambda: cuda.Context.synchronize(),
        lambda: pinned.tolist(),
        lambda: array[:, 1].get().tolist(),
        lambda: array[::2].get().tolist(),
        lambda: array[1:, 1:3].get().tolist(),
        lambda: array.T.get().tolist(),
        lambda: array.transpose((1, 0)).shape,
        lambda: array[0, 0].get().tolist(),
        lambda: array[...].shape,
        lambda: array[-1].get().tolist(),
        lambda: array.reshape(-1, 6).shape,
        lambda: array.reshape((2, -1)).shape,
        lambda: array[3],
        lambda: array.fill(7).get()[0].tolist(),
        lambda: array.squeeze().shape,
        lambda: arrays.ones((2,), np.float32).get().tolist(),
        lambda: arrays.ones_like(array).get()[0].tolist(),
        lambda: arrays.transpose(array).shape,
        lambda: arrays.empty((2, 2), np.float32, order="X"),
        lambda: cuda.aligned_zeros_like(DATA).ctypes.data % 4096,
        lambda: cuda.pagelocked_zeros_like(DATA).tolist(),
        lambda: cuda.mem_get_info()[0] <= cuda.mem_get_info()[1],
        lambda: rt.cudaFree(int(cuda.mem_alloc(4))),
    )


def pycuda_without(modules: Modules) -> list[str]:
    cuda = modules.cuda
    return each(
        lambda: cuda.Device.count(),
        lambda: cuda.Device(0),
        lambda: cuda.mem_alloc(4),
        lambda: cuda.Context.get_current(),
        lambda: cuda.Context.get_device(),
        lambda: cuda.init(),
        lambda: cuda.mem_alloc(4),
        lambda: cuda.memcpy_htod(1 << 30, DATA),
        lambda: cuda.memcpy_dtoh(DATA.copy(), 1 << 30),
        lambda: cuda.pagelocked_empty(4, np.float32),
        lambda: cuda.Stream(),
        lambda: cuda.Event(),
        lambda: cuda.mem_get_info(),
        lambda: cuda.Context.synchronize(),
        lambda: cuda.Context.get_device(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Device(99),
        lambda: cuda.Device(-1),
        lambda: cuda.Device("x"),
    )


def pycuda_contexts(modules: Modules) -> list[str]:
    cuda = modules.cuda
    cuda.init()
    device = cuda.Device(0)
    held: list[Any] = []
    return each(
        lambda: held.append(device.make_context()),
        lambda: cuda.Context.get_current() == held[0],
        lambda: cuda.Context.get_current() is held[0],
        lambda: held[0].handle == int(modules.drv.cuCtxGetCurrent()[1]),
        lambda: in_thread(lambda: cuda.mem_alloc(4)),
        lambda: in_thread(lambda: cuda.Stream()),
        lambda: in_thread(lambda: cuda.Context.get_current()),
        lambda: in_thread(lambda: (held[0].push(), cuda.mem_alloc(4) is not None, cuda.Context.pop())),
        lambda: held[0].push(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Context.pop(),
        lambda: held[0].push(),
        lambda: held[0].detach(),
        lambda: cuda.Context.get_current(),
        lambda: held[0].push(),
        lambda: held[0].detach(),
        lambda: held.append(device.retain_primary_context()),
        lambda: cuda.Context.get_current(),
        lambda: held[1].push(),
        lambda: cuda.mem_alloc(4) is not None,
        lambda: int(modules.drv.cuCtxGetCurrent()[1]) == held[1].handle,
        lambda: modules.drv.cuDevicePrimaryCtxGetState(0)[2],
        lambda: cuda.Context.pop(),
        lambda: modules.rt.cudaFree(0),
        lambda: cuda.Context.get_current(),
        lambda: cuda.mem_alloc(4) is not None,
    )


def pycuda_runtime_primary(modules: Modules) -> list[str]:
    """A program that initialises with the runtime and then uses PyCUDA without a context of its own."""
    cuda, rt = modules.cuda, modules.rt
    memory = rt.cudaMalloc(32)[1]
    return each(
        lambda: cuda.init(),
        lambda: cuda.memcpy_htod(memory, DATA),
        lambda: cuda.mem_alloc(4) is not None,
        lambda: cuda.Stream() is not None,
        lambda: cuda.from_device(memory, 8, np.float32).tolist(),
        lambda: rt.cudaStreamSynchronize(cuda.Stream().handle) if cuda.Context.get_current() else None,
    )


def pycuda_memory(cuda: Any) -> list[str]:
    memory = filled(cuda)
    return each(
        lambda: type(memory).__name__,
        lambda: cuda.mem_alloc(0),
        lambda: cuda.mem_alloc(-1),
        lambda: cuda.mem_alloc(HUGE),
        lambda: cuda.mem_alloc(1.5),
        lambda: cuda.mem_alloc("4"),
        lambda: cuda.mem_alloc(None),
        lambda: cuda.mem_alloc(np.int64(4)) is not None,
        lambda: cuda.mem_alloc(True) is not None,
        lambda: cuda.mem_alloc(),
        lambda: int(memory) == memory.__int__(),
        lambda: memory + 4,
        lambda: memory == memory,
        lambda: hash(memory) == hash(int(memory)),
        lambda: isinstance(memory, cuda.PointerHolderBase),
        lambda: type(memory.as_buffer(32)).__name__,
        lambda: sorted(name for name in dir(memory) if not name.startswith("_")),
        lambda: memory.free(),
        lambda: memory.free(),
        lambda: int(memory) != 0,
        lambda: cuda.memcpy_dtoh(DATA.copy(), memory),
        lambda: [type(item).__name__ for item in cuda.mem_alloc_pitch(100, 4, 4)],
        lambda: cuda.mem_alloc_pitch(100, 4, 4)[1],
        lambda: cuda.mem_alloc_like(DATA) is not None,
        lambda: [type(item).__name__ for item in cuda.mem_get_info()],
        lambda: len(cuda.mem_get_address_range(cuda.mem_alloc(64))),
        lambda: cuda.to_device(np.zeros((4, 4), np.float32)[:, ::2]) is not None,
    )


def pycuda_copies(cuda: Any) -> list[str]:
    memory, stream = filled(cuda), cuda.Stream()
    return each(
        lambda: cuda.memcpy_htod(memory, DATA),
        lambda: cuda.memcpy_htod(int(memory), DATA),
        lambda: cuda.memcpy_htod(np.uint64(memory), DATA),
        lambda: cuda.memcpy_htod(None, DATA),
        lambda: cuda.memcpy_htod(memory, DATA, stream),
        lambda: cuda.memcpy_htod(memory, [1.0]),
        lambda: cuda.memcpy_htod(memory, b"abcd"),
        lambda: cuda.memcpy_htod(memory, np.float32(3)),
        lambda: cuda.memcpy_htod(memory, 3.0),
        lambda: cuda.memcpy_htod(memory, None),
        lambda: cuda.memcpy_htod(memory, np.zeros((2, 4), np.float32).T),
        lambda: cuda.memcpy_htod(memory, np.zeros((4, 4), np.float32)[:, ::2]),
        lambda: cuda.memcpy_htod(memory, np.zeros(0, np.float32)),
        lambda: cuda.memcpy_htod(memory, np.zeros(2 << 20, np.float32)),
        lambda: cuda.memcpy_htod(0, DATA),
        lambda: cuda.memcpy_dtoh(DATA.copy(), memory),
        lambda: cuda.memcpy_dtoh(read_only(), memory),
        lambda: cuda.memcpy_dtoh(np.zeros((4, 4), np.float32)[:, ::2], memory),
        lambda: cuda.memcpy_dtoh(b"abcd", memory),
        lambda: cuda.memcpy_dtoh(bytearray(4), memory),
        lambda: cuda.memcpy_dtoh(None, memory),
        lambda: cuda.memcpy_dtoh([0.0], memory),
        lambda: cuda.memcpy_dtoh(np.zeros(2 << 20, np.float32), memory),
        lambda: cuda.memcpy_dtoh(memory, DATA),
        lambda: cuda.memcpy_htod(DATA, memory),
        lambda: cuda.memcpy_htod_async(memory, DATA, stream),
        lambda: cuda.memcpy_htod_async(memory, DATA, stream.handle),
        lambda: cuda.memcpy_htod_async(memory, DATA, None),
        lambda: cuda.memcpy_htod_async(memory, DATA),
        lambda: cuda.memcpy_htod_async(dest=memory, src=DATA, stream=stream),
        lambda: cuda.memcpy_dtoh_async(DATA.copy(), memory, stream),
        lambda: cuda.memcpy_dtoh_async(read_only(), memory, stream),
        lambda: cuda.memcpy_dtod(memory, memory, 16),
        lambda: cuda.memcpy_dtod(memory, memory, 8 << 20),
        lambda: cuda.memcpy_dtod_async(memory, memory, 16, stream),
        lambda: cuda.memset_d8(memory, 7, 32),
        lambda: cuda.memset_d8(memory, 300, 32),
        lambda: cuda.memset_d16(memory, 7, 16),
        lambda: cuda.memset_d32(memory, -1, 8),
        lambda: cuda.memset_d32(memory, 7, 8 << 20),
        lambda: cuda.memset_d8_async(memory, 7, 32, stream),
        lambda: cuda.memset_d32_async(memory, 7, 8, stream),
        lambda: cuda.from_device(memory, (2, 4), np.int32).shape,
        lambda: cuda.from_device_like(memory, DATA).dtype.name,
    )


def pycuda_host(cuda: Any) -> list[str]:
    array = cuda.pagelocked_empty((2, 3), np.float32)
    aligned = cuda.aligned_empty((1024,), np.float32)
    held: list[Any] = []
    return each(
        lambda: type(array).__name__,
        lambda: type(array.base).__name__,
        lambda: [base.__name__ for base in type(array.base).__mro__[1:3]],
        lambda: array.base.get_flags(),
        lambda: array.base.get_device_pointer() != 0,
        lambda: array.base.free(),
        lambda: array.base.free(),
        lambda: cuda.pagelocked_empty(4, np.float32).shape,
        lambda: cuda.pagelocked_empty(np.int64(4), np.float32).shape,
        lambda: cuda.pagelocked_empty([2, 3], "float32", order="F").flags.f_contiguous,
        lambda: cuda.pagelocked_empty((2, 3)),
        lambda: cuda.pagelocked_empty((2, 3), np.float32, "X"),
        lambda: cuda.pagelocked_empty((2, 3), np.float32, mem_flags=cuda.host_alloc_flags.PORTABLE).shape,
        lambda: cuda.pagelocked_empty(0, np.float32).shape,
        lambda: cuda.pagelocked_empty(-1, np.float32),
        lambda: cuda.pagelocked_zeros((2, 3), np.float32).tolist(),
        lambda: cuda.pagelocked_empty_like(DATA).shape,
        lambda: cuda.pagelocked_empty_like(np.zeros((4, 4))[:, ::2]),
        lambda: (type(aligned.base).__name__, aligned.ctypes.data % 4096),
        lambda: held.append(cuda.register_host_memory(aligned)),
        lambda: (type(held[0]).__name__, type(held[0].base).__name__, held[0].shape),
        lambda: cuda.register_host_memory(aligned),
        lambda: held[0].base.unregister(),
        lambda: held[0].base.unregister(),
        lambda: cuda.register_host_memory([1]),
        lambda: cuda.register_host_memory(np.zeros((4, 4))[:, ::2]),
        lambda: type(cuda.In(DATA).get_device_alloc()).__name__,
        lambda: cuda.In([1]).get_device_alloc(),
        lambda: cuda.PagelockedHostAllocation(),
        lambda: cuda.HostPointer,
    )


def pycuda_streams(cuda: Any) -> list[str]:
    stream, event, last = cuda.Stream(), cuda.Event(), cuda.Event()
    untimed = cuda.Event(cuda.event_flags.DISABLE_TIMING)
    return each(
        lambda: type(stream.handle).__name__,
        lambda: stream.is_done(),
        lambda: stream.synchronize(),
        lambda: stream.wait_for_event(event),
        lambda: stream.wait_for_event(None),
        lambda: event.query(),
        lambda: event.synchronize() is event,
        lambda: event.time_till(last),
        lambda: event.record(stream) is event,
        lambda: event.record(stream.handle),
        lambda: last.record() is last,
        lambda: type(last.synchronize().time_since(event)).__name__,
        lambda: untimed.record().synchronize().time_since(event),
        lambda: cuda.Event(99),
        lambda: cuda.Event("x"),
        lambda: cuda.Stream(9),
        lambda: cuda.Stream(1).is_done(),
        lambda: cuda.Stream("x"),
        lambda: int(stream),
        lambda: stream == stream,
        lambda: sorted(name for name in dir(stream) if not name.startswith("_")),
        lambda: sorted(name for name in dir(event) if not name.startswith("_")),
    )


def pycuda_device(cuda: Any) -> list[str]:
    device, attribute = cuda.Device(0), cuda.device_attribute
    return each(
        lambda: type(device.name()).__name__,
        lambda: type(device.compute_capability()).__name__,
        lambda: type(device.total_memory()).__name__,
        lambda: device.get_attribute(attribute.WARP_SIZE),
        lambda: device.warp_size,
        lambda: len(device.pci_bus_id()),
        lambda: device == cuda.Device(0),
        lambda: hash(device) == hash(cuda.Device(0)),
        lambda: len(device.get_attributes()) > 50,
        lambda: sorted(name for name in dir(device) if not name.startswith("_") and name == name.lower())[:12],
        lambda: attribute.WARP_SIZE,
        lambda: type(attribute.WARP_SIZE).__mro__[1].__name__,
        lambda: cuda.ctx_flags.SCHED_BLOCKING_SYNC | cuda.ctx_flags.MAP_HOST,
        lambda: cuda.get_version()[0] >= 12,
        lambda: type(cuda.get_driver_version()).__name__,
        lambda: cuda.Context.get_api_version() > 0,
        lambda: cuda.Context.get_device() == device,
        lambda: sorted(name for name in dir(cuda.Context) if not name.startswith("_")),
        lambda: cuda.Device.count(),
        lambda: cuda.LogicError.__mro__[1].__name__,
        lambda: str(cuda.LogicError("a", 1, "b")) if False else cuda.Error.__mro__[1].__name__,
    )


def pycuda_arrays(modules: Modules) -> list[str]:
    arrays, cuda = modules.gpuarray, modules.cuda
    array = arrays.to_gpu(DATA)
    return each(
        lambda: (array.shape, array.dtype.name, array.size, array.nbytes, array.itemsize, array.ndim, array.strides),
        lambda: array.get().tolist(),
        lambda: array.ptr == int(array.gpudata),
        lambda: str(array),
        lambda: repr(array),
        lambda: array.set(DATA[:4]),
        lambda: array.set(DATA.astype(np.float64)),
        lambda: array.set(DATA.reshape(2, 4)),
        lambda: array.get(np.zeros(4, np.float32)),
        lambda: array.get(np.zeros(8)),
        lambda: array.get(np.zeros((2, 4), np.float32)).shape,
        lambda: type(array.get(pagelocked=True).base).__name__,
        lambda: hash(array),
        lambda: bool(array),
        lambda: len(array),
        lambda: (array.flags.c_contiguous, array.flags.f_contiguous, array.flags.forc),
        lambda: array.reshape(2, 4).shape,
        lambda: array.reshape(3, 4),
        lambda: array[2:4].get().tolist(),
        lambda: array.ravel().shape,
        lambda: array.view(np.int32).dtype.name,
        lambda: array.copy().get().tolist(),
        lambda: arrays.empty((2, 3), np.float16).nbytes,
        lambda: arrays.empty(4, np.float32).shape,
        lambda: arrays.zeros((2, 2), np.float32).get().tolist(),
        lambda: arrays.zeros_like(array).get().tolist(),
        lambda: arrays.empty_like(array).shape,
        lambda: arrays.to_gpu(np.zeros((2, 3), np.float32).T).flags.f_contiguous,
        lambda: arrays.to_gpu(np.zeros((4, 4), np.float32)[:, ::2]).shape,
        lambda: arrays.to_gpu([1.0]),
        lambda: sorted(array.__cuda_array_interface__),
        lambda: cuda.from_device(array.gpudata, 8, np.float32).tolist(),
        lambda: cuda.memcpy_htod(array.gpudata, DATA),
        lambda: cuda.memcpy_htod(array.ptr, DATA),
        lambda: arrays.GPUArray((8,), np.float32, gpudata=array.gpudata).get().tolist(),
        lambda: arrays.to_gpu_async(DATA, stream=cuda.Stream()).shape,
        lambda: array.get_async(cuda.Stream()).shape,
        lambda: arrays.empty(0, np.float32).gpudata,
    )


def pycuda_pools(modules: Modules) -> list[str]:
    tools = modules.tools
    pool, host = tools.DeviceMemoryPool(), tools.PageLockedMemoryPool()
    memory, array = pool.allocate(1000), host.allocate((2, 3), np.float32)
    return each(
        lambda: type(memory).__name__,
        lambda: int(memory) != 0,
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: memory.free(),
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: memory.free(),
        lambda: pool.free_held(),
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: (array.shape, type(array.base).__name__),
        lambda: (host.held_blocks, host.active_blocks),
        lambda: pool.stop_holding(),
        lambda: pool.allocate(0) is not None,
        lambda: sorted(name for name in dir(pool) if not name.startswith("_")),
        lambda: sorted(name for name in dir(memory) if not name.startswith("_")),
        lambda: sorted(name for name in dir(host) if not name.startswith("_")),
        lambda: modules.gpuarray.to_gpu(DATA, allocator=pool.allocate).get().tolist(),
        lambda: tools.DeviceData().warp_size,
        lambda: type(tools.make_default_context()).__name__,
        lambda: modules.cuda.Context.pop(),
        lambda: tools.clear_context_caches(),
        lambda: tools.dtype_to_ctype(np.dtype(np.float32)),
        lambda: importlib.import_module("pycuda").VERSION,
    )
