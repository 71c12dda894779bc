"""Light and metal: a small studio drawn as a reflection map, and materials that look themselves up in it.

Polished metal shows its surroundings, so a reflection map ("matcap": colour as a function of the surface normal) makes
metal look like metal at the price of one `cv2.remap` per part. All colours are linear BGR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from yolotrt_lab.types import Array, FloatArray

__all__ = ["MATERIALS", "LightRig", "Material", "random_rig"]

_SIDE = 128


@dataclass(frozen=True)
class Material:
    """How a surface answers light.

    Attributes:
        bgr: Reflection colour of a metal, or body colour of anything else.
        metalness: 1 for bare metal, 0 for paint, rubber, rust.
        roughness: 0 polished … 1 dull; chooses how blurred the reflections are.
        wear: How visible scratches and brushing are.
        rust: Upper limit of the share of the surface that may rust.
    """

    bgr: tuple[float, float, float]
    metalness: float
    roughness: float
    wear: float
    rust: float = 0.0


MATERIALS: dict[str, Material] = {
    "steel": Material((0.62, 0.60, 0.58), 1.0, 0.35, 0.5, 0.45),
    "polished": Material((0.74, 0.72, 0.70), 1.0, 0.1, 0.25),
    "zinc": Material((0.66, 0.60, 0.54), 0.9, 0.5, 0.5, 0.25),
    "galvanised": Material((0.52, 0.52, 0.51), 0.75, 0.75, 0.9, 0.3),
    "yellow_zinc": Material((0.22, 0.48, 0.62), 0.9, 0.4, 0.5, 0.2),
    "brass": Material((0.17, 0.45, 0.66), 1.0, 0.3, 0.5),
    "copper": Material((0.20, 0.30, 0.62), 1.0, 0.4, 0.6),
    "black_oxide": Material((0.05, 0.05, 0.05), 0.6, 0.45, 0.4, 0.2),
    "cast_iron": Material((0.17, 0.17, 0.18), 0.6, 0.85, 0.9, 0.7),
    "rubber": Material((0.018, 0.018, 0.019), 0.0, 0.8, 0.2),
    "plastic_red": Material((0.03, 0.03, 0.42), 0.0, 0.3, 0.1),
    "plastic_blue": Material((0.4, 0.13, 0.03), 0.0, 0.3, 0.1),
    "plastic_white": Material((0.62, 0.66, 0.68), 0.0, 0.4, 0.1),
    "nylon": Material((0.5, 0.56, 0.58), 0.0, 0.5, 0.1),
    "wood": Material((0.13, 0.25, 0.42), 0.0, 0.9, 0.5),
}
"""Surface finishes by name."""


@dataclass(frozen=True, eq=False)
class LightRig:
    """The light of one image.

    Attributes:
        towards_light_xy: Unit vector in the image plane towards the main light.
        elevation: Sine of the main light's height above the bench.
        shadow_length: Shadow length per unit of height.
        shadow_softness: Blur of the shadow's edge per unit of height.
        reflections: (128, 128, 3) reflection maps from sharp to dull.
        diffuse: (128, 128, 3) light that a matt white surface sends back.
    """

    towards_light_xy: tuple[float, float]
    elevation: float
    shadow_length: float
    shadow_softness: float
    reflections: tuple[FloatArray, ...] = field(repr=False)
    diffuse: FloatArray = field(repr=False)

    def reflection(self, normals_xy: FloatArray, *, roughness: float) -> FloatArray:
        """Return (h, w, 3) mirrored light for (h, w, 2) normals, x and y in [-1, 1]."""
        level = min(max(roughness, 0.0), 1.0) * (len(self.reflections) - 1)
        lower = min(int(level), len(self.reflections) - 2)
        blend = level - lower
        mixed = self.reflections[lower] * (1.0 - blend) + self.reflections[lower + 1] * blend
        return _look_up(mixed, normals_xy)

    def scattered(self, normals_xy: FloatArray) -> FloatArray:
        """Return (h, w, 3) light scattered by a matt white surface with (h, w, 2) normals."""
        return _look_up(self.diffuse, normals_xy)


def _look_up(table: FloatArray, normals_xy: FloatArray) -> FloatArray:
    position = (normals_xy * ((_SIDE - 1) / 2) + (_SIDE - 1) / 2).astype(np.float32)
    # OpenCV's stubs forget that a two-channel map goes with None.
    found = cv2.remap(table, position, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(found, np.float32)


def _sphere_normals() -> FloatArray:
    """Return (128, 128, 3) unit normals of a sphere seen from above; beyond its rim, the rim's."""
    axis = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    radius = np.sqrt(x * x + y * y)
    shrink = np.minimum(1.0, 0.995 / np.maximum(radius, 1e-6))
    x, y = x * shrink, y * shrink
    return np.dstack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))]).astype(np.float32)


def _unit(vector: Sequence[float] | Array) -> FloatArray:
    array = np.asarray(vector, np.float32)
    return np.asarray(array / np.linalg.norm(array), np.float32)


def _smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def random_rig(rng: np.random.Generator, *, bench_bgr: tuple[float, float, float]) -> LightRig:
    """Draw the light of one image: a main light, up to three more, a ceiling, and the bench mirrored from below.

    Args:
        rng: The image's random generator.
        bench_bgr: Mean linear colour of the background, which steep surfaces mirror.
    """
    normals = _sphere_normals()
    nz = normals[..., 2:]
    mirrored = np.concatenate([2 * nz * normals[..., :2], 2 * nz * nz - 1], axis=2)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.93)
    flat = np.sqrt(1 - elevation**2)
    main = _unit([np.cos(azimuth) * flat, np.sin(azimuth) * flat, elevation])
    warmth = rng.uniform(-0.16, 0.16)
    tint = np.array([1 - warmth, 1.0, 1 + warmth], np.float32)
    up = _smoothstep(-0.1, 0.9, mirrored[..., 2])[..., None]
    ceiling = tint * float(rng.uniform(0.12, 0.5))
    sharp = ceiling * (0.35 + 0.65 * up)
    below = _smoothstep(0.12, -0.25, mirrored[..., 2])[..., None]
    sharp = sharp * (1 - below) + below * np.asarray(bench_bgr, np.float32) * 0.45
    diffuse = ceiling * (0.55 + 0.45 * nz)
    lights = [(main, float(rng.uniform(1.6, 3.2)), float(rng.uniform(0.12, 0.5)))]
    for _ in range(int(rng.integers(0, 4))):
        angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.95)
        side = np.sqrt(1 - height**2)
        direction = _unit([np.cos(angle) * side, np.sin(angle) * side, height])
        lights.append((direction, float(rng.uniform(0.25, 1.1)), float(rng.uniform(0.08, 0.6))))
    for direction, power, width in lights:
        across = _unit(np.cross(direction, [0.3, 0.2, 1.0]))
        along = np.cross(direction, across)
        towards = mirrored @ direction
        panel = _smoothstep(width, width * 0.6, np.abs(mirrored @ across))
        panel = panel * _smoothstep(width * 1.9, width * 1.2, np.abs(mirrored @ along)) * (towards > 0)
        halo = np.clip(towards, 0, 1) ** 6 * 0.25
        sharp = sharp + (panel + halo)[..., None] * tint * power
        diffuse = diffuse + np.clip(normals @ direction, 0, None)[..., None] * tint * power * 0.42
    blurred = tuple(np.asarray(cv2.GaussianBlur(sharp, (0, 0), s), np.float32) for s in (4.0, 10.0, 22.0))
    return LightRig(
        towards_light_xy=(float(np.cos(azimuth)), float(np.sin(azimuth))),
        elevation=float(elevation),
        shadow_length=float(flat / elevation),
        shadow_softness=float(rng.uniform(0.12, 0.7)),
        reflections=(sharp.astype(np.float32), *blurred),
        diffuse=diffuse.astype(np.float32),
    )
