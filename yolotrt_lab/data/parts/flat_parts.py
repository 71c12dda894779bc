"""Parts that lie flat: nut, washer, gear, bearing, bracket, and the heads of standing bolts and screws."""

from __future__ import annotations

import math

import numpy as np

from yolotrt_lab.data.parts.lighting import MATERIALS
from yolotrt_lab.data.parts.shapes import Grid, Region, Shape, box_distance, polygon_distance, ramp, rounded_edge
from yolotrt_lab.types import FloatArray

__all__ = ["bearing", "bolt_head", "bracket", "gear", "nut", "screw_head", "washer"]


def _minimum(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.minimum(a, b), np.float32)


def _cut(distance: FloatArray, hole: FloatArray) -> FloatArray:
    """Return `distance` without the region where `hole` is negative."""
    return np.asarray(np.maximum(distance, -hole), np.float32)


def nut(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a hexagon nut: chamfered corners, countersunk thread; sometimes a flange or a nylon ring."""
    radius = grid.radius
    apothem = 0.866 if rng.random() < 0.8 else 0.74
    flange = apothem < 0.8
    bore = float(rng.uniform(0.44, 0.56)) * apothem / 0.866
    hexagon = polygon_distance(grid, corners=6, apothem=apothem)
    corner_cut = radius - apothem * 1.12
    body = np.maximum(hexagon, corner_cut * 0.6)
    top = -rounded_edge(radius - apothem * 1.13, width=0.2, depth=0.2) - rounded_edge(hexagon, width=0.04, depth=0.04)
    outline: FloatArray = np.asarray(np.maximum(hexagon, radius - apothem * 1.14), np.float32)
    height = top
    if flange:
        outline = _minimum(outline, radius - 1.0)
        height = np.where(body < 0, top, -0.35 - 0.35 * ramp(radius, apothem * 0.9, 1.02))
    hole = radius - bore
    countersink = ramp(radius, bore * 1.25, bore * 0.98) * 0.12
    height = height - countersink
    regions: tuple[Region, ...] = ()
    if not flange and rng.random() < 0.22:
        ring = ramp(radius, bore * 1.5, bore * 1.42)
        colour = "plastic_blue" if rng.random() < 0.6 else "nylon"
        height = height + ring * 0.1
        regions = (Region(ring, MATERIALS[colour]),)
    height = np.asarray(height, np.float32)
    return Shape(_cut(outline, hole), height, float(rng.uniform(0.45, 0.8)), "radial", regions)


def washer(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a washer: flat, wide, or a split lock washer."""
    radius = grid.radius
    kind = rng.random()
    bore = float(rng.uniform(0.42, 0.62)) if kind < 0.6 else float(rng.uniform(0.22, 0.36))
    if kind > 0.8:
        bore = float(rng.uniform(0.58, 0.68))
    distance = np.asarray(np.maximum(radius - 1, bore - radius), np.float32)
    height = -rounded_edge(distance, width=0.09, depth=0.05)
    lift = float(rng.uniform(0.08, 0.18))
    if kind > 0.8:
        slot = np.maximum(np.abs(grid.v - 0.35 * grid.u) - 0.07, -grid.u)
        distance = _cut(distance, np.asarray(slot, np.float32))
        height = height + 0.07 * grid.angle / math.pi
        lift = 0.24
    return Shape(distance, np.asarray(height, np.float32), lift, "radial" if kind < 0.5 else "linear")


def gear(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a spur gear: trapezoid teeth, bore with or without keyway, web with recess, holes or spokes."""
    teeth = int(rng.integers(10, 40))
    radius, angle = grid.radius, grid.angle
    depth = min(2.1 * math.pi / teeth * 0.62, 0.3)
    root = 1 - depth
    wave = np.abs(((angle * teeth / (2 * math.pi)) % 1.0) - 0.5) * 2
    flank = ramp(np.asarray(wave, np.float32), 0.28, 0.72)
    distance = np.asarray((radius - (root + depth * flank)) * 0.75, np.float32)
    bore = float(rng.uniform(0.14, 0.34))
    hub = min(bore * float(rng.uniform(1.5, 2.0)), root * 0.7)
    hole = radius - bore
    if rng.random() < 0.5:
        key = box_distance(grid, centre=(bore, 0.0), half=(bore * 0.28, bore * 0.24))
        hole = np.minimum(hole, key)
    height = -rounded_edge(distance, width=0.03, depth=0.03)
    web_out = root * 0.84
    if rng.random() < 0.65 and web_out - hub > 0.14:
        recess = ramp(radius, hub, hub + 0.05) * ramp(radius, web_out, web_out - 0.05)
        height = height - recess * float(rng.uniform(0.08, 0.22))
        if rng.random() < 0.6:
            count = int(rng.integers(3, 7))
            middle, size = (hub + web_out) / 2, (web_out - hub) * 0.36
            turned = ((angle / (2 * math.pi) * count) % 1.0 - 0.5) * 2 * math.pi / count
            spot = np.sqrt((radius * np.cos(turned) - middle) ** 2 + (radius * np.sin(turned)) ** 2) - size
            distance = _cut(distance, np.asarray(spot, np.float32))
    distance = _cut(distance, np.asarray(hole, np.float32))
    height = height - 0.06 * ramp(radius, bore * 1.18, bore)
    return Shape(distance, np.asarray(height, np.float32), float(rng.uniform(0.15, 0.5)), "radial")


def bearing(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a ball bearing: open with balls and cage, with a metal shield, or with a rubber seal."""
    radius, angle = grid.radius, grid.angle
    bore = float(rng.uniform(0.34, 0.52))
    wall = (1 - bore) * float(rng.uniform(0.2, 0.28))
    inner, outer = bore + wall, 1 - wall
    distance = np.asarray(np.maximum(radius - 1, bore - radius), np.float32)
    groove = ramp(radius, inner - 0.02, inner + 0.02) * ramp(radius, outer + 0.02, outer - 0.02)
    height = -rounded_edge(distance, width=0.07, depth=0.08)
    style = rng.random()
    regions: tuple[Region, ...] = ()
    if style < 0.5:
        count = int(rng.integers(7, 13))
        middle, size = (inner + outer) / 2, (outer - inner) / 2 * 0.98
        size = min(size, middle * math.sin(math.pi / count) * 0.92)
        turned = ((angle / (2 * math.pi) * count) % 1.0 - 0.5) * 2 * math.pi / count
        squared = (radius * np.cos(turned) - middle) ** 2 + (radius * np.sin(turned)) ** 2
        ball = np.sqrt(np.maximum(size * size - squared, 0))
        cage = ramp(np.asarray(np.abs(radius - middle), np.float32), size * 0.45, size * 0.38)
        floor = -0.3 + 0.16 * cage
        channel = np.maximum(floor, ball - size * 0.85)
        height = height * (1 - groove) + groove * channel
        is_cage = groove * (ball <= 0) * cage
        dark = groove * (ball <= 0) * (1 - cage)
        metal = "brass" if rng.random() < 0.5 else "steel"
        regions = (
            Region(np.asarray(dark, np.float32), MATERIALS["rubber"]),
            Region(np.asarray(is_cage, np.float32), MATERIALS[metal]),
        )
    else:
        dish = 0.05 + 0.04 * np.cos((radius - inner) / (outer - inner) * 2 * math.pi)
        height = height - groove * dish
        if style > 0.75:
            regions = (Region(groove, MATERIALS["rubber"] if rng.random() < 0.75 else MATERIALS["plastic_red"]),)
    return Shape(distance, np.asarray(height, np.float32), float(rng.uniform(0.3, 0.55)), "radial", regions)


def bracket(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a flat, angled or tee bracket of sheet metal with screw holes."""
    width = float(rng.uniform(0.2, 0.34))
    corner = float(rng.uniform(0.02, width * 0.9))
    kind = rng.random()
    plate: FloatArray
    if kind < 0.35:
        plate = box_distance(grid, centre=(0, 0), half=(1, width), corner=corner)
        centres = [(s * x, 0.0) for s in (-1, 1) for x in ((0.75,) if rng.random() < 0.5 else (0.3, 0.76))]
    else:
        shift = 0.9 - width
        legs = box_distance(grid, centre=(0, shift), half=(0.9, width), corner=corner)
        x = -shift if kind < 0.8 else 0.0
        stem = box_distance(grid, centre=(x, 0), half=(width, 0.9), corner=corner)
        plate = _minimum(legs, stem)
        centres = [(s * 0.62, shift) for s in (-1, 1)] + [(x, -0.62), (x, -0.05)]
    height = -rounded_edge(plate, width=0.06, depth=0.05)
    size = width * float(rng.uniform(0.3, 0.48))
    for cx, cy in centres:
        hole = np.sqrt((grid.u - cx) ** 2 + (grid.v - cy) ** 2) - size
        height = height - 0.08 * ramp(np.asarray(hole, np.float32), size * 0.6, 0.0)
        plate = _cut(plate, np.asarray(hole, np.float32))
    if kind >= 0.35 and rng.random() < 0.4:
        rib = ramp(np.asarray(np.abs(grid.u + grid.v), np.float32), 0.09, 0.02)
        height = height + 0.06 * rib
    return Shape(plate, np.asarray(height, np.float32), float(rng.uniform(0.06, 0.14)), "linear")


def bolt_head(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a bolt that stands on its thread or is screwed in: its hexagon, or a socket cap, from above."""
    radius = grid.radius
    if rng.random() < 0.6:
        hexagon = polygon_distance(grid, corners=6, apothem=0.866)
        distance = np.asarray(np.maximum(hexagon, radius - 0.985), np.float32)
        height = -rounded_edge(radius - 0.98, width=0.16, depth=0.15) - rounded_edge(hexagon, width=0.04, depth=0.04)
        mark = ramp(np.asarray(np.abs(radius - 0.62), np.float32), 0.05, 0.0) * float(rng.uniform(-0.03, 0.03))
        height = height + mark
    else:
        distance = np.asarray(radius - 0.98, np.float32)
        socket = polygon_distance(grid, corners=6, apothem=0.46)
        knurl = 0.02 * np.cos(grid.angle * 48) * ramp(radius, 0.85, 0.96)
        height = -rounded_edge(distance, width=0.14, depth=0.12) - 0.5 * ramp(socket, 0.02, -0.03) + knurl
    return Shape(distance, np.asarray(height, np.float32), float(rng.uniform(0.4, 0.7)), "radial")


def screw_head(grid: Grid, rng: np.random.Generator) -> Shape:
    """Return a screw seen on its head: a dome or a disc with a cross, slot or star recess."""
    radius = grid.radius
    distance = np.asarray(radius - 1.0, np.float32)
    dome = float(rng.uniform(0.1, 0.4))
    height = dome * np.sqrt(np.maximum(1.02 - radius * radius, 0))
    style = rng.random()
    bar = box_distance(grid, centre=(0, 0), half=(0.55, 0.11), corner=0.04)
    if style < 0.6:
        recess = _minimum(bar, box_distance(grid, centre=(0, 0), half=(0.11, 0.55), corner=0.04))
    elif style < 0.8:
        recess = box_distance(grid, centre=(0, 0), half=(1.3, 0.1))
    else:
        recess = np.asarray(radius - (0.42 + 0.09 * np.cos(6 * grid.angle)), np.float32)
    height = height - 0.32 * ramp(recess, 0.03, -0.07)
    return Shape(distance, np.asarray(height, np.float32), float(rng.uniform(0.12, 0.4)), "radial")
