"""One colour per class, the same in every picture and figure."""

from __future__ import annotations

__all__ = ["class_colours"]

# Twelve light colours that stay apart for most colour-blind readers; dark text is legible on all of them.
_PALETTE_RGB: tuple[tuple[int, int, int], ...] = (
    (68, 170, 255),
    (255, 140, 60),
    (90, 200, 90),
    (255, 90, 110),
    (190, 130, 255),
    (240, 220, 70),
    (70, 220, 210),
    (255, 150, 200),
    (170, 190, 60),
    (150, 170, 255),
    (230, 180, 120),
    (190, 190, 190),
)


def class_colours(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return one RGB colour, 0 to 255, per class; they repeat after twelve.

    Example:
        >>> class_colours(2)
        ((68, 170, 255), (255, 140, 60))
    """
    return tuple(_PALETTE_RGB[index % len(_PALETTE_RGB)] for index in range(num_classes))
