import numpy as np
import pytest
from onnx import helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import GraphIndex
from yolotrt_lab.precision.structure import find_head, is_dfl_conv, match_nodes


def names(model, outputs):
    by_output = {node.output[0]: node.name for node in model.graph.node}
    return {by_output[output] for output in outputs}


def test_the_end_of_the_head_is_found(build):
    model = build()
    head = find_head(model)
    assert names(model, head.final_convs) == {"/box_last/Conv", "/cls_last/Conv"}
    decode = names(model, head.decode)
    assert decode == {node.name for node in model.graph.node if node.name.startswith(("/dfl/", "/decode/"))}


def test_names_do_not_matter(build):
    named, nameless = build(), build()
    for node in nameless.graph.node:
        node.ClearField("name")
    assert find_head(named) == find_head(nameless)


def test_shapes_are_not_values(build):
    """A decode that only asks how large a feature map is does not make that map part of it."""
    model = build()
    neck = next(node for node in model.graph.node if node.name == "/neck/Mul")
    reshape = next(node for node in model.graph.node if node.name == "/decode/Reshape")
    zeros = numpy_helper.from_array(np.int64([0]), "first_axis")
    model.graph.initializer.append(zeros)
    model.graph.node.append(helper.make_node("Shape", [neck.output[0]], ["neck_shape"]))
    model.graph.node.append(helper.make_node("Gather", ["neck_shape", "first_axis"], ["batch_size"]))
    for tensor in ("minus", "rest"):
        model.graph.initializer.append(numpy_helper.from_array(np.int64([3, 16]), tensor))
    model.graph.node.append(helper.make_node("Concat", ["batch_size", "rest"], ["shape"], axis=0))
    reshape.input[1] = "shape"
    assert names(model, find_head(model).final_convs) == {"/box_last/Conv", "/cls_last/Conv"}


@pytest.mark.parametrize(
    ("weights", "is_dfl"),
    [
        (np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), True),
        (np.arange(1, 17, dtype=np.float32).reshape(1, 16, 1, 1), False),
        (np.arange(16, dtype=np.float32).reshape(2, 8, 1, 1), False),
    ],
)
def test_dfl(build, weights, is_dfl):
    model = build()
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "dfl.weight")
    tensor.CopyFrom(numpy_helper.from_array(weights, "dfl.weight"))
    node = next(node for node in model.graph.node if node.name == "/dfl/Conv")
    assert is_dfl_conv(node, GraphIndex(model.graph)) is is_dfl


def test_nodes_are_matched_by_name_or_output(build):
    model = build()
    assert match_nodes(model, ["/stem/Conv", "/p3/Conv_output"]) == ["/stem/Conv_output", "/p3/Conv_output"]
    with pytest.raises(InputError, match="no node '/stem/Cnov'") as caught:
        match_nodes(model, ["/stem/Cnov"])
    assert "/stem/Conv" in caught.value.fix
