"""Parts that lie on their side: bolt, screw, spring. Their length runs along u from -1 to 1."""

from __future__ import annotations

import math

import cv2
import numpy as np

from yolotrt_lab.data.parts.shapes import Grid, Shape, box_distance, ramp
from yolotrt_lab.types import FloatArray

__all__ = ["bolt", "rod_height", "screw", "spring"]


def rod_height(radius: FloatArray | float, v: FloatArray) -> FloatArray:
    """Return the upper surface of a rod along u with the given radius (which may vary)."""
    return np.asarray(np.sqrt(np.maximum(np.square(radius) - v * v, 0)), np.float32)


def _thread(grid: Grid, *, radius: FloatArray | float, pitch: float, depth: float) -> FloatArray:
    """Return the local radius of a threaded rod: a triangle wave that climbs half a pitch across the rod."""
    phase = grid.u / pitch + 0.25 * grid.v / np.maximum(radius, 1e-3)
    wave = np.abs((phase % 1.0) - 0.5) * 2
    return np.asarray(radius * (1 - depth * wave), np.float32)


def _hexagon_height(v: FloatArray, *, apothem: float, roll_rad: float) -> FloatArray:
    """Return the upper surface of a hexagonal bar that is rolled about its axis."""
    height = np.full(v.shape, np.inf, np.float32)
    for k in range(6):
        direction = roll_rad + k * math.pi / 3
        rise = math.sin(direction)
        if rise > 0.05:
            np.minimum(height, (apothem - math.cos(direction) * v) / rise, out=height)
    return height


def bolt(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a bolt on its side: hexagon, flanged or socket-cap head, shank, metric thread, chamfered end."""
    shank = float(rng.uniform(0.13, 0.26))
    head_radius = shank * float(rng.uniform(1.65, 1.95))
    head_length = shank * float(rng.uniform(1.2, 1.7))
    u, v = grid.u, grid.v
    neck = -1 + head_length
    bare = float(rng.choice([0.0, rng.uniform(0.1, 0.6)]))
    pitch = shank * float(rng.uniform(0.26, 0.42))
    taper = 1 - 0.35 * ramp(u, 1 - shank * 0.5, 1.0)
    threaded = _thread(grid, radius=np.asarray(shank * taper, np.float32), pitch=pitch, depth=0.2)
    radius = np.where(u < neck + bare, shank * 0.97, threaded)
    rod = np.maximum(np.abs(v) - radius, np.maximum(u - 1, neck - 0.05 - u))
    if rng.random() < 0.7:
        roll = float(rng.uniform(0, math.pi / 3))
        apothem = head_radius * 0.87
        half_width = max(apothem / max(math.cos(roll % (math.pi / 3) - math.pi / 6), 0.5), apothem)
        crown = head_radius * (1.02 - 0.25 * ramp(-u, 1 - head_length * 0.3, 1.02))
        head_height = np.minimum(_hexagon_height(v, apothem=apothem, roll_rad=roll), rod_height(crown, v) + 0.0)
        half_width = min(half_width, head_radius)
    else:
        half_width = head_radius
        knurl = 1 - 0.02 * np.abs(np.sin(np.arcsin(np.clip(v / head_radius, -1, 1)) * 24))
        head_height = rod_height(np.asarray(head_radius * knurl, np.float32), v)
    head = box_distance(grid, centre=(-1 + head_length / 2, 0), half=(head_length / 2, half_width), corner=0.02)
    height = np.where(head < 0, head_height, rod_height(np.asarray(radius, np.float32), v))
    if rng.random() < 0.25:
        flange = box_distance(grid, centre=(neck, 0), half=(0.035, head_radius * 1.2), corner=0.02)
        height = np.where(flange < 0, np.maximum(height, rod_height(head_radius * 1.2, v)), height)
        head = np.asarray(np.minimum(head, flange), np.float32)
    distance = np.asarray(np.minimum(rod, head), np.float32)
    return Shape(distance, np.asarray(height, np.float32), head_radius * 0.6, "linear")


def screw(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a screw on its side: countersunk or pan head, coarse thread, pointed end."""
    shank = float(rng.uniform(0.085, 0.17))
    head_radius = shank * float(rng.uniform(1.8, 2.3))
    head_length = shank * float(rng.uniform(1.0, 1.7))
    u, v = grid.u, grid.v
    neck = -1 + head_length
    point = 1 - shank * float(rng.uniform(1.6, 4.0))
    core = shank * (1 - 0.93 * np.clip((u - point) / (1 - point), 0, 1))
    threaded = _thread(
        grid, radius=np.asarray(core * 1.12, np.float32), pitch=shank * float(rng.uniform(0.7, 1.2)), depth=0.38
    )
    smooth = neck + float(rng.choice([0.02, rng.uniform(0.1, 0.5)]))
    radius = np.where(u < smooth, shank * 0.8, threaded)
    rod = np.maximum(np.abs(v) - radius, np.maximum(u - 1, neck - 0.05 - u))
    along = np.clip((u + 1) / head_length, 0, 1)
    if rng.random() < 0.55:
        head_profile = head_radius * (1 - along) + shank * 0.8 * along
        head_profile = np.where(along < 0.12, head_radius * (0.93 + 0.07 * along / 0.12), head_profile)
    else:
        head_profile = head_radius * np.sqrt(np.maximum(1 - (1 - along) ** 2 * 0.92, 0))
    head = np.maximum(np.abs(v) - head_profile, np.maximum(u - neck, -1 - u))
    height = np.where(
        u < neck,
        rod_height(np.asarray(head_profile, np.float32), v),
        rod_height(np.asarray(radius, np.float32), v),
    )
    distance = np.asarray(np.minimum(rod, head), np.float32)
    return Shape(distance, np.asarray(height, np.float32), head_radius * 0.5, "linear")


def _stroke_distance(grid: Grid, *, curves: list[FloatArray]) -> FloatArray:
    """Return the distance in units to curves given as (n, 2) points in the part's coordinates."""
    canvas = np.full(grid.u.shape, 255, np.uint8)
    # The grid is affine, so its inverse follows from three pixels.
    corner = np.array([grid.u[0, 0], grid.v[0, 0]])
    step_x = np.array([grid.u[0, 1], grid.v[0, 1]]) - corner
    step_y = np.array([grid.u[1, 0], grid.v[1, 0]]) - corner
    inverse = np.linalg.inv(np.column_stack([step_x, step_y]))
    lines = [np.round((curve - corner) @ inverse.T * 16).astype(np.int32) for curve in curves]
    cv2.polylines(canvas, lines, False, 0, 1, cv2.LINE_8, 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance / grid.pixels_per_unit, np.float32)


def spring(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a coil spring on its side; the wire's near half lies above its far half."""
    coil = float(rng.uniform(0.22, 0.46))
    wire = coil * float(rng.uniform(0.13, 0.24))
    turns = float(rng.uniform(4, 11))
    turns = min(turns, 2 / (2.6 * wire))
    t = np.linspace(0, turns * 2 * math.pi, int(turns * 40), dtype=np.float32)
    pitch = (2 - 2 * wire) / turns
    squeeze = np.interp(t / t[-1], [0, 0.12, 0.88, 1], [0.03, 0.09, 0.91, 0.97]).astype(np.float32)
    x = -1 + wire + squeeze * turns * pitch
    y = (coil - wire) * np.cos(t)
    near = np.sin(t) >= 0
    distance = np.full(grid.u.shape, np.inf, np.float32)
    height = np.full(grid.u.shape, -1.0, np.float32)
    for is_near, base in ((False, 0.0), (True, coil)):
        curves = []
        for run in np.split(np.arange(len(t)), np.flatnonzero(np.diff(near.astype(np.int8))) + 1):
            if near[run[0]] == is_near:
                reach = np.arange(max(run[0] - 1, 0), min(run[-1] + 2, len(t)))
                curves.append(np.column_stack([x[reach], y[reach]]).astype(np.float32))
        stroke = _stroke_distance(grid, curves=curves)
        surface = base + np.sqrt(np.maximum(wire * wire - stroke * stroke, 0))
        height = np.where(stroke < wire, np.maximum(height, surface), height)
        distance = np.minimum(distance, stroke - wire)
    return Shape(np.asarray(distance, np.float32), np.asarray(height, np.float32), coil * 0.5, "linear")
