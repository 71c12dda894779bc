import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.convolutions import convolutions_of


def write(path, *, batch="batch", size=20, **attributes):
    """images -> /a/Conv (3x3, 3 to 8) -> Relu -> /b/Conv with the attributes given -> y."""
    groups = attributes.get("group", 1)
    weights = {"wa": (8, 3, 3, 3), "wb": (16, 8 // groups, *attributes.pop("kernel", (3, 3)))}
    constants = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
    nodes = [
        helper.make_node("Conv", ["images", "wa"], ["a"], name="/a/Conv", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"], name="/a/Relu"),
        helper.make_node("Conv", ["r", "wb"], ["y"], name="/b/Conv", **attributes),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [value("y", TensorProto.FLOAT, None)],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_sizes_of_a_graph_with_a_dynamic_batch(tmp_path):
    found = convolutions_of(write(tmp_path / "m.onnx"), batch=4, bytes_per_value=2)
    assert found == {
        "/a/Conv": {
            "batch": 4, "in_channels": 3, "out_channels": 8, "in_hw": (20, 20), "kernel": 3, "stride": 2, "padding": 1,
            "groups": 1, "bytes_per_value": 2,
        },
        "/b/Conv": {
            "batch": 4, "in_channels": 8, "out_channels": 16, "in_hw": (10, 10), "kernel": 3, "stride": 1,
            "padding": 0, "groups": 1, "bytes_per_value": 2,
        },
    }  # fmt: skip


def test_groups_and_a_one_by_one_kernel(tmp_path):
    layer = convolutions_of(write(tmp_path / "m.onnx", group=8, kernel=(1, 1)))["/b/Conv"]
    assert (layer["groups"], layer["kernel"], layer["batch"]) == (8, 1, 1)


@pytest.mark.parametrize("attributes", [{"kernel": (1, 3)}, {"strides": [1, 2]}, {"dilations": [2, 2]}])
def test_what_is_not_square_is_left_out(tmp_path, attributes):
    assert list(convolutions_of(write(tmp_path / "m.onnx", **attributes))) == ["/a/Conv"]


def test_another_network(small_onnx):
    (layer,) = convolutions_of(small_onnx).values()
    assert (layer["in_channels"], layer["out_channels"], layer["in_hw"]) == (3, 4, (16, 16))


def test_unknown_sizes_and_broken_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="not known"):
        convolutions_of(write(tmp_path / "m.onnx", size="side"))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be measured"):
        convolutions_of(tmp_path / "broken.onnx")
    with pytest.raises(InputError):
        convolutions_of(tmp_path / "missing.onnx")
