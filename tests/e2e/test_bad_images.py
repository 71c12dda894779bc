"""Every kind of strange picture, through `yolotrt infer`: converted where it can be, explained where it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolotrt_lab.data.parts import draw_part_image

IMAGE_SIZE = 160


def _scene() -> np.ndarray:
    return draw_part_image(7, split="test", index=2, image_hw=(IMAGE_SIZE, IMAGE_SIZE)).image


def _png(path: Path, array: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", array)[1].tobytes())


def _sixteen_bit(path: Path) -> None:
    _png(path, _scene().astype(np.uint16) * 257)


def _grey(path: Path) -> None:
    _png(path, cv2.cvtColor(_scene(), cv2.COLOR_BGR2GRAY))


def _rgba(path: Path) -> None:
    _png(path, cv2.cvtColor(_scene(), cv2.COLOR_BGR2BGRA))


def _exif_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned a quarter
    Image.fromarray(_scene()[:80, :, ::-1].copy()).save(path, "JPEG", exif=exif)


def _plain(path: Path) -> None:
    _png(path, _scene())


@pytest.mark.parametrize(
    ("name", "write", "image_hw"),
    [
        ("plain.png", _plain, (160, 160)),
        ("sixteen.png", _sixteen_bit, (160, 160)),
        ("grey.png", _grey, (160, 160)),
        ("rgba.png", _rgba, (160, 160)),
        ("turned.jpg", _exif_rotated, (160, 80)),
        ("naïve 名前.png", _plain, (160, 160)),
    ],
)
def test_odd_images_are_converted(
    cli: Callable, models: Path, tmp_path: Path, name: str, write: Callable, image_hw: tuple[int, int]
) -> None:
    write(tmp_path / name)
    outcome = cli("infer", models / "model.onnx", tmp_path / name, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    drawn = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(drawn) == 1
    assert cv2.imdecode(np.fromfile(drawn[0], np.uint8), cv2.IMREAD_COLOR).shape[:2] == image_hw
    assert json.loads(outcome.out)["images"]


def test_a_name_that_is_not_utf8(cli: Callable, models: Path, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(raw, "wb") as stream:
            stream.write(cv2.imencode(".png", _scene())[1].tobytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    outcome = cli("infer", models / "model.onnx", os.fsdecode(raw), "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err


def _truncated(path: Path) -> None:
    path.write_bytes(cv2.imencode(".jpg", _scene())[1].tobytes()[:-900])


def _bomb(path: Path) -> None:
    """Claim 60,000 x 60,000 pixels in a PNG header."""
    data = bytearray(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("cut.jpg", _truncated, "cut.jpg"),
        ("empty.jpg", lambda path: path.write_bytes(b""), "0 bytes"),
        ("text.png", lambda path: path.write_text("no picture"), "text.png"),
        ("huge.png", _bomb, "60000"),
    ],
)
def test_one_bad_image_is_reported_and_the_others_are_done(
    cli: Callable, models: Path, tmp_path: Path, name: str, write: Callable, words: str
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write(folder / name)
    _plain(folder / "zgood.png")
    outcome = cli("infer", models / "model.onnx", folder, "-o", tmp_path / "out", "--json")
    assert outcome.code == 1
    assert name in outcome.words
    assert words in outcome.words
    assert "Traceback" not in outcome.err
    frames = json.loads(outcome.out)["images"]
    assert [Path(frame["name"]).name for frame in frames] == ["zgood.png"]


def test_a_missing_image(cli: Callable, models: Path, tmp_path: Path) -> None:
    outcome = cli("infer", models / "model.onnx", tmp_path / "nothing.jpg", "-o", tmp_path / "out")
    assert outcome.code in (1, 2)
    assert "nothing.jpg" in outcome.words
