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
    if trt.__version__.startswith("10."):
        assert list(content) == ["Layers", "Bindings"]
        assert content["Bindings"] == ["images", "output0"]
    else:
        assert list(content) == ["Layers", "I/O Tensors"]
        assert [tensor["Name"] for tensor in content["I/O Tensors"]] == ["images", "output0"]


@pytest.mark.parametrize("trt", [11], indirect=True)
def test_inputs_and_outputs_of_version_11(trt, lab, describe, model):
    """The fields and words of NVIDIA's migration guide."""
    lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
    lab.profile((2, 3, 16, 16), (2, 3, 16, 16), (2, 3, 16, 16))
    images, output = describe(model(batch="n"))["I/O Tensors"]
    words = "Row major linear FP32 format (kLINEAR)"
    assert images == {
        "Name": "images", "IOMode": "Input", "DataType": "Float", "Dimensions": [-1, 3, 16, 16], "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [
            {"MinShape": [1, 3, 16, 16], "OptShape": [2, 3, 16, 16], "MaxShape": [4, 3, 16, 16], "Format": words},
            {"MinShape": [2, 3, 16, 16], "OptShape": [2, 3, 16, 16], "MaxShape": [2, 3, 16, 16], "Format": words},
        ],
    }  # fmt: skip
    assert output["IOMode"] == "Output"
    assert output["Dimensions"] == [-1, 4, 8, 8]
    assert output["ProfileInfo"] == [{"Format": words}] * 2


def test_shapes_of_a_context(trt, lab, model):
    lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
    engine = lab.engine(model(batch="n"))
    inspector, context = engine.create_engine_inspector(), engine.create_execution_context()
    inspector.execution_context = context
    assert inspector.execution_context is context

    def first_input():
        layers = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
        return next(t["Dimensions"] for layer in layers for t in layer["Inputs"] if t["Name"] == "images")

    assert first_input() == [-1, 3, 16, 16]
    context.set_input_shape("images", (3, 3, 16, 16))
    assert first_input() == [3, 3, 16, 16]
    inspector.execution_context = None
    assert first_input() == [-1, 3, 16, 16]


@pytest.mark.parametrize(("sizes", "shown"), [((2,), 2), ((2, 3), -1)])
def test_a_dimension_is_dynamic_if_the_profiles_leave_it_open(lab, model, sizes, shown):
    """Since TensorRT 7.2 a dynamic dimension of the network is a fixed one of the engine, if only one size is left."""
    for size in sizes:
        lab.profile(*[(size, 3, 16, 16)] * 3)
    engine = lab.engine(model(batch="n"))
    assert engine.get_tensor_shape("images") == (shown, 3, 16, 16)
    assert engine.get_tensor_shape("output0") == (shown, 4, 8, 8)


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


@pytest.mark.parametrize("capabilities", [None, ["FP32", "FP16", "BF16"], ["FP32"]], ids=["this", "fp16", "neither"])
def test_half_precision_shows_what_really_runs(trt, lab, describe, model, monkeypatch, capabilities):
    """The layers show what this processor does; the log warns, on any processor, if that is not FP16."""
    from yolotrt_lab.emulation.device import core
    from yolotrt_lab.emulation.tensorrt import openvino_target

    native = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if capabilities is not None:
        fake = type("Core", (), {"get_property": lambda self, *names: capabilities})()
        fake.import_model = core().import_model
        monkeypatch.setattr(openvino_target, "core", lambda: fake)
    runs, claimed = (
        "FP16" if "FP16" in known else "BF16" if "BF16" in known else "FP32"
        for known in (native, capabilities or native)
    )
    conv = find(describe(model(dtype="float16")), "/model.1/conv/Conv")
    assert runs in datatype(trt, conv["Inputs"][0])
    warned = [text for severity, text in lab.log.messages if severity == "WARNING" and "does not compute in" in text]
    expected = f"[emulation] The device does not compute in FP16; FP16 layers run in {claimed}."
    assert warned == ([] if claimed == "FP16" else [expected])


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
    lines = text.split("\n")
    assert lines[0] == "Layers:"
    layers = lines[1 : lines.index("")]
    assert len(layers) == engine.num_layers
    assert all(line.startswith("Name: ") for line in layers)
    if trt.__version__.startswith("10."):
        assert lines[len(layers) + 2 :] == ["Bindings:", "images", "output0", ""]
