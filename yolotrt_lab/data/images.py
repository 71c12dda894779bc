"""Read any picture a user may hand in as BGR bytes, or say what is wrong with it; write one; list a folder's.

Conversions follow Ultralytics (`cv2.imdecode` with `IMREAD_COLOR`), so what a model sees here is what it saw in
training: alpha is dropped, 16 bits per channel keep their upper 8, grey is repeated, EXIF rotation is applied. Unlike
there, damage is an error: OpenCV fills the missing part of a cut JPEG with grey and says nothing.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_bytes
from yolotrt_lab.types import ImageArray

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "decode_image",
    "image_size",
    "list_images",
    "read_image",
    "read_image_bytes",
    "write_image",
]

IMAGE_SUFFIXES: frozenset[str] = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes, in lower case, that `list_images` takes for pictures."""

MAX_PIXELS = 100_000_000
"""Largest picture decoded unless the caller says otherwise: 100 megapixels, 300 MB as BGR."""

_EXIF_ORIENTATION = 0x0112
_END_OF_JPEG = b"\xff\xd9"
_FIX = "Export or download the picture again as JPEG or PNG."


def _shown(path: Path) -> str:
    """Return a path for messages; bytes that are not UTF-8 are escaped so that it can be printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"No such image: {_shown(path)}", expected="an image file", got="nothing there")
    return InputError(f"Cannot read {_shown(path)}.", expected="a readable image file", got=error)


def _require_image_file(path: Path) -> None:
    """Refuse what cannot be an image file before opening it; opening a pipe would wait for ever."""
    name = _shown(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder.", expected="an image file", got="a folder")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name} is not a regular file.", expected="an image file", got="a device or pipe")
    if status.st_size == 0:
        raise InputError(f"{name} is empty.", expected="an image file", got="0 bytes", fix=_FIX)


def read_image_bytes(path: Path) -> bytes:
    """Return the bytes of an image file without decoding them.

    Raises:
        InputError: Missing, a folder or device, unreadable, or empty.
    """
    _require_image_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _open(stream: BinaryIO, *, name: str, max_pixels: int) -> Image.Image:
    """Parse the header only, and refuse pictures too large to decode."""
    try:
        with warnings.catch_warnings():
            # Pillow warns at its own size limit; ours is checked below.
            warnings.simplefilter("ignore")
            picture = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise _too_large(name, got=str(error), max_pixels=max_pixels) from error
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        stream.seek(0)
        raise InputError(
            f"{name} is not an image that can be read.",
            expected="JPEG, PNG, BMP, GIF, TIFF or WebP",
            got=f"first bytes {stream.read(8)!r}",
            fix=_FIX,
        ) from error
    width, height = picture.size
    if width * height > max_pixels:
        raise _too_large(name, got=f"{width} x {height}", max_pixels=max_pixels)
    return picture


def _too_large(name: str, *, got: str, max_pixels: int) -> InputError:
    return InputError(
        f"{name} is too large to decode safely.",
        expected=f"at most {max_pixels / 1e6:g} megapixels",
        got=got,
        fix="Scale the picture down, or raise max_pixels if you trust it.",
    )


def _is_turned(picture: Image.Image) -> bool:
    """Return whether EXIF says that width and height are to be exchanged."""
    try:
        return picture.getexif().get(_EXIF_ORIENTATION) in {5, 6, 7, 8}
    except Exception:  # broken EXIF is not a broken picture
        return False


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # broken EXIF is not a broken picture
        return picture


def _bgr_from_picture(picture: Image.Image, *, name: str) -> ImageArray:
    if picture.mode == "F":
        raise InputError(
            f"{name} stores floating-point pixels.",
            expected="8 or 16 bits per channel",
            got="32-bit float",
            fix="Scale it to 0-255 and save it as PNG: only you know which value is white.",
        )
    upright = _upright(picture)
    if upright.mode.startswith("I"):
        wide = np.asarray(upright)
        grey = np.clip(wide.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if upright.mode in {"1", "L", "LA"}:
        return np.repeat(np.asarray(upright.convert("L"))[..., None], 3, axis=2)
    # convert("RGB") blends nothing: a palette's or RGBA's colours stay and alpha is dropped.
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])


def decode_image(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> ImageArray:
    """Return the picture in `data` as (h, w, 3) uint8 BGR; of an animation, its first frame.

    Args:
        data: The bytes of an image file.
        name: What to call it in messages.
        max_pixels: Largest width x height to decode.

    Raises:
        InputError: Empty, not an image, cut short or damaged, or too large.
    """
    if not data:
        raise InputError(f"{name} is empty.", expected="an image", got="0 bytes", fix=_FIX)
    picture = _open(io.BytesIO(data), name=name, max_pixels=max_pixels)
    # Quick way for whole, ordinary JPEGs; Pillow judges the rest, because OpenCV fills a cut file with grey.
    whole = data.rstrip(b"\0").endswith(_END_OF_JPEG)
    if picture.format == "JPEG" and picture.mode in {"RGB", "L"} and whole:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            return np.asarray(image, np.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.load()
            return _bgr_from_picture(picture, name=name)
    except InputError:
        raise
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise InputError(
            f"{name} is damaged or cut short.",
            expected=f"a whole {picture.format} of {picture.width} x {picture.height} pixels",
            got=f"{len(data)} bytes; {error}",
            fix=_FIX,
        ) from error


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """Return the picture in a file as (h, w, 3) uint8 BGR, upright.

    Args:
        path: The file; its name need not be UTF-8.
        max_pixels: Largest width x height to decode, checked before decoding.

    Raises:
        InputError: Missing, a folder, empty, not an image, cut short or damaged, or too large.

    Example:
        >>> import tempfile; path = Path(tempfile.mkdtemp()) / "grey.png"
        >>> write_image(path, np.full((4, 6, 3), 128, np.uint8))
        >>> read_image(path).shape
        (4, 6, 3)
    """
    path = Path(path)
    return decode_image(read_image_bytes(path), name=_shown(path), max_pixels=max_pixels)


def image_size(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) in pixels as `read_image` would give it, from the header alone.

    Raises:
        InputError: As `read_image`, except that damage behind the header goes unnoticed.
    """
    path = Path(path)
    _require_image_file(path)
    try:
        with path.open("rb") as stream:
            picture = _open(stream, name=_shown(path), max_pixels=max_pixels)
            width, height = picture.size
            turned = _is_turned(picture)
    except OSError as error:
        raise _unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def list_images(folder: Path | str, *, recursive: bool = False) -> tuple[Path, ...]:
    """Return a folder's pictures by suffix, sorted by name; hidden files are left out.

    Args:
        folder: Where to look.
        recursive: Also look in its subfolders.

    Raises:
        InputError: The folder is missing, is a file, or cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        raise InputError(f"No such folder of images: {_shown(folder)}", expected="a folder", got=got)
    try:
        entries = list(folder.rglob("*") if recursive else folder.iterdir())
    except OSError as error:
        raise InputError(f"Cannot list {_shown(folder)}.", expected="a readable folder", got=error) from error
    images = (p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())
    return tuple(sorted(images))


def write_image(path: Path | str, image: ImageArray, *, jpeg_quality: int = 92) -> None:
    """Write a BGR or grey uint8 image, whole or not at all; the suffix chooses the format.

    Raises:
        InputError: Not a uint8 image, or a suffix OpenCV cannot write.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    if image.dtype != np.uint8 or image.ndim not in {2, 3} or 0 in image.shape:
        raise InputError(
            f"Cannot write {_shown(path)}: not an image.",
            expected="uint8 (h, w, 3) or (h, w)",
            got=f"{image.dtype} {image.shape}",
        )
    try:
        flags = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix.lower() in {".jpg", ".jpeg"} else []
        done, packed = cv2.imencode(path.suffix or ".", image, flags)
    except cv2.error:
        done = False
    if not done:
        raise InputError(
            f"Cannot write {_shown(path)}: unknown image format.", expected=".jpg, .png, .bmp or .webp", got=path.suffix
        )
    write_bytes(path, packed.tobytes())
