"""What a peer's process gets and gives back; runs in the peers' Python, so it imports nothing of this repository.

The process is called with the path of a JSON file. Calibration images come as one uint8 array, letterboxed already, so
that all peers see the same pixels as we do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Job", "read_job"]


@dataclass(frozen=True)
class Job:
    """One model to make.

    Attributes:
        onnx: The FP32 detector.
        weights: The checkpoint it was exported from.
        images: A .npy file of (n, 3, height, width) uint8 RGB, letterboxed.
        data_yaml: The same images as files, for peers that read and letterbox them themselves.
        output: Where the model goes.
        head_nodes: Names of the ONNX nodes after the last convolutions: the decode.
        settings: Of the recipe.
    """

    onnx: Path
    weights: Path
    images: Path
    data_yaml: Path
    output: Path
    head_nodes: list[str]
    settings: dict[str, Any]

    def batches(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield (1, 3, height, width) float32 in [0, 1], one image at a time."""
        for image in np.load(self.images, mmap_mode="r"):
            yield image[None].astype(np.float32) / np.float32(255)

    def report(self, *packages: str, **facts: object) -> None:
        """Write what made the model beside it, for the benchmark's record."""
        versions = {name: metadata.version(name) for name in packages}
        path = self.output.with_suffix(".report.json")
        path.write_text(json.dumps({"versions": versions, **facts}), encoding="utf-8")


def read_job() -> Job:
    """Return the job that the command line names."""
    content = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    paths = {name: Path(content[name]) for name in ("onnx", "weights", "images", "data_yaml", "output")}
    return Job(**paths, head_nodes=content["head_nodes"], settings=content["settings"])
