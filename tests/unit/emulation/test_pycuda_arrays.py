"""The emulated pycuda.gpuarray and the pools of pycuda.tools, as programs of TensorRT use them: as buffers."""

import importlib

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.errors import EmulationError

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def arrays(cuda):
    return importlib.import_module("pycuda.gpuarray")


@pytest.fixture
def tools(cuda):
    return importlib.import_module("pycuda.tools")


def test_an_engine_runs_on_arrays(cuda, arrays, trt10, model, images, reference, distance):
    builder = trt10.Builder(trt10.Logger(trt10.Logger.ERROR))
    network = builder.create_network(1 << int(trt10.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt10.OnnxParser(network, builder.logger).parse_from_file(str(model()))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    context = trt10.Runtime(builder.logger).deserialize_cuda_engine(plan).create_execution_context()
    stream = cuda.Stream()
    given, found = arrays.to_gpu_async(images(), stream=stream), arrays.empty((1, 4, 8, 8), np.float32)
    context.set_tensor_address("images", given.ptr)
    context.set_tensor_address("output0", int(found.gpudata))
    assert context.execute_async_v3(stream.handle)
    result = found.get_async(stream)
    stream.synchronize()
    assert distance(result, reference(model(), images())) < 1e-4


def test_an_array_nobody_filled_reads_as_nan(arrays):
    assert np.isnan(arrays.empty((2, 3), np.float32).get()).all()


def test_an_asynchronous_get_waits_for_the_stream(cuda, arrays):
    stream, back = cuda.Stream(), cuda.pagelocked_empty_like(DATA)
    array = arrays.to_gpu(DATA)
    array.get_async(stream, back)
    assert np.isnan(back).all()
    stream.synchronize()
    assert np.array_equal(back, DATA)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (lambda a: a[1], DATA[1]),
        (lambda a: a[1, 2], DATA[1, 2]),
        (lambda a: a[:, :, :], DATA),
        (lambda a: a.reshape(6, -1), DATA.reshape(6, 4)),
        (lambda a: a.ravel()[4:9], DATA.ravel()[4:9]),
        (lambda a: a.reshape((1, 24)).squeeze(), DATA.ravel()),
        (lambda a: a.view(np.int32), DATA.view(np.int32)),
        (lambda a: a.T.T, DATA),
    ],
)
def test_views_share_the_memory(arrays, view, expected):
    array = arrays.to_gpu(DATA)
    if expected.dtype == np.int32:
        assert view(array).shape == expected.shape
        return
    with count_work() as measured:
        part = view(array)
        assert np.array_equal(part.get(), expected)
    assert measured.work.allocations.count == 0


def test_a_view_keeps_the_memory_alive(arrays):
    part = arrays.to_gpu(DATA)[1]
    assert np.array_equal(part.get(), DATA[1])


def test_fortran_order_is_kept(arrays):
    turned = arrays.to_gpu(np.asfortranarray(DATA))
    assert turned.flags.f_contiguous
    assert not turned.flags.c_contiguous
    assert np.array_equal(turned.get(), DATA)


def test_gaps_are_left_alone(arrays):
    array = arrays.to_gpu(DATA)
    array[:, ::2].set(np.full((2, 2, 4), -1, np.float32))
    expected = DATA.copy()
    expected[:, ::2] = -1
    assert np.array_equal(array.get(), expected)
    assert np.array_equal(array[:, 1:].get(), expected[:, 1:])


def test_an_engine_runs_on_mapped_memory(cuda, trt10, model, images, reference, distance):
    """Without copies, as programs for boards whose GPU shares the host's memory do it."""
    builder = trt10.Builder(trt10.Logger(trt10.Logger.ERROR))
    network = builder.create_network(1 << int(trt10.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt10.OnnxParser(network, builder.logger).parse_from_file(str(model()))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    context = trt10.Runtime(builder.logger).deserialize_cuda_engine(plan).create_execution_context()
    flags = cuda.host_alloc_flags.DEVICEMAP
    given = cuda.pagelocked_empty((1, 3, 16, 16), np.float32, mem_flags=flags)
    found = cuda.pagelocked_empty((1, 4, 8, 8), np.float32, mem_flags=flags)
    context.set_tensor_address("images", given.base.get_device_pointer())
    context.set_tensor_address("output0", found.base.get_device_pointer())
    stream = cuda.Stream()
    for factor in (1, 0.5):
        given[...] = images() * np.float32(factor)
        found.fill(np.nan)
        assert context.execute_async_v3(stream.handle)
        assert np.isnan(found).all(), "a forgotten synchronisation shows here too"
        stream.synchronize()
        assert distance(found, reference(model(), images() * np.float32(factor))) < 1e-4


@pytest.mark.parametrize(
    "use",
    [
        lambda arrays, a: a + 1,
        lambda arrays, a: 2 * a,
        lambda arrays, a: a == a,
        lambda arrays, a: a.astype(np.float16),
        lambda arrays, a: abs(a),
        lambda arrays, a: arrays.sum(a),
        lambda arrays, a: arrays.maximum(a, a),
    ],
)
def test_arithmetic_is_refused(arrays, use):
    with pytest.raises(EmulationError, match=r"not emulated: it compiles and runs CUDA code"):
        use(arrays, arrays.to_gpu(DATA))


class TestPools:
    def test_a_block_comes_back_poisoned(self, cuda, tools):
        pool = tools.DeviceMemoryPool()
        first = pool.allocate(96)
        address = int(first)
        cuda.memcpy_htod(first, DATA)
        first.free()
        second = pool.allocate(96)
        assert int(second) == address
        assert np.isnan(cuda.from_device(second, 24, np.float32)).all()

    def test_a_block_goes_back_with_its_object(self, cuda, tools):
        pool = tools.DeviceMemoryPool()
        held = pool.allocate(100)
        assert (pool.active_blocks, pool.held_blocks, pool.active_bytes) == (1, 0, 100)
        del held
        assert (pool.active_blocks, pool.held_blocks, pool.active_bytes) == (0, 1, 0)
        used = cuda.mem_get_info()[0]
        pool.free_held()
        assert cuda.mem_get_info()[0] > used
        assert pool.managed_bytes == 0

    def test_bins(self, tools):
        pool = tools.DeviceMemoryPool()
        for size in range(1, 3000):
            assert pool.alloc_size(pool.bin_number(size)) >= size
            assert pool.bin_number(pool.alloc_size(pool.bin_number(size))) == pool.bin_number(size)

    def test_page_locked_arrays(self, cuda, tools):
        pool = tools.PageLockedMemoryPool()
        array = pool.allocate((2, 3), np.float32)
        memory, stream = cuda.mem_alloc(array.nbytes), cuda.Stream()
        with count_work() as measured:
            cuda.memcpy_htod_async(memory, array, stream)
        assert measured.work.copied("h2d", pinned=True).count == 1
        del array
        assert pool.held_blocks == 0, "the copy still needs it"
        stream.synchronize()
        assert pool.held_blocks == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_registered_memory_counts_as_pinned(cuda, order):
    array = cuda.aligned_zeros((4, 8), np.float32, order)
    assert array.ctypes.data % 4096 == 0
    registered, memory = cuda.register_host_memory(array), cuda.mem_alloc(array.nbytes)
    with count_work() as measured:
        cuda.memcpy_htod_async(memory, registered, cuda.Stream())
    assert measured.work.copied("h2d", pinned=True).count == 1
    registered.base.unregister()
    with count_work() as measured:
        cuda.memcpy_htod_async(memory, array, cuda.Stream())
    assert measured.work.copied("h2d", pinned=False).count == 1
