import json

import pytest

from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.inspect import inspect_engine, report_from_engine, report_from_json
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision


def layer(name, kind, inputs, outputs=("Row major linear FP32",), *, key="Format/Datatype", metadata=""):
    def tensors(types):
        return [{"Name": f"t{i}", "Dimensions": [1, 2], key: text} for i, text in enumerate(types)]

    return {
        "Name": name, "LayerType": kind, "Inputs": tensors(inputs), "Outputs": tensors(outputs),
        "TacticName": "kernel", "Metadata": metadata,
    }  # fmt: skip


def parse(*layers):
    return report_from_json(json.dumps({"Layers": list(layers), "Bindings": ["images"]}), name="e")


class TestJson:
    """Layers as real TensorRT describes them."""

    @pytest.mark.parametrize(
        ("text", "precision"),
        [
            ("Row major linear FP32", Precision.FP32),
            ("Row major linear FP16 format", Precision.FP16),
            ("Channel major FP16 format where channel % 8 == 0", Precision.FP16),
            ("Thirty-two wide channel vectorized row major Int8 format", Precision.INT8),
            ("Row major Int8 format", Precision.INT8),
            ("Row major linear BF16 format", Precision.BF16),
            ("Half", Precision.FP16),
            ("Float", Precision.FP32),
            ("Row major linear Int32", None),
            ("Row major linear Bool", None),
        ],
    )
    def test_data_types_of_version_10(self, text, precision):
        (found,) = parse(layer("conv", "CaskConvolution", [text], ()))
        assert found.precision is precision

    @pytest.mark.parametrize(("text", "precision"), [("Int8", Precision.INT8), ("Half", Precision.FP16)])
    def test_data_types_of_version_11(self, text, precision):
        (found,) = parse(layer("conv", "CaskConvolution", [text], (), key="Datatype"))
        assert found.precision is precision

    @pytest.mark.parametrize(
        ("kind", "compute"),
        [
            ("CaskConvolution", True),
            ("CaskGemmConvolution", True),
            ("CaskDeconvolutionV2", True),
            ("MatrixMultiply", True),
            ("gemm", True),
            ("PointWiseV2", False),
            ("Reformat", False),
            ("CaskPooling", False),
        ],
    )
    def test_compute_layers(self, kind, compute):
        (found,) = parse(layer("x", kind, ["Row major linear FP32"]))
        assert found.is_compute is compute

    def test_a_fused_kernel_is_known_by_its_nodes(self):
        origins = "[ONNX Layer: /model.0/conv/Conv]\x1e[ONNX Layer: /model.0/act/Sigmoid]"
        (found,) = parse(layer("__myl_Conv_0", "kgen", ["FP16"], metadata=origins))
        assert found.is_compute
        assert found.is_fused
        assert found.origins == ("/model.0/conv/Conv", "/model.0/act/Sigmoid")

    def test_a_copy_in_front_of_a_convolution_is_no_compute(self):
        name = "Reformatting CopyNode for Input Tensor 0 to /model.0/conv/Conv"
        (found,) = parse(layer(name, "Reformat", ["FP32"]))
        assert not found.is_compute

    def test_int8_is_read_off_the_input(self):
        (found,) = parse(layer("conv", "CaskConvolution", ["Row major Int8"], ["Row major linear FP32"]))
        assert found.precision is Precision.INT8

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"Layers": ["conv1"], "Bindings": []}', "layer names only"),
            ('{"Layers": [], "Bindings": []}', "no layers"),
            ("nonsense", "cannot be read"),
            ("[]", "cannot be read"),
        ],
    )
    def test_what_cannot_be_used(self, text, message):
        with pytest.raises(InputError, match=message):
            report_from_json(text, name="m.engine")


class FakeEngine:
    num_io_tensors = 0
    device_memory_size_v2 = 7

    def __init__(self, layers):
        self.text = json.dumps({"Layers": layers})

    def create_engine_inspector(self):
        return self

    def get_engine_information(self, format):
        return self.text


def report(precisions, requested=None, *, platform="real"):
    layers = [layer(f"conv{i}", "CaskConvolution", [text]) for i, text in enumerate(precisions)]
    trt = activate().trt
    return report_from_engine(FakeEngine(layers), trt, platform=platform, requested=requested)


class TestVerdict:
    @pytest.mark.parametrize(
        ("precisions", "executed"),
        [
            (["FP32"] * 4, Precision.FP32),
            (["FP16"] * 3 + ["FP32"], Precision.FP16),
            (["Int8"] * 4, Precision.INT8),
            (["Int8"] * 2 + ["FP16"] * 2, Precision.INT8),
            (["Int8"] * 2 + ["FP16"] * 3, Precision.FP16),
            (["Int32"], Precision.FP32),
        ],
    )
    def test_executed_precision(self, precisions, executed):
        assert report(precisions).executed_precision is executed

    def test_share(self):
        assert report(["Int8", "FP16", "FP16", "FP16"]).precision_share == {Precision.FP16: 0.75, Precision.INT8: 0.25}

    def test_pointwise_work_does_not_count(self):
        layers = [layer("c", "CaskConvolution", ["Int8"]), *[layer(f"p{i}", "PointWise", ["FP32"]) for i in range(9)]]
        found = report_from_engine(FakeEngine(layers), activate().trt, platform="real")
        assert found.precision_share == {Precision.INT8: 1.0}

    @pytest.mark.parametrize(
        ("precisions", "requested", "platform", "message"),
        [
            (["FP32"] * 4, Precision.INT8, "real", "Asked for INT8, but only 0% of the compute layers are (FP32 100%)"),
            (["Int8"] + ["FP16"] * 9, Precision.INT8, "real", "only 10% of the compute layers"),
            (["FP32"], Precision.FP16, "real", "Asked for FP16, runs in FP32"),
            (["BF16"], Precision.FP16, "emulated", "no FP16 arithmetic"),
        ],
    )
    def test_another_precision_than_asked_is_told(self, precisions, requested, platform, message):
        (warning,) = report(precisions, requested, platform=platform).warnings
        assert message in warning

    @pytest.mark.parametrize("requested", [None, Precision.INT8])
    def test_no_warning_without_cause(self, requested):
        assert report(["Int8"], requested).warnings == ()


def test_an_engine_file(api, detector, tmp_path):
    built = build_engine(detector(quantized=True), tmp_path / "m.engine", options=EngineOptions(max_batch=4))
    found = inspect_engine(built.path)
    assert found == built.report
    by_origin = {origin: item for item in found.layers for origin in item.origins}
    assert by_origin["/model.1/conv/Conv"].precision is Precision.INT8
    assert by_origin["/model.2/conv/Conv"].precision is Precision.FP32
    assert ("/model.2/conv/Conv", "/model.2/act/Relu") in found.fused_groups
    images, output = found.io
    assert (images.name, images.is_input, images.dtype, images.shape) == ("images", True, "FLOAT", (None, 3, 32, 32))
    assert images.profile == ((1, 3, 32, 32), (1, 3, 32, 32), (4, 3, 32, 32))
    assert (output.name, output.is_input, output.shape, output.profile) == ("output0", False, (None, 6, 256), ())
    assert found.device_memory_bytes > 0
    assert found.platform == "emulated"


def test_the_request_is_remembered(detector, tmp_path):
    options = EngineOptions(precision=Precision.INT8)
    path = build_engine(detector(quantized=True), tmp_path / "m.engine", options=options).path
    assert inspect_engine(path).requested_precision is Precision.INT8
