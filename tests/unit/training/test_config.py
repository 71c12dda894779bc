from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.training import PRESETS, TrainConfig

DATA = Path("data.yaml")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "nonsense"}, ["Unknown preset 'nonsense'", "augmented", "plain", "demo"]),
        ({"epochs": 0}, ["epochs must be positive", "got:      0"]),
        ({"batch": -4}, ["batch must be positive", "-4"]),
        ({"max_train_images": 0}, ["max_train_images must be positive"]),
        ({"threads": 0}, ["threads must be positive"]),
        ({"seed": -1}, ["seed cannot be negative"]),
        ({"workers": -1}, ["workers cannot be negative"]),
        ({"image_size": 100}, ["multiple of 32", "100", "Use 96."]),
        ({"image_size": 1}, ["multiple of 32", "Use 32."]),
        ({"learning_rate": 0.0}, ["learning rate", "above 0"]),
        ({"learning_rate": float("nan")}, ["learning rate", "nan"]),
        ({"learning_rate": 1.5}, ["learning rate", "1.5"]),
        ({"max_minutes": 0.0}, ["max_minutes must be positive"]),
        ({"max_minutes": float("inf")}, ["max_minutes must be positive"]),
        ({"device": "gpu"}, ["Unknown device 'gpu'", '"cuda"']),
        ({"device": "cuda:"}, ["Unknown device"]),
        ({"device": "0,1"}, ["Unknown device"]),
    ],
)
def test_bad_values_are_refused(settings, words):
    with pytest.raises(InputError) as caught:
        TrainConfig(data_yaml=DATA, **settings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12", "0", "3"])
def test_every_way_to_name_a_device(device):
    assert TrainConfig(data_yaml=DATA, device=device).device == device


def test_a_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TrainConfig(data_yaml=DATA).epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_speak_the_language_of_ultralytics(name):
    from yolotrt_lab.training.environment import import_ultralytics

    import_ultralytics(purpose="test")
    from ultralytics.cfg import get_cfg  # checks names, types and ranges

    settings = TrainConfig(data_yaml=DATA, preset=name).hyperparameters()
    checked = vars(get_cfg(overrides=settings))
    assert {key: checked[key] for key in settings} == settings


def test_the_preset_decides_unless_the_config_does():
    preset = PRESETS["plain"]
    plain = TrainConfig(data_yaml=DATA, preset="plain").hyperparameters()
    assert (plain["epochs"], plain["imgsz"], plain["batch"]) == (preset.epochs, preset.image_size, preset.batch)
    own = TrainConfig(data_yaml=DATA, preset="plain", epochs=3, image_size=320, batch=2, seed=9).hyperparameters()
    assert (own["epochs"], own["imgsz"], own["batch"], own["seed"]) == (3, 320, 2, 9)
    assert own["mosaic"] == 0


def test_a_learning_rate_is_not_ignored():
    # Ultralytics' optimizer "auto" replaces the learning rate by its own.
    settings = TrainConfig(data_yaml=DATA, preset="augmented", learning_rate=0.004).hyperparameters()
    assert settings["lr0"] == 0.004
    assert settings["optimizer"] != "auto"


def test_minutes_become_hours():
    assert TrainConfig(data_yaml=DATA, max_minutes=90).hyperparameters()["time"] == 1.5
    assert "time" not in TrainConfig(data_yaml=DATA).hyperparameters()


@pytest.mark.parametrize(
    ("preset", "own", "expected"), [("demo", None, 64), ("demo", 10, 10), ("plain", None, None), ("plain", 7, 7)]
)
def test_image_limits(preset, own, expected):
    assert TrainConfig(data_yaml=DATA, preset=preset, max_train_images=own).limit("train") == expected


def test_only_augmented_augments_heavily():
    assert PRESETS["augmented"].hyperparameters["mosaic"] == 1.0
    for name in ("plain", "demo", "transfer"):
        heavy = {key: PRESETS[name].hyperparameters[key] for key in ("mosaic", "mixup", "cutmix")}
        assert not any(heavy.values()), heavy
