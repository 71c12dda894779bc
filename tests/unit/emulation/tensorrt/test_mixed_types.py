"""Strongly typed networks that mix FP16 and FP32: each layer is computed in the type it has."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from tests.unit.emulation.tensorrt.test_network_layers import execute
from tests.unit.precision.conftest import build_detector
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.types import Precision

KERNEL = np.random.default_rng(0).normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32)
IMAGE = np.random.default_rng(1).normal(0, 1, (1, 8, 12, 12)).astype(np.float32)


@pytest.fixture
def network(trt, lab):
    """A convolution in FP16, one in FP32, one in FP16, and an output in FP32."""
    network = lab.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    tensor = network.add_input("x", trt.float32, IMAGE.shape)
    for name, dtype in (("first", trt.float16), ("second", trt.float32), ("third", trt.float16)):
        kernel = KERNEL.astype(trt.nptype(dtype))
        conv = network.add_convolution_nd(network.add_cast(tensor, dtype).get_output(0), 8, (3, 3), kernel)
        conv.name = name
        conv.name = name
        relu = network.add_activation(conv.get_output(0), trt.ActivationType.RELU)
        assert relu.get_output(0).dtype == dtype
        tensor = relu.get_output(0)
    network.mark_output(network.add_cast(tensor, trt.float32).get_output(0))
    return network


def test_each_layer_runs_in_its_type(trt, lab, network):
    sixteen = {"f16": "FP16", "bf16": "BF16", "f32": "FP32"}[target().arithmetic("f16")]
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    assert engine is not None, lab.log.errors
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    found = {}
    for layer in json.loads(text)["Layers"]:
        for name in ("first", "second", "third"):
            if f"+ {name} +" in layer["Name"] and layer["LayerType"] == "Convolution":
                found[name] = layer["TacticName"].rpartition("_")[2].upper()
    words = {"FP16": "F16", "FP32": "F32", "BF16": "BF16"}
    assert found == {"first": words[sixteen], "second": "F32", "third": words[sixteen]}


def test_the_result(trt, lab, network):
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    (found,) = execute(trt, engine, {"x": IMAGE}).values()
    expected = torch.from_numpy(IMAGE)
    for _ in range(3):
        expected = F.conv2d(expected, torch.from_numpy(KERNEL)).relu()
    assert np.linalg.norm(found - expected.numpy()) < 2e-2 * np.linalg.norm(expected.numpy())


def test_refitting_leaves_each_layer_its_type(trt, lab, network):
    lab.config.set_flag(trt.BuilderFlag.REFIT)
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    before = [(layer.name, layer.tactic) for layer in engine._layers()]
    (second,) = [each.tactic for each in engine._layers() if each.kind == "Convolution" and " second " in each.name]
    assert second.endswith("f32")
    assert not [name for name, _ in before if name.startswith("Convert")]  # copies are named after what they feed
    refitter = trt.Refitter(engine, lab.log)
    assert refitter.set_weights("first", trt.WeightsRole.KERNEL, np.zeros_like(KERNEL, np.float16))
    assert refitter.refit_cuda_engine()
    assert [(layer.name, layer.tactic) for layer in engine._layers()] == before
    (found,) = execute(trt, engine, {"x": IMAGE}).values()
    assert not found.any()


@pytest.fixture
def quantized(tmp_path):
    """A detector in INT8, its head in FP16 and its decode, DFL included, in FP32; and images for it."""
    images = np.kron(np.random.default_rng(5).random((4, 3, 8, 8)), np.ones((4, 4))).astype(np.float32)
    onnx.save(build_detector(batch=1), tmp_path / "fp32.onnx")
    table = calibrate(tmp_path / "fp32.onnx", [image[None] for image in images])
    quantize_onnx(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", table=table, base=Precision.FP16)
    return tmp_path / "int8.onnx", images[:1]


def test_a_quantized_network_runs_the_rest_in_16_bits(trt, lab, quantized):
    """OpenVINO loses its INT8 kernels where types are written into such a graph."""
    path, image = quantized
    engine = lab.load(lab.plan(path))
    tactics = {name: layer.tactic for layer in engine._layers() for name in layer.origins}
    sixteen = {"f16": "f16", "bf16": "bf16", "f32": "f32"}[target().arithmetic("f16")]
    assert tactics["/body/Conv"].lower().endswith("i8")
    assert tactics["/box_last/Conv"].endswith(f"_{sixteen}")
    assert tactics["/dfl/Softmax"].endswith("_f32")
    assert not [name for name, tactic in tactics.items() if name.startswith("/decode") and "f16" in tactic]
    (found,) = execute(trt, engine, {"images": image}).values()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": image})
    assert np.abs(found[:, :4] - expected[:, :4]).max() < 0.5  # pixels; in 16 bits DFL's sums alone move by more
    assert np.linalg.norm(found - expected) < 3e-2 * np.linalg.norm(expected)
