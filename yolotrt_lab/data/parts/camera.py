"""What a camera does to a scene: defocus, movement, exposure, vignetting, sensor noise, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

from yolotrt_lab.data.parts.noise import noise_bank, sample_texture
from yolotrt_lab.types import FloatArray, ImageArray

__all__ = ["light_gradient", "photograph"]

_LUT_STEPS = 4096
_LUT_LIMIT = 4.0


def light_gradient(rng: np.random.Generator, image_hw: tuple[int, int]) -> FloatArray:
    """Return (h, w) brightness of the bench: a ramp from one side, often a lamp's pool, sometimes a hard shadow."""
    height, width = image_hw
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    turn = float(rng.uniform(0, 2 * math.pi))
    field = 1 + float(rng.uniform(0, 0.45)) * (x * math.cos(turn) + y * math.sin(turn))
    if rng.random() < 0.5:
        cx, cy, spread = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.9), rng.uniform(0.45, 1.3)
        pool = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2))
        field = field * (0.45 + 0.8 * pool)
    if rng.random() < 0.22:
        turn, offset = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-0.6, 0.6))
        side = (x * math.cos(turn) + y * math.sin(turn) - offset) / float(rng.uniform(0.02, 0.3))
        field = field * (1 - float(rng.uniform(0.3, 0.6)) / (1 + np.exp(np.clip(-4 * side, -30, 30))))
    return np.asarray(np.clip(field, 0.08, None), np.float32)


def _blurred(scene: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Defocus nearly every image a little, a few a lot; move the camera in some."""
    sigma = float(rng.uniform(0.35, 0.8)) if rng.random() < 0.72 else float(rng.uniform(0.8, 2.4))
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), sigma), np.float32)
    if rng.random() < 0.2:
        length, turn = float(rng.uniform(2.5, 11)), float(rng.uniform(0, math.pi))
        size = math.ceil(length) | 1
        kernel = np.zeros((size, size), np.float32)
        reach = np.array([math.cos(turn), math.sin(turn)]) * (length / 2)
        centre = np.array([size // 2, size // 2])
        begin, end = np.round((centre - reach) * 256), np.round((centre + reach) * 256)
        cv2.line(kernel, begin.astype(int).tolist(), end.astype(int).tolist(), 1.0, 1, cv2.LINE_AA, 8)
        scene = np.asarray(cv2.filter2D(scene, -1, kernel / kernel.sum()), np.float32)
    return scene


def _tone_table(exposure: float, contrast: float) -> ImageArray:
    """Return a table from linear light in [0, 4) to 8-bit sRGB-like values with a soft shoulder."""
    light = np.linspace(0, _LUT_LIMIT, _LUT_STEPS) * exposure
    soft = 1 - np.exp(-light * 1.25)
    toned = soft ** (1 / 2.2)
    toned = np.clip(0.5 + (toned - 0.5) * contrast, 0, 1)
    return np.asarray(np.round(toned * 255), np.uint8)


def photograph(scene: FloatArray, *, rng: np.random.Generator) -> ImageArray:
    """Return the 8-bit BGR photograph of a linear BGR scene.

    Args:
        scene: (h, w, 3) linear light.
        rng: The image's random generator.
    """
    height, width = scene.shape[:2]
    scene = _blurred(scene, rng)
    sample = scene[::4, ::4]
    typical = float(np.median(sample[..., 1])) + 0.3 * float(sample[..., 1].mean()) + 1e-3
    exposure = 0.24 / typical * 2.0 ** float(rng.uniform(-1.6, 0.75))
    brightest = float(np.quantile(np.maximum.reduce([sample[..., 0], sample[..., 1], sample[..., 2]]), 0.995)) + 1e-3
    exposure = max(min(exposure, 2.2 / brightest, 4.0), 0.2)
    if rng.random() < 0.6:
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        corner = np.float32(rng.uniform(0.08, 0.3))
        scene = np.asarray(scene * (1 - corner * (x * x + y * y))[..., None], np.float32)
    bank = noise_bank()
    read = float(rng.uniform(0.001, 0.006)) * (4 if rng.random() < 0.15 else 1)
    shot = float(rng.uniform(0.004, 0.02)) * (2.5 if rng.random() < 0.15 else 1)
    grain = sample_texture(bank.grain, rng=rng, image_hw=(height, width))
    chroma = sample_texture(bank.grain, rng=rng, image_hw=(height, width))
    amplitude = read / exposure + shot * np.sqrt(np.maximum(scene[..., 1], 0) / exposure)
    steps = _LUT_STEPS / _LUT_LIMIT
    noise = cv2.merge([np.asarray(amplitude * (grain + tint * chroma) * steps) for tint in (0.6, -0.15, -0.45)])
    index = np.clip(scene * np.float32(steps) + noise, 0, _LUT_STEPS - 1).astype(np.uint16)
    image = _tone_table(exposure, float(rng.uniform(0.92, 1.15)))[index]
    if rng.random() < 0.3:
        quality = int(rng.integers(28, 75))
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(image, np.uint8)
