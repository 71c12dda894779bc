"""Names for the classes of models that carry none."""

from __future__ import annotations

__all__ = ["numbered_class_names"]


def numbered_class_names(count: int) -> tuple[str, ...]:
    """Return stand-in names "class 0", "class 1", … for a model that carries none."""
    return tuple(f"class {index}" for index in range(count))
