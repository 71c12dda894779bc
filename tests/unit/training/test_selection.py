import pytest
import yaml

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.training import TrainConfig
from yolotrt_lab.training.selection import select_data


def select(data_yaml, **settings):
    return select_data(TrainConfig(data_yaml=data_yaml, preset="plain", **settings))


def test_all_images_without_a_limit(shapes_yaml, class_names):
    data = select(shapes_yaml)
    assert [image.name for image in data.train] == [f"train{index:03}.png" for index in range(6)]
    assert len(data.val) == 3
    assert data.summary()["class_names"] == list(class_names)


def test_the_seed_draws_the_images(shapes_yaml):
    first = select(shapes_yaml, max_train_images=3, seed=1)
    assert first.train == select(shapes_yaml, max_train_images=3, seed=1).train
    assert len(set(first.train)) == 3
    assert len({select(shapes_yaml, max_train_images=3, seed=seed).train for seed in range(8)}) > 1


@pytest.mark.parametrize("limit", [6, 7, 1000])
def test_a_generous_limit_keeps_every_image(shapes_yaml, limit):
    assert select(shapes_yaml, max_train_images=limit).train == select(shapes_yaml).train


def test_the_digest_follows_images_labels_and_choice(shapes_yaml):
    before = select(shapes_yaml).digest()
    assert select(shapes_yaml).digest() == before
    assert select(shapes_yaml, max_train_images=5).digest() != before
    label = shapes_yaml.parent / "labels" / "train" / "train000.txt"
    text = label.read_text()
    label.write_text(text.replace("0 ", "1 ", 1))
    assert select(shapes_yaml).digest() != before
    label.write_text(text)
    assert select(shapes_yaml).digest() == before
    image = shapes_yaml.parent / "images" / "val" / "val000.png"
    image.write_bytes(image.read_bytes() + b"\0")
    assert select(shapes_yaml).digest() != before


def test_the_yaml_for_ultralytics_lists_the_images_and_runs_nothing(shapes_yaml, class_names, tmp_path):
    shapes_yaml.write_text(shapes_yaml.read_text() + "download: 'raise SystemExit'\n")
    run = tmp_path / "run"
    data = select(shapes_yaml, max_train_images=2)
    content = yaml.safe_load(data.write_yaml(run).read_text())
    assert "download" not in content
    assert content["names"] == dict(enumerate(class_names))
    assert (run / "train.txt").read_text().split() == [str(image.absolute()) for image in data.train]


def test_no_data_yaml(tmp_path):
    with pytest.raises(LabError, match=r"missing\.yaml"):
        select(tmp_path / "missing.yaml")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split(shapes_yaml, split):
    for image in (shapes_yaml.parent / "images" / split).iterdir():
        image.unlink()
    with pytest.raises(LabError, match=split):
        select(shapes_yaml)


def test_nothing_is_labelled(shapes_yaml):
    for label in (shapes_yaml.parent / "labels" / "train").iterdir():
        label.write_text("\n")
    with pytest.raises(InputError, match=r"No training image of .* has a labelled object") as caught:
        select(shapes_yaml)
    assert caught.value.got == "6 images without boxes"
    assert "yolotrt" in (caught.value.fix or "")


def test_small_sets_are_kept_in_memory(shapes_yaml):
    data = select(shapes_yaml)
    assert data.fits_in_memory(image_size=640)
    assert not data.fits_in_memory(image_size=64_000)
