"""The judge's own suppression is torchvision's."""

import numpy as np
import pytest
import torch
import torchvision

from yolotrt_lab.grading.suite import load_exercise

LOADED = load_exercise("lab5.nms")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("case", LOADED.exercise.all_cases(with_hidden=True), ids=lambda case: case.key)
def test_the_reference_is_torchvision(case, seed):
    boxes = LOADED.inputs(case, hidden_seed=seed)
    threshold = boxes.pop("iou_threshold")
    kept = torchvision.ops.batched_nms(*(torch.from_numpy(boxes[name]) for name in boxes), threshold)
    assert LOADED.module.greedy(**boxes, threshold=threshold) == kept.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_every_case_shows_its_mistake(seed):
    greedy = LOADED.module.greedy
    mistakes = {
        "small boxes": {"plus": 1.0},
        "touching classes": {"by_class": False},
        "chain": {"dead_may_kill": True},
    }
    for case in LOADED.exercise.all_cases(with_hidden=True):
        if case.name in mistakes:
            boxes = LOADED.inputs(case, hidden_seed=seed)
            boxes.pop("iou_threshold")
            assert set(greedy(**boxes)) != set(greedy(**boxes, **mistakes[case.name]))


@pytest.mark.parametrize("count", [10, 1000])
def test_lines_count_turns_of_loops(count):
    lines = LOADED.module.count_python_lines
    values = np.arange(count)
    assert lines(lambda: values + values) < 5
    assert lines(lambda: [value + value for value in values]) >= count
    assert lines(lambda: np.vectorize(lambda value: value)(values)) >= count
    assert lines(lambda: sum(value for value in values)) >= count
