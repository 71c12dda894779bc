"""Random textures, drawn once per process with a fixed seed and then cut, turned and stretched per image.

Drawing fractal noise afresh for every image would cost more than the rest of the renderer together.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from yolotrt_lab.types import Array, FloatArray

__all__ = ["NoiseBank", "noise_bank", "sample_texture"]

_BANK_SEED = 20240229
_SIDE = 1024


@dataclass(frozen=True, eq=False)
class NoiseBank:
    """Square float32 textures with zero mean and unit variance.

    Attributes:
        cloud: Fractal noise; large soft patches with finer ones inside (stains, rust, wear).
        grain: White noise, one pixel large (grit, sensor, sand blasting).
        streak: White noise smeared along x (brushed metal, wood grain).
        speck: Rare bright spots of a few pixels (aggregate in concrete, dust).
    """

    cloud: FloatArray
    grain: FloatArray
    streak: FloatArray
    speck: FloatArray


def _standardised(texture: Array) -> FloatArray:
    return np.asarray((texture - texture.mean()) / texture.std(), np.float32)


@functools.cache
def noise_bank() -> NoiseBank:
    """Return the textures, the same on every call and in every process."""
    rng = np.random.default_rng(_BANK_SEED)
    cloud = np.zeros((_SIDE, _SIDE), np.float32)
    for octave in range(8):
        cells = 4 << octave
        knots = rng.standard_normal((cells, cells), dtype=np.float32)
        cloud += cv2.resize(knots, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    grain = rng.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    fine = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), dtype=np.float32), (0, 0), 14, sigmaY=0.6)
    coarse = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), dtype=np.float32), (0, 0), 60, sigmaY=2.2)
    streak = _standardised(fine) + 0.8 * _standardised(coarse)
    dots = cv2.GaussianBlur(rng.standard_normal((_SIDE, _SIDE), dtype=np.float32), (0, 0), 1.3)
    speck = np.clip(_standardised(dots) - 2.2, 0, None)
    return NoiseBank(_standardised(cloud), grain, _standardised(streak), _standardised(speck))


def sample_texture(
    texture: FloatArray,
    *,
    rng: np.random.Generator,
    image_hw: tuple[int, int],
    scale: float = 1.0,
    angle_rad: float = 0.0,
    stretch: float = 1.0,
) -> FloatArray:
    """Return an (h, w) piece of `texture` from a random place, mirrored at its borders.

    Args:
        texture: One of the bank's textures.
        rng: Chooses the place.
        image_hw: Height and width of the piece in pixels.
        scale: Output pixels per texture pixel.
        angle_rad: Direction in the output that the texture's x axis takes.
        stretch: Further scale along the texture's x axis.
    """
    height, width = image_hw
    room_y, room_x = texture.shape[0] - height, texture.shape[1] - width
    if scale == 1.0 and stretch == 1.0 and angle_rad == 0.0 and min(room_y, room_x) >= 0:
        top, left = int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1))
        return texture[top : top + height, left : left + width]
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    x0, y0 = rng.uniform(0, texture.shape[1]), rng.uniform(0, texture.shape[0])
    along, across = 1.0 / (scale * stretch), 1.0 / scale
    texture_from_output = np.array([[cos * along, sin * along, x0], [-sin * across, cos * across, y0]], np.float64)
    return np.asarray(
        cv2.warpAffine(
            texture,
            texture_from_output,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        ),
        np.float32,
    )
