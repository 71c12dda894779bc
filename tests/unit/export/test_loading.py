import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.loading import load_onnx_checked


def refused(path):
    with pytest.raises(InputError) as caught:
        load_onnx_checked(path)
    assert caught.value.expected
    assert caught.value.got
    return caught.value


def test_a_good_model_loads(exported):
    assert load_onnx_checked(exported.path) == onnx.load(exported.path)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.01])
def test_truncated_models(exported, tmp_path, share):
    whole = exported.path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    error = refused(tmp_path / "cut.onnx")
    assert "truncated" in error.got
    assert "Export the model again" in error.fix


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip", b"\x00" * 100, b"{}", np.random.default_rng(0).bytes(5000)]
)
def test_garbage(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    assert str(tmp_path) in refused(tmp_path / "model.onnx").what


def test_a_classifier_is_not_a_detector(save):
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"]),
    ]
    values = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    error = refused(save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])))
    assert "not a YOLO detector" in error.what
    assert "logits float32 (?, 3)" in error.got
    assert "classifiers" in error.fix


def test_other_inputs_are_refused(model, save):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert refused(save(model))
    second = helper.make_tensor_value_info("size", TensorProto.FLOAT, [2])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.input.append(second)
    assert "does not take images" in refused(save(model)).what


@pytest.mark.parametrize(("op_type", "domain"), [("FancyNms", "com.acme"), ("EfficientNMS_TRT", ""), ("Upsample", "")])
def test_operators_nobody_knows(model, save, op_type, domain):
    node = model.graph.node[1]
    node.op_type, node.domain = op_type, domain
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    error = refused(save(model))
    assert f"{domain or 'ai.onnx'}::{op_type}" in error.got
    assert node.name in error.got


@pytest.mark.parametrize("version", [7, 99])
def test_operator_sets_out_of_range(model, save, version):
    model.opset_import[0].version = version
    assert str(version) in refused(save(model)).got


def test_cycles(model, save):
    first = model.graph.node[0]
    first.input[0] = model.graph.node[4].output[0]
    assert "cycle" in refused(save(model)).what


def test_missing_tensors(model, save):
    model.graph.node[2].input[0] = "nowhere"
    assert "not a valid ONNX model" in refused(save(model)).what


def test_tensors_shorter_than_their_shape(model, save):
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    tensor.raw_data = tensor.raw_data[:-4]
    error = refused(save(model))
    assert tensor.name in error.what


class TestExternalData:
    @pytest.fixture
    def external(self, model, tmp_path):
        """A model whose weights lie in weights.bin beside it."""
        path = tmp_path / "model" / "model.onnx"
        path.parent.mkdir()
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        return path

    def relocated(self, path, location):
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        path.write_bytes(model.SerializeToString())

    def test_loads_from_beside_the_model(self, external, model):
        loaded = load_onnx_checked(external)
        by_name = {tensor.name: numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}
        for tensor in model.graph.initializer:
            np.testing.assert_array_equal(by_name[tensor.name], numpy_helper.to_array(tensor))

    @pytest.mark.parametrize("location", ["../secret.bin", "{absolute}", "sub/../../secret.bin", "link.bin", ""])
    def test_never_reads_outside_its_folder(self, external, tmp_path, monkeypatch, location):
        secret = tmp_path / "secret.bin"
        secret.write_bytes((external.parent / "weights.bin").read_bytes())
        (external.parent / "link.bin").symlink_to(secret)
        self.relocated(external, location.format(absolute=secret))
        monkeypatch.setattr(onnx, "load_external_data_for_model", lambda *_: pytest.fail("it was read"))
        error = refused(external)
        assert "outside its folder" in error.what

    def test_hidden_in_a_node_attribute(self, model, tmp_path, monkeypatch):
        hidden = numpy_helper.from_array(np.float32([1]), "hidden")
        onnx.external_data_helper.set_external_data(hidden, "../secret.bin")
        hidden.ClearField("raw_data")
        hidden.data_location = TensorProto.EXTERNAL
        model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=hidden))
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        monkeypatch.setattr(onnx, "load_external_data_for_model", lambda *_: pytest.fail("it was read"))
        assert "outside its folder" in refused(path).what

    def test_missing_weights(self, external):
        (external.parent / "weights.bin").unlink()
        error = refused(external)
        assert "comes without its weights" in error.what
        assert "weights.bin" in error.expected

    def test_truncated_weights(self, external):
        weights = external.parent / "weights.bin"
        weights.write_bytes(weights.read_bytes()[:100])
        assert "100 bytes" in refused(external).expected
