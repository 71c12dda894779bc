"""Draw detections into images, and write images to videos."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from yolotrt_lab.errors import OutputError
from yolotrt_lab.files import atomic_path
from yolotrt_lab.optional import require
from yolotrt_lab.types import Detections, ImageArray

__all__ = ["VideoSink", "annotate"]

_COLORS_HEX = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D31", "#4D4D4D")
_CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))


def annotate(image_bgr: ImageArray, detections: Detections, *, class_names: Sequence[str]) -> ImageArray:
    """Return a copy of an image with boxes, class names and scores drawn in.

    Args:
        image_bgr: (height, width, 3) uint8; it is not changed.
        detections: In its pixels.
        class_names: Name of each class id; ids beyond them show as numbers.
    """
    supervision = require("supervision", purpose="draw boxes")
    found = supervision.Detections(
        xyxy=detections.xyxy.astype(np.float32),
        confidence=detections.scores.astype(np.float32),
        class_id=detections.class_ids.astype(int),
    )
    labels = [
        f"{class_names[class_id] if class_id < len(class_names) else f'class {class_id}'} {score:.2f}"
        for class_id, score in zip(detections.class_ids.tolist(), detections.scores.tolist(), strict=True)
    ]
    palette = supervision.ColorPalette.from_hex(list(_COLORS_HEX))
    short_side = min(image_bgr.shape[:2])
    thickness = max(round(short_side / 300), 1)
    canvas = supervision.BoxAnnotator(color=palette, thickness=thickness).annotate(image_bgr.copy(), found)
    # The rich annotator draws accented letters too and keeps labels apart; OpenCV's own font has ASCII only.
    labeller = supervision.RichLabelAnnotator(
        color=palette, font_size=max(short_side // 40, 11), text_padding=3, smart_position=True
    )
    drawn: ImageArray = labeller.annotate(canvas, found, labels)
    return drawn


class VideoSink:
    """Writes frames to a video that appears, whole, when the block ends well.

    MPEG-4 in .mp4 where OpenCV can write it, else Motion JPEG in .avi: the suffix follows the codec.

    Args:
        path: Where the video goes; its suffix may be changed.
        fps: Frames per second; 25 when not positive or not known.

    Attributes:
        path: Where the video is after the block; the final suffix is known after the first frame.
        frames: Frames written.

    Raises:
        OutputError: No codec works, or the folder cannot be written.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self.path = path
        self.frames = 0
        self._fps = fps if 0 < fps < 1000 else 25.0
        self._writer: Any = None
        self._frame_hw: tuple[int, int] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def write(self, frame_bgr: ImageArray) -> None:
        """Append a frame; one of another size than the first is scaled to it."""
        if self._writer is None:
            self._frame_hw = frame_bgr.shape[0], frame_bgr.shape[1]
            self._writer = self._stack.enter_context(self._open(self._frame_hw))
        if self._frame_hw is not None and frame_bgr.shape[:2] != self._frame_hw:
            frame_bgr = np.asarray(cv2.resize(frame_bgr, self._frame_hw[::-1]), np.uint8)
        self._writer.write(frame_bgr)
        self.frames += 1

    @contextlib.contextmanager
    def _open(self, frame_hw: tuple[int, int]) -> Iterator[Any]:
        height, width = frame_hw
        for suffix, codec in _CODECS:
            target = self.path.with_suffix(suffix)
            with atomic_path(target) as temporary:
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*codec), self._fps, (width, height))
                try:
                    if writer.isOpened():
                        self.path = target
                        yield writer
                        return
                finally:
                    writer.release()
            target.unlink(missing_ok=True)  # the codec that did not open leaves an empty file
        raise OutputError(
            f"OpenCV cannot write a video to {self.path}.",
            expected="a working mp4v or MJPG encoder",
            got="neither opens",
            fix="Write images instead: --no-video.",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
