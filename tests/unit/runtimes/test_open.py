"""Every framework gives the answer a bare ONNX Runtime session gives, and bad files give messages."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.runtimes import BACKENDS, open_runtime
from yolotrt_lab.runtimes.open import backend_for_path
from yolotrt_lab.types import Precision, TensorSpec

CLASS_NAMES = ("square", "disc")
ROUTES = {
    "pytorch": ("checkpoint", None),
    "onnxruntime": ("onnx_model", None),
    "openvino": ("onnx_model", "openvino"),
    "openvino_ir": ("ir_model", None),
    "tensorrt": ("engine", None),
}


@pytest.fixture(params=ROUTES)
def opened(request):
    """A function that opens the small model by one route, and what the route is called."""
    fixture, backend = ROUTES[request.param]
    path = request.getfixturevalue(fixture)

    def open_it(**settings):
        if request.param == "pytorch":
            settings.setdefault("input_hw", (64, 64))
        return open_runtime(path, backend=backend, threads=1, device="cpu", **settings)

    open_it.backend = request.param.removesuffix("_ir")
    return open_it


def relative_l2(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def test_all_frameworks_agree(opened, images, reference):
    with opened() as runtime:
        output = runtime.infer({"images": images})
        assert list(output) == ["output0"]
        assert output["output0"].dtype == np.float32
        assert output["output0"].shape == reference.shape == (2, 6, 84)
        # Boxes in pixels would drown the scores, so each is compared for itself. ONNX Runtime's sigmoid is an
        # approximation: small scores differ by 2e-5 from PyTorch's and OpenVINO's, which agree with each other.
        assert relative_l2(output["output0"][:, :4], reference[:, :4]) < 1e-5
        assert relative_l2(output["output0"][:, 4:], reference[:, 4:]) < TOLERANCES[Precision.FP32].relative_l2


def test_the_batch_may_change_from_call_to_call(opened, images, reference):
    with opened() as runtime:
        for rows in (slice(0, 1), slice(0, 2), slice(1, 2)):
            output = runtime.infer({"images": np.ascontiguousarray(images[rows])})["output0"]
            assert relative_l2(output, reference[rows]) < 1e-5


def test_outputs_belong_to_the_caller(opened, images):
    with opened() as runtime:
        first = runtime.infer({"images": images})["output0"]
        kept = first.copy()
        runtime.infer({"images": np.zeros_like(images)})
        np.testing.assert_array_equal(first, kept)
        first[:] = 0  # writable, and not the framework's own memory
        np.testing.assert_array_equal(runtime.infer({"images": images})["output0"], kept)


def test_the_input_is_not_changed(opened, images):
    copy = images.copy()
    with opened() as runtime:
        runtime.infer({"images": copy})
    np.testing.assert_array_equal(copy, images)


def test_what_a_runtime_says_about_itself(opened):
    with opened() as runtime:
        assert runtime.backend == opened.backend
        assert runtime.class_names == CLASS_NAMES
        assert runtime.input_hw == (64, 64)
        assert runtime.inputs == (TensorSpec("images", "float32", (None, 3, 64, 64)),)
        assert runtime.outputs == (TensorSpec("output0", "float32", (None, 6, 84)),)
        assert runtime.executed_precision is Precision.FP32
        assert runtime.platform in (("real", "emulated") if runtime.backend == "tensorrt" else ("cpu",))
        assert runtime.name.split()[0].lower().startswith(("pytorch", "onnx", "openvino", "tensorrt"))


def test_infer_after_close(opened, images):
    runtime = opened()
    runtime.close()
    with pytest.raises(InputError, match="is closed"):
        runtime.infer({"images": images})


@pytest.mark.parametrize(
    ("name", "backend", "expected"),
    [
        ("a.pt", None, "pytorch"),
        ("a.onnx", None, "onnxruntime"),
        ("a.ONNX", None, "onnxruntime"),
        ("a.onnx", "openvino", "openvino"),
        ("a.xml", None, "openvino"),
        ("a.engine", None, "tensorrt"),
        ("a.fp16.plan", None, "tensorrt"),
    ],
)
def test_backend_for_path(name, backend, expected):
    assert backend_for_path(Path(name), backend=backend) == expected
    assert expected in BACKENDS


@pytest.mark.parametrize(
    ("name", "backend", "message", "fix"),
    [
        ("model", None, "no suffix", None),
        ("model.tflite", None, "suffix '.tflite'", None),
        ("model.pt", "openvino", "openvino", "openvino takes .onnx, .xml files."),
        ("model.engine", "onnxruntime", "onnxruntime", "onnxruntime takes .onnx files."),
        ("model.onnx", "caffe", "caffe", "Backends: pytorch"),
    ],
)
def test_backend_that_does_not_fit(name, backend, message, fix):
    with pytest.raises(InputError) as caught:
        open_runtime(Path(name), backend=backend)
    assert message in caught.value.got
    assert fix is None or fix in caught.value.fix


@pytest.mark.parametrize(("setting", "what"), [({"batch": 0}, "batch size"), ({"threads": 0}, "number of threads")])
def test_settings_out_of_range(setting, what, onnx_model):
    with pytest.raises(InputError, match=what):
        open_runtime(onnx_model, **setting)


@pytest.mark.parametrize(("suffix", "backend"), [(".pt", None), (".onnx", None), (".onnx", "openvino"), (".xml", None)])
class TestBadFiles:
    def test_missing(self, tmp_path, suffix, backend):
        path = tmp_path / f"gone{suffix}"
        with pytest.raises(InputError, match="No such file") as caught:
            open_runtime(path, backend=backend)
        assert str(path) in str(caught.value)

    def test_folder(self, tmp_path, suffix, backend):
        path = tmp_path / f"folder{suffix}"
        path.mkdir()
        with pytest.raises(InputError, match="is a folder"):
            open_runtime(path, backend=backend)

    def test_empty(self, tmp_path, suffix, backend):
        path = tmp_path / f"empty{suffix}"
        path.touch()
        with pytest.raises(InputError, match="is empty"):
            open_runtime(path, backend=backend)

    def test_garbage(self, tmp_path, suffix, backend):
        path = tmp_path / f"garbage{suffix}"
        path.write_bytes(np.random.default_rng(0).bytes(5000))
        path.with_suffix(".bin").write_bytes(b"weights")
        with pytest.raises(InputError) as caught:
            open_runtime(path, backend=backend)
        assert path.name in caught.value.what
        assert caught.value.got

    def test_truncated(self, tmp_path, suffix, backend, request):
        fixture = {".pt": "checkpoint", ".onnx": "onnx_model", ".xml": "ir_model"}[suffix]
        whole = request.getfixturevalue(fixture).read_bytes()
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole[: len(whole) // 2])
        path.with_suffix(".bin").write_bytes(b"weights")
        with pytest.raises(InputError) as caught:
            open_runtime(path, backend=backend)
        assert path.name in caught.value.what


def test_ir_without_its_weights(tmp_path, ir_model):
    shutil.copy(ir_model, tmp_path / "alone.xml")
    with pytest.raises(InputError, match=r"alone\.bin") as caught:
        open_runtime(tmp_path / "alone.xml")
    assert "weights that belong to alone.xml" in caught.value.expected


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_operator_nobody_knows(tmp_path, backend):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("NoSuchOperator", ["x"], ["y"], domain="example.org")],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])],
        [value("y", onnx.TensorProto.FLOAT, [1, 3])],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("example.org", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(InputError) as caught:
        open_runtime(tmp_path / "odd.onnx", backend=backend)
    assert "NoSuchOperator" in str(caught.value)


def test_a_size_the_checkpoint_cannot_take(checkpoint):
    with pytest.raises(InputError, match="does not fit the model") as caught:
        open_runtime(checkpoint, input_hw=(64, 70))
    assert "stride 32" in caught.value.expected


def test_a_fixed_size_is_checked(onnx_model):
    with open_runtime(onnx_model, input_hw=(64, 64), threads=1) as runtime:
        assert runtime.input_hw == (64, 64)
    with pytest.raises(InputError, match="does not take this image size") as caught:
        open_runtime(onnx_model, input_hw=(96, 96), threads=1)
    assert "(64, 64)" in caught.value.expected


def test_an_open_size_may_be_chosen(tmp_path, onnx_model):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["images"], ["y"])],
        "g",
        [value("images", onnx.TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [value("y", onnx.TensorProto.FLOAT, ["b", 3, "h", "w"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(model, {"imgsz": "[32, 32]"})
    onnx.save(model, tmp_path / "open.onnx")
    with open_runtime(tmp_path / "open.onnx", threads=1) as runtime:
        assert runtime.input_hw == (32, 32)
    with open_runtime(tmp_path / "open.onnx", input_hw=(48, 64), threads=1) as runtime:
        assert runtime.input_hw == (48, 64)


@pytest.mark.parametrize("route", ["checkpoint", "onnx_model"])
def test_a_device_that_is_not_there(route, request):
    with pytest.raises(InputError) as caught:
        open_runtime(request.getfixturevalue(route), device="cuda:99" if route == "checkpoint" else "npu")
    assert "cpu" in str(caught.value)


def test_pytorch_threads_are_put_back(checkpoint):
    import torch

    before = torch.get_num_threads()
    with open_runtime(checkpoint, input_hw=(64, 64), threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_pytorch_failing_leaves_the_threads_alone(checkpoint):
    import torch

    before = torch.get_num_threads()
    with pytest.raises(InputError):
        open_runtime(checkpoint, input_hw=(64, 70), threads=before + 1)
    assert torch.get_num_threads() == before


class TestOpenVino:
    def test_compiled_for_a_fixed_batch(self, onnx_model, images, reference):
        with open_runtime(onnx_model, backend="openvino", batch=2) as runtime:
            assert runtime.inputs[0].shape[0] == 2
            assert relative_l2(runtime.infer({"images": images})["output0"], reference) < 1e-5
            with pytest.raises(InputError, match="wrong shape"):
                runtime.infer({"images": np.ascontiguousarray(images[:1])})

    def test_fp32_is_asked_for_although_the_default_may_be_lower(self, onnx_model, images, reference):
        from yolotrt_lab.runtimes.openvino import OpenVinoRuntime

        with OpenVinoRuntime(onnx_model, precision=Precision.FP16) as lower:
            error = relative_l2(lower.infer({"images": images})["output0"], reference)
            assert lower.executed_precision in (Precision.FP16, Precision.BF16, Precision.FP32)
            assert (lower.executed_precision is Precision.FP32) == (error < 1e-6)

    def test_no_hint_for_int8(self, onnx_model):
        from yolotrt_lab.runtimes.openvino import OpenVinoRuntime

        with pytest.raises(InputError, match="no precision hint int8") as caught:
            OpenVinoRuntime(onnx_model, precision=Precision.INT8)
        assert "Q/DQ" in caught.value.fix

    def test_layer_times_name_the_onnx_nodes(self, onnx_model, images):
        with open_runtime(onnx_model, backend="openvino", threads=1) as runtime:
            layers = runtime.layer_times({"images": images})
        convolutions = [layer for layer in layers if layer.kind == "Convolution"]
        nodes = {node.name for node in onnx.load(onnx_model).graph.node if node.op_type == "Conv"}
        assert len(convolutions) == len(nodes)
        named = {origin.removesuffix("/WithoutBiases") for layer in convolutions for origin in layer.origins}
        assert nodes <= named
        assert all(layer.time_ms >= 0 for layer in layers)
        assert sum(layer.time_ms for layer in layers) > 0
        assert {layer.precision for layer in convolutions} == {"f32"}


def test_onnxruntime_reports_int8_by_the_graph(tmp_path, onnx_model):
    model = onnx.load(onnx_model)
    scale = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [], [0.01])
    zero = onnx.helper.make_tensor("z", onnx.TensorProto.INT8, [], [0])
    model.graph.initializer.extend([scale, zero])
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    source = first.input[0]
    first.input[0] = "dequantized"
    pair = [
        onnx.helper.make_node("QuantizeLinear", [source, "s", "z"], ["quantized"]),
        onnx.helper.make_node("DequantizeLinear", ["quantized", "s", "z"], ["dequantized"]),
    ]
    for position, node in enumerate(pair):
        model.graph.node.insert(position, node)
    onnx.save(model, tmp_path / "q.onnx")
    with open_runtime(tmp_path / "q.onnx", threads=1) as runtime:
        assert runtime.executed_precision is Precision.INT8


def test_a_framework_that_fails_gives_a_lab_error(onnx_model, images, monkeypatch):
    with open_runtime(onnx_model, threads=1) as runtime:

        class Broken:
            def run(self, *_):
                raise RuntimeError("no kernel image")

        monkeypatch.setattr(runtime, "_session", Broken())
        with pytest.raises(LabError, match="failed during inference") as caught:
            runtime.infer({"images": images})
    assert "no kernel image" in caught.value.got
