import math

import numpy as np
import pytest

from yolotrt_lab.data.parts import flat_parts, long_parts
from yolotrt_lab.data.parts.backgrounds import BACKGROUNDS
from yolotrt_lab.data.parts.camera import light_gradient, photograph
from yolotrt_lab.data.parts.distractors import DISTRACTORS
from yolotrt_lab.data.parts.lighting import MATERIALS, random_rig
from yolotrt_lab.data.parts.noise import noise_bank, sample_texture
from yolotrt_lab.data.parts.shapes import box_distance, make_grid, polygon_distance, ramp, rounded_edge

BUILDERS = {
    **{name: getattr(flat_parts, name) for name in flat_parts.__all__},
    **{name: getattr(long_parts, name) for name in ("bolt", "screw", "spring")},
    **{name: build for name, (build, _) in DISTRACTORS.items()},
}


@pytest.fixture
def grid():
    return make_grid(side=241, pixels_per_unit=100, angle_rad=0)


class TestGrid:
    def test_units_and_origin(self, grid):
        assert grid.u[120, 120] == 0
        assert grid.v[120, 120] == 0
        assert grid.u[120, 220] == pytest.approx(1)
        assert grid.v[220, 120] == pytest.approx(1)

    @pytest.mark.parametrize("angle", [0.3, 1.2, -2.0])
    def test_rotation(self, angle):
        grid = make_grid(side=241, pixels_per_unit=100, angle_rad=angle)
        x, y = round(120 + 80 * math.cos(angle)), round(120 + 80 * math.sin(angle))
        assert grid.u[y, x] == pytest.approx(0.8, abs=0.01)
        assert grid.v[y, x] == pytest.approx(0, abs=0.01)

    def test_a_leaning_disc_becomes_an_ellipse(self):
        grid = make_grid(side=241, pixels_per_unit=100, angle_rad=0, tilt=math.pi / 3, tilt_angle_rad=0)
        inside = grid.radius < 1
        assert np.ptp(np.flatnonzero(inside.any(axis=0))) == pytest.approx(100, abs=3)
        assert np.ptp(np.flatnonzero(inside.any(axis=1))) == pytest.approx(200, abs=3)


class TestDistances:
    def test_polygon(self, grid):
        distance = polygon_distance(grid, corners=6, apothem=0.5)
        assert distance[120, 120] == pytest.approx(-0.5)
        assert distance[120, 220] == pytest.approx(0.5)
        assert (distance < 0).mean() == pytest.approx(2 * math.sqrt(3) * 50**2 / 241**2, rel=0.02)

    def test_box_with_round_corners(self, grid):
        distance = box_distance(grid, centre=(0.1, 0), half=(0.5, 0.3), corner=0.1)
        assert distance[120, 130] == pytest.approx(-0.3, abs=1e-3)
        assert distance[120, 220] == pytest.approx(0.4, abs=1e-3)
        area = 100 * 60 - (4 - math.pi) * 10**2
        assert (distance < 0).sum() == pytest.approx(area, rel=0.02)

    def test_ramp_and_rounded_edge(self):
        assert ramp(np.array([0.0, 1.0, 1.5, 2.0, 3.0]), 1, 2).tolist() == [0, 0, 0.5, 1, 1]
        assert ramp(np.array([0.0, 3.0]), 2, 1).tolist() == [1, 0]
        assert rounded_edge(np.array([-1.0, -0.1, 0.0]), width=0.1, depth=0.2).tolist() == pytest.approx([0, 0, 0.2])


@pytest.mark.parametrize("name", BUILDERS)
def test_every_shape_fits_its_grid(grid, name):
    for seed in range(6):
        shape = BUILDERS[name](grid, np.random.default_rng(seed))
        solid = shape.distance < 0
        assert np.isfinite(shape.height[solid]).all()
        assert shape.distance.dtype == shape.height.dtype == np.float32
        assert solid.sum() > 300
        reach = np.abs(np.stack([grid.u[solid], grid.v[solid]])).max()
        assert (0.55 if name in DISTRACTORS else 0.8) < reach <= 1.17
        for region in shape.regions:
            assert region.weight.min() >= 0
            assert region.weight.max() <= 1.001


@pytest.mark.parametrize(("name", "hole"), [("nut", True), ("washer", True), ("bearing", True), ("bolt_head", False)])
def test_what_tells_the_round_parts_apart(grid, name, hole):
    for seed in range(6):
        shape = BUILDERS[name](grid, np.random.default_rng(seed))
        assert (shape.distance[120, 120] > 0) == hole


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds(name):
    colour, relief = BACKGROUNDS[name](np.random.default_rng(2), (90, 130))
    assert colour.shape == (90, 130, 3)
    assert relief.shape == (90, 130)
    assert colour.dtype == relief.dtype == np.float32
    assert np.isfinite(colour).all()
    assert (colour >= 0).all()
    assert colour.std() > 0.001


class TestNoise:
    @pytest.mark.parametrize("name", ["cloud", "grain", "streak"])
    def test_textures_are_standardised(self, name):
        texture = getattr(noise_bank(), name)
        assert abs(texture.mean()) < 1e-3
        assert texture.std() == pytest.approx(1, rel=0.4)

    def test_streaks_run_along_x_and_turn_with_the_angle(self):
        streak = noise_bank().streak
        for angle, along, across in ((0.0, 1, 0), (math.pi / 2, 0, 1)):
            piece = sample_texture(
                streak, rng=np.random.default_rng(0), image_hw=(200, 200), scale=1.01, angle_rad=angle
            )
            assert np.abs(np.diff(piece, axis=along)).mean() < 0.5 * np.abs(np.diff(piece, axis=across)).mean()

    @pytest.mark.parametrize("image_hw", [(10, 20), (1024, 1024), (1400, 30)])
    def test_any_size(self, image_hw):
        piece = sample_texture(noise_bank().grain, rng=np.random.default_rng(0), image_hw=image_hw)
        assert piece.shape == image_hw
        assert piece.std() > 0.5


class TestLighting:
    def test_the_side_towards_the_light_is_brighter(self):
        for seed in range(8):
            rig = random_rig(np.random.default_rng(seed), bench_bgr=(0.2, 0.2, 0.2))
            towards = np.asarray(rig.towards_light_xy, np.float32) * 0.6
            normals = np.stack([towards, -towards]).reshape(1, 2, 2)
            lit, dark = rig.scattered(normals)[0].sum(axis=1)
            # A second lamp may outshine the first a little, never by much.
            assert lit > dark * 0.9

    def test_roughness_blurs_reflections(self):
        rig = random_rig(np.random.default_rng(4), bench_bgr=(0.2, 0.2, 0.2))
        axis = np.linspace(-0.9, 0.9, 101, dtype=np.float32)
        normals = np.stack(np.meshgrid(axis, axis), axis=-1)
        contrast = [np.abs(np.diff(rig.reflection(normals, roughness=r), axis=1)).max() for r in (0.0, 0.5, 1.0)]
        assert contrast[0] > contrast[1] > contrast[2]

    def test_materials_are_physical(self):
        for material in MATERIALS.values():
            assert all(0 < value < 1 for value in material.bgr)
            assert 0 <= material.metalness <= 1
            assert 0 <= material.roughness <= 1


class TestCamera:
    def test_the_gradient_is_positive(self):
        for seed in range(10):
            field = light_gradient(np.random.default_rng(seed), (50, 80))
            assert field.shape == (50, 80)
            assert field.min() > 0

    @pytest.mark.parametrize("level", [0.0, 1e-4, 0.2, 50.0])
    def test_any_brightness_gives_a_picture(self, level):
        scene = np.full((60, 60, 3), level, np.float32)
        image = photograph(scene, rng=np.random.default_rng(0))
        assert image.shape == (60, 60, 3)
        assert image.dtype == np.uint8

    def test_brighter_light_is_brighter(self):
        """Within one picture; between pictures the exposure adapts."""
        scene = np.full((60, 90, 3), 0.1, np.float32)
        scene[:, 30:60] = 0.3
        scene[:, 60:] = 0.8
        for seed in range(5):
            columns = photograph(scene, rng=np.random.default_rng(seed)).mean(axis=(0, 2))
            assert columns[10:20].mean() < columns[40:50].mean() < columns[70:80].mean()
