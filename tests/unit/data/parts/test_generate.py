import hashlib
import json
import multiprocessing
import shutil

import cv2
import numpy as np
import pytest

from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import read_labels
from yolotrt_lab.data.parts import (
    CLASS_NAMES,
    GENERATOR_VERSION,
    draw_part_image,
    encoded_part_image,
    generate,
    generate_parts,
)
from yolotrt_lab.errors import InputError, OutputError

HW = (128, 160)
COUNTS = {"train": 3, "val": 1, "test": 2}


def digests(root):
    """SHA-256 of every image and label by relative path."""
    files = [path for folder in ("images", "labels") for path in sorted((root / folder).rglob("*.*"))]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts") / "parts"
    return generate_parts(root, seed=5, counts=COUNTS, image_hw=HW)


class TestSameSeedSameBytes:
    def test_again(self, made, tmp_path):
        again = generate_parts(tmp_path / "again", seed=5, counts=COUNTS, image_hw=HW)
        assert digests(again.root) == digests(made.root)
        assert len(digests(made.root)) == 12

    def test_in_several_processes(self, made, tmp_path):
        again = generate_parts(tmp_path / "again", seed=5, counts=COUNTS, image_hw=HW, workers=2)
        assert digests(again.root) == digests(made.root)

    @pytest.mark.parametrize(("split", "index"), [("train", 2), ("val", 0), ("test", 1)])
    def test_one_image_alone(self, made, split, index):
        data, labels = encoded_part_image(5, split=split, index=index, image_hw=HW)
        image = made.splits[split][index]
        assert image.read_bytes() == data
        assert made.labels_path(image).read_text() == labels

    @pytest.mark.parametrize("threads", [0, 1, 2])
    def test_with_any_number_of_opencv_threads(self, made, threads):
        before = cv2.getNumThreads()
        try:
            cv2.setNumThreads(threads)
            data, _ = encoded_part_image(5, split="train", index=0, image_hw=HW)
        finally:
            cv2.setNumThreads(before)
        assert made.splits["train"][0].read_bytes() == data

    def test_counts_do_not_matter(self, made, tmp_path):
        fewer = generate_parts(tmp_path / "fewer", seed=5, counts={"train": 1}, image_hw=HW)
        assert digests(fewer.root).items() <= digests(made.root).items()

    def test_the_labels_that_version_1_has_always_drawn(self):
        """A change of these means that old checkpoints and results describe other images: raise the version."""
        assert GENERATOR_VERSION == 1
        scene = draw_part_image(0, split="train", index=0)
        boxes = [
            (CLASS_NAMES[k], *box) for k, box in zip(scene.class_ids, scene.xyxy.astype(int).tolist(), strict=True)
        ]
        assert boxes == EXPECTED_BOXES

    def test_everything_differs_between_images(self, made):
        found = digests(made.root)
        assert len(set(found.values())) == len(found)

    def test_the_seed_matters(self, made):
        data, _ = encoded_part_image(6, split="train", index=0, image_hw=HW)
        assert made.splits["train"][0].read_bytes() != data


EXPECTED_BOXES = [
    ("nut", 9, 197, 43, 229),
    ("gear", 232, 507, 289, 564),
    ("gear", 579, 20, 640, 109),
    ("spring", 80, 327, 146, 350),
    ("bracket", 13, 293, 49, 345),
    ("screw", 356, 381, 416, 472),
    ("bearing", 35, 235, 79, 279),
    ("bolt", 426, 149, 489, 205),
    ("bearing", 207, 186, 246, 224),
    ("nut", 521, 361, 556, 394),
    ("spring", 519, 456, 580, 536),
    ("spring", 465, 27, 529, 84),
]


class TestLayout:
    def test_images_and_labels_are_readable(self, made):
        for split, paths in made.splits.items():
            assert len(paths) == COUNTS[split]
            for path in paths:
                assert read_image(path).shape == (*HW, 3)
                labels = read_labels(made.labels_path(path), num_classes=len(made.class_names))
                xyxy = labels.xyxy(HW)
                assert (xyxy >= -0.01).all()
                assert (xyxy[:, [0, 2]] <= HW[1] + 0.01).all()
                assert (xyxy[:, [1, 3]] <= HW[0] + 0.01).all()

    def test_files_beside_them(self, made):
        meta = json.loads((made.root / "dataset.json").read_text())
        assert meta["seed"] == 5
        assert meta["counts"] == COUNTS
        assert meta["generator_version"] == GENERATOR_VERSION
        assert "Seed 5" in (made.root / "README.md").read_text()
        assert sorted(path.name for path in made.root.iterdir()) == [
            "README.md",
            "data.yaml",
            "dataset.json",
            "images",
            "labels",
        ]
        assert [path.name for path in made.root.parent.iterdir()] == ["parts"]

    def test_it_can_be_moved(self, made, tmp_path):
        shutil.copytree(made.root, tmp_path / "moved")
        dataset = load_dataset(tmp_path / "moved")
        assert dataset.class_names == CLASS_NAMES
        assert all(path.is_relative_to(tmp_path) for path in dataset.splits["test"])


class TestReuse:
    def test_a_complete_one_is_not_drawn_again(self, made, monkeypatch):
        monkeypatch.setattr(generate, "_run_job", lambda job: pytest.fail("drew an image again"))
        again = generate_parts(made.root, seed=5, counts=COUNTS, image_hw=HW)
        assert again.splits == made.splits

    @pytest.mark.parametrize(
        ("change", "got"),
        [
            ({"seed": 6}, "seed 5"),
            ({"counts": {"train": 4}}, "counts"),
            ({"image_hw": (160, 160)}, "image_hw"),
        ],
    )
    def test_another_one_is_never_overwritten(self, made, change, got):
        before = digests(made.root)
        arguments = {"seed": 5, "counts": COUNTS, "image_hw": HW} | change
        with pytest.raises(InputError, match="a different data set") as error:
            generate_parts(made.root, **arguments)
        assert got in error.value.got
        assert "delete" in error.value.fix
        assert digests(made.root) == before

    def test_other_files_are_never_overwritten(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="something else"):
            generate_parts(tmp_path, counts=COUNTS)
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_an_empty_folder_is_fine(self, tmp_path):
        assert generate_parts(tmp_path, counts={"val": 1}, image_hw=(64, 64)).root == tmp_path

    def test_missing_images_are_noticed(self, made, tmp_path):
        shutil.copytree(made.root, tmp_path / "parts")
        (tmp_path / "parts/images/train/train_00001.jpg").unlink()
        with pytest.raises(InputError, match="incomplete") as error:
            generate_parts(tmp_path / "parts", seed=5, counts=COUNTS, image_hw=HW)
        assert "train_00001.jpg" in error.value.got


class TestInterruption:
    @pytest.fixture
    def interrupted(self, tmp_path, monkeypatch):
        """Press Ctrl-C after two images."""
        drawn = []

        def draw_two(job, original=generate._run_job):
            if len(drawn) == 2:
                raise KeyboardInterrupt
            drawn.append(job.image_path.name)
            original(job)

        with monkeypatch.context() as patch:
            patch.setattr(generate, "_run_job", draw_two)
            with pytest.raises(KeyboardInterrupt):
                generate_parts(tmp_path / "parts", seed=5, counts=COUNTS, image_hw=HW)
        return tmp_path / "parts"

    def test_nothing_half_is_left_at_its_place(self, interrupted):
        assert not interrupted.exists()

    def test_the_next_run_goes_on(self, interrupted, made, monkeypatch):
        drawn = []
        original = generate._run_job
        monkeypatch.setattr(generate, "_run_job", lambda job: (drawn.append(job), original(job)))
        dataset = generate_parts(interrupted, seed=5, counts=COUNTS, image_hw=HW)
        assert len(drawn) == 4
        assert digests(dataset.root) == digests(made.root)
        assert [path.name for path in interrupted.parent.iterdir()] == ["parts"]

    def test_other_settings_start_afresh(self, interrupted):
        dataset = generate_parts(interrupted, seed=6, counts={"val": 1}, image_hw=(64, 64))
        assert set(digests(dataset.root)) == {"images/val/val_00000.jpg", "labels/val/val_00000.txt"}

    def test_a_second_run_at_the_same_time_is_refused(self, interrupted):
        holder = multiprocessing.get_context("spawn")
        ready, done = holder.Event(), holder.Event()
        other = holder.Process(target=_hold, args=(str(interrupted), ready, done))
        other.start()
        try:
            assert ready.wait(60)
            with pytest.raises(InputError, match="Another run"):
                generate_parts(interrupted, seed=5, counts=COUNTS, image_hw=HW)
        finally:
            done.set()
            other.join(30)

    def test_a_worker_that_dies_is_explained(self, tmp_path, monkeypatch):
        import os

        monkeypatch.setattr(generate, "_prepare_worker", os._exit)  # called without its argument: it fails at once
        with pytest.raises(OutputError, match="ended before") as error:
            generate_parts(tmp_path / "parts", counts={"val": 2}, image_hw=(64, 64), workers=2)
        assert "__main__" in error.value.fix


def _hold(root, ready, done):
    from pathlib import Path

    from yolotrt_lab.data.staging import staging_folder

    with staging_folder(Path(root)):
        ready.set()
        done.wait(60)


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"counts": {"training": 3}}, "Unknown split"),
            ({"counts": {}}, "needs images"),
            ({"counts": {"train": 0}}, "needs images"),
            ({"counts": {"train": -1, "val": 2}}, "needs images"),
            ({"counts": {"train": 1}, "seed": -1}, "seed is negative"),
            ({"counts": {"train": 1}, "image_hw": (640, 32)}, "size is out of range"),
            ({"counts": {"train": 1}, "image_hw": (9000, 640)}, "size is out of range"),
        ],
    )
    def test_are_refused_before_anything_is_written(self, tmp_path, arguments, message):
        with pytest.raises(InputError, match=message):
            generate_parts(tmp_path / "parts", **arguments)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="Cannot write"):
            generate_parts(tmp_path / "file" / "parts", counts={"val": 1}, image_hw=(64, 64))


def test_pictures_are_worth_looking_at():
    """Neither flat nor black: every image has detail, and together they use the range of brightness."""
    images = [draw_part_image(1, split="val", index=index, image_hw=HW).image for index in range(6)]
    assert all(image.std() > 5 for image in images)
    assert np.ptp([image.mean() for image in images]) > 15
