"""Memory that programs give contexts for intermediate tensors."""

import numpy as np
import pytest


@pytest.fixture
def engine(lab, model):
    return lab.engine(model())


@pytest.fixture
def malloc(cudart):
    return lambda nbytes: cudart.cudaMalloc(nbytes)[1]


@pytest.fixture
def user_managed(trt):
    """Return a function that makes a context without memory, in each way there is."""

    def make(engine, way):
        if way == "without":
            return engine.create_execution_context_without_device_memory()
        if way == "strategy":
            return engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        return engine.create_execution_context(config)

    return make


WAYS = ("strategy", "config", "without")


def skip_what_is_gone(trt, way):
    return way == "without" and trt.__version__.startswith("11.")


@pytest.mark.parametrize("way", WAYS)
def test_memory_has_to_be_given(
    trt, lab, engine, user_managed, malloc, infer, images, reference, distance, model, way, cudart
):
    if skip_what_is_gone(trt, way):
        assert not hasattr(engine, "create_execution_context_without_device_memory")
        return
    context = user_managed(engine, way)
    assert context.device_memory == 0
    assert not context.execute_v2([malloc(images().nbytes), malloc(4 * 4 * 8 * 8)])
    assert "intermediate tensors is not set" in lab.log.errors
    size = engine.device_memory_size_v2
    address = malloc(size)
    context.set_device_memory(address, size)
    assert context.device_memory == address
    assert distance(infer(context, images()), reference(model(), images())) < 1e-4


@pytest.mark.parametrize("spoil", [lambda a, n: (a, n - 1), lambda a, n: (a + 8, n), lambda a, n: (0, n)])
def test_memory_that_does_not_do(trt, lab, engine, user_managed, malloc, spoil):
    context = user_managed(engine, "strategy")
    size = engine.device_memory_size_v2
    context.set_device_memory(*spoil(malloc(size + 256), size))
    assert "Parameter check failed" in lab.log.errors
    assert context.device_memory == 0


def test_memory_by_assignment(trt, engine, user_managed, malloc, infer, images):
    context = user_managed(engine, "strategy")
    context.device_memory = malloc(context.update_device_memory_size_for_shapes())
    assert infer(context, images()).any()


def test_freed_memory(lab, engine, user_managed, malloc, cudart, images):
    context = user_managed(engine, "strategy")
    address = malloc(engine.device_memory_size_v2)
    context.set_device_memory(address, engine.device_memory_size_v2)
    cudart.cudaFree(address)
    data = np.ascontiguousarray(images())
    d_in = malloc(data.nbytes)
    cudart.cudaMemcpy(d_in, data, data.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
    assert not context.execute_v2([d_in, malloc(4 * 4 * 8 * 8)])
    assert "an illegal memory access was encountered" in lab.log.errors
    assert "memory for intermediate tensors" in lab.log.errors


def test_what_else_is_in_that_memory_is_lost(engine, user_managed, malloc, cudart, infer, images):
    """As when the memory of a context is used for something else, or by another context at the same time."""
    size = engine.device_memory_size_v2
    address, kinds = malloc(size), cudart.cudaMemcpyKind
    mine = np.arange(size // 4, dtype=np.float32)
    cudart.cudaMemcpy(address, mine, mine.nbytes, kinds.cudaMemcpyHostToDevice)
    context = user_managed(engine, "strategy")
    context.set_device_memory(address, size)
    infer(context, images())
    left = np.empty_like(mine)
    cudart.cudaMemcpy(left, address, left.nbytes, kinds.cudaMemcpyDeviceToHost)
    assert not np.isin(mine[1:], left).any()


def test_other_settings_of_contexts(trt, engine):
    context = engine.create_execution_context()
    strategies = trt.ExecutionContextAllocationStrategy
    assert context.get_runtime_config().get_execution_context_allocation_strategy() == strategies.STATIC
    context.set_aux_streams([])
    assert engine.num_aux_streams == 0
    assert context.get_input_consumed_event() == 0
    assert context.set_input_consumed_event(0)
    assert context.temporary_allocator is None

    class Allocator(trt.IGpuAllocator):
        def __init__(self):
            trt.IGpuAllocator.__init__(self)

    allocator = Allocator()
    context.temporary_allocator = allocator
    assert context.temporary_allocator is allocator
    context.name, context.debug_sync, context.persistent_cache_limit = "one", True, 5
    assert (context.name, context.debug_sync, context.persistent_cache_limit) == ("one", True, 5)


def test_inputs_can_be_overwritten_after_their_event(lab, engine, malloc, cudart, images, infer):
    """The event is reached with the inference; a destroyed event makes enqueueing fail."""
    data, kinds, done = np.ascontiguousarray(images()), cudart.cudaMemcpyKind, cudart.cudaError_t.cudaSuccess
    expected = infer(engine.create_execution_context(), data)
    (_, stream), (_, event), context = (
        cudart.cudaStreamCreate(),
        cudart.cudaEventCreate(),
        engine.create_execution_context(),
    )
    assert context.set_input_consumed_event(event)
    assert context.get_input_consumed_event() == int(event)
    d_in, d_out, found = malloc(data.nbytes), malloc(expected.nbytes), np.empty_like(expected)
    assert context.set_input_shape("images", data.shape)
    assert context.set_tensor_address("images", d_in)
    assert context.set_tensor_address("output0", d_out)
    cudart.cudaMemcpyAsync(d_in, data, data.nbytes, kinds.cudaMemcpyHostToDevice, stream)
    assert context.execute_async_v3(stream)
    assert cudart.cudaEventQuery(event) == (cudart.cudaError_t.cudaErrorNotReady,)
    assert cudart.cudaEventSynchronize(event) == (done,)
    _, second = cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking)
    cudart.cudaMemsetAsync(d_in, 0, data.nbytes, second)
    cudart.cudaStreamSynchronize(second)
    cudart.cudaMemcpy(found, d_out, found.nbytes, kinds.cudaMemcpyDeviceToHost)
    assert np.array_equal(found, expected)
    cudart.cudaEventDestroy(event)
    assert not context.execute_async_v3(stream)
    assert "invalid resource handle" in lab.log.errors
