"""Class names and input size, as Ultralytics writes them into the models it exports."""

from __future__ import annotations

import ast
from collections.abc import Mapping

__all__ = ["class_names_from_metadata", "input_hw_from_metadata", "parsed_literal"]


def parsed_literal(text: object) -> object:
    """Return the Python literal in a text, or None; nothing is executed. What is no text comes back as it is."""
    if not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def class_names_from_metadata(metadata: Mapping[str, object]) -> tuple[str, ...]:
    """Return class names in id order, or () when there are none or they are malformed.

    Args:
        metadata: A mapping whose "names" is a dict of id to name, a list of names, or the `repr` of one of them
            (Ultralytics writes the `repr`; it is parsed as a literal, never evaluated).

    Example:
        >>> class_names_from_metadata({"names": "{1: 'nut', 0: 'bolt'}"})
        ('bolt', 'nut')
    """
    names = parsed_literal(metadata.get("names"))
    if isinstance(names, (list, tuple)):
        return tuple(str(name) for name in names)
    if isinstance(names, dict):
        by_id = {int(key): str(name) for key, name in names.items() if str(key).isdecimal()}
        if sorted(by_id) == list(range(len(names))):
            return tuple(by_id[index] for index in range(len(by_id)))
    return ()


def input_hw_from_metadata(metadata: Mapping[str, object]) -> tuple[int, int] | None:
    """Return (height, width) from "imgsz" (one number, a pair, or the `repr` of one), or None.

    Example:
        >>> input_hw_from_metadata({"imgsz": "[640, 480]"})
        (640, 480)
    """
    size = parsed_literal(metadata.get("imgsz"))
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return (size, size)
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size):
        return (size[0], size[1])
    return None
