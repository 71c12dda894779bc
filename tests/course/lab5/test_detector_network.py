"""The network beside lab5.detector is the course's own, and sure of a few parts in every picture."""

import numpy as np
import pytest

from yolotrt_lab.data.parts import CLASS_NAMES
from yolotrt_lab.grading.suite import load_exercise, sibling, suite_root

LOADED = load_exercise("lab5.detector")
NETWORKS = sibling(str(suite_root() / "lab5" / "test_detector.py"), "detector_network")


@pytest.mark.slow
def test_it_is_the_base_checkpoint(tmp_path):
    from yolotrt_lab.runtimes.onnxruntime import OnnxRuntime

    path = tmp_path / "network.onnx"
    NETWORKS.write_network(path)
    image = np.random.default_rng(0).random((1, 3, *NETWORKS.INPUT_HW)).astype(np.float32)
    with OnnxRuntime(path, device="cpu", threads=1) as fresh:
        expected = fresh.infer({fresh.inputs[0].name: image})
    stored = NETWORKS.network()
    found = stored.infer({stored.inputs[0].name: image})
    np.testing.assert_allclose(next(iter(found.values())), next(iter(expected.values())), rtol=1e-2, atol=1e-2)
    assert stored.class_names == CLASS_NAMES


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", LOADED.exercise.all_cases(with_hidden=True), ids=lambda case: case.key)
def test_every_picture_has_sure_objects_but_the_empty_bench(case, seed):
    given = LOADED.inputs(case, hidden_seed=seed)
    reference = LOADED.module._reference_of(
        given["image"].tobytes(),
        given["image"].shape[:2],
        given["half"],
        given["conf_threshold"],
        given["iou_threshold"],
    )
    sure = (reference.scores > given["conf_threshold"] + 0.05).sum()
    assert sure == 0 if case.name == "no objects" else sure >= 3
