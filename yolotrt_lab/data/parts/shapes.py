"""The geometry every part is made of: a pixel grid in the part's own units, and signed distances on it.

A shape is a signed distance (negative inside, in units of the part's half size) for the outline, and a height map of
its upper surface in the same units, from which the renderer takes normals, shading and shadows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from yolotrt_lab.data.parts.lighting import Material
from yolotrt_lab.types import FloatArray

__all__ = ["Grid", "Region", "Shape", "box_distance", "make_grid", "polygon_distance", "ramp", "rounded_edge"]


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixel centres of a square patch in a part's own coordinates.

    Attributes:
        u: (s, s) first coordinate; a part reaches from about -1 to 1.
        v: (s, s) second coordinate.
        pixels_per_unit: Patch pixels per unit.
        angle_rad: Direction of +u in the patch.
    """

    u: FloatArray
    v: FloatArray
    pixels_per_unit: float
    angle_rad: float

    @property
    def radius(self) -> FloatArray:
        """Distance from the part's centre."""
        return np.asarray(np.sqrt(self.u * self.u + self.v * self.v), np.float32)

    @property
    def angle(self) -> FloatArray:
        """Angle around the part's centre, in radians."""
        return np.asarray(np.arctan2(self.v, self.u), np.float32)


@dataclass(frozen=True, eq=False)
class Region:
    """Where (0 to 1) a part is made of a different material."""

    weight: FloatArray
    material: Material


@dataclass(frozen=True, eq=False)
class Shape:
    """What the renderer needs to know about one part.

    Attributes:
        distance: (s, s) signed distance to the outline, negative inside.
        height: (s, s) upper surface above the part's own reference plane.
        lift: Height of the reference plane above the bench: how far the part's walls reach down.
        grain: "radial" for turned surfaces, "linear" for brushed or drawn ones.
        regions: Places of other materials, painted in order.
    """

    distance: FloatArray
    height: FloatArray
    lift: float
    grain: str = "linear"
    regions: tuple[Region, ...] = field(default=())


def make_grid(
    *, side: int, pixels_per_unit: float, angle_rad: float, tilt: float = 0.0, tilt_angle_rad: float = 0.0
) -> Grid:
    """Return the grid of a `side` x `side` patch with the part's origin at its centre.

    Args:
        side: Patch side in pixels.
        pixels_per_unit: Patch pixels per unit of the part.
        angle_rad: Rotation of the part.
        tilt: Angle in radians by which the part's plane leans away from the camera.
        tilt_angle_rad: Direction in which it leans.
    """
    axis = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / np.float32(pixels_per_unit)
    x, y = np.meshgrid(axis, axis)
    if tilt:
        cos, sin = math.cos(tilt_angle_rad), math.sin(tilt_angle_rad)
        extra = (x * cos + y * sin) * (1 / math.cos(tilt) - 1)
        x, y = x + extra * cos, y + extra * sin
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return Grid(
        (x * cos + y * sin).astype(np.float32), (-x * sin + y * cos).astype(np.float32), pixels_per_unit, angle_rad
    )


def polygon_distance(grid: Grid, *, corners: int, apothem: float, turn_rad: float = 0.0) -> FloatArray:
    """Return the distance to a regular polygon's sides (exact inside, a lower bound beyond the corners)."""
    step = 2 * math.pi / corners
    distance = np.full(grid.u.shape, -np.inf, np.float32)
    for k in range(corners):
        direction = turn_rad + k * step
        np.maximum(distance, grid.u * math.cos(direction) + grid.v * math.sin(direction) - apothem, out=distance)
    return distance


def box_distance(
    grid: Grid, *, centre: tuple[float, float], half: tuple[float, float], corner: float = 0.0
) -> FloatArray:
    """Return the signed distance to a rectangle with rounded corners."""
    dx = np.abs(grid.u - centre[0]) - (half[0] - corner)
    dy = np.abs(grid.v - centre[1]) - (half[1] - corner)
    outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - corner, np.float32)


def ramp(value: FloatArray, low: float, high: float) -> FloatArray:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def rounded_edge(distance: FloatArray, *, width: float, depth: float) -> FloatArray:
    """Return how far a bevel lowers the surface near an outline: 0 inside, `depth` at the edge."""
    t = np.clip(1 + distance / width, 0, 1)
    return np.asarray(depth * t * t, np.float32)
