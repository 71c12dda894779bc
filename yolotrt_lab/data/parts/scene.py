"""Compose one image: bench, parts and clutter from far to near, shadows, camera; and the boxes that belong to it.

Labelling rule: a box is the tight axis-aligned box of the whole part, hidden pixels included (amodal), cut at the
image's border. A part gets a box if at least `MIN_VISIBLE` of its whole area is in the image and not hidden by
anything lying on it; otherwise it is in the picture without a label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.data.parts import flat_parts, long_parts
from yolotrt_lab.data.parts.backgrounds import BACKGROUNDS
from yolotrt_lab.data.parts.camera import light_gradient, photograph
from yolotrt_lab.data.parts.distractors import DISTRACTORS
from yolotrt_lab.data.parts.lighting import MATERIALS, LightRig, random_rig
from yolotrt_lab.data.parts.render import Pose, Sprite, render_sprite
from yolotrt_lab.data.parts.shapes import Grid, Shape
from yolotrt_lab.types import FloatArray, ImageArray

__all__ = ["CLASS_NAMES", "MIN_VISIBLE", "Scene", "render_scene"]

CLASS_NAMES: tuple[str, ...] = ("bolt", "nut", "washer", "gear", "bearing", "spring", "screw", "bracket")
"""Class names in the order of their ids."""

MIN_VISIBLE = 0.35
"""Least visible share of a part's whole area for which it gets a box."""

_MIN_EXTENT_PX, _MAX_EXTENT_PX = 12.0, 250.0
_MIN_CONTRAST = 0.2
_METALS = ("steel", "steel", "polished", "zinc", "zinc", "galvanised", "yellow_zinc", "brass", "black_oxide")
_Builder = Callable[[Grid, np.random.Generator], Shape]


@dataclass(frozen=True)
class _Kind:
    """How a class looks: side view, optional standing view, size beside other parts, finishes."""

    build: _Builder
    standing: _Builder | None
    relative_size: float
    materials: tuple[str, ...]


_KINDS: Mapping[str, _Kind] = {
    "bolt": _Kind(long_parts.bolt, flat_parts.bolt_head, 1.5, _METALS),
    "nut": _Kind(flat_parts.nut, None, 0.75, (*_METALS, "copper")),
    "washer": _Kind(flat_parts.washer, None, 0.8, (*_METALS, "copper", "plastic_white")),
    "gear": _Kind(flat_parts.gear, None, 1.15, ("steel", "cast_iron", "brass", "black_oxide", "nylon", "steel")),
    "bearing": _Kind(flat_parts.bearing, None, 1.1, ("polished", "polished", "steel", "black_oxide")),
    "spring": _Kind(long_parts.spring, None, 1.3, ("steel", "polished", "zinc", "black_oxide", "copper")),
    "screw": _Kind(long_parts.screw, flat_parts.screw_head, 1.25, (*_METALS, "yellow_zinc")),
    "bracket": _Kind(flat_parts.bracket, None, 1.6, ("zinc", "galvanised", "steel", "black_oxide", "cast_iron")),
}
_STANDING_SIZE = 0.6


@dataclass(frozen=True, eq=False)
class Scene:
    """One finished image with its labels.

    Attributes:
        image: (h, w, 3) uint8 BGR.
        xyxy: (n, 4) float32 boxes in pixels, inside the image.
        class_ids: (n,) int64.
        visible: (n,) visible share of each labelled part.
    """

    image: ImageArray
    xyxy: FloatArray
    class_ids: NDArray[np.int64]
    visible: FloatArray


@dataclass(frozen=True, eq=False)
class _Placed:
    """A sprite in the image; `class_id` is -1 for clutter."""

    sprite: Sprite
    left: int
    top: int
    class_id: int


class _Canvas:
    """The image under construction, and which part owns each pixel."""

    def __init__(self, bench: FloatArray, rig: LightRig, lamp: FloatArray) -> None:
        self.scene = bench
        self.rig = rig
        self.lamp = lamp
        self.owner = np.full(bench.shape[:2], -1, np.int16)

    def _overlap(self, left: int, top: int, shape: tuple[int, ...]) -> tuple[slice, slice, slice, slice] | None:
        """Return image rows and columns and the patch's rows and columns, or None if the patch is outside."""
        height, width, _ = self.scene.shape
        y0, y1 = max(top, 0), min(top + shape[0], height)
        x0, x1 = max(left, 0), min(left + shape[1], width)
        if y0 >= y1 or x0 >= x1:
            return None
        return slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)

    def cast_shadow(self, placed: _Placed) -> None:
        """Darken what lies below a part: a soft shadow away from the light and a dark line of contact."""
        lift = max(placed.sprite.lift_px, 0.8)
        length = min(lift * self.rig.shadow_length * 1.1, 60.0)
        away = [-component * length for component in self.rig.towards_light_xy]
        soft = max(lift * self.rig.shadow_softness, 0.8)
        pad = math.ceil(length + 3 * soft) + 2
        alpha = cv2.copyMakeBorder(placed.sprite.alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
        swept = alpha
        steps = max(1, min(4, round(length / 4)))
        for step in range(1, steps + 1):
            shift = np.array([[1, 0, away[0] * step / steps], [0, 1, away[1] * step / steps]], np.float64)
            swept = np.maximum(swept, cv2.warpAffine(alpha, shift, alpha.shape[::-1]))
        shadow = cv2.GaussianBlur(swept, (0, 0), soft) * 0.62
        contact = cv2.GaussianBlur(alpha, (0, 0), max(lift * 0.16, 0.9)) * 0.5
        dark = (1 - shadow) * (1 - contact)
        place = self._overlap(placed.left - pad, placed.top - pad, dark.shape)
        if place is not None:
            rows, columns, patch_rows, patch_columns = place
            self.scene[rows, columns] *= dark[patch_rows, patch_columns][..., None]

    def paint(self, placed: _Placed, owner: int) -> None:
        """Lay a part over the image and take over its pixels."""
        place = self._overlap(placed.left, placed.top, placed.sprite.alpha.shape)
        if place is None:
            return
        rows, columns, patch_rows, patch_columns = place
        alpha = placed.sprite.alpha[patch_rows, patch_columns]
        lamp = 0.35 + 0.65 * self.lamp[rows, columns]
        colour = placed.sprite.bgr[patch_rows, patch_columns] * lamp[..., None]
        target = self.scene[rows, columns]
        colour *= _contrast_gain(colour, target, solid=alpha > 0.5)
        target += (colour - target) * alpha[..., None]
        self.owner[rows, columns][alpha > 0.5] = owner


def _contrast_gain(colour: FloatArray, below: FloatArray, *, solid: NDArray[np.bool_]) -> float:
    """Return how much brighter or darker to make a part that nobody could tell from what lies below it."""
    if not solid.any():
        return 1.0
    part, bench = colour[..., 1][solid], below[..., 1][solid]
    difference = float((np.abs(part - bench) / (part + bench + 0.02)).mean())
    if difference >= _MIN_CONTRAST:
        return 1.0
    return 1.7 if float(part.mean()) >= float(bench.mean()) or float(bench.mean()) < 0.08 else 0.55


def _bench(rng: np.random.Generator, image_hw: tuple[int, int]) -> tuple[FloatArray, FloatArray, LightRig]:
    """Return the lit bench, the lamp's brightness over it, and the light."""
    name = str(rng.choice(list(BACKGROUNDS)))
    colour, relief = BACKGROUNDS[name](rng, image_hw)
    mean = colour[::8, ::8].reshape(-1, 3).mean(axis=0)
    rig = random_rig(rng, bench_bgr=(float(mean[0]), float(mean[1]), float(mean[2])))
    lamp = light_gradient(rng, image_hw)
    lx, ly = rig.towards_light_xy
    slope = cv2.Scharr(relief, cv2.CV_32F, 1, 0, scale=1 / 32) * lx
    slope += cv2.Scharr(relief, cv2.CV_32F, 0, 1, scale=1 / 32) * ly
    bump = np.clip(1 - slope * rig.shadow_length * 0.8, 0.35, 1.9)
    up = rig.scattered(np.zeros((1, 1, 2), np.float32))[0, 0]
    lit = colour * up * (lamp * bump)[..., None]
    return np.asarray(lit, np.float32), lamp, rig


def _random_centre(
    rng: np.random.Generator,
    image_hw: tuple[int, int],
    taken: list[tuple[float, float, float]],
    extent: float,
    *,
    spacing: float,
    heap: tuple[float, float, float] | None,
) -> tuple[float, float]:
    """Return a place for a part that keeps a share `spacing` of its radius free if a few tries find one.

    `heap` is the x, y and spread of a pile that parts are thrown on, or None to strew them over the image.
    """
    best, best_gap = (0.0, 0.0), -math.inf
    height, width = image_hw
    for _ in range(10):
        if heap is None:
            x, y = float(rng.uniform(-0.03, 1.03)) * width, float(rng.uniform(-0.03, 1.03)) * height
        else:
            x, y = float(rng.normal(heap[0], heap[2])), float(rng.normal(heap[1], heap[2]))
            x, y = min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))
        gap = min((math.hypot(x - a, y - b) - (r + extent / 2) * spacing for a, b, r in taken), default=0.0)
        if gap > best_gap:
            best, best_gap = (x, y), gap
        if gap >= 0:
            break
    return best


def _pose(
    rng: np.random.Generator, centre: tuple[float, float], extent: float, image_hw: tuple[int, int], *, leans: bool
) -> Pose:
    tilt = abs(float(rng.normal(0, 0.28))) if leans else abs(float(rng.normal(0, 0.12)))
    return Pose(
        extent_px=extent,
        angle_rad=float(rng.uniform(0, 2 * math.pi)),
        tilt_rad=min(tilt, 0.75),
        tilt_angle_rad=float(rng.uniform(0, 2 * math.pi)),
        view_xy=(centre[0] / image_hw[1] * 2 - 1, centre[1] / image_hw[0] * 2 - 1),
    )


def _choose_objects(rng: np.random.Generator, image_hw: tuple[int, int]) -> list[tuple[str, int, float]]:
    """Return (name, class id or -1, extent in pixels) of everything in the image, in painting order."""
    zoom = math.exp(float(rng.uniform(math.log(24), math.log(120)))) * min(image_hw) / 640
    room = min(22.0, 10.5 * (90 * min(image_hw) / 640 / zoom) ** 0.9)
    count = int(min(24, max(1, rng.poisson(room * float(rng.uniform(0.35, 1.0))))))
    favourites = rng.dirichlet(np.full(len(CLASS_NAMES), 1.3))
    objects = []
    for _ in range(count):
        class_id = int(rng.choice(len(CLASS_NAMES), p=favourites))
        size = zoom * _KINDS[CLASS_NAMES[class_id]].relative_size * math.exp(float(rng.normal(0, 0.33)))
        objects.append((CLASS_NAMES[class_id], class_id, min(max(size, _MIN_EXTENT_PX), _MAX_EXTENT_PX)))
    for _ in range(int(rng.poisson(1.0 + 0.28 * count))):
        name = str(rng.choice(list(DISTRACTORS)))
        size = zoom * float(rng.uniform(0.6, 2.0))
        objects.append((name, -1, min(max(size, _MIN_EXTENT_PX), 330.0)))
    order = rng.permutation(len(objects))
    return [objects[index] for index in order]


def _draw(
    name: str,
    class_id: int,
    extent: float,
    centre: tuple[float, float],
    *,
    rng: np.random.Generator,
    rig: LightRig,
    image_hw: tuple[int, int],
) -> _Placed:
    """Render one object and put its centre at `centre`."""
    if class_id < 0:
        build, finishes = DISTRACTORS[name]
        leans = name in {"blank_disc", "hex_blank", "plate"}
    else:
        kind = _KINDS[name]
        build, finishes, leans = kind.build, kind.materials, kind.standing is None and name != "spring"
        if kind.standing is not None and rng.random() < 0.25:
            build, extent, leans = kind.standing, max(extent * _STANDING_SIZE, _MIN_EXTENT_PX), True
    material = MATERIALS[str(rng.choice(finishes))]
    pose = _pose(rng, centre, extent, image_hw, leans=leans)
    sprite = render_sprite(build, pose=pose, material=material, rig=rig, rng=rng)
    height, width = sprite.alpha.shape
    return _Placed(sprite, round(centre[0] - width / 2), round(centre[1] - height / 2), class_id)


def render_scene(rng: np.random.Generator, *, image_hw: tuple[int, int]) -> Scene:
    """Draw one image and its labels; everything follows from `rng`.

    Args:
        rng: The image's own random generator.
        image_hw: Height and width in pixels.
    """
    bench, lamp, rig = _bench(rng, image_hw)
    canvas = _Canvas(bench, rig, lamp)
    spacing = float(rng.choice([1.0, 0.85, 0.55]))
    heap = None
    if rng.random() < 0.3:
        spread = float(rng.uniform(0.1, 0.22)) * min(image_hw)
        heap = (float(rng.uniform(0.25, 0.75)) * image_hw[1], float(rng.uniform(0.25, 0.75)) * image_hw[0], spread)
        spacing = float(rng.uniform(0.3, 0.7))
    taken: list[tuple[float, float, float]] = []
    placed: list[_Placed] = []
    for name, class_id, extent in _choose_objects(rng, image_hw):
        centre = _random_centre(
            rng, image_hw, taken, extent, spacing=spacing, heap=heap if rng.random() < 0.8 else None
        )
        taken.append((*centre, extent / 2))
        item = _draw(name, class_id, extent, centre, rng=rng, rig=rig, image_hw=image_hw)
        canvas.cast_shadow(item)
        canvas.paint(item, owner=len(placed))
        placed.append(item)
    xyxy, class_ids, visible = _labels(placed, canvas.owner)
    return Scene(photograph(canvas.scene, rng=rng), xyxy, class_ids, visible)


def _labels(placed: list[_Placed], owner: NDArray[np.int16]) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """Return boxes, classes and visible shares of the parts that are visible enough."""
    height, width = owner.shape
    seen = np.bincount(owner[owner >= 0].ravel(), minlength=len(placed))
    boxes, classes, shares = [], [], []
    for index, item in enumerate(placed):
        if item.class_id < 0:
            continue
        solid = item.sprite.alpha > 0.5
        area = int(solid.sum())
        if area == 0 or seen[index] / area < MIN_VISIBLE:
            continue
        columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
        box = (
            max(item.left + columns[0], 0),
            max(item.top + rows[0], 0),
            min(item.left + columns[-1] + 1, width),
            min(item.top + rows[-1] + 1, height),
        )
        boxes.append(box)
        classes.append(item.class_id)
        shares.append(seen[index] / area)
    return (
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(classes, np.int64),
        np.asarray(shares, np.float32),
    )
