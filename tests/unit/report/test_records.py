"""What the records hold is what the schema reads, from the real objects of evaluation and profiling."""

import json

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections, compare_tensors, judge
from yolotrt_lab.profiling.layers import LayerTime
from yolotrt_lab.profiling.structure import StructureLayer
from yolotrt_lab.profiling.throughput import ThroughputPoint
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report import records
from yolotrt_lab.report.intervals import bootstrap_map_interval
from yolotrt_lab.report.schema import validate_results
from yolotrt_lab.types import Detections, Precision

NAMES = ("bolt", "nut")


def scene(seed, shift=2.0):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (5, 2))
    boxes = np.hstack([corner, corner + random.uniform(15, 30, (5, 2))]).astype(np.float32)
    classes = random.integers(0, 2, 5)
    found = (boxes + random.normal(0, shift, boxes.shape)).astype(np.float32)
    return (
        GroundTruth(boxes, classes, (100, 100)),
        Detections(found, random.uniform(0.3, 1, 5).astype(np.float32), classes),
    )


@pytest.fixture(scope="module")
def scenes():
    truths, found = zip(*(scene(seed) for seed in range(12)), strict=True)
    return truths, found


def read_back(**sections):
    platform = {"kind": "real", "tensorrt_version": "10", "device": "d"}
    return validate_results(json.loads(json.dumps({"schema_version": 1, "platform": platform, **sections})))


def engine(**fields):
    return {"int8": {"requested_precision": "int8", "executed_precision": "int8", **fields}}


def test_accuracy(scenes):
    metrics = evaluate_detections(*scenes, class_names=NAMES)
    record = records.accuracy_record(metrics, interval=(0.1, 0.9), baseline_map50_95=metrics.map50_95 + 0.01)
    found = read_back(engines=engine(**record)).engines["int8"]
    assert found.map50_95 == metrics.map50_95
    assert found.delta_to_fp32 == pytest.approx(-0.01)
    assert found.map50_95_interval == (0.1, 0.9)
    assert set(found.per_class_map50_95) == set(NAMES)
    for name in NAMES:  # the area under the stored curve is the average precision
        assert np.mean(found.curves[name].precision) == pytest.approx(metrics.per_class_ap50[name], abs=1e-4)


@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_agreement(scenes, noise):
    expected = np.random.default_rng(0).normal(size=(1, 6, 84))
    tensors = {"boxes": compare_tensors(expected + noise, expected), "scores": compare_tensors(expected, expected)}
    boxes = compare_detections(scenes[1], scenes[1], tolerance=TOLERANCES[Precision.INT8], conf_threshold=0.25)
    verdict = judge(executed=Precision.INT8, tensors=tensors, boxes=boxes)
    record = records.agreement_record(verdict, tensors=tensors, boxes=boxes)
    found = read_back(engines=engine(agreement_with_onnxruntime=record)).engines["int8"].agreement_with_onnxruntime
    assert (found.verdict == "pass") is (noise == 0)
    assert found.reasons == verdict.reasons
    assert found.tensor["scores cosine"] == pytest.approx(1)
    assert found.tensor["boxes relative_l2"] == pytest.approx(tensors["boxes"].relative_l2)
    assert found.boxes["matched_fraction"] == 1
    assert found.boxes["missing"] == 0


def test_agreement_of_one_tensor_needs_no_prefix_and_nan_becomes_null():
    broken = compare_tensors(np.array([np.nan, 1.0]), np.array([1.0, 1.0]))
    verdict = judge(executed=Precision.FP32, tensors={"output0": broken})
    record = records.agreement_record(verdict, tensors={"output0": broken})
    assert record["tensor"]["finite"] is False
    assert record["tensor"]["cosine"] is None
    json.dumps(record, allow_nan=False)


def test_boxes(scenes):
    record = records.boxes_record(scenes[1][0])
    found = read_back(samples=[{"image": "a.jpg", "detections": {"fp32": record}}]).samples[0].detections["fp32"]
    np.testing.assert_allclose(found.xyxy, scenes[1][0].xyxy, atol=0.006)
    assert found.class_ids == tuple(scenes[1][0].class_ids)
    empty = records.boxes_record(Detections.empty())
    assert read_back(samples=[{"image": "a", "detections": {"x": empty}}]).samples[0].detections["x"].xyxy == ()


def test_timings_layers_and_structure():
    latency = LatencyStats.from_samples([1.0, 2.0])
    layers = (LayerTime("c", "Conv", "int8", 0.5, ("/model.0/conv/Conv",)),)
    structure = (StructureLayer("c", "Conv", "int8", ("/model.0/conv/Conv",)),)
    events = (TimelineEvent("inference", "gpu", 0, 1.0, 2.0),)
    found = read_back(
        throughput={"int8": records.throughput_records([ThroughputPoint(4, latency)])},
        layers={"int8": records.layer_records(layers)},
        structure={"int8": records.structure_records(structure)},
        timeline={"loop": records.timeline_records(events)},
    )
    assert found.throughput["int8"][0].batch == 4
    assert found.throughput["int8"][0].latency_ms == latency
    assert found.layers["int8"] == layers
    assert found.structure["int8"] == structure
    assert found.timeline["loop"] == events


class TestInterval:
    def test_it_holds_the_value_and_narrows_with_images(self, scenes):
        truths, found = scenes
        value = evaluate_detections(truths, found, class_names=NAMES).map50_95
        low, high = bootstrap_map_interval(truths, found, class_names=NAMES, resamples=60)
        assert low < value < high
        many = bootstrap_map_interval(truths * 8, found * 8, class_names=NAMES, resamples=60)
        assert many[1] - many[0] < high - low

    def test_images_are_drawn_whole(self, scenes):
        """One good and one hopeless image: a draw of whole images gives 0, 1 or between, so the interval is wide."""
        truth, _ = scene(0)
        right = Detections(truth.xyxy, np.ones(5, np.float32), truth.class_ids)
        low, high = bootstrap_map_interval([truth, truth], [right, Detections.empty()], class_names=NAMES, resamples=60)
        assert (low, high) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))

    def test_progress_and_seed(self, scenes):
        seen = []
        first = bootstrap_map_interval(
            *scenes, class_names=NAMES, resamples=5, on_progress=lambda *step: seen.append(step)
        )
        assert seen == [(n, 5) for n in range(1, 6)]
        assert first == bootstrap_map_interval(*scenes, class_names=NAMES, resamples=5)

    def test_bad_input(self, scenes):
        with pytest.raises(InputError, match="too few resamples"):
            bootstrap_map_interval(*scenes, class_names=NAMES, resamples=1)
        empty = GroundTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (9, 9))
        with pytest.raises(InputError, match="no object"):
            bootstrap_map_interval([empty], [Detections.empty()], class_names=NAMES)
