"""Plans as buffers and in streams, and weights by address."""

import ctypes
import hashlib
import io

import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError


@pytest.fixture
def plan(lab, model):
    return lab.plan(model())


class TestHostMemory:
    """NVIDIA's class has the buffer interface, `nbytes` and `dtype`, and nothing else."""

    def test_what_it_is_for(self, trt, lab, plan, tmp_path):
        data = bytes(plan)
        assert memoryview(plan).nbytes == plan.nbytes == len(data)
        assert bytes(memoryview(plan)) == bytearray(plan) == data
        assert hashlib.sha256(plan).digest() == hashlib.sha256(data).digest()
        assert np.frombuffer(plan, np.uint8).nbytes == len(data)
        assert (tmp_path / "engine").write_bytes(plan) == len(data)
        stream = io.BytesIO()
        stream.write(plan)
        assert stream.getvalue() == data
        for form in (plan, data, memoryview(plan), bytearray(data), np.frombuffer(data, np.uint8)):
            assert lab.load(form) is not None

    def test_what_it_is_not(self, plan):
        assert not isinstance(plan, (bytes, bytearray, list, tuple, str))
        assert plan != bytes(plan)
        assert (plan == bytes(plan)) is False
        assert plan == plan
        assert {plan: 1}[plan] == 1
        assert bool(plan)

    @pytest.mark.parametrize("use", [len, iter, list, lambda plan: plan[0], lambda plan: plan[:4]])
    def test_it_is_no_sequence(self, plan, use):
        with pytest.raises(TypeError, match="IHostMemory"):
            use(plan)

    @pytest.mark.parametrize("name", ["tobytes", "append", "typecode", "decode", "shape"])
    def test_nothing_shows_of_what_is_underneath(self, plan, name):
        assert not hasattr(plan, name)

    def test_its_type_is_bytes(self, trt, plan):
        assert plan.dtype == trt.DataType.INT8
        assert repr(plan).startswith("<tensorrt.tensorrt.IHostMemory object at 0x")

    def test_it_cannot_be_made(self, trt):
        with pytest.raises(TypeError, match="No constructor defined"):
            trt.IHostMemory()


class TestWriter:
    def writer(self, trt, *, most=None):
        class Writer(trt.IStreamWriter):
            def __init__(self):
                trt.IStreamWriter.__init__(self)
                self.data = b""

            def write(self, data):
                assert isinstance(data, bytes)
                self.data += data[:most]
                return len(data[:most])

        return Writer()

    def test_all_of_a_plan(self, trt, lab, model):
        writer = self.writer(trt)
        assert lab.builder.build_serialized_network_to_stream(lab.network(model()), lab.config, writer)
        assert lab.load(writer.data) is not None

    def test_a_writer_that_takes_too_little(self, trt, lab, model):
        writer = self.writer(trt, most=100)
        assert not lab.builder.build_serialized_network_to_stream(lab.network(model()), lab.config, writer)

    def test_a_network_that_cannot_be_built(self, trt, lab, model):
        writer = self.writer(trt)
        network = lab.network(model(batch="n"))
        assert not lab.builder.build_serialized_network_to_stream(network, lab.config, writer)
        assert writer.data == b""

    def test_a_writer_that_fails(self, trt, lab, model, capsys):
        writer = self.writer(trt)
        writer.write = lambda data: 1 / 0
        assert not lab.builder.build_serialized_network_to_stream(lab.network(model()), lab.config, writer)
        assert "division by zero" in capsys.readouterr().err


class TestReader:
    def reader(self, trt, data, *, second=True, most=None):
        base = trt.IStreamReaderV2 if second else trt.IStreamReader

        class Reader(base):
            def __init__(self):
                base.__init__(self)
                self.stream, self.calls = io.BytesIO(data), 0

            def read(self, size, stream=None):
                assert (stream is not None) == second
                self.calls += 1
                return self.stream.read(size if most is None else min(size, most))

            def seek(self, offset, where):
                self.stream.seek(offset, int(where))
                return True

        return Reader()

    @pytest.mark.parametrize("most", [None, 1000])
    def test_a_plan(self, trt, lab, plan, most):
        reader = self.reader(trt, bytes(plan), most=most)
        assert lab.load(reader) is not None
        assert reader.calls > (2 if most else 1)

    def test_the_first_kind(self, trt, lab, plan):
        if trt.__version__.startswith("11."):
            assert not hasattr(trt, "IStreamReader")
            return
        assert lab.load(self.reader(trt, bytes(plan), second=False)) is not None

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda data: b"", "empty memory buffer"),
            (lambda data: b"garbage" * 100, "magicTag"),
            (lambda data: data[:-10], "plan.header.size == blobSize"),
            (lambda data: data[:30], "minBufferSize"),
        ],
    )
    def test_no_plan(self, trt, lab, plan, change, words):
        assert lab.load(self.reader(trt, change(bytes(plan)))) is None
        assert words in lab.log.errors

    def test_by_name(self, trt, lab, plan):
        runtime = trt.Runtime(lab.log)
        assert runtime.deserialize_cuda_engine(serialized_engine=plan) is not None
        assert runtime.deserialize_cuda_engine(stream_reader_v2=self.reader(trt, bytes(plan))) is not None


class TestSettings:
    def test_serialization_flags(self, trt, lab, plan):
        config = lab.load(plan).create_serialization_config()
        assert config.flags == 0
        assert config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
        assert config.get_flag(trt.SerializationFlag.INCLUDE_REFIT)
        assert config.flags == 1 << int(trt.SerializationFlag.INCLUDE_REFIT)
        assert config.clear_flag(trt.SerializationFlag.INCLUDE_REFIT)
        config.flags = 2
        assert config.get_flag(trt.SerializationFlag.EXCLUDE_LEAN_RUNTIME)

    def test_runtime_config(self, trt, lab, plan):
        engine = lab.load(plan)
        config, strategies = engine.create_runtime_config(), trt.ExecutionContextAllocationStrategy
        assert config.get_execution_context_allocation_strategy() == strategies.STATIC
        lab.log.messages.clear()
        assert engine.create_execution_context(config) is not None
        assert engine.create_execution_context(runtime_config=config) is not None
        assert lab.log.messages == []
        config.set_execution_context_allocation_strategy(strategies.ON_PROFILE_CHANGE)
        assert engine.create_execution_context(config) is not None
        assert "ON_PROFILE_CHANGE has no effect" in lab.log.messages[0][1]

    def test_no_weights_are_streamed(self, trt, lab, plan):
        engine = lab.load(plan)
        assert engine.streamable_weights_size == engine.weight_streaming_budget_v2 == 0
        assert engine.get_weight_streaming_automatic_budget() == engine.weight_streaming_scratch_memory_size == 0
        with pytest.raises(EmulationError, match="the engine streams no weights"):
            engine.weight_streaming_budget_v2 = 1 << 20

    def test_runtimes_cannot_be_loaded(self, trt, lab):
        with pytest.raises(EmulationError, match=r"Loading a runtime library \(libnvinfer_lean\.so\)"):
            trt.Runtime(lab.log).load_runtime("libnvinfer_lean.so")

    def test_no_values_of_shape_inputs(self, lab, plan):
        with pytest.raises(RuntimeError, match="does not correspond to an input shape tensor"):
            lab.load(plan).get_tensor_profile_values(0, "images")

    @pytest.mark.parametrize("owner", ["builder", "runtime"])
    def test_an_allocator_is_refused(self, trt, lab, owner):
        class Allocator(trt.IGpuAllocator):
            def __init__(self):
                trt.IGpuAllocator.__init__(self)

        subject = lab.builder if owner == "builder" else trt.Runtime(lab.log)
        assert subject.gpu_allocator is None
        subject.gpu_allocator = None
        with pytest.raises(EmulationError, match="an IGpuAllocator provides memory"):
            subject.gpu_allocator = Allocator()


class TestWeights:
    @pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.int32, np.int64, np.bool_, np.uint8])
    def test_of_an_array(self, trt, kind):
        array = np.ones((2, 3), kind)
        weights = trt.Weights(array)
        assert (weights.size, len(weights), weights.nbytes) == (6, 6, array.nbytes)
        assert trt.nptype(weights.dtype) == kind
        assert np.array_equal(weights.numpy(), array.ravel())

    def test_of_an_address(self, trt):
        array = np.arange(5, dtype=np.float32)
        weights = trt.Weights(trt.float32, array.ctypes.data, 5)
        assert (weights.size, weights.nbytes, weights.dtype) == (5, 20, trt.float32)
        assert np.array_equal(weights.numpy(), array)

    def test_of_a_type_that_numpy_lacks(self, trt):
        memory = ctypes.create_string_buffer(b"\x80\x3f" * 4, 8)
        weights = trt.Weights(trt.bfloat16, ctypes.addressof(memory), 4)
        assert weights.nbytes == 8
        assert weights.numpy() is weights

    def test_empty(self, trt):
        weights = trt.Weights()
        assert (weights.size, weights.nbytes, weights.dtype) == (0, 0, trt.float32)
        assert trt.Weights(trt.float16).dtype == trt.float16
        assert weights.numpy().size == 0
