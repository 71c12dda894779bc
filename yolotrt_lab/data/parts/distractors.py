"""Clutter that is never labelled: look-alikes of the parts, tools, swarf, cables, stains of light."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from yolotrt_lab.data.parts.long_parts import rod_height
from yolotrt_lab.data.parts.shapes import Grid, Shape, box_distance, polygon_distance, ramp, rounded_edge

__all__ = ["DISTRACTORS"]


def _blank_disc(grid: Grid, rng: np.random.Generator) -> Shape:
    """A stamped disc without a hole: a washer before punching."""
    radius = grid.radius
    distance = np.asarray(radius - 1, np.float32)
    height = -rounded_edge(distance, width=0.08, depth=0.06) - 0.05 * ramp(radius, 0.3, 0.1) * rng.integers(0, 2)
    return Shape(distance, np.asarray(height, np.float32), float(rng.uniform(0.08, 0.3)), "radial")


def _o_ring(grid: Grid, rng: np.random.Generator) -> Shape:
    """A rubber sealing ring: round in section, where a washer is flat."""
    wire = float(rng.uniform(0.08, 0.16))
    off = np.asarray(grid.radius - (1 - wire), np.float32)
    return Shape(np.asarray(np.abs(off) - wire, np.float32), rod_height(wire, off), 0.02, "linear")


def _dowel_pin(grid: Grid, rng: np.random.Generator) -> Shape:
    """A plain pin: a bolt without head and thread."""
    radius = float(rng.uniform(0.1, 0.22))
    taper = radius * (1 - 0.3 * ramp(np.abs(grid.u), 1 - radius * 0.4, 1.0))
    distance = np.asarray(np.maximum(np.abs(grid.v) - taper, np.abs(grid.u) - 1), np.float32)
    return Shape(distance, rod_height(np.asarray(taper, np.float32), grid.v), radius * 0.3, "linear")


def _hex_key(grid: Grid, rng: np.random.Generator) -> Shape:
    """An L-shaped key."""
    half = float(rng.uniform(0.045, 0.08))
    long = box_distance(grid, centre=(0, -0.4), half=(1, half), corner=half)
    short = box_distance(grid, centre=(1 - half, -0.05), half=(half, 0.4), corner=half)
    distance = np.asarray(np.minimum(long, short), np.float32)
    return Shape(distance, np.asarray(np.minimum(-distance, half * 0.6) * 1.2, np.float32), half, "linear")


def _hex_blank(grid: Grid, rng: np.random.Generator) -> Shape:
    """A plastic hexagon cap: a nut without a thread."""
    hexagon = polygon_distance(grid, corners=6, apothem=0.866)
    radius = grid.radius
    height = -rounded_edge(hexagon, width=0.12, depth=0.1) + 0.12 * ramp(radius, 0.55, 0.5)
    return Shape(hexagon, np.asarray(height, np.float32), float(rng.uniform(0.3, 0.6)), "radial")


def _swarf(grid: Grid, rng: np.random.Generator) -> Shape:
    """A curl of turned metal: a thin spiral."""
    turns = float(rng.uniform(0.6, 2.2))
    wobble = 1 + 0.12 * np.sin(grid.angle * 3 + rng.uniform(0, 6))
    radius = grid.radius * wobble
    arm = (grid.angle + math.pi) / (2 * math.pi)
    spacing = 0.8 / max(turns, 1.0)
    off = ((radius - arm * spacing) / spacing + 0.5) % 1.0 - 0.5
    distance = np.maximum(np.abs(off) * spacing - 0.05, np.maximum(radius - 0.92, 0.15 - radius))
    return Shape(np.asarray(distance, np.float32), np.asarray(0.1 + 0.2 * off + 0.15 * arm, np.float32), 0.02, "linear")


def _cable(grid: Grid, rng: np.random.Generator) -> Shape:
    """A piece of wire or cable, bent in an S."""
    radius = float(rng.uniform(0.03, 0.08))
    bend = float(rng.uniform(0.1, 0.45))
    phase = float(rng.uniform(0, 6))
    curve = bend * np.sin(grid.u * float(rng.uniform(1.5, 4)) + phase)
    slope = bend * 3 * np.cos(grid.u * 3 + phase)
    off = np.asarray((grid.v - curve) / np.sqrt(1 + 0.5 * slope * slope), np.float32)
    distance = np.maximum(np.abs(off) - radius, np.abs(grid.u) - 1)
    return Shape(np.asarray(distance, np.float32), rod_height(radius, off), 0.01, "linear")


def _plate(grid: Grid, rng: np.random.Generator) -> Shape:
    """A sheet-metal offcut without holes: a bracket before drilling."""
    half = (float(rng.uniform(0.6, 1)), float(rng.uniform(0.15, 0.6)))
    distance = box_distance(grid, centre=(0, 0), half=half, corner=0.02)
    cut = (grid.u + grid.v * float(rng.uniform(-1, 1))) - half[0] * float(rng.uniform(0.5, 1.2))
    distance = np.asarray(np.maximum(distance, cut), np.float32)
    return Shape(distance, np.asarray(-rounded_edge(distance, width=0.04, depth=0.03), np.float32), 0.08, "linear")


def _pipe_clip(grid: Grid, rng: np.random.Generator) -> Shape:
    """A retaining ring: an open ring with two eyes, between washer and bracket."""
    radius = grid.radius
    ring = np.maximum(np.abs(radius - 0.84) - 0.09, np.where(grid.u > 0, 0.14 - np.abs(grid.v), -1.0))
    for side in (-1, 1):
        eye = np.sqrt((grid.u - 0.8) ** 2 + (grid.v - side * 0.26) ** 2)
        ring = np.minimum(ring, np.maximum(eye - 0.15, 0.065 - eye))
    distance = np.asarray(ring, np.float32)
    return Shape(distance, np.asarray(-rounded_edge(distance, width=0.05, depth=0.04), np.float32), 0.07, "radial")


def _label_tag(grid: Grid, rng: np.random.Generator) -> Shape:
    """A paper or plastic tag with a punched eye."""
    distance = box_distance(grid, centre=(0, 0), half=(1, 0.5), corner=0.08)
    eye = np.sqrt((grid.u + 0.82) ** 2 + grid.v**2) - 0.08
    distance = np.asarray(np.maximum(distance, -eye), np.float32)
    bow = 0.05 * np.cos(grid.u * 2 + rng.uniform(0, 6))
    return Shape(distance, np.asarray(bow, np.float32), 0.015, "linear")


Builder = Callable[[Grid, np.random.Generator], Shape]

DISTRACTORS: Mapping[str, tuple[Builder, tuple[str, ...]]] = {
    "blank_disc": (_blank_disc, ("steel", "brass", "galvanised", "copper")),
    "o_ring": (_o_ring, ("rubber", "rubber", "plastic_red", "plastic_blue")),
    "dowel_pin": (_dowel_pin, ("polished", "steel", "black_oxide")),
    "hex_key": (_hex_key, ("black_oxide", "zinc", "steel")),
    "hex_blank": (_hex_blank, ("plastic_red", "plastic_blue", "plastic_white", "rubber")),
    "swarf": (_swarf, ("polished", "steel", "brass", "copper")),
    "cable": (_cable, ("rubber", "plastic_red", "plastic_blue", "copper", "plastic_white")),
    "plate": (_plate, ("steel", "galvanised", "copper", "cast_iron")),
    "pipe_clip": (_pipe_clip, ("black_oxide", "steel")),
    "label_tag": (_label_tag, ("plastic_white", "nylon", "plastic_red")),
}
"""Unlabelled objects: how to draw each and the materials it comes in."""
