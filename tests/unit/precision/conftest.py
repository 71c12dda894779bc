"""A YOLO-like graph written by hand: every block the placement rules speak of, small enough to run in no time."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
CLASSES = 3


class Builder:
    """Collects nodes and weights; methods return the name of the tensor they make."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes = []
        self.constants = []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op_type, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_output"], name=name, **attributes))
        return f"{name}_output"

    def conv(self, source, name, channels, *, kernel=3, stride=1, activation=True, scale=1.0):
        inputs, outputs = channels
        fan = inputs * kernel * kernel
        weights = self.rng.normal(0, scale * np.sqrt(2 / fan), (outputs, inputs, kernel, kernel)).astype(np.float32)
        bias = self.rng.normal(0, 0.3, outputs).astype(np.float32)
        names = [source, self.constant(f"{name}.weight", weights), self.constant(f"{name}.bias", bias)]
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        output = self.node("Conv", names, f"/{name}/Conv", **shape)
        if not activation:
            return output
        return self.node("Mul", [output, self.node("Sigmoid", [output], f"/{name}/Sigmoid")], f"/{name}/Mul")


def build_detector(*, seed=0, opset=17, batch="batch"):
    """Return a detector: images (N, 3, 32, 32) -> output0 (N, 7, 16), one level of stride 8."""
    b = Builder(seed)
    stem = b.conv("images", "stem", (3, 8), stride=2)
    body = b.conv(stem, "body", (8, 16), stride=2)
    branch = b.conv(body, "branch", (16, 16))
    added = b.node("Add", [body, branch], "/residual/Add")
    pooled = b.node("MaxPool", [added], "/pool/MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    joined = b.node("Concat", [added, pooled], "/spp/Concat", axis=1)
    p3 = b.conv(joined, "p3", (32, 16), stride=2)
    p4 = b.conv(p3, "p4", (16, 16), stride=2)
    scales = b.constant("resize.scales", np.float32([1, 1, 2, 2]))
    roi = b.constant("resize.roi", np.zeros(0, np.float32))
    up = b.node("Resize", [p4, roi, scales], "/up/Resize", mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric")  # fmt: skip
    neck = b.conv(b.node("Concat", [up, p3], "/neck/Concat", axis=1), "neck", (32, 16))
    box = b.conv(b.conv(neck, "box", (16, 16)), "box_last", (16, 64), kernel=1, activation=False, scale=2.0)
    score = b.conv(b.conv(neck, "cls", (16, 16)), "cls_last", (16, CLASSES), kernel=1, activation=False, scale=2.0)
    output = decode(b, box, score)
    values = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIZE, SIZE]),
        helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, 4 + CLASSES, 16]),
    ]
    b.nodes[-1].output[0] = "output0"
    assert output == "/decode/Concat_output"
    graph = helper.make_graph(b.nodes, "tiny", values[:1], values[1:], b.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'a', 1: 'b', 2: 'c'}", "task": "detect", "stride": "8"})
    onnx.checker.check_model(model, full_check=True)
    return model


def decode(b, box, score):
    """Add Ultralytics' decode: DFL expectation, anchors, stride, sigmoid."""
    flat = b.node("Reshape", [box, b.constant("shape4", np.int64([-1, 4, 16, 16]))], "/dfl/Reshape")
    soft = b.node("Softmax", [b.node("Transpose", [flat], "/dfl/Transpose", perm=[0, 2, 1, 3])], "/dfl/Softmax", axis=1)
    weights = b.constant("dfl.weight", np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1))
    expected = b.node("Conv", [soft, weights], "/dfl/Conv")
    sides = b.node("Reshape", [expected, b.constant("shape3", np.int64([-1, 4, 16]))], "/dfl/Reshape_1")
    zero, two, four, axis = (b.constant(f"i{i}", np.int64([i])) for i in (0, 2, 4, 1))
    first = b.node("Slice", [sides, zero, two, axis], "/decode/Slice")
    second = b.node("Slice", [sides, two, four, axis], "/decode/Slice_1")
    grid = np.stack(np.meshgrid(np.arange(4) + 0.5, np.arange(4) + 0.5)).reshape(1, 2, 16).astype(np.float32)
    anchors = b.constant("anchors", grid)
    low = b.node("Sub", [anchors, first], "/decode/Sub")
    high = b.node("Add", [anchors, second], "/decode/Add")
    half = b.constant("half", np.float32(0.5))
    center = b.node("Mul", [b.node("Add", [low, high], "/decode/Add_1"), half], "/decode/Mul")
    xywh = b.node("Concat", [center, b.node("Sub", [high, low], "/decode/Sub_1")], "/decode/Concat_1", axis=1)
    pixels = b.node("Mul", [xywh, b.constant("stride", np.float32([[8.0]]))], "/decode/Mul_1")
    logits = b.node("Reshape", [score, b.constant("shape_scores", np.int64([-1, CLASSES, 16]))], "/decode/Reshape")
    return b.node("Concat", [pixels, b.node("Sigmoid", [logits], "/decode/Sigmoid")], "/decode/Concat", axis=1)


@pytest.fixture
def build():
    """The function that builds the graph."""
    return build_detector


@pytest.fixture
def detector(tmp_path):
    """The path of a saved FP32 detector."""
    onnx.save(build_detector(), tmp_path / "detector.onnx")
    return tmp_path / "detector.onnx"


@pytest.fixture
def images():
    """Smooth pictures, so that the tensors inside are not mere noise."""
    rng = np.random.default_rng(5)
    coarse = rng.random((12, 3, SIZE // 4, SIZE // 4)).astype(np.float32)
    return np.ascontiguousarray(np.kron(coarse, np.ones((1, 1, 4, 4), np.float32)))


@pytest.fixture
def run():
    """Return a function that runs a model file in ONNX Runtime."""

    def infer(path, batch):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"images": batch})[0]

    return infer


@pytest.fixture
def run_openvino():
    """Return a function that runs a model file in OpenVINO, pairs fused, and returns output and convolution kernels."""
    openvino = pytest.importorskip("openvino")
    from yolotrt_lab.precision.openvino_qdq import fuse_quantize_dequantize

    def infer(path, batch, *, fuse=True):
        core = openvino.Core()
        model = core.read_model(str(path))
        if fuse:
            fuse_quantize_dequantize(model)
        model.reshape({model.input(0): batch.shape})
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = core.compile_model(model, "CPU", settings)
        kernels = [
            str(node.get_rt_info()["primitiveType"].astype(str))
            for node in compiled.get_runtime_model().get_ordered_ops()
            if node.get_rt_info()["layerType"].astype(str) == "Convolution"
        ]
        return compiled(batch)[0], kernels

    return infer


def relative_l2(actual, expected):
    difference = actual.astype(np.float64) - expected.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


@pytest.fixture
def errors():
    """Return a function giving the relative L2 error of boxes and of scores."""

    def measure(actual, expected):
        return relative_l2(actual[:, :4], expected[:, :4]), relative_l2(actual[:, 4:], expected[:, 4:])

    return measure
