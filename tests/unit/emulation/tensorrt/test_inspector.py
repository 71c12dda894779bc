"""What the inspector tells, in the shape of each TensorRT version."""

import json

import pytest


@pytest.fixture
def describe(trt, lab):
    def run(path, verbosity="DETAILED"):
        lab.config.profiling_verbosity = getattr(trt.ProfilingVerbosity, verbosity)
        inspector = lab.engine(path).create_engine_inspector()
        return json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

    return run


def find(content, node):
    (layer,) = [layer for layer in content["Layers"] if f"[ONNX Layer: {node}]" in layer["Metadata"].split("\x1e")]
    return layer


def datatype(trt, tensor):
    if trt.__version__.startswith("10."):
        assert "Datatype" not in tensor
        return tensor["Format/Datatype"]
    assert "Format/Datatype" not in tensor
    return tensor["Datatype"]


def test_names_of_the_lists(trt, describe, model):
    content = describe(model())
    key = "Bindings" if trt.__version__.startswith("10.") else "I/O Tensors"
    assert list(content) == ["Layers", key]
    assert content[key] == ["images", "output0"]


def test_fusion_is_told(trt, describe, model):
    content = describe(model())
    conv = find(content, "/model.0/conv/Conv")
    assert conv["Name"] == "/model.0/conv/Conv + /model.0/act/Sigmoid + /model.0/act/Mul"
    assert conv["Metadata"].split("\x1e") == [
        "[ONNX Layer: /model.0/conv/Conv]", "[ONNX Layer: /model.0/act/Sigmoid]", "[ONNX Layer: /model.0/act/Mul]",
    ]  # fmt: skip
    assert conv["LayerType"] == "Convolution"
    assert find(content, "/model.1/act/Relu") is find(content, "/model.1/conv/Conv")
    assert conv["Outputs"][0]["Name"] == "m"
    assert conv["Outputs"][0]["Dimensions"] == [1, 8, 8, 8]
    assert "FP32" in datatype(trt, conv["Inputs"][0])


def test_every_node_is_somewhere_once(describe, model):
    content = describe(model())
    origins = [part for layer in content["Layers"] for part in layer["Metadata"].split("\x1e") if part]
    assert len(origins) == len(set(origins))
    assert len(origins) >= 6


def test_quantized_convolutions_run_in_int8(trt, describe, model):
    content = describe(model(quantized=True))
    for index in range(3):
        conv = find(content, f"/model.{index}/conv/Conv")
        assert "Int8" in datatype(trt, conv["Inputs"][0]), conv
        assert conv["TacticName"].endswith("_I8")
    conv = find(content, "/model.1/conv/Conv")
    assert "[ONNX Layer: w1_DequantizeLinear]" in conv["Metadata"]
    assert "Quantize" not in conv["Name"]


def test_half_precision_shows_what_really_runs(trt, lab, describe, model):
    from yolotrt_lab.emulation.device import core

    capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    expected = "FP16" if "FP16" in capabilities else "BF16" if "BF16" in capabilities else "FP32"
    conv = find(describe(model(dtype="float16")), "/model.1/conv/Conv")
    assert expected in datatype(trt, conv["Inputs"][0])


def test_dynamic_dimensions_are_minus_one(lab, describe, model):
    lab.profile((1, 3, 16, 16), (1, 3, 16, 16), (4, 3, 16, 16))
    assert find(describe(model(batch="n")), "/model.1/conv/Conv")["Inputs"][0]["Dimensions"] == [-1, 8, 8, 8]


def test_names_only(describe, model):
    layers = describe(model(), "LAYER_NAMES_ONLY")["Layers"]
    assert "/model.0/conv/Conv + /model.0/act/Sigmoid + /model.0/act/Mul" in layers


def test_nothing(describe, model):
    assert describe(model(), "NONE")["Layers"] == []


def test_single_layers(trt, lab, model):
    engine = lab.engine(model())
    inspector = engine.create_engine_inspector()
    whole = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
    assert [
        json.loads(inspector.get_layer_information(index, trt.LayerInformationFormat.JSON))
        for index in range(engine.num_layers)
    ] == whole
    assert inspector.get_layer_information(99, trt.LayerInformationFormat.JSON) == ""
    assert "layerIndex" in lab.log.errors


def test_one_line_per_layer(trt, lab, model):
    engine = lab.engine(model())
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.ONELINE)
    lines = text.splitlines()
    assert lines[0] == "Layers:"
    assert len([line for line in lines if line.startswith("Name: ")]) == engine.num_layers
