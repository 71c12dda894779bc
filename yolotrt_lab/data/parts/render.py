"""Turn a shape into pixels: normals from the height map, metal from the reflection map, walls, occlusion, wear."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from yolotrt_lab.data.parts.lighting import LightRig, Material
from yolotrt_lab.data.parts.noise import noise_bank, sample_texture
from yolotrt_lab.data.parts.shapes import Grid, Shape, make_grid
from yolotrt_lab.types import FloatArray

__all__ = ["Pose", "Sprite", "render_sprite"]

_MARGIN = 1.18


@dataclass(frozen=True)
class Pose:
    """How a part lies in front of the camera.

    Attributes:
        extent_px: Longest side of the part in image pixels, about.
        angle_rad: Rotation in the image plane.
        tilt_rad: Angle by which its plane leans away from the camera.
        tilt_angle_rad: Direction in which it leans.
        view_xy: Place in the image, from -1 to 1; reflections shift with it.
    """

    extent_px: float
    angle_rad: float
    tilt_rad: float
    tilt_angle_rad: float
    view_xy: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A rendered part: linear BGR colour, coverage in [0, 1], height above the bench in pixels."""

    bgr: FloatArray
    alpha: FloatArray
    lift_px: float


def _normals_from_height(height_px: FloatArray) -> FloatArray:
    """Return the x and y of unit normals of an (s, s) height map in pixels, as (s, s, 2)."""
    dx = cv2.Scharr(height_px, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(height_px, cv2.CV_32F, 0, 1, scale=1 / 32)
    inverse = 1 / np.sqrt(1 + dx * dx + dy * dy)
    return np.dstack([-dx * inverse, -dy * inverse])


def _walls(top: FloatArray, *, step_xy: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Sweep the top face along the leaning direction: the walls that come into view.

    Returns:
        Coverage of the walls and their outward normals' x and y.
    """
    length = math.hypot(*step_xy)
    count = max(2, min(9, math.ceil(length / 2)))
    nearest = np.zeros(top.shape, np.float32)
    cover = top.copy()
    for index in range(count, 0, -1):
        share = index / count
        shift = np.array([[1, 0, step_xy[0] * share], [0, 1, step_xy[1] * share]], np.float64)
        moved = cv2.warpAffine(top, shift, top.shape[::-1])
        nearest[moved > 0.5] = share
        np.maximum(cover, moved, out=cover)
    soft = cv2.GaussianBlur(top, (0, 0), 1.6)
    gradient = np.dstack([-cv2.Sobel(soft, cv2.CV_32F, 1, 0), -cv2.Sobel(soft, cv2.CV_32F, 0, 1)])
    y, x = np.mgrid[0 : top.shape[0], 0 : top.shape[1]].astype(np.float32)
    source = np.dstack([x - nearest * step_xy[0], y - nearest * step_xy[1]])
    # OpenCV's stubs forget that a two-channel map goes with None.
    outward = cv2.remap(gradient, source, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    norm = (np.hypot(outward[..., 0], outward[..., 1]) + 1e-4)[..., None]
    return cover, np.asarray(outward / norm * 0.93, np.float32)


def _wear(grid: Grid, *, rng: np.random.Generator, material: Material, grain: str) -> tuple[FloatArray, FloatArray]:
    """Return a small height disturbance and a brightness factor: brushing or turning marks, and stains."""
    bank = noise_bank()
    hw = grid.u.shape
    scale = max(grid.pixels_per_unit / 120, 0.35)
    if grain == "radial":
        row = sample_texture(bank.grain, rng=rng, image_hw=(1, 512))[0]
        row = np.convolve(row, np.ones(3) / 3, mode="same")
        marks = np.interp(grid.radius.ravel() * 140, np.arange(512), row).reshape(hw).astype(np.float32)
    else:
        marks = sample_texture(bank.streak, rng=rng, image_hw=hw, scale=scale, angle_rad=-grid.angle_rad)
    grit = sample_texture(bank.grain, rng=rng, image_hw=hw, scale=max(scale, 0.7))
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=hw, scale=scale)
    relief = material.wear * (marks * 0.1 + grit * 0.05 * material.roughness + cloud * 0.25)
    shade = 1 + material.wear * (0.10 * marks + 0.16 * cloud) + 0.05 * grit * material.roughness
    return np.asarray(relief, np.float32), np.clip(shade, 0.25, 1.6).astype(np.float32)


def _shade(normals: FloatArray, *, rig: LightRig, material: Material) -> FloatArray:
    """Return the colour of a surface: mirrored light for metal, scattered light and a gloss for the rest."""
    body = np.asarray(material.bgr, np.float32)
    mirrored = rig.reflection(normals, roughness=material.roughness)
    if material.metalness >= 1:
        return np.asarray(mirrored * body, np.float32)
    steep = np.minimum(normals[..., 0] ** 2 + normals[..., 1] ** 2, 1)[..., None]
    steep = steep * steep * steep
    gloss = (0.035 + 0.25 * steep) * (1.1 - material.roughness)
    dull = rig.scattered(normals) * body + mirrored * gloss
    return np.asarray(mirrored * body * material.metalness + dull * (1 - material.metalness), np.float32)


def _rust(colour: FloatArray, *, normals: FloatArray, rig: LightRig, cloud: FloatArray, amount: float) -> FloatArray:
    """Mix rust into a surface where the stain texture is high."""
    mask = np.clip((cloud - np.quantile(cloud, 1 - amount)) * 2.2, 0, 1)[..., None]
    orange = np.array([0.025, 0.075, 0.22], np.float32) * (0.65 + 0.35 * np.tanh(cloud))[..., None]
    return np.asarray(colour * (1 - mask) + rig.scattered(normals) * orange * mask, np.float32)


def render_sprite(
    build: Callable[[Grid, np.random.Generator], Shape],
    *,
    pose: Pose,
    material: Material,
    rig: LightRig,
    rng: np.random.Generator,
) -> Sprite:
    """Render one part with its own size, turn, lean and finish.

    Small parts are drawn larger and averaged down, so their outlines and teeth stay clean.

    Args:
        build: Draws the shape on a grid.
        pose: Size and orientation.
        material: Surface finish.
        rig: The image's light.
        rng: The part's random generator.
    """
    factor = 1 if pose.extent_px > 80 else 2 if pose.extent_px > 28 else 4
    pixels_per_unit = pose.extent_px * factor / 2
    lean = 0.75 * math.sin(pose.tilt_rad)
    side = math.ceil(pose.extent_px * (_MARGIN + lean) + 4) * factor
    grid = make_grid(
        side=side,
        pixels_per_unit=pixels_per_unit,
        angle_rad=pose.angle_rad,
        tilt=pose.tilt_rad,
        tilt_angle_rad=pose.tilt_angle_rad,
    )
    shape = build(grid, rng)
    top = np.clip(0.5 - shape.distance * pixels_per_unit, 0, 1).astype(np.float32)
    colour, cover = _surface(shape, top, grid=grid, pose=pose, material=material, rig=rig, rng=rng)
    if factor > 1:
        size = (side // factor, side // factor)
        weighted = np.asarray(cv2.resize(colour * cover[..., None], size, interpolation=cv2.INTER_AREA), np.float32)
        cover = np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_AREA), np.float32)
        colour = np.asarray(weighted / np.maximum(cover, 1e-3)[..., None], np.float32)
    lift_px = shape.lift * pose.extent_px / 2
    return Sprite(colour, cover, lift_px)


def _surface(
    shape: Shape,
    top: FloatArray,
    *,
    grid: Grid,
    pose: Pose,
    material: Material,
    rig: LightRig,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Return the colour of all that is seen of a part, and where it is."""
    scale = grid.pixels_per_unit
    relief, shade = _wear(grid, rng=rng, material=material, grain=shape.grain)
    height_px = np.where(shape.distance < 0.02, shape.height, 0).astype(np.float32) * scale
    lean = math.sin(pose.tilt_rad)
    towards = np.array([math.cos(pose.tilt_angle_rad), math.sin(pose.tilt_angle_rad)], np.float32)
    view = np.asarray(pose.view_xy, np.float32) * 0.16
    normals = _normals_from_height(height_px + relief) + towards * lean + view
    normals = np.clip(normals, -0.99, 0.99).astype(np.float32)
    colour = _shade(normals, rig=rig, material=material)
    cover = top
    if lean * shape.lift * scale > 0.7:
        step = towards * (-lean * shape.lift * scale)
        cover, outward = _walls(top, step_xy=(float(step[0]), float(step[1])))
        wall = _shade(np.clip(outward + view, -0.99, 0.99), rig=rig, material=material) * 0.75
        colour = colour * top[..., None] + wall * (1 - top)[..., None]
        normals = normals * top[..., None] + outward * (1 - top)[..., None]
    for region in shape.regions:
        weight = (region.weight * top)[..., None]
        colour = colour * (1 - weight) + _shade(normals, rig=rig, material=region.material) * weight
    if material.rust and rng.random() < 0.4:
        cloud = sample_texture(noise_bank().cloud, rng=rng, image_hw=top.shape, scale=max(scale / 60, 0.5))
        amount = float(rng.uniform(0.05, material.rust))
        colour = _rust(colour, normals=normals, rig=rig, cloud=cloud, amount=amount)
    blurred = cv2.GaussianBlur(height_px, (0, 0), max(0.09 * scale, 0.8))
    crevice = np.clip(1 + (height_px - blurred) * (5.0 / scale), 0.25, 1.25)
    return np.asarray(colour * (shade * crevice)[..., None], np.float32), cover
