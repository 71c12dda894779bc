from pathlib import Path

import pytest

from yolotrt_lab.demo.config import MAP50_95_FLOOR, DemoConfig
from yolotrt_lab.errors import InputError
from yolotrt_lab.training.presets import PRESETS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dataset": "cats"}, "parts, bccd, or a data.yaml"),
        ({"calibration_images": 0}, "calibration_images must be positive"),
        ({"rounds": 0}, "rounds must be positive"),
        ({"batches": ()}, "batch sizes"),
        ({"batches": (1, 0)}, "batch sizes"),
    ],
)
def test_values_out_of_range(arguments, words):
    with pytest.raises(InputError, match=words):
        DemoConfig(**arguments)


@pytest.mark.parametrize(("dataset", "preset"), [("parts", "demo"), ("bccd", "transfer"), ("my/data.yaml", "transfer")])
def test_the_recipe_suits_the_data(dataset, preset):
    assert DemoConfig(dataset=dataset).preset == preset
    assert preset in PRESETS
    assert DemoConfig(dataset=dataset, train_preset="plain").preset == "plain"


def test_a_floor_is_known_only_for_the_courses_own_detectors():
    assert DemoConfig(dataset="parts").floor == MAP50_95_FLOOR["parts"]
    assert DemoConfig(dataset="bccd").floor == MAP50_95_FLOOR["bccd"]
    assert DemoConfig(dataset="bccd", weights=Path("mine.pt")).floor is None
    assert DemoConfig(dataset="my/data.yaml").floor is None
