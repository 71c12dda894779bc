"""Benches, belts and floors: linear BGR textures with relief lit from the image's main light."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from yolotrt_lab.data.parts.noise import noise_bank, sample_texture
from yolotrt_lab.types import FloatArray

__all__ = ["BACKGROUNDS"]

Background = tuple[FloatArray, FloatArray]
"""Linear BGR (h, w, 3) and relief (h, w) in pixels."""

_HW = tuple[int, int]


def _coordinates(image_hw: _HW, *, angle_rad: float) -> tuple[FloatArray, FloatArray]:
    """Return pixel coordinates along and across a direction, from the image's centre."""
    y, x = np.mgrid[0 : image_hw[0], 0 : image_hw[1]].astype(np.float32)
    x -= image_hw[1] / 2
    y -= image_hw[0] / 2
    cos, sin = np.float32(math.cos(angle_rad)), np.float32(math.sin(angle_rad))
    return x * cos + y * sin, y * cos - x * sin


def _coloured(shade: FloatArray, bgr: tuple[float, float, float]) -> FloatArray:
    return np.asarray(np.clip(shade, 0.05, None)[..., None] * np.asarray(bgr, np.float32), np.float32)


def _wood(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    plank = float(rng.uniform(90, 260))
    grain = sample_texture(bank.streak, rng=rng, image_hw=image_hw, scale=2.2, angle_rad=angle, stretch=3.5)
    fine = sample_texture(bank.streak, rng=rng, image_hw=image_hw, scale=0.8, angle_rad=angle, stretch=1.5)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.4)
    _, across = _coordinates(image_hw, angle_rad=angle)
    position = across / plank + float(rng.uniform(0, 1))
    index = np.floor(position).astype(np.int64)
    tones = rng.uniform(0.75, 1.2, 64).astype(np.float32)
    edge = np.abs(position - index - 0.5) * 2
    gap = np.clip((edge - (1 - 2.5 / plank)) * plank, 0, 1)
    shade = tones[index % 64] * (1 + 0.17 * grain + 0.07 * fine + 0.14 * cloud) * (1 - 0.8 * gap)
    bodies = ((0.10, 0.19, 0.34), (0.20, 0.33, 0.48), (0.05, 0.09, 0.17), (0.22, 0.27, 0.31))
    bgr = bodies[int(rng.integers(len(bodies)))]
    return _coloured(shade, bgr), np.asarray(0.35 * fine + 0.2 * grain - 2.5 * gap, np.float32)


def _steel_plate(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    brushed = sample_texture(bank.streak, rng=rng, image_hw=image_hw, scale=1.0, angle_rad=angle, stretch=3)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.1)
    shade = 1 + 0.12 * brushed + 0.16 * cloud
    scratches = np.zeros(image_hw, np.float32)
    for _ in range(int(rng.integers(5, 40))):
        x, y = rng.uniform(0, image_hw[1]), rng.uniform(0, image_hw[0])
        turn, length = rng.uniform(0, math.pi), rng.uniform(15, 220)
        end = (int(x + math.cos(turn) * length), int(y + math.sin(turn) * length))
        cv2.line(scratches, (int(x), int(y)), end, float(rng.uniform(0.1, 0.5)), 1, cv2.LINE_AA)
    dark = float(rng.uniform(0.1, 0.42))
    return _coloured(shade + scratches, (dark * 1.03, dark, dark * 0.97)), np.asarray(
        0.12 * brushed + 0.5 * scratches, np.float32
    )


def _belt(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    along, across = _coordinates(image_hw, angle_rad=angle)
    grit = sample_texture(bank.grain, rng=rng, image_hw=image_hw)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.6)
    pitch = float(rng.uniform(9, 40))
    style = rng.random()
    if style < 0.35:
        relief = np.abs(((along / pitch) % 1.0) - 0.5) * pitch * 0.25
    elif style < 0.7:
        relief = np.maximum(np.cos(along * (math.pi / pitch)), np.cos(across * (math.pi / pitch))) * 1.2
    else:
        relief = 0.35 * grit
    shade = 1 + 0.1 * grit + 0.22 * cloud
    bodies = ((0.03, 0.03, 0.03), (0.07, 0.13, 0.04), (0.16, 0.07, 0.03), (0.06, 0.06, 0.06), (0.28, 0.3, 0.3))
    colour = _coloured(shade, bodies[int(rng.integers(len(bodies)))])
    if rng.random() < 0.4:
        edge = float(rng.uniform(0.25, 0.48)) * min(image_hw)
        beyond = np.clip((np.abs(across + rng.uniform(-60, 60)) - edge) / 2, 0, 1)[..., None]
        rail = _coloured(1 + 0.1 * cloud, (0.34, 0.34, 0.35)) if rng.random() < 0.6 else colour * 0.35
        colour = colour * (1 - beyond) + rail * beyond
        relief = relief * (1 - beyond[..., 0]) + beyond[..., 0] * 4
    return colour, np.asarray(relief, np.float32)


def _concrete(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    grit = sample_texture(bank.grain, rng=rng, image_hw=image_hw)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.8)
    speck = sample_texture(bank.speck, rng=rng, image_hw=image_hw, scale=1.5)
    crack = np.abs(sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=2.0))
    line = np.clip(1 - crack / 0.02, 0, 1) * (cloud > 0.3)
    oil = np.clip(sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=2.5) - 1.1, 0, 0.6)
    shade = (1 + 0.11 * grit + 0.16 * cloud - 0.2 * speck) * (1 - 0.6 * line) * (1 - oil)
    grey = float(rng.uniform(0.14, 0.4))
    return _coloured(shade, (grey * 0.93, grey * 0.98, grey)), np.asarray(
        0.3 * grit + 0.4 * speck - 1.5 * line, np.float32
    )


def _cardboard(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    along, _ = _coordinates(image_hw, angle_rad=angle)
    fibre = sample_texture(bank.streak, rng=rng, image_hw=image_hw, scale=0.8, angle_rad=angle + 0.3)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.3)
    flute = np.cos(along * (2 * math.pi / float(rng.uniform(10, 18))))
    white = rng.random() < 0.35
    bgr = (0.55, 0.58, 0.6) if white else (0.17, 0.28, 0.4)
    shade = 1 + 0.05 * fibre + 0.07 * cloud + 0.02 * flute
    return _coloured(shade, bgr), np.asarray(0.2 * flute + 0.12 * fibre, np.float32)


def _cutting_mat(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    along, across = _coordinates(image_hw, angle_rad=angle)
    grit = sample_texture(bank.grain, rng=rng, image_hw=image_hw)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.5)
    cell = float(rng.uniform(36, 90))
    near = np.minimum(np.abs((along / cell) % 1 - 0.5), np.abs((across / cell) % 1 - 0.5)) * cell
    lines = np.clip(1.2 - near, 0, 1) * (rng.random() < 0.7)
    bodies = ((0.20, 0.20, 0.03), (0.30, 0.13, 0.04), (0.06, 0.06, 0.06), (0.26, 0.24, 0.22))
    colour = _coloured(1 + 0.06 * grit + 0.12 * cloud, bodies[int(rng.integers(len(bodies)))])
    return colour + 0.16 * lines[..., None], np.asarray(0.25 * grit, np.float32)


def _perforated(rng: np.random.Generator, image_hw: _HW) -> Background:
    bank = noise_bank()
    angle = float(rng.uniform(0, math.pi))
    along, across = _coordinates(image_hw, angle_rad=angle)
    pitch = float(rng.uniform(18, 60))
    row = np.floor(across / (pitch * 0.866))
    x = (along / pitch + 0.5 * (row % 2)) % 1 - 0.5
    y = (across / (pitch * 0.866)) % 1 - 0.5
    distance = np.sqrt(x * x + (0.866 * y) ** 2) * pitch - pitch * float(rng.uniform(0.2, 0.33))
    hole = np.clip(0.5 - distance, 0, 1)
    cloud = sample_texture(bank.cloud, rng=rng, image_hw=image_hw, scale=1.2)
    grit = sample_texture(bank.grain, rng=rng, image_hw=image_hw)
    tone = float(rng.uniform(0.12, 0.4))
    shade = (1 + 0.12 * cloud + 0.05 * grit) * (1 - 0.9 * hole)
    return _coloured(shade, (tone, tone, tone * 1.02)), np.asarray(-2.0 * np.clip(1 - distance / 2.5, 0, 1), np.float32)


BACKGROUNDS: Mapping[str, Callable[[np.random.Generator, _HW], Background]] = {
    "wood": _wood,
    "steel_plate": _steel_plate,
    "belt": _belt,
    "concrete": _concrete,
    "cardboard": _cardboard,
    "cutting_mat": _cutting_mat,
    "perforated": _perforated,
}
"""Surfaces parts may lie on: each takes a generator and (height, width)."""
