"""Where inference gets its frames: an image, a folder, a video, a camera."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from yolotrt_lab.data.images import IMAGE_SUFFIXES, list_images, read_image
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.types import ImageArray

__all__ = ["VIDEO_SUFFIXES", "count_frames", "iter_frames"]

VIDEO_SUFFIXES: frozenset[str] = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Suffixes, in lower case, that are taken for videos."""


def iter_frames(
    source: Path | str, *, on_broken: Callable[[InputError], None] | None = None
) -> Iterator[tuple[str, ImageArray]]:
    """Yield (name, frame) with frames as (h, w, 3) uint8 BGR.

    An image gives one frame named after the file; a folder gives its images by name; a video gives `<stem>_000000`
    and so on; a number is a camera and never ends.

    Args:
        source: Path of an image, folder or video, or the number of a camera.
        on_broken: Called for an unreadable image of a folder, which is then left out; default: it is raised.

    Raises:
        InputError: Nothing is there, nothing in it can be read, or a video cannot be decoded.

    Warns:
        LabWarning: A video ended well before the length it states.
    """
    if isinstance(source, str) and source.isdecimal() and not Path(source).exists():
        yield from _video_frames(int(source), name=f"camera{source}")
        return
    path = Path(source)
    if path.is_dir():
        yield from _folder_frames(path, on_broken=on_broken)
    elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        yield from _video_frames(path, name=path.stem)
    else:
        yield path.name, read_image(path)


def count_frames(source: Path | str) -> int | None:
    """Return how many frames `iter_frames` should give, or None if only time can tell."""
    path = Path(source)
    if path.is_dir():
        return len(list_images(path))
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        capture = cv2.VideoCapture(os.fspath(path))
        try:
            frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        finally:
            capture.release()
        return frames if frames > 0 else None
    return 1 if path.is_file() else None


def _folder_frames(folder: Path, *, on_broken: Callable[[InputError], None] | None) -> Iterator[tuple[str, ImageArray]]:
    paths = list_images(folder)
    if not paths:
        raise InputError(
            f"No images in {folder}.", expected="files ending in " + ", ".join(sorted(IMAGE_SUFFIXES)), got="none"
        )
    for path in paths:
        try:
            image = read_image(path)
        except InputError as error:
            if on_broken is None:
                raise
            on_broken(error)
            continue
        yield path.name, image


def _video_frames(source: Path | int, *, name: str) -> Iterator[tuple[str, ImageArray]]:
    capture = cv2.VideoCapture(source if isinstance(source, int) else os.fspath(source))
    try:
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if isinstance(source, Path) else 0
        index = 0
        while True:
            there, frame = capture.read()
            if not there or frame is None:
                break
            yield f"{name}_{index:06d}", np.asarray(frame, np.uint8)
            index += 1
        if index == 0:
            raise InputError(
                f"Cannot decode {source if isinstance(source, Path) else f'camera {source}'}.",
                expected="a video that OpenCV can decode, such as H.264 in .mp4, or a connected camera",
                got="no frame",
                fix="Convert it with `ffmpeg -i input -c:v libx264 -pix_fmt yuv420p output.mp4`.",
            )
        # Some formats only estimate their length, so a few frames less are no sign of damage.
        if index < 0.95 * promised:
            message = f"{source} ended after {index} of {promised} frames: it is damaged or cut short."
            warnings.warn(message, LabWarning, stacklevel=3)
    finally:
        capture.release()
