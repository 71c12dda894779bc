import dataclasses
import itertools
import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.output_error import OutputProbe
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.sensitivity import greedy_order, multiply_adds, rank_layers
from yolotrt_lab.precision.switchable import SwitchableGraph

BAD = "/body/Conv"


def planted(model, factor=60.0):
    """Give the stem one channel with a huge range, which the body's weights take back: harmless in FP32."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("stem.weight", "stem.bias"):
            values[0] *= factor
        elif tensor.name == "body.weight":
            values[:, 0] /= factor
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@pytest.fixture
def bad_detector(build, tmp_path):
    onnx.save(planted(build()), tmp_path / "bad.onnx")
    return tmp_path / "bad.onnx"


@pytest.fixture
def single_images(images):
    return [image[None] for image in images[:4]]


@pytest.fixture
def bad_table(bad_detector, images):
    return calibrate(bad_detector, [images], method="minmax", threads=1)


@pytest.fixture
def report(bad_detector, bad_table, single_images):
    return rank_layers(bad_detector, table=bad_table, images=single_images, threads=1)


def test_the_planted_layer_ranks_first(report, bad_table):
    worst = report.ranked[0]
    assert worst.node == BAD
    assert worst.share > 0.5
    assert worst.spared > 0.5
    assert worst.share > 3 * report.ranked[1].share
    assert worst.clip == pytest.approx(bad_table.amax["/stem/Mul_output"])
    assert worst.input_amax > 5 * max(layer.input_amax for layer in report.layers if layer.node == "/branch/Conv")


def test_without_the_outlier_it_does_not(detector, images, single_images):
    table = calibrate(detector, [images], method="minmax", threads=1)
    report = rank_layers(detector, table=table, images=single_images, threads=1, leave_one_out=False)
    damage = {layer.node: layer.share for layer in report.layers}
    assert damage[BAD] < 0.3
    assert all(math.isnan(layer.spared) for layer in report.layers)


def test_numbers_fit_together(report):
    assert [layer.depth for layer in report.layers] == list(range(9))
    assert sum(layer.share for layer in report.layers) == pytest.approx(1.0)
    assert report.layers[0].node == "/stem/Conv"
    assert {layer.op_type for layer in report.layers} == {"Conv", "Add"}
    assert 0.5 < report.additivity < 2.0
    assert all(0 < layer.input_bulk <= layer.input_amax for layer in report.layers)
    assert report.image_count == 4


def test_alone_is_the_error_of_a_graph_with_only_that_layer(
    report, bad_detector, bad_table, single_images, tmp_path, run
):
    """The same by another way: write the graph with all others kept, run the file."""
    others = [layer.node for layer in report.layers if layer.node != BAD]
    path = tmp_path / "one.onnx"
    quantize_onnx(bad_detector, path, table=bad_table, high_precision_nodes=others)
    actual, expected = (np.concatenate([run(file, image) for image in single_images]) for file in (path, bad_detector))
    scores = np.linalg.norm(actual[:, 4:] - expected[:, 4:]) / np.linalg.norm(expected[:, 4:])
    weight = expected[:, 4:].max(axis=1)
    size = np.maximum(expected[:, [2, 3, 2, 3]], 1.0)
    shift = (((actual[:, :4] - expected[:, :4]) / size) ** 2).mean(axis=1)
    boxes = math.sqrt((weight * shift).sum() / weight.sum())
    assert report.ranked[0].alone == pytest.approx(math.hypot(scores, boxes), rel=1e-3)


def test_multiply_additions(detector):
    counts = multiply_adds(onnx.load(detector))
    assert counts["/stem/Conv"] == 8 * 16 * 16 * 3 * 9
    assert counts["/p3/Conv"] == 16 * 4 * 4 * 32 * 9
    assert counts["/residual/Add"] == 16 * 8 * 8


def test_a_judge_is_asked_for_every_layer(bad_detector, bad_table, single_images, run):
    reference = run(bad_detector, single_images[0])
    progress = []

    def judge(path):
        return 0.6 - float(np.abs(run(path, single_images[0]) - reference).mean())

    report = rank_layers(
        bad_detector, table=bad_table, images=single_images[:1], leave_one_out=False, judge=judge, threads=1,
        on_progress=lambda done, total: progress.append((done, total)),
    )  # fmt: skip
    assert max(report.layers, key=lambda layer: layer.map_loss).node == BAD
    assert progress == [(done, 19) for done in range(1, 20)]


def test_greedy_takes_the_best_first(report, bad_detector, bad_table, single_images, tmp_path):
    steps = greedy_order(bad_detector, table=bad_table, images=single_images, report=report, steps=2, threads=1)
    path = quantize_onnx(bad_detector, tmp_path / "q.onnx", table=bad_table).path
    graph = SwitchableGraph(onnx.load(path))
    probe = OutputProbe(onnx.load(bad_detector), single_images, threads=1)

    def error_with(kept):
        return probe.measure(graph.variant([layer for layer in graph.layers if layer not in kept])).total

    best = min(graph.layers, key=lambda layer: error_with({layer}))
    assert steps[0].node == best == BAD
    for (earlier, step), count in zip(itertools.pairwise([None, *steps]), (1, 2), strict=True):
        assert step.error == pytest.approx(error_with({each.node for each in steps[:count]}), rel=1e-4)
        assert earlier is None or step.error < earlier.error


def test_greedy_measures_again_what_only_seemed_best(report, bad_detector, bad_table, single_images):
    layers = tuple(
        dataclasses.replace(layer, spared=5.0) if layer.node == "/stem/Conv" else layer for layer in report.layers
    )
    misled = dataclasses.replace(report, layers=layers)
    steps = greedy_order(bad_detector, table=bad_table, images=single_images, report=misled, steps=1, threads=1)
    assert [step.node for step in steps] == [BAD]


def test_no_images(bad_detector, bad_table):
    with pytest.raises(InputError, match="no images"):
        rank_layers(bad_detector, table=bad_table, images=[])
