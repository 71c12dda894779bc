import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import LabeledImage
from yolotrt_lab.data.split import difference_hash, group_near_duplicates, split_images
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
        split = split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, max_distance=None)
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
        split = split_images(images, num_classes=4, fractions=FRACTIONS, max_distance=None)
        ours = error([int(item.path.stem) for item in split.images["test"]])
        assert ours < chance / 2

    def test_nothing_is_lost_or_doubled_and_the_order_stays(self):
        images = random_images(57)
        split = split_images(images, num_classes=4, fractions=FRACTIONS, max_distance=None)
        together = [name for items in names(split).values() for name in items]
        assert sorted(together) == [item.path.name for item in images]
        assert all(items == sorted(items) for items in names(split).values())

    def test_counts_are_those_of_the_images(self):
        split = split_images(random_images(40), num_classes=4, fractions=FRACTIONS, max_distance=None)
        for name, items in split.images.items():
            ids = np.concatenate([item.class_ids for item in items])
            assert split.class_counts[name] == tuple(np.bincount(ids, minlength=4))

    def test_images_without_objects_are_shared_out_too(self):
        images = [image(k, []) for k in range(20)]
        split = split_images(images, num_classes=2, fractions=FRACTIONS, max_distance=None)
        assert {name: len(items) for name, items in split.images.items()} == {"train": 12, "val": 4, "test": 4}

    def test_the_seed_decides(self):
        images = random_images(60)
        first, again, other = (
            names(split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, max_distance=None))
            for seed in (1, 1, 2)
        )
        assert first == again
        assert first != other

    def test_a_share_of_zero_gives_no_split(self):
        split = split_images(
            random_images(10), num_classes=4, fractions={"train": 0.5, "val": 0.5, "test": 0}, max_distance=None
        )
        assert list(split.images) == ["train", "val"]

    @pytest.mark.parametrize("count", [3, 4, 5])
    def test_few_images_leave_no_split_empty(self, count):
        images = [image(k, [0]) for k in range(count)]
        split = split_images(
            images, num_classes=1, fractions={"train": 0.9, "val": 0.05, "test": 0.05}, max_distance=None
        )
        assert all(split.images.values())

    @pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 0.7, "val": 0.7}, {"train": 1.2, "val": -0.2}, {}])
    def test_bad_shares(self, fractions):
        with pytest.raises(InputError, match="shares of the splits"):
            split_images(random_images(9), num_classes=4, fractions=fractions, max_distance=None)

    def test_too_few_images(self):
        with pytest.raises(InputError, match="Too few images"):
            split_images(random_images(2), num_classes=4, fractions=FRACTIONS, max_distance=None)


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=3, max_size=40),
    seed=st.integers(0, 1000),
)
def test_any_content_is_divided_completely(contents, seed):
    images = [image(k, ids) for k, ids in enumerate(contents)]
    split = split_images(images, num_classes=4, fractions=FRACTIONS, seed=seed, max_distance=None)
    assert sorted(name for items in names(split).values() for name in items) == [item.path.name for item in images]
    assert all(split.images.values())


class TestGroups:
    def bits(self, *positions):
        row = np.zeros(256, np.uint8)
        row[list(positions)] = 1
        return np.packbits(row).view(np.uint64)

    def test_within_the_distance(self):
        hashes = np.stack([self.bits(), self.bits(1, 2), self.bits(100, 101, 102, 103)])
        assert group_near_duplicates(hashes, max_distance=2).tolist() == [0, 0, 2]
        assert group_near_duplicates(hashes, max_distance=1).tolist() == [0, 1, 2]
        assert group_near_duplicates(hashes, max_distance=4).tolist() == [0, 0, 0]
        assert group_near_duplicates(hashes, max_distance=-1).tolist() == [0, 1, 2]

    def test_by_way_of_others(self):
        """A is near B and B near C, so A and C belong together, in whatever order they come."""
        chain = [self.bits(), self.bits(0, 1), self.bits(0, 1, 2, 3)]
        for order in ([0, 1, 2], [0, 2, 1], [2, 0, 1]):
            hashes = np.stack([chain[k] for k in order])
            assert len(set(group_near_duplicates(hashes, max_distance=2))) == 1

    @pytest.mark.parametrize("count", [0, 1])
    def test_none_and_one(self, count):
        hashes = np.zeros((count, 4), np.uint64)
        assert group_near_duplicates(hashes).tolist() == list(range(count))

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
            images, num_classes=2, fractions={"train": 0.5, "val": 0.25, "test": 0.25}, max_distance=-1
        )
        assert apart.groups == 0

    def test_too_few_different_images(self, tmp_path, draw):
        path = draw(tmp_path / "a.png")
        images = [LabeledImage(path, (48, 64), np.zeros(0, np.int64), np.zeros((0, 4)))] * 6
        with pytest.raises(InputError, match="Too few different images"):
            split_images(images, num_classes=1, fractions=FRACTIONS)


class TestDifferenceHash:
    def test_flipping_a_picture_is_far_away(self, tmp_path, draw):
        picture = read_image(draw(tmp_path / "a.png"))
        distance = np.bitwise_count(difference_hash(picture) ^ difference_hash(picture[:, ::-1].copy())).sum()
        assert distance > 80

    def test_against_a_plain_loop(self, tmp_path, draw):
        picture = read_image(draw(tmp_path / "a.png"))
        small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (17, 16), interpolation=cv2.INTER_AREA).tolist()
        expected = [small[y][x + 1] > small[y][x] for y in range(16) for x in range(16)]
        bits = np.unpackbits(difference_hash(picture).view(np.uint8)).astype(bool)
        assert bits.tolist() == expected


@pytest.mark.bccd
def test_bccd_has_one_pair_of_shots_of_the_same_scene():
    folder = Path(os.environ.get("YOLOTRT_DATA_MIRROR", "")) / "BCCD"
    if not os.environ.get("YOLOTRT_DATA_MIRROR") or not folder.is_dir():
        pytest.skip("needs the real BCCD images: set YOLOTRT_DATA_MIRROR to a folder that holds BCCD/")
    paths = sorted((folder / "JPEGImages").iterdir())
    groups = group_near_duplicates(np.stack([difference_hash(read_image(path)) for path in paths]))
    doubled = [path.stem for path, group in zip(paths, groups, strict=True) if (groups == group).sum() > 1]
    assert doubled == ["BloodImage_00037", "BloodImage_00038"]
