"""`parts`: procedurally drawn, seeded images of industrial parts, made offline with NumPy and OpenCV alone."""

from yolotrt_lab.data.parts.generate import (
    GENERATOR_VERSION,
    PartsSpec,
    draw_part_image,
    encoded_part_image,
    generate_parts,
)
from yolotrt_lab.data.parts.scene import CLASS_NAMES, MIN_VISIBLE, Scene, render_scene

__all__ = [
    "CLASS_NAMES",
    "GENERATOR_VERSION",
    "MIN_VISIBLE",
    "PartsSpec",
    "Scene",
    "draw_part_image",
    "encoded_part_image",
    "generate_parts",
    "render_scene",
]
