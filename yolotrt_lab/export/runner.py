"""A detector graph in ONNX Runtime, and pictures to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from onnx import ModelProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.findings import graph_precision
from yolotrt_lab.export.loading import detector_io
from yolotrt_lab.export.metadata import metadata_from_model
from yolotrt_lab.types import Array, FloatArray

__all__ = ["OnnxRunner", "random_picture"]

_DEFAULT_HW = (640, 640)


class OnnxRunner:
    """The model in ONNX Runtime on the CPU, with what is needed to feed it and to read its output.

    Args:
        model: A loaded detector.
        path: Where it came from, for messages.
        threads: CPU threads; None for all.
    """

    def __init__(self, model: ModelProto, path: Path, *, threads: int | None = None) -> None:
        metadata = metadata_from_model(model)
        self.model = model
        self.precision = graph_precision(model)
        self.input_spec, self.output_spec = detector_io(model, path)
        self.class_names = metadata.class_names
        self.image_hw = metadata.input_hw or _DEFAULT_HW
        self.batch = self.input_spec.shape[0]
        self._session: Any = make_session(model, threads=threads)

    def feeds(self, images: FloatArray) -> dict[str, Array]:
        """Return the images under the input's name and in its type."""
        return {self.input_spec.name: images.astype(self.input_spec.dtype)}

    def run(self, images: FloatArray) -> Array:
        """Return the predictions for (N, 3, H, W) RGB in [0, 1].

        Raises:
            InputError: The model does not take a batch of that size, or fails while it runs.
        """
        try:
            output: Array = self._session.run([self.output_spec.name], self.feeds(images))[0]
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise InputError(
                f"ONNX Runtime cannot run the model on images {images.shape}.",
                expected=f"input {self.input_spec.shape}",
                got=str(error).strip().splitlines()[-1],
                fix="Export the model again with `yolotrt export`.",
            ) from error
        return output

    def whole_batch(self, image: FloatArray) -> FloatArray:
        """Return an image (1, 3, H, W) repeated to the batch the model takes; alone if that is dynamic."""
        return np.repeat(image, self.batch or 1, axis=0)

    def class_count(self, output: Array) -> int:
        """Return the number of classes, read off an output's shape when the model does not name them."""
        return len(self.class_names) or max(min(output.shape[1:]) - 4, 1)


def random_picture(image_hw: tuple[int, int], *, seed: int = 0) -> FloatArray:
    """Return a smooth random picture, (1, 3, H, W) in [0, 1]: patches of color with some grain, more like a photo.

    White noise would do worse: it drives the logits of a trained detector far below any it sees in use.
    """
    rng = np.random.default_rng(seed)
    height, width = image_hw
    patches = rng.random((max(height // 32, 2), max(width // 32, 2), 3)).astype(np.float32)
    smooth = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    grained = np.asarray(smooth, np.float32) + rng.normal(0, 0.03, (height, width, 3))
    picture: FloatArray = np.clip(grained, 0, 1).transpose(2, 0, 1)[None].astype(np.float32)
    return np.ascontiguousarray(picture)
