"""The parts of `benchmarks/precision_vs_peers.py`: intervals, Pareto front, table, plot, and peers that are missing."""

import contextlib
import itertools
import json
import sys
from argparse import Namespace
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.errors import LabError
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.types import Detections

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import precision_vs_peers
from peers import artifacts
from peers.artifacts import Artifact, Workshop
from peers.bootstrap import JudgedImages, draw_images, interval
from peers.job import Job
from peers.measure import Accuracy, Contender
from peers.plot import in_view, tradeoff_figure
from peers.recipes import OURS, RECIPES, REFERENCE, select_recipes
from peers.results import goals, make_rows, mark_front
from peers.table import dataset_table, markdown

NAMES = ("a", "b", "c")


def boxes(rng, count):
    corners = rng.uniform(0, 80, (count, 2))
    return np.hstack([corners, corners + rng.uniform(10, 20, (count, 2))]).astype(np.float32)


@pytest.fixture(scope="module")
def judged_split():
    """Twelve images with objects, found more or less well; one without objects, one without detections."""
    rng = np.random.default_rng(3)
    truths, found = [], []
    for index in range(12):
        count = 0 if index == 4 else int(rng.integers(1, 6))
        truth = boxes(rng, count)
        ids = rng.integers(0, 3 if index else 1, count)
        moved = truth + rng.normal(0, 1.5, truth.shape).astype(np.float32)
        extra = boxes(rng, 130 if index == 5 else 4)
        xyxy = np.vstack([moved, extra])[: 0 if index == 7 else None]
        all_ids = np.concatenate([ids, rng.integers(0, 3, len(extra))])[: len(xyxy)]
        truths.append(GroundTruth(truth, ids.astype(np.int64), (100, 100)))
        found.append(Detections(xyxy, rng.uniform(0.01, 1, len(xyxy)).astype(np.float32), all_ids.astype(np.int64)))
    return truths, found


@pytest.mark.parametrize("counts", [[1] * 12, [0, 2, 1, 3, 1, 2, 0, 1, 1, 0, 0, 1], [5] + [0] * 11])
def test_map_of_drawn_images_is_that_of_the_images_listed_as_often(judged_split, counts):
    truths, found = judged_split
    drawn = [index for index, count in enumerate(counts) for _ in range(count)]
    expected = evaluate_detections([truths[i] for i in drawn], [found[i] for i in drawn], class_names=NAMES).map50_95
    judged = JudgedImages.judge(truths, found, num_classes=3)
    assert judged.map50_95(np.array(counts)) == pytest.approx(expected, abs=1e-12)


def test_a_draw_without_objects_has_no_map_and_stays_out_of_the_interval(judged_split):
    judged = JudgedImages.judge(*judged_split, num_classes=3)
    nothing = judged.map50_95(np.eye(12, dtype=np.int64)[4])
    assert np.isnan(nothing)
    assert interval(np.array([nothing, 0.5, 0.5])) == (0.5, 0.5)


def test_draws_are_of_as_many_images_and_the_same_each_time():
    draws = draw_images(9, resamples=5)
    assert (draws.sum(axis=1) == 9).all()
    assert (draws == draw_images(9, resamples=5)).all()
    assert len(np.unique(draws, axis=0)) == 5


def row(maker="X", model="m", time=0.5, value=0.6, drop=0.001, runtime="OpenVINO bf16", **more):
    return {
        "name": f"{maker} {model}, {runtime}", "maker": maker, "model": model, "runtime": runtime,
        "is_makers_runtime": True, "made": {}, "map50": value + 0.2, "map50_95": value,
        "map50_95_interval": [value - 0.02, value + 0.02],
        "map50_95_drop": {"value": drop, "low": drop - 0.004, "high": drop + 0.004},
        "latency_ms": {"min": 40 * time, "median": 41 * time, "max": 42 * time},
        "time_to_fp32": {"min": time - 0.01, "median": time, "max": time + 0.01},
        "on_front": False, "clearly_beaten_by": [], **more,
    }  # fmt: skip


def missing(**more):
    return {
        "name": "Y gone, TensorRT", "maker": "Y", "model": "gone", "runtime": "TensorRT", "is_makers_runtime": True,
        "made": {}, "reason": "No module named 'gone'", **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1.0, 0.6), (0.5, 0.5), (0.7, 0.4)], [True, True, False]),
        ([(0.5, 0.6)], [True]),
        ([(0.5, 0.6), (0.5, 0.7)], [False, True]),
        ([(0.4, 0.6), (0.5, 0.6)], [True, False]),
        ([], []),
    ],
)
def test_front_is_what_nobody_beats_in_both(points, front):
    rows = [row(time=time, value=value) for time, value in points]
    mark_front([missing(), *rows])
    assert [each["on_front"] for each in rows] == front


class Turns:
    """Timings in which every model takes a fixed time."""

    def __init__(self, times):
        self.stats = {name: Namespace(p50_ms=time) for name, time in times.items()}

    def ratio(self, name, *, baseline):
        return Namespace(value=self.stats[name].p50_ms / self.stats[baseline].p50_ms)


def measured_rows():
    ours, peer, gone = (recipe for recipe in RECIPES if recipe.key in ("int8", "nncf-mixed", "ort-default"))
    contenders = [
        Contender(recipe, recipe.runs[0], Artifact(Path("m"), {"key": "k", "seconds": 1.0}))
        for recipe in (REFERENCE, ours, peer, gone)
    ]
    names = [contender.name for contender in contenders]
    draws = np.linspace(0.5, 0.7, 50)
    maps = dict(zip(names, (0.60, 0.599, 0.58), strict=False))
    accuracy = {name: Accuracy(value + 0.2, value, draws + value - 0.6) for name, value in maps.items()}
    timings = [Turns(dict(zip(names, times, strict=False))) for times in ((40, 16, 20), (41, 15, 22))]
    return make_rows(contenders, accuracy, timings, {names[3]: "No module named 'x'"})


def test_rows_compare_with_the_reference_and_name_who_is_clearly_better():
    reference, ours, peer, gone = measured_rows()
    assert reference["map50_95_drop"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert ours["map50_95_drop"]["value"] == pytest.approx(0.001)
    assert ours["time_to_fp32"] == pytest.approx({"min": 15 / 41, "median": (0.4 + 15 / 41) / 2, "max": 0.4})
    assert (reference["on_front"], ours["on_front"], peer["on_front"]) == (True, True, False)
    assert peer["clearly_beaten_by"] == [ours["name"]]
    assert not ours["clearly_beaten_by"]
    assert gone["reason"] == "No module named 'x'"
    assert "on_front" not in gone
    (goal,) = goals([reference, ours, peer, gone])
    assert all(goal[key] for key in ("drop_is_small", "is_fast", "on_front", "beaten_by_nobody"))


def results(*rows):
    return {
        "machine": {"processor": "CPU", "cores": 2, "memory_gib": 4.0, "python": "3.11", "cpu_flags": ["avx2"]},
        "versions": {"numpy": "2"}, "load_average": {"before": 0.1, "after": 2.0}, "tensorrt_platform": "emulated",
        "settings": {"calibration_images": 8, "repeats": 2, "rounds": 3, "resamples": 9},
        "datasets": {"parts": {"test_images": 5, "rows": list(rows), "goals": goals(rows)}},
    }  # fmt: skip


def test_table_is_sorted_by_time_and_says_why_a_peer_is_missing():
    rows = [row(model="slow", time=0.9), missing(), row(model="fast", time=0.3, on_front=True)]
    lines = dataset_table(rows).splitlines()
    assert ["X fast" in lines[2], "X slow" in lines[3], len(lines)] == [True, True, 4]
    assert len({line.count("|") for line in lines}) == 1
    text = markdown(results(*rows))
    assert "- Y gone, TensorRT: No module named 'gone'" in text
    assert "not GPU timings" in text


def test_published_tables_are_made_from_the_published_measurements():
    for path in (Path(__file__).parents[2] / "course" / "results").glob("precision_vs_peers*.json"):
        assert path.with_suffix(".md").read_text() == markdown(json.loads(path.read_text()))


def test_a_goal_that_is_missed_is_said_so():
    text = markdown(results(row(maker=OURS, model="INT8", drop=0.01, time=0.7, on_front=True)))
    assert "drop at most 0.003: NO, at most 0.6 of FP32's time: NO, on the front: yes" in text


def test_labels_of_the_plot_do_not_overlap_and_what_is_far_off_is_named():
    rows = [row(maker=OURS, model="FP32", time=1.0, value=0.7, drop=0.0, on_front=True)]
    rows += [row(maker="NNCF", model=f"m{i}", time=0.4 + 0.01 * i, value=0.69 + 0.001 * (i % 3)) for i in range(8)]
    rows += [row(maker="ONNX Runtime", model="default", value=0.0, drop=0.7), missing()]
    shown, far = in_view(rows)
    assert (len(shown), [each["model"] for each in far]) == (9, ["default"])
    figure = tradeoff_figure(results(*rows))
    (axes,) = figure.axes
    assert "default" in axes.get_xlabel()
    renderer = figure.canvas.get_renderer()
    notes = [note.get_window_extent(renderer) for note in axes.texts]
    assert len(notes) == 9
    assert not any(one.overlaps(other) for one, other in itertools.combinations(notes, 2))


def test_models_are_chosen_by_the_beginning_of_their_keys():
    assert [recipe.key for recipe in select_recipes("nncf")] == ["fp32", "nncf-performance", "nncf-mixed"]
    assert select_recipes("") == RECIPES
    with pytest.raises(ValueError, match="nobody"):
        select_recipes("int8,nobody")


@pytest.fixture
def workshop(tmp_path):
    """A workshop with two images and a model of one convolution."""
    paths = []
    for index in range(2):
        paths.append(tmp_path / f"{index}.png")
        cv2.imwrite(str(paths[-1]), np.random.default_rng(index).integers(0, 256, (48, 64, 3)).astype(np.uint8))
    weights = tmp_path / "best.pt"
    weights.write_bytes(b"weights")
    made = Workshop(
        tmp_path / "models",
        weights=weights,
        dataset=Dataset("tiny", tmp_path, ("a",), MappingProxyType({"train": tuple(paths)})),
        images=paths,
        peers_python=None,
        say=lambda text: None,
    )
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("Sigmoid", ["c"], ["y"], "act")],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")],
    )
    path = tmp_path / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    made.__dict__["onnx"] = path
    return made


NNCF = next(recipe for recipe in RECIPES if recipe.key == "nncf-mixed")


def test_without_a_python_for_the_peers_their_rows_say_so(workshop):
    assert "--peers-python" in workshop.make(NNCF).failure


def test_a_peer_that_is_not_installed_says_which_package_and_is_not_tried_twice(workshop, monkeypatch):
    workshop._peers_python = Path(sys.executable)
    first = workshop.make(NNCF)
    assert first.path is None
    assert first.failure == "ModuleNotFoundError: No module named 'nncf'"
    monkeypatch.setattr(artifacts, "_run_job", None)
    assert workshop.make(NNCF).failure == first.failure


def test_a_python_that_does_not_start_is_a_reason(workshop, tmp_path):
    workshop._peers_python = tmp_path / "nothing"
    assert "does not start" in workshop.make(NNCF).failure


def test_models_are_kept_until_what_they_are_made_of_changes(workshop, monkeypatch):
    calls = []

    def run(python, script, job, *, log):
        content = artifacts.read_json(job)
        calls.append(content)
        Path(content["output"]).write_text("model")
        Path(content["output"]).with_suffix(".report.json").write_text('{"versions": {"nncf": "1"}}')
        return ""

    monkeypatch.setattr(artifacts, "_run_job", run)
    workshop._peers_python = Path(sys.executable)
    assert workshop.make(NNCF).record["versions"] == {"nncf": "1"}
    assert workshop.make(NNCF).path.read_text() == "model"
    assert len(calls) == 1
    assert calls[0]["head_nodes"] == ["act"]
    workshop._inputs = "other images"
    workshop.make(NNCF)
    assert len(calls) == 2


def test_peers_get_the_very_pixels_that_we_calibrate_on(workshop):
    unused = Path()
    job = Job(unused, unused, workshop.pixels, unused, unused, [], {})
    for path, batch in zip(workshop.images, job.batches(), strict=True):
        assert np.array_equal(batch, preprocess(cv2.imread(str(path)), input_hw=(640, 640))[0])
    lines = (workshop.data_yaml.parent / "calibration.txt").read_text().splitlines()
    assert [Path(line).name for line in lines] == ["0.png", "1.png"]


def test_a_model_that_fails_is_a_row_and_the_others_are_measured(monkeypatch):
    there, gone = Artifact(Path("m.onnx"), {}), Artifact(None, {"failed": "out of memory"})
    contenders = [Contender(REFERENCE, REFERENCE.runs[0], there), Contender(NNCF, NNCF.runs[0], gone)]

    def opened(contender):
        if contender.artifact.path is None:
            raise LabError(contender.artifact.failure)
        return contextlib.nullcontext("runtime")

    monkeypatch.setattr(precision_vs_peers, "open_contender", opened)
    monkeypatch.setattr(precision_vs_peers, "measure_accuracy", lambda *_: Accuracy(0.8, 0.6, np.array([0.6])))
    images, options = Namespace(batches=[0]), Namespace(resamples=2)
    with contextlib.ExitStack() as stack:
        runtimes, accuracy, reasons = precision_vs_peers._judge(contenders, images, options, stack)
    assert list(runtimes) == list(accuracy) == [contenders[0].name]
    assert reasons == {contenders[1].name: "out of memory"}
    with contextlib.ExitStack() as stack, pytest.raises(LabError, match="out of memory"):
        precision_vs_peers._judge([Contender(REFERENCE, REFERENCE.runs[0], gone)], images, options, stack)
