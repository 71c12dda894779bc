import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import LabeledImage
from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.data.split import fingerprint, group_near_duplicates, split_images
from yolotrt_lab.errors import InputError

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def image(number, class_ids):
    return LabeledImage(
        Path(f"{number:04d}.png"), (10, 10), np.array(class_ids, np.int64), np.tile([0.0, 0, 5, 5], (len(class_ids), 1))
    )


def random_images(count, *, classes=4, seed=0):
    """Images whose classes are as uneven as in real data: each is about three times rarer than the one before."""
    rng = np.random.default_rng(seed)
    weights = 3.0 ** -np.arange(classes)
    return [image(k, rng.choice(classes, rng.integers(0, 9), p=weights / weights.sum())) for k in range(count)]


def names(split):
    return {name: [item.path.name for item in items] for name, items in split.images.items()}


class TestShares:
    @pytest.mark.parametrize("seed", range(5))
    def test_every_split_gets_its_share_of_images_and_of_every_class(self, seed):
        images = random_images(200, seed=seed)
        split = split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, min_similarity=None)
        total = np.sum(list(split.class_counts.values()), axis=0)
        for name, share in FRACTIONS.items():
            assert len(split.images[name]) == pytest.approx(200 * share, abs=6)
            # A random split of this data misses the rarest class's share by up to 100 %.
            np.testing.assert_allclose(split.class_counts[name], total * share, atol=4, rtol=0.06)

    def test_it_is_better_than_chance(self):
        """Compare with shuffling: the largest error in a class's share must be far smaller."""
        images = random_images(400, seed=3)
        ids = [item.class_ids for item in images]
        total = np.bincount(np.concatenate(ids), minlength=4)

        def error(members):
            found = np.bincount(np.concatenate([ids[k] for k in members] or [[]]).astype(int), minlength=4)
            return np.abs(found / total - 0.2).max()

        rng = np.random.default_rng(0)
        chance = np.median([error(rng.permutation(400)[:80]) for _ in range(50)])
        split = split_images(images, num_classes=4, fractions=FRACTIONS, min_similarity=None)
        ours = error([int(item.path.stem) for item in split.images["test"]])
        assert ours < chance / 2

    def test_nothing_is_lost_or_doubled_and_the_order_stays(self):
        images = random_images(57)
        split = split_images(images, num_classes=4, fractions=FRACTIONS, min_similarity=None)
        together = [name for items in names(split).values() for name in items]
        assert sorted(together) == [item.path.name for item in images]
        assert all(items == sorted(items) for items in names(split).values())

    def test_counts_are_those_of_the_images(self):
        split = split_images(random_images(40), num_classes=4, fractions=FRACTIONS, min_similarity=None)
        for name, items in split.images.items():
            ids = np.concatenate([item.class_ids for item in items])
            assert split.class_counts[name] == tuple(np.bincount(ids, minlength=4))

    def test_images_without_objects_are_shared_out_too(self):
        images = [image(k, []) for k in range(20)]
        split = split_images(images, num_classes=2, fractions=FRACTIONS, min_similarity=None)
        assert {name: len(items) for name, items in split.images.items()} == {"train": 12, "val": 4, "test": 4}

    def test_the_seed_decides(self):
        images = random_images(60)
        first, again, other = (
            names(split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, min_similarity=None))
            for seed in (1, 1, 2)
        )
        assert first == again
        assert first != other

    def test_a_share_of_zero_gives_no_split(self):
        split = split_images(
            random_images(10), num_classes=4, fractions={"train": 0.5, "val": 0.5, "test": 0}, min_similarity=None
        )
        assert list(split.images) == ["train", "val"]

    @pytest.mark.parametrize("count", [3, 4, 5])
    def test_few_images_leave_no_split_empty(self, count):
        images = [image(k, [0]) for k in range(count)]
        split = split_images(
            images, num_classes=1, fractions={"train": 0.9, "val": 0.05, "test": 0.05}, min_similarity=None
        )
        assert all(split.images.values())

    @pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 0.7, "val": 0.7}, {"train": 1.2, "val": -0.2}, {}])
    def test_bad_shares(self, fractions):
        with pytest.raises(InputError, match="shares of the splits"):
            split_images(random_images(9), num_classes=4, fractions=fractions, min_similarity=None)

    def test_too_few_images(self):
        with pytest.raises(InputError, match="Too few images"):
            split_images(random_images(2), num_classes=4, fractions=FRACTIONS, min_similarity=None)


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=3, max_size=40),
    seed=st.integers(0, 1000),
)
def test_any_content_is_divided_completely(contents, seed):
    images = [image(k, ids) for k, ids in enumerate(contents)]
    split = split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, min_similarity=None)
    assert sorted(name for items in names(split).values() for name in items) == [item.path.name for item in images]
    assert all(split.images.values())


class TestGroups:
    def prints(self, *angles):
        """Unit vectors in a plane: the similarity of two is the cosine of the angle between them."""
        return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles], np.float32)

    def test_at_least_so_similar(self):
        found = self.prints(0, 20, 50)  # cosines: 0.94, 0.87 and 0.64
        assert group_near_duplicates(found, min_similarity=0.93).tolist() == [0, 0, 2]
        assert group_near_duplicates(found, min_similarity=0.95).tolist() == [0, 1, 2]
        assert group_near_duplicates(found, min_similarity=0.6).tolist() == [0, 0, 0]
        assert group_near_duplicates(found, min_similarity=2).tolist() == [0, 1, 2]
        assert group_near_duplicates(np.eye(2, dtype=np.float32)[[0, 0]], min_similarity=1).tolist() == [0, 0]

    @pytest.mark.parametrize("angles", [(0, 20, 40), (0, 40, 20), (20, 0, 40)])
    def test_by_way_of_others(self, angles):
        """A is near B and B near C, so A and C belong together, in whatever order they come."""
        assert len(set(group_near_duplicates(self.prints(*angles), min_similarity=0.93))) == 1

    @pytest.mark.parametrize("count", [0, 1])
    def test_none_and_one(self, count):
        assert group_near_duplicates(np.ones((count, 1024), np.float32)).tolist() == list(range(count))

    def test_near_duplicates_stay_together(self, tmp_path, draw):
        """Eight scenes, each as five slightly different pictures: no scene may be on two sides."""
        images = []
        for scene in range(8):
            picture = read_image(draw(tmp_path / "scene.png", seed=scene))
            for shot in range(5):
                changed = cv2.GaussianBlur(
                    cv2.convertScaleAbs(picture, alpha=1 - 0.05 * shot), (0, 0), 0.5 + 0.3 * shot
                )
                path = tmp_path / f"{scene}_{shot}.png"
                cv2.imwrite(str(path), changed)
                images.append(LabeledImage(path, (48, 64), np.array([scene % 2]), np.array([[0.0, 0, 9, 9]])))
        split = split_images(images, num_classes=2, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
        assert split.groups == 8
        scenes = {name: {item.split("_")[0] for item in items} for name, items in names(split).items()}
        assert {name: len(found) for name, found in scenes.items()} == {"train": 4, "val": 2, "test": 2}
        assert len(set.union(*scenes.values())) == 8
        apart = split_images(
            images, num_classes=2, fractions={"train": 0.5, "val": 0.25, "test": 0.25}, min_similarity=2
        )
        assert apart.groups == 0

    def test_too_few_different_images(self, tmp_path, draw):
        path = draw(tmp_path / "a.png")
        images = [LabeledImage(path, (48, 64), np.zeros(0, np.int64), np.zeros((0, 4)))] * 6
        with pytest.raises(InputError, match="Too few different images"):
            split_images(images, num_classes=1, fractions=FRACTIONS)


def similarity(first, second):
    return float(fingerprint(np.ascontiguousarray(first)) @ fingerprint(np.ascontiguousarray(second)))


class TestFingerprint:
    @pytest.fixture
    def picture(self, tmp_path, draw):
        return read_image(draw(tmp_path / "a.png", image_hw=(240, 320)))

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
            lambda image: cv2.convertScaleAbs(image, alpha=0.6, beta=30),
            lambda image: cv2.GaussianBlur(image, (0, 0), 2),
            lambda image: np.roll(image, 2, axis=1),
            lambda image: (image * np.linspace(0.6, 1, 320)[None, :, None]).astype(np.uint8),
        ],
        ids=["smaller", "darker", "blurred", "shifted", "lit from the side"],
    )
    def test_the_same_scene(self, picture, change):
        assert similarity(picture, change(picture)) > 0.9

    def test_another_scene(self, picture, tmp_path, draw):
        assert similarity(picture, picture[:, ::-1]) < 0.6
        assert similarity(picture, 255 - picture) < 0
        assert similarity(picture, read_image(draw(tmp_path / "b.png", seed=1, image_hw=(240, 320)))) < 0.6

    def test_light_that_falls_off_alike_makes_no_two_pictures_equal(self):
        """Noise on a slope of light: a difference hash would see the slope and nothing else."""
        slope = np.linspace(60, 200, 320)[None, :, None] + np.zeros((240, 1, 3))
        first, second = (
            np.clip(slope + np.random.default_rng(seed).normal(0, 8, slope.shape), 0, 255).astype(np.uint8)
            for seed in (0, 1)
        )
        assert similarity(first, second) < 0.5

    def test_blank_pictures_are_like_each_other_only(self, picture):
        black, grey = np.zeros((40, 60, 3), np.uint8), np.full((30, 30, 3), 128, np.uint8)
        assert similarity(black, grey) == pytest.approx(1)
        assert abs(similarity(black, picture)) < 1e-3

    def test_unit_length(self, picture):
        assert fingerprint(picture).shape == (1024,)
        assert np.linalg.norm(fingerprint(picture)) == pytest.approx(1)


def test_drawn_parts_are_no_near_duplicates():
    images = [draw_part_image(0, split="train", index=index, image_hw=(160, 160)).image for index in range(24)]
    groups = group_near_duplicates(np.stack([fingerprint(image) for image in images]))
    assert len(set(groups)) == 24


@pytest.mark.bccd
def test_bccd_has_one_pair_of_shots_of_the_same_scene():
    folder = Path(os.environ.get("YOLOTRT_DATA_MIRROR", "")) / "BCCD"
    if not os.environ.get("YOLOTRT_DATA_MIRROR") or not folder.is_dir():
        pytest.skip("needs the real BCCD images: set YOLOTRT_DATA_MIRROR to a folder that holds BCCD/")
    paths = sorted((folder / "JPEGImages").iterdir())
    groups = group_near_duplicates(np.stack([fingerprint(read_image(path)) for path in paths]))
    doubled = [path.stem for path, group in zip(paths, groups, strict=True) if (groups == group).sum() > 1]
    assert doubled == ["BloodImage_00037", "BloodImage_00038"]
