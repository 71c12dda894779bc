"""A small convolutional network in every form the emulation has to take, and the emulation switched on and off."""

import ctypes
import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.device import device

SIZE = 16
_CAPTURED_BYTES = 16
FLOAT = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


@pytest.fixture(autouse=True)
def _one_thread_and_a_clean_device(monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    modules.deactivate()  # what another test in this process has left active
    yield
    modules.deactivate()
    device().reset()


def make_model(
    path: Path,
    *,
    batch: int | str = 1,
    dtype: str = "float32",
    quantized: bool = False,
    zero_point: int = 0,
    quantized_type: type = np.int8,
    size: int | str = SIZE,
    baked_batch: bool = False,
    detector: bool = False,
    width: int = 8,
    extra_nodes: tuple = (),
) -> Path:
    """Write images (batch, 3, size, size) -> conv, SiLU, conv, ReLU, conv -> output0 (batch, 4, size/2, size/2).

    As a detector, the output is (batch, 4, size * size / 4).
    """
    random = np.random.default_rng(0)
    constants, nodes = [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def quantize(tensor: str, scale: float) -> str:
        stem = tensor.replace("/", "_")
        scale_name = constant(f"{stem}_scale", np.array(scale, dtype))
        zero = constant(f"{stem}_zero", np.array(zero_point, quantized_type))
        q = helper.make_node("QuantizeLinear", [tensor, scale_name, zero], [f"{stem}_q"], name=f"{stem}_QuantizeLinear")
        dq = helper.make_node(
            "DequantizeLinear", [f"{stem}_q", scale_name, zero], [f"{stem}_dq"], name=f"{stem}_DequantizeLinear"
        )
        nodes.extend([q, dq])
        return f"{stem}_dq"

    def conv(source: str, index: int, channels: tuple[int, int], *, stride: int = 1) -> str:
        name = f"/model.{index}/conv/Conv"
        weight = constant(f"w{index}", random.normal(0, 0.3, (channels[1], channels[0], 3, 3)).astype(dtype))
        bias = constant(f"b{index}", random.normal(0, 0.1, channels[1]).astype(dtype))
        if quantized:
            source, weight = quantize(source, 0.03), quantize(weight, 0.01)
        output = f"{name}_output_0"
        nodes.append(
            helper.make_node("Conv", [source, weight, bias], [output], name=name, pads=[1] * 4, strides=[stride] * 2)
        )
        return output

    first = conv("images", 0, (3, width), stride=2)
    nodes.append(helper.make_node("Sigmoid", [first], ["s"], name="/model.0/act/Sigmoid"))
    nodes.append(helper.make_node("Mul", [first, "s"], ["m"], name="/model.0/act/Mul"))
    second = conv("m", 1, (width, width))
    nodes.append(helper.make_node("Relu", [second], ["r"], name="/model.1/act/Relu"))
    third = conv("r", 2, (width, 4))
    if detector:
        shape = constant("shape", np.array([0, 4, -1], np.int64))
        nodes.append(helper.make_node("Reshape", [third, shape], ["output0"], name="/model.3/Reshape"))
    elif baked_batch:
        shape = constant("shape", np.array([1, 4, SIZE // 2, SIZE // 2], np.int64))
        nodes.append(helper.make_node("Reshape", [third, shape], ["output0"], name="/model.3/Reshape"))
    else:
        nodes.append(helper.make_node("Identity", [third], ["output0"], name="/model.3/Identity"))
    nodes.extend(extra_nodes)
    half = SIZE // 2 if size == SIZE else "h"
    output_shape = [batch, 4, SIZE * SIZE // 4] if detector else [batch, 4, half, half]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", FLOAT[dtype], [batch, 3, size, size])],
        [helper.make_tensor_value_info("output0", FLOAT[dtype], output_shape)],
        constants,
    )
    opset = 19 if quantized and dtype == "float16" else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path):
    """Return a function that writes a variant of the network and returns its path."""
    return lambda **variant: make_model(tmp_path / "model.onnx", **variant)


@pytest.fixture
def write_model():
    """Return the function that writes a variant of the network to a path."""
    return make_model


@pytest.fixture(params=[10, 11], ids=["api10", "api11"])
def trt(request):
    """The emulated tensorrt module, version 10 and version 11."""
    modules.activate(request.param)
    return importlib.import_module("tensorrt")


@pytest.fixture
def trt10():
    modules.activate(10)
    return importlib.import_module("tensorrt")


@pytest.fixture
def cudart(trt):
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def cuda(trt10):
    """The emulated pycuda.driver with a context."""
    driver = importlib.import_module("pycuda.driver")
    driver.init()
    context = driver.Device(0).make_context()
    yield driver
    context.detach()


@pytest.fixture
def log(trt):
    """A logger that keeps (severity name, text)."""

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.messages = []

        def log(self, severity, msg):
            self.messages.append((severity.name, msg))

        @property
        def errors(self):
            return "\n".join(text for severity, text in self.messages if severity == "ERROR")

    return Log()


@pytest.fixture
def lab(trt, log):
    """The usual objects around one build, in one place."""
    return Lab(trt, log)


class Lab:
    def __init__(self, trt, log):
        self.trt, self.log = trt, log
        self.builder = trt.Builder(log)
        self.config = self.builder.create_builder_config()
        self.config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED

    def network(self, path, *, strong=True):
        flag = 1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if strong else 0
        network = self.builder.create_network(flag)
        self.parser = self.trt.OnnxParser(network, self.log)
        self.parsed = self.parser.parse(path.read_bytes(), str(path))
        return network

    def profile(self, low, preferred, high):
        profile = self.builder.create_optimization_profile()
        profile.set_shape("images", low, preferred, high)
        return self.config.add_optimization_profile(profile)

    def plan(self, path, *, strong=True):
        return self.builder.build_serialized_network(self.network(path, strong=strong), self.config)

    def engine(self, path, *, strong=True):
        plan = self.plan(path, strong=strong)
        assert plan is not None, self.log.errors
        return self.load(plan)

    def load(self, plan):
        return self.trt.Runtime(self.log).deserialize_cuda_engine(plan)


@pytest.fixture
def infer(cudart):
    """Return a function that runs one inference through device memory and returns output0."""

    def run(context, images):
        def call(result):
            code, *values = result
            assert code == cudart.cudaError_t.cudaSuccess
            return values[0] if values else None

        assert context.set_input_shape("images", images.shape)
        output = np.empty(tuple(context.get_tensor_shape("output0")), images.dtype)
        d_in, d_out = call(cudart.cudaMalloc(images.nbytes)), call(cudart.cudaMalloc(output.nbytes))
        stream = call(cudart.cudaStreamCreate())
        kind = cudart.cudaMemcpyKind
        assert context.set_tensor_address("images", d_in)
        assert context.set_tensor_address("output0", d_out)
        call(cudart.cudaMemcpyAsync(d_in, images, images.nbytes, kind.cudaMemcpyHostToDevice, stream))
        assert context.execute_async_v3(stream)
        call(cudart.cudaMemcpyAsync(output, d_out, output.nbytes, kind.cudaMemcpyDeviceToHost, stream))
        call(cudart.cudaStreamSynchronize(stream))
        call(cudart.cudaFree(d_in))
        call(cudart.cudaFree(d_out))
        return output

    return run


@pytest.fixture
def reference():
    """Return a function that runs a model in ONNX Runtime."""
    import onnxruntime

    def run(path, images):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"images": images})[0]

    return run


@pytest.fixture
def images():
    """Return a function that gives random images."""
    return lambda batch=1, size=SIZE: np.random.default_rng(1).random((batch, 3, size, size), dtype=np.float32)


@pytest.fixture
def distance():
    """Relative L2 distance."""
    return lambda actual, expected: float(
        np.linalg.norm(actual.astype(np.float64) - expected) / np.linalg.norm(expected.astype(np.float64))
    )


@pytest.fixture
def rt(trt10):
    """The emulated cuda.bindings.runtime beside TensorRT 10."""
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def box(rt):
    """Streams, events and memory, and the calls around a capture."""
    return CaptureBox(rt)


def _value(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


class CaptureBox:
    """Streams, events and memory, and the calls around a capture."""

    def __init__(self, rt):
        self.rt = rt
        self.stream = _value(rt.cudaStreamCreateWithFlags(rt.cudaStreamNonBlocking))
        self.other = _value(rt.cudaStreamCreateWithFlags(rt.cudaStreamNonBlocking))
        self.blocking = _value(rt.cudaStreamCreate())
        self.memory = _value(rt.cudaMalloc(_CAPTURED_BYTES))
        self.host = np.arange(4, dtype=np.float32)
        # Page-locked: a copy to pageable memory would have to be done before a launch returns.
        self.back = np.ctypeslib.as_array((ctypes.c_float * 4).from_address(_value(rt.cudaMallocHost(_CAPTURED_BYTES))))
        self.back[:] = 0
        self.begin()
        self.graph = _value(self.end())
        self.before = self.event()
        _value(rt.cudaEventRecord(self.before, self.other))
        _value(rt.cudaDeviceSynchronize())

    def event(self):
        return _value(self.rt.cudaEventCreate())

    def begin(self, stream=None, mode=0):
        _value(self.rt.cudaStreamBeginCapture(stream or self.stream, self.rt.cudaStreamCaptureMode(mode)))

    def end(self, stream=None):
        return self.rt.cudaStreamEndCapture(stream or self.stream)

    def status(self, stream=None):
        return int(_value(self.rt.cudaStreamIsCapturing(stream or self.stream)))

    def copy_in(self, stream=None):
        kind = self.rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        return self.rt.cudaMemcpyAsync(self.memory, self.host, _CAPTURED_BYTES, kind, stream or self.stream)

    def copy_back(self, stream=None):
        kind = self.rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        return self.rt.cudaMemcpyAsync(self.back, self.memory, _CAPTURED_BYTES, kind, stream or self.stream)

    def fill(self, stream, number=7):
        return self.rt.cudaMemsetAsync(self.memory, number, _CAPTURED_BYTES, stream)

    def recorded(self, stream=None):
        event = self.event()
        _value(self.rt.cudaEventRecord(event, stream or self.stream))
        return event

    def round_trip(self):
        """Capture a copy in and a copy back, and return what can be launched."""
        self.begin()
        _value(self.copy_in())
        _value(self.copy_back())
        return _value(self.rt.cudaGraphInstantiate(_value(self.end()), 0))
