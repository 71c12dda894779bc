"""A small detector as ONNX in every precision, and the platform switched back after each test."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.engines import platform

SIZE = 32
NAMES = {0: "bolt", 1: "nut"}


@pytest.fixture(autouse=True)
def _emulated(monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    monkeypatch.delenv("YOLOTRT_TRT_API", raising=False)
    platform.deactivate()
    yield
    platform.deactivate()


@pytest.fixture(params=["10", "11"], ids=["api10", "api11"])
def api(request, monkeypatch):
    """Both TensorRT versions."""
    monkeypatch.setenv("YOLOTRT_TRT_API", request.param)
    return int(request.param)


def make_detector(
    path: Path, *, batch: int | str = "batch", dtype: str = "float32", quantized: bool = False, size: int | str = SIZE
) -> Path:
    """Write images (batch, 3, 32, 32) -> three convolutions -> output0 (batch, 6, 256), with Ultralytics' metadata."""
    random = np.random.default_rng(0)
    element = TensorProto.FLOAT if dtype == "float32" else TensorProto.FLOAT16
    constants, nodes = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(values, name))
        return name

    def quantize(tensor, scale):
        scale_name, zero = constant(f"{tensor}_s", np.array(scale, dtype)), constant(f"{tensor}_z", np.int8(0))
        nodes.append(
            helper.make_node("QuantizeLinear", [tensor, scale_name, zero], [f"{tensor}_q"], name=f"{tensor}/Q")
        )
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{tensor}_q", scale_name, zero], [f"{tensor}_d"], name=f"{tensor}/D")
        )
        return f"{tensor}_d"

    tensor = "images"
    for index, (channels_in, channels) in enumerate([(3, 8), (8, 8), (8, 6)]):
        weight = constant(f"w{index}", random.normal(0, 0.3, (channels, channels_in, 3, 3)).astype(dtype))
        bias = constant(f"b{index}", random.normal(0, 0.1, channels).astype(dtype))
        if quantized and index < 2:
            tensor, weight = quantize(tensor, 0.03), quantize(weight, 0.01)
        name = f"/model.{index}/conv/Conv"
        stride = [2 if index == 0 else 1] * 2
        nodes.append(
            helper.make_node("Conv", [tensor, weight, bias], [f"c{index}"], name=name, pads=[1] * 4, strides=stride)
        )
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"/model.{index}/act/Relu"))
        tensor = f"r{index}"
    shape = constant("shape", np.array([0, 6, -1], np.int64))
    nodes.append(helper.make_node("Reshape", [tensor, shape], ["output0"], name="/model.3/Reshape"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", element, [batch, 3, size, size])],
        [helper.make_tensor_value_info("output0", element, [batch, 6, SIZE * SIZE // 4 if size == SIZE else "a"])],
        constants,
    )
    opset = 19 if quantized and dtype == "float16" else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    metadata = {"names": repr(NAMES), "imgsz": f"[{SIZE}, {SIZE}]", "stride": "32", "task": "detect"}
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def detector(tmp_path):
    """Return a function that writes a variant of the detector and returns its path."""

    def write(name="model.onnx", **variant):
        return make_detector(tmp_path / name, **variant)

    return write


@pytest.fixture
def infer():
    """Return a function that runs images through an engine file and returns output0."""
    from yolotrt_lab.engines.plan import load_engine

    def run(path, images):
        loaded = load_engine(path)
        runtime = sys.modules.get("cuda.bindings.runtime") or __import__("cuda.bindings.runtime", fromlist=["_"])
        context = loaded.engine.create_execution_context()
        assert context.set_input_shape("images", images.shape)
        output = np.empty(tuple(context.get_tensor_shape("output0")), images.dtype)
        d_in, d_out = runtime.cudaMalloc(images.nbytes)[1], runtime.cudaMalloc(output.nbytes)[1]
        kind = runtime.cudaMemcpyKind
        runtime.cudaMemcpy(d_in, images, images.nbytes, kind.cudaMemcpyHostToDevice)
        assert context.execute_v2([d_in, d_out])
        runtime.cudaMemcpy(output, d_out, output.nbytes, kind.cudaMemcpyDeviceToHost)
        return output

    return run


@pytest.fixture
def reference():
    """Return a function that runs an ONNX file in ONNX Runtime."""
    import onnxruntime

    def run(path, images):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"images": images})[0]

    return run


@pytest.fixture
def images():
    return lambda batch=1: np.random.default_rng(1).random((batch, 3, SIZE, SIZE), dtype=np.float32)
