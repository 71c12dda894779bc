"""Execution: right results, and every mistake visible."""

import ctypes
import importlib

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work

SHAPE = (1, 3, 16, 16)
OUT = (1, 4, 8, 8)
TOLERANCE = {"fp32": 1e-4, "half": 5e-2}


@pytest.fixture
def context(lab, model):
    return lab.engine(model()).create_execution_context()


@pytest.fixture
def dynamic(lab, model):
    """A context for batches from 1 to 4."""
    lab.profile(SHAPE, (2, *SHAPE[1:]), (4, *SHAPE[1:]))
    return lab.engine(model(batch="n")).create_execution_context()


@pytest.fixture
def memory(cudart):
    """Return a function that allocates device memory and, if given values, fills it."""

    def allocate(nbytes, values=None):
        address = cudart.cudaMalloc(nbytes)[1]
        if values is not None:
            kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            assert cudart.cudaMemcpy(address, values, values.nbytes, kind)[0] == 0
        return address

    return allocate


@pytest.fixture
def fetch(cudart):
    def run(address, shape, dtype=np.float32):
        host = np.empty(shape, dtype)
        code = cudart.cudaMemcpy(host, address, host.nbytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost)[0]
        assert code == 0, code
        return host

    return run


@pytest.fixture
def stream(cudart):
    return int(cudart.cudaStreamCreate()[1])


class TestResults:
    def test_fp32_equals_onnx_runtime(self, context, model, infer, images, reference, distance):
        assert distance(infer(context, images()), reference(model(), images())) < 1e-4

    @pytest.mark.parametrize("batch", [1, 2, 3, 4])
    def test_every_batch_of_the_profile(self, dynamic, model, infer, images, reference, distance, batch):
        found = infer(dynamic, images(batch))
        assert found.shape == (batch, *OUT[1:])
        assert distance(found, reference(model(batch="n"), images(batch))) < 1e-4

    def test_batches_may_change_from_call_to_call(self, dynamic, model, infer, images, reference, distance):
        for batch in (4, 1, 3, 1, 4):
            assert distance(infer(dynamic, images(batch)), reference(model(batch="n"), images(batch))) < 1e-4

    def test_half_precision(self, lab, model, infer, images, reference, distance):
        context = lab.engine(model(dtype="float16")).create_execution_context()
        found = infer(context, images().astype(np.float16))
        assert found.dtype == np.float16
        assert distance(found, reference(model(), images())) < 5e-2

    def test_int8_differs_a_little(self, lab, model, infer, images, reference, distance):
        context = lab.engine(model(quantized=True)).create_execution_context()
        found = infer(context, images())
        assert 1e-4 < distance(found, reference(model(), images())) < 0.3
        assert distance(found, reference(model(quantized=True), images())) < 0.1

    def test_dynamic_sizes(self, lab, model, infer, images, reference, distance):
        path = model(batch="n", size="s")
        lab.profile((1, 3, 8, 8), SHAPE, (2, 3, 32, 32))
        context = lab.engine(path).create_execution_context()
        for batch, size in ((1, 8), (2, 32), (1, 16)):
            found = infer(context, images(batch, size))
            assert found.shape == (batch, 4, size // 2, size // 2)
            assert distance(found, reference(path, images(batch, size))) < 1e-4

    def test_two_contexts_do_not_disturb_each_other(self, lab, model, infer, images, reference, distance):
        lab.profile(SHAPE, SHAPE, (4, *SHAPE[1:]))
        engine = lab.engine(model(batch="n"))
        one, two = engine.create_execution_context(), engine.create_execution_context()
        first, second = infer(one, images(1)), infer(two, images(3))
        assert np.array_equal(infer(one, images(1)), first)
        assert second.shape[0] == 3

    def test_execute_v2(self, context, model, images, reference, distance, memory, fetch):
        d_in, d_out = memory(images().nbytes, images()), memory(1024)
        assert context.execute_v2([d_in, d_out])
        assert distance(fetch(d_out, OUT), reference(model(), images())) < 1e-4

    def test_an_offset_into_an_allocation(self, context, model, images, reference, distance, memory, fetch, stream):
        both = memory(images().nbytes * 2, np.concatenate([images() * 0, images()]))
        d_out = memory(1024)
        context.set_tensor_address("images", both + images().nbytes)
        context.set_tensor_address("output0", d_out)
        assert context.execute_async_v3(stream)
        importlib.import_module("cuda.bindings.runtime").cudaDeviceSynchronize()
        assert distance(fetch(d_out, OUT), reference(model(), images())) < 1e-4


class TestShapes:
    def test_static_shapes_are_known(self, context):
        assert context.infer_shapes() == []
        assert context.all_binding_shapes_specified
        assert context.get_tensor_shape("output0") == OUT
        assert context.set_input_shape("images", SHAPE)
        assert context.get_tensor_strides("output0") == (256, 64, 8, 1)

    def test_dynamic_shapes_are_not(self, dynamic):
        assert dynamic.infer_shapes() == ["images"]
        assert not dynamic.all_binding_shapes_specified
        assert dynamic.get_tensor_shape("images") == (-1, *SHAPE[1:])
        assert dynamic.get_tensor_shape("output0") == (-1, *OUT[1:])
        assert dynamic.set_input_shape("images", [3, *SHAPE[1:]])
        assert dynamic.get_tensor_shape("output0") == (3, *OUT[1:])
        assert dynamic.infer_shapes() == []

    def test_largest_output(self, dynamic):
        assert dynamic.get_max_output_size("output0") == 4 * 4 * 8 * 8 * 4
        assert dynamic.get_max_output_size("images") == -1

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("images", (1, 4, 16, 16), "Static dimension mismatch while setting input shape for images. Set dimensions "
             "are [1,4,16,16]. Expected dimensions are [-1,3,16,16]."),
            ("images", (1, 3, 16), "Input images has 4 dimensions, but 3 were set"),
            ("output0", (1, 4, 8, 8), "output0 is an output"),
            ("pictures", (1, 3, 16, 16), "Given invalid tensor name: pictures"),
        ],
    )  # fmt: skip
    def test_other_wrong_shapes(self, lab, dynamic, name, shape, message):
        assert dynamic.set_input_shape(name, shape) is False
        assert message in lab.log.errors

    def test_several_profiles(self, lab, model, infer, images):
        lab.profile(SHAPE, SHAPE, SHAPE)
        lab.profile((2, *SHAPE[1:]), (2, *SHAPE[1:]), (4, *SHAPE[1:]))
        context = lab.engine(model(batch="n")).create_execution_context()
        assert context.active_optimization_profile == 0
        assert not context.set_input_shape("images", (2, *SHAPE[1:]))
        assert context.set_input_shape("images", SHAPE)
        assert context.set_optimization_profile_async(1, 0)
        assert context.active_optimization_profile == 1
        assert context.infer_shapes() == ["images"]
        assert not context.set_input_shape("images", SHAPE)
        assert infer(context, images(4)).shape == (4, *OUT[1:])
        assert not context.set_optimization_profile_async(2, 0)


class TestMistakes:
    def test_shape_not_set(self, lab, dynamic, memory, stream):
        dynamic.set_tensor_address("images", memory(4096))
        dynamic.set_tensor_address("output0", memory(4096))
        assert dynamic.execute_async_v3(stream) is False
        assert "images: the shape of this dynamic input was not set" in lab.log.errors

    def test_unknown_tensor_name(self, lab, context):
        assert context.set_tensor_address("pictures", 1) is False
        assert context.get_tensor_address("output0") == 0
        assert "Given invalid tensor name: pictures" in lab.log.errors

    @pytest.mark.parametrize("quantized", [False, True])
    def test_a_forgotten_copy_shows_in_the_output(self, lab, model, memory, fetch, stream, cudart, quantized):
        context = lab.engine(model(quantized=quantized)).create_execution_context()
        d_out = memory(1024)
        context.set_tensor_address("images", memory(3072))
        context.set_tensor_address("output0", d_out)
        with count_work() as measured:
            assert context.execute_async_v3(stream)
            cudart.cudaStreamSynchronize(stream)
        assert np.isnan(fetch(d_out, OUT)).all()
        assert measured.work.uninitialised_reads == 1

    def test_copying_too_little_shows_in_the_output(self, context, memory, fetch, images, stream, cudart):
        d_in, d_out = memory(3072), memory(1024)
        half = images().ravel()[:384].copy()
        cudart.cudaMemcpy(d_in, half, half.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
        context.set_tensor_address("images", d_in)
        context.set_tensor_address("output0", d_out)
        context.execute_async_v3(stream)
        cudart.cudaStreamSynchronize(stream)
        assert np.isnan(fetch(d_out, OUT)).all()

    def test_a_forgotten_synchronisation_shows_in_the_output(self, context, memory, images, stream, cudart):
        d_in, d_out = memory(3072, images()), memory(1024)
        context.set_tensor_address("images", d_in)
        context.set_tensor_address("output0", d_out)
        context.execute_async_v3(stream)
        address = cudart.cudaMallocHost(1024)[1]
        host = np.ctypeslib.as_array((ctypes.c_float * 256).from_address(address))
        cudart.cudaMemcpyAsync(address, d_out, 1024, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)
        assert np.isnan(host).all()
        cudart.cudaStreamSynchronize(stream)
        assert np.isfinite(host).all()

    @pytest.mark.parametrize(
        ("d_in", "d_out", "detail"),
        [
            (lambda m: m(3068), lambda m: m(1024), "input tensor 'images' needs 3072 bytes"),
            (lambda m: m(3072), lambda m: m(1020), "output tensor 'output0' needs 1024 bytes"),
            (lambda m: 12345, lambda m: m(1024), "input tensor 'images' uses 0x3039: this is not device memory"),
            (lambda m: m(3072, np.zeros(1536, np.float16)), lambda m: m(1024), "float16 values were copied"),
            (lambda m: m(6144, np.zeros(768, np.float64)), lambda m: m(1024), "float64 values were copied"),
        ],
        ids=["small input", "small output", "host address", "float16", "float64"],
    )
    def test_wrong_buffers_are_illegal_accesses(
        self, lab, context, memory, stream, cudart, caplog, d_in, d_out, detail
    ):
        context.set_tensor_address("images", d_in(memory))
        context.set_tensor_address("output0", d_out(memory))
        assert context.execute_async_v3(stream), "like on a GPU, the mistake shows later"
        assert cudart.cudaStreamSynchronize(stream)[0].name == "cudaErrorIllegalAddress"
        assert detail in caplog.text

    def test_freed_memory(self, context, memory, images, stream, cudart, caplog):
        d_in, d_out = memory(3072, images()), memory(1024)
        context.set_tensor_address("images", d_in)
        context.set_tensor_address("output0", d_out)
        cudart.cudaFree(d_in)
        assert context.execute_async_v3(stream), "addresses are looked at when the work is done"
        assert cudart.cudaStreamSynchronize(stream)[0].name == "cudaErrorIllegalAddress"
        assert "freed before" in caplog.text

    def test_execute_v2_reports_a_wrong_buffer(self, lab, context, memory):
        assert context.execute_v2([memory(4), memory(1024)]) is False
        assert "an illegal memory access was encountered" in lab.log.errors

    def test_addresses_count_as_they_were_when_enqueued(self, context, memory, images, fetch, stream, cudart):
        d_in, first, second = memory(3072, images()), memory(1024), memory(1024)
        context.set_tensor_address("images", d_in)
        context.set_tensor_address("output0", first)
        context.execute_async_v3(stream)
        context.set_tensor_address("output0", second)
        cudart.cudaStreamSynchronize(stream)
        assert np.isfinite(fetch(first, OUT)).all()
        assert np.isnan(fetch(second, OUT)).all()


def test_outputs_can_be_allocated_by_the_program(
    trt, dynamic, model, memory, fetch, images, reference, distance, cudart
):
    class Allocator(trt.IOutputAllocator):
        def __init__(self):
            trt.IOutputAllocator.__init__(self)
            self.calls, self.shape = [], None

        def reallocate_output_async(self, tensor_name, memory_now, size, alignment, stream):
            self.calls.append((tensor_name, memory_now, size, alignment, stream))
            self.address = memory(size)
            return self.address

        def notify_shape(self, tensor_name, shape):
            self.shape = tuple(shape)

    allocator = Allocator()
    stream = int(cudart.cudaStreamCreate()[1])
    dynamic.set_input_shape("images", (2, *SHAPE[1:]))
    dynamic.set_tensor_address("images", memory(6144, images(2)))
    assert not dynamic.set_output_allocator("images", allocator)
    assert dynamic.set_output_allocator("output0", allocator)
    assert dynamic.get_output_allocator("output0") is allocator
    assert dynamic.execute_async_v3(stream)
    cudart.cudaStreamSynchronize(stream)
    assert allocator.calls == [("output0", 0, 2048, 256, stream)]
    assert allocator.shape == (2, 4, 8, 8)
    assert distance(fetch(allocator.address, (2, 4, 8, 8)), reference(model(batch="n"), images(2))) < 1e-4
    assert dynamic.set_output_allocator("output0", None)
    assert dynamic.get_output_allocator("output0") is None


class TestProfiler:
    @pytest.fixture
    def profiler(self, trt):
        class Profiler(trt.IProfiler):
            def __init__(self):
                trt.IProfiler.__init__(self)
                self.times = []

            def report_layer_time(self, layer_name, ms):
                self.times.append((layer_name, ms))

        return Profiler()

    def test_reports_every_layer(self, context, infer, images, profiler):
        plain = infer(context, images())
        context.profiler = profiler
        profiled = infer(context, images())
        assert np.array_equal(plain, profiled)
        assert len(profiler.times) == context.engine.num_layers
        assert any("/model.1/conv/Conv" in name for name, _ in profiler.times)
        assert all(ms >= 0 for _, ms in profiler.times)
        assert sum(ms for _, ms in profiler.times) > 0

    def test_reports_later_when_asked_to(self, context, infer, images, profiler):
        assert not context.report_to_profiler()
        context.profiler = profiler
        context.enqueue_emits_profile = False
        infer(context, images())
        assert profiler.times == []
        assert context.report_to_profiler()
        assert len(profiler.times) == context.engine.num_layers


def test_work_is_counted_per_stream(context, memory, images, cudart, stream):
    context.set_tensor_address("images", memory(3072, images()))
    context.set_tensor_address("output0", memory(1024))
    with count_work() as measured:
        for handle in (0, stream, stream):
            context.execute_async_v3(handle)
    assert measured.work.enqueues == {0: 1, stream: 2}
    assert measured.work.allocations.count == 0


def test_plain_settings(trt, context):
    context.name = "mine"
    context.debug_sync = True
    assert (context.name, context.debug_sync) == ("mine", True)
    assert context.update_device_memory_size_for_shapes() == context.engine.device_memory_size_v2
    assert context.nvtx_verbosity == trt.ProfilingVerbosity.DETAILED
