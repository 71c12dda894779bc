import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import run_all
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.fp16_check import check_fp16
from yolotrt_lab.precision.overflow import FP16_SMALLEST_NORMAL, measure_ranges

LARGE = 2.0**16


def scale_weights(model, name, factor):
    for tensor in model.graph.initializer:
        if tensor.name in (f"{name}.weight", f"{name}.bias") if factor > 1 else tensor.name == f"{name}.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))


@pytest.fixture
def planted(build, tmp_path):
    """A detector whose layer `branch` makes huge values, which a single following layer makes small again."""
    model = build()
    after = helper.make_node("Mul", ["/branch/Mul_output", "small"], ["calm"], name="/branch/Calm")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / LARGE), "small"))
    nodes = list(model.graph.node)
    position = next(place for place, node in enumerate(nodes) if node.name == "/residual/Add")
    nodes[position].input[1] = "calm"
    nodes.insert(position, after)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    scale_weights(model, "branch", LARGE)
    onnx.save(model, tmp_path / "planted.onnx")
    return tmp_path / "planted.onnx"


def test_ranges_are_those_of_the_tensors(detector, images):
    """Oracle: every tensor exposed and looked at with NumPy."""
    report = measure_ranges(detector, [images[:2], images[2:4]], threads=1)
    assert report.image_count == 4
    tensors = run_all(onnx.load(detector), {"images": images[:4]})
    assert [item.tensor for item in report.ranges] == list(tensors)
    for item in report.ranges:
        values = np.abs(tensors[item.tensor])
        assert item.amax == pytest.approx(values.max(), rel=1e-6)
        tiny = np.count_nonzero((values > 0) & (values < FP16_SMALLEST_NORMAL)) / np.count_nonzero(values)
        assert item.tiny_share == pytest.approx(tiny, abs=2e-3)
    assert report.overflows == ()
    assert report.keep == ()


def test_the_planted_layer_is_named(planted, images):
    report = measure_ranges(planted, [images[:4]], threads=1)
    first = report.overflows[0]
    assert first.node == "/branch/Conv"
    assert first.certain
    assert first.amax > 65504
    assert "beyond FP16's 65504" in first.consequence
    assert "/branch/Mul multiplies -inf by sigmoid(-inf) = 0, which is NaN" in first.consequence
    assert {overflow.node for overflow in report.overflows} == {"/branch/Conv", "/branch/Mul"}
    assert set(report.keep) == {"/branch/Conv", "/branch/Sigmoid", "/branch/Mul", "/branch/Calm"}


def test_without_images_the_plant_ruins_the_network_and_the_check_names_it(planted, tmp_path, images):
    report = convert_to_fp16(planted, tmp_path / "half.onnx")
    check = check_fp16(planted, report.path, [images[:1]])
    assert not check.passed
    assert check.first.node == "/branch/Conv"
    assert check.first.non_finite > 0
    assert check.first.input_error < 1e-2


def test_with_images_the_plant_stays_in_fp32(planted, tmp_path, images):
    report = convert_to_fp16(planted, tmp_path / "half.onnx", images=(images[start : start + 2] for start in (0, 2)))
    assert "; FP16 ends at 65504" in report.kept["/branch/Conv"]
    assert report.kept["/branch/Calm"].startswith("reads /branch/Mul")
    assert "/residual/Add" in report.converted
    assert report.ranges.image_count == 4
    assert report.check.passed
    assert report.check.first is None
    assert report.check.image_count == 2
    assert report.check.output_error < 1e-3


def test_a_model_with_a_fixed_batch_and_its_progress(build, tmp_path, images):
    onnx.save(build(batch=2), tmp_path / "two.onnx")
    steps = []
    report = convert_to_fp16(
        tmp_path / "two.onnx", tmp_path / "half.onnx", images=[images[:2], images[2:4], images[4:6]],
        on_progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (report.ranges.image_count, report.check.image_count) == (6, 4)
    assert report.check.passed


def test_a_near_miss_is_kept_and_called_so(planted, images):
    largest = measure_ranges(planted, [images[:1]], threads=1).overflows[0].amax
    model = onnx.load(planted)
    for tensor in model.graph.initializer:
        if tensor.name in ("branch.weight", "branch.bias"):
            values = numpy_helper.to_array(tensor) * np.float32(40000 / largest)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (found, *_) = measure_ranges(model, [images[:1]], threads=1).overflows
    assert (found.node, found.certain) == ("/branch/Conv", False)
    assert "1.6 times below" in found.consequence
    assert measure_ranges(model, [images[:1]], margin=1.0, threads=1).overflows == ()


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("Softmax", {"axis": 1})], "Softmax subtracts the largest value, and inf - inf is NaN"),
        ([("Relu", {}), ("Sigmoid", {})], "Sigmoid saturates at 0 or 1"),
        ([("Identity", {})], "reach the output"),
    ],
)
def test_what_follows_an_infinity(nodes, words):
    chain, source = [helper.make_node("Mul", ["images", "huge"], ["t0"], name="/Huge")], "t0"
    for place, (kind, attributes) in enumerate(nodes, start=1):
        chain.append(helper.make_node(kind, [source], [f"t{place}"], name=f"/{kind}", **attributes))
        source = f"t{place}"
    chain.append(helper.make_node("Reshape", [source, "shape"], ["output0"], name="/Reshape"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        chain, "chain",
        [value("images", TensorProto.FLOAT, [1, 3, 4, 4])], [value("output0", TensorProto.FLOAT, [1, 3, 16])],
        [numpy_helper.from_array(np.float32(1e6), "huge"), numpy_helper.from_array(np.int64([1, 3, 16]), "shape")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    report = measure_ranges(model, [np.ones((1, 3, 4, 4), np.float32)], threads=1)
    assert report.overflows[0].node == "/Huge"
    assert words in report.overflows[0].consequence


def test_bad_input(detector, build, images):
    with pytest.raises(InputError, match="no images"):
        measure_ranges(detector, [])
    with pytest.raises(InputError, match="margin"):
        measure_ranges(detector, [images], margin=0.5)
    with pytest.raises(InputError, match="does not fit"):
        measure_ranges(detector, [images[..., :16]])
    model = build()
    scale_weights(model, "branch", np.nan)
    with pytest.raises(InputError, match="FP32 model itself"):
        measure_ranges(model, [images[:1]], threads=1)
