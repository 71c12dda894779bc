import numpy as np
import pytest

from yolotrt_lab.data.parts import CLASS_NAMES, MIN_VISIBLE, render_scene, scene
from yolotrt_lab.data.parts.lighting import random_rig
from yolotrt_lab.data.parts.render import Sprite


def placed(mask, *, left, top, class_id):
    alpha = np.asarray(mask, np.float32)
    return scene._Placed(Sprite(np.ones((*alpha.shape, 3), np.float32), alpha, 2.0), left, top, class_id)


def labels(items, image_hw=(100, 100)):
    """Paint the items in order and return (class, box, visible share) of those that get a label."""
    rig = random_rig(np.random.default_rng(0), bench_bgr=(0.2, 0.2, 0.2))
    canvas = scene._Canvas(np.full((*image_hw, 3), 0.2, np.float32), rig, np.ones(image_hw, np.float32))
    for index, item in enumerate(items):
        canvas.paint(item, owner=index)
    boxes, ids, shares = scene._labels(items, canvas.owner)
    return [
        (int(k), *box, round(float(s), 3)) for k, box, s in zip(ids, boxes.astype(int).tolist(), shares, strict=True)
    ]


square = np.ones((20, 20))


class TestLabellingRule:
    def test_a_box_is_tight_around_the_mask(self):
        mask = np.zeros((30, 40))
        mask[5:12, 8:31] = 1
        mask[20, 3] = 0.4  # barely covered: not part of it
        assert labels([placed(mask, left=10, top=20, class_id=3)]) == [(3, 18, 25, 41, 32, 1.0)]

    def test_clutter_has_none(self):
        assert labels([placed(square, left=10, top=10, class_id=-1)]) == []

    def test_a_hidden_half_keeps_the_whole_box(self):
        items = [placed(square, left=10, top=10, class_id=0), placed(square, left=20, top=10, class_id=-1)]
        assert labels(items) == [(0, 10, 10, 30, 30, 0.5)]

    def test_what_lies_below_hides_nothing(self):
        items = [placed(square, left=20, top=10, class_id=-1), placed(square, left=10, top=10, class_id=0)]
        assert labels(items) == [(0, 10, 10, 30, 30, 1.0)]

    @pytest.mark.parametrize(("hidden", "count"), [(13, 1), (14, 0), (20, 0)])
    def test_the_least_visible_share(self, hidden, count):
        """13 of 20 columns hidden leave exactly 35 %."""
        cover = placed(np.ones((20, hidden)), left=10, top=10, class_id=-1)
        assert len(labels([placed(square, left=10, top=10, class_id=0), cover])) == count
        assert MIN_VISIBLE == 0.35

    @pytest.mark.parametrize(
        ("left", "top", "expected"),
        [
            (-10, 40, [(0, 0, 40, 10, 60, 0.5)]),
            (90, 40, [(0, 90, 40, 100, 60, 0.5)]),
            (40, -10, [(0, 40, 0, 60, 10, 0.5)]),
            (40, 90, [(0, 40, 90, 60, 100, 0.5)]),
            (-14, 40, []),
            (-20, 40, []),
            (300, 300, []),
        ],
    )
    def test_the_border_cuts_boxes_and_counts_as_hiding(self, left, top, expected):
        assert labels([placed(square, left=left, top=top, class_id=0)]) == expected

    def test_holes_do_not_count(self):
        """A ring is wholly visible although one looks through its middle."""
        ring = np.ones((20, 20))
        ring[5:15, 5:15] = 0
        below = placed(np.ones((8, 8)), left=16, top=16, class_id=1)
        assert labels([below, placed(ring, left=10, top=10, class_id=2)]) == [
            (1, 16, 16, 24, 24, 1.0),
            (2, 10, 10, 30, 30, 1.0),
        ]


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(np.random.default_rng(seed), image_hw=(240, 240)) for seed in range(12)]


class TestRenderScene:
    def test_shapes_and_types(self, scenes):
        for item in scenes:
            assert item.image.shape == (240, 240, 3)
            assert item.image.dtype == np.uint8
            assert item.xyxy.shape == (len(item.class_ids), 4)
            assert item.xyxy.dtype == np.float32
            assert item.class_ids.dtype == np.int64
            assert (item.visible >= MIN_VISIBLE).all()

    def test_boxes_lie_inside_and_have_an_area(self, scenes):
        boxes = np.concatenate([item.xyxy for item in scenes])
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= 240).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()

    def test_all_classes_appear(self):
        found = set()
        for seed in range(40):
            found |= set(scene._choose_objects(np.random.default_rng(seed), (640, 640)))
        ids = {class_id for _, class_id, _ in found}
        assert ids == {-1, *range(len(CLASS_NAMES))}

    def test_sizes_span_the_promised_range(self):
        sizes = [
            size
            for seed in range(150)
            for _, class_id, size in scene._choose_objects(np.random.default_rng(seed), (640, 640))
            if class_id >= 0
        ]
        assert min(sizes) < 16
        assert max(sizes) > 200
        assert min(sizes) >= 12
        assert max(sizes) <= 250

    def test_no_pixel_is_undefined(self, monkeypatch):
        """Numbers that are not finite would turn into arbitrary bytes, different on every machine."""
        seen = []
        original = scene.photograph

        def watch(light, *, rng):
            seen.append(np.isfinite(light).all())
            return original(light, rng=rng)

        monkeypatch.setattr(scene, "photograph", watch)
        with np.errstate(all="raise", under="ignore"):
            for seed in range(8):
                render_scene(np.random.default_rng(seed), image_hw=(200, 200))
        assert seen == [True] * 8

    @pytest.mark.parametrize("image_hw", [(64, 64), (96, 320), (320, 96)])
    def test_other_sizes(self, image_hw):
        assert render_scene(np.random.default_rng(3), image_hw=image_hw).image.shape == (*image_hw, 3)


@pytest.mark.parametrize("name", [name for name in CLASS_NAMES])
@pytest.mark.parametrize("extent", [12.0, 60.0, 250.0])
def test_every_class_is_drawn_as_large_as_asked(name, extent):
    """The mask's longer side is the extent within a third, however the part is turned (a standing one is smaller)."""
    rig = random_rig(np.random.default_rng(0), bench_bgr=(0.2, 0.2, 0.2))
    kind = scene._KINDS[name]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        pose = scene._pose(rng, (50, 50), extent, (100, 100), leans=kind.standing is None)
        sprite = scene.render_sprite(
            kind.build, pose=pose, material=scene.MATERIALS[kind.materials[0]], rig=rig, rng=rng
        )
        solid = sprite.alpha > 0.5
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        longest = max(np.hypot(*np.ptp(np.argwhere(solid), axis=0)), width, height)
        assert 0.6 * extent < longest < 1.6 * extent + 3
        # Nothing touches the patch's edge, or it would be cut off.
        border = np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]])
        assert not border.any()
        assert np.isfinite(sprite.bgr).all()
