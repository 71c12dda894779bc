"""Makes the models, ours in this process and each peer's in one of its own, and keeps them for the next run.

A model is made again when the checkpoint, the calibration images, the recipe or the code that makes it changed. What
failed is not tried again in the same Python, as it may take minutes to fail, until the record beside it is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import yaml

import yolotrt_lab.precision
from peers.ours import IMAGE_HW, make_fp16, make_int8, make_mixed
from peers.recipes import REFERENCE, Recipe
from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.errors import LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import atomic_path, read_json, sha256_of, write_json, write_text
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches
from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.precision.table import CalibrationTable
from yolotrt_lab.types import Precision

__all__ = ["Artifact", "Workshop"]

PEERS = Path(__file__).parent
MEMORY_SHARE = 0.7  # of what is free: a calibrator that keeps every activation must not take the machine down
LIMIT_S = 1800


@dataclass(frozen=True)
class Artifact:
    """A model that was made, or why it was not.

    Attributes:
        path: The file; None if there is none.
        record: How it was made: versions, seconds, facts; "failed" holds the reason.
    """

    path: Path | None
    record: dict[str, Any]

    @property
    def failure(self) -> str:
        """Why there is no file; empty if there is one."""
        return str(self.record.get("failed", ""))


class Workshop:
    """Makes models of one data set.

    Args:
        folder: Where they are kept.
        weights: The checkpoint.
        dataset: What `images` belong to.
        images: Calibration images, the same for all.
        peers_python: Interpreter that has the peers' packages; None if there is none.
        say: Called with a line of progress.
    """

    def __init__(
        self,
        folder: Path,
        *,
        weights: Path,
        dataset: Dataset,
        images: Sequence[Path],
        peers_python: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.dataset = dataset
        self.images = tuple(images)
        self._weights = weights
        self._peers_python = peers_python
        self._say = say
        self._inputs = _digest(sha256_of(weights), *(sha256_of(path) for path in self.images))

    def make(self, recipe: Recipe) -> Artifact:
        """Return the model of a recipe, made now or in an earlier run."""
        path, record_path = self.folder / recipe.artifact, self.folder / f"{recipe.key}.made.json"
        key = self._key(recipe)
        if record_path.is_file():
            record: dict[str, Any] = read_json(record_path)
            if record.get("key") == key and ("failed" in record or path.is_file()):
                return Artifact(None if "failed" in record else path, record)
        if recipe.script and recipe.needs_peers and self._peers_python is None:
            return Artifact(None, {"failed": "no --peers-python was given"})
        self._say(f"{self.dataset.name}: making {recipe.maker} {recipe.label}")
        started = time.perf_counter()
        try:
            record = self._make_peers(recipe, path) if recipe.script else self._make_ours(recipe, path)
        except LabError as error:
            record = {"failed": error.one_line}
        record |= {"key": key, "seconds": round(time.perf_counter() - started, 1)}
        write_json(record_path, record)
        return Artifact(None if "failed" in record else path, record)

    def _key(self, recipe: Recipe) -> str:
        """Identify everything a model depends on."""
        if recipe.script:
            code = [PEERS / "job.py", PEERS / f"{recipe.script}.py"]
            python = str(self._python(recipe)) if recipe.needs_peers else ""
        else:
            code = [PEERS / "ours.py", *sorted(Path(yolotrt_lab.precision.__file__).parent.rglob("*.py"))]
            python = ""
        settings = json.dumps(dict(recipe.settings), sort_keys=True)
        return _digest(self._inputs, settings, python, *(sha256_of(path) for path in code))

    def _python(self, recipe: Recipe) -> Path:
        return self._peers_python if recipe.needs_peers and self._peers_python else Path(sys.executable)

    def _make_ours(self, recipe: Recipe, path: Path) -> dict[str, Any]:
        precision = Precision(str(recipe.settings["precision"]))
        if recipe == REFERENCE:
            export = export_onnx(self._weights, path, image_size=IMAGE_HW)
            return {"opset": export.opset, "nodes": export.node_count}
        if precision is Precision.FP32:
            return {"onnx_sha256": sha256_of(self.onnx)}
        if precision is Precision.FP16:
            return make_fp16(self.onnx, path)
        if "damage" not in recipe.settings:
            return make_int8(self.onnx, path, table=self.ranges)
        return make_mixed(self.onnx, path, table=self.ranges, images=self.images, settings=recipe.settings)

    def _make_peers(self, recipe: Recipe, path: Path) -> dict[str, Any]:
        job = {
            "onnx": self.onnx, "weights": self._weights, "images": self.pixels, "data_yaml": self.data_yaml,
            "output": path,
        }  # fmt: skip
        content = {name: str(value.resolve()) for name, value in job.items()}
        job_path = path.with_suffix(".job.json")
        write_json(job_path, {**content, "head_nodes": self._head_nodes(), "settings": dict(recipe.settings)})
        failure = _run_job(self._python(recipe), recipe.script, job_path, log=path.with_suffix(".log"))
        if failure or not path.is_file():
            return {"failed": failure or "it ended well and wrote nothing"}
        report = path.with_suffix(".report.json")
        return dict(read_json(report))

    def _head_nodes(self) -> list[str]:
        model = onnx.load(str(self.onnx))
        decode = find_head(model).decode
        return [node.name for node in model.graph.node if node.output[0] in decode]

    @cached_property
    def onnx(self) -> Path:
        """The FP32 detector that all start from."""
        made = self.make(REFERENCE)
        if made.path is None:
            raise LabError(f"{self._weights} cannot be exported.", got=made.failure)
        return made.path

    @cached_property
    def ranges(self) -> CalibrationTable:
        """Our calibration, by the default method."""
        return calibrate(self.onnx, ImageBatches(self.images, input_hw=IMAGE_HW))

    @cached_property
    def pixels(self) -> Path:
        """The calibration images as peers get them: uint8, which divided by 255 is bit for bit what we calibrate on."""
        path = self.folder / "calibration.npy"
        with atomic_path(path) as temporary:
            shape = (len(self.images), 3, *IMAGE_HW)
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for index, image in enumerate(self.images):
                wanted = preprocess(read_image(image), input_hw=IMAGE_HW)[0][0]
                array[index] = np.rint(wanted * 255)
                if not np.array_equal(array[index].astype(np.float32) / np.float32(255), wanted):
                    raise LabError(f"{image} cannot be handed over without rounding.")
            array.flush()
        return path

    @cached_property
    def data_yaml(self) -> Path:
        """The calibration images as a data set of their own, for peers that read images themselves."""
        images = self.folder / "calibration.txt"
        write_text(images, "".join(f"{path.resolve()}\n" for path in self.images))
        names = dict(enumerate(self.dataset.class_names))
        path = self.folder / "calibration.yaml"
        write_text(path, yaml.safe_dump({"train": images.name, "val": images.name, "names": names}, sort_keys=False))
        return path


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _run_job(python: Path, script: str, job: Path, *, log: Path) -> str:
    """Run a peer's script and return why it failed; empty if it did not."""
    limit = int(psutil.virtual_memory().available * MEMORY_SHARE)
    environment = {
        **os.environ,
        "YOLO_AUTOINSTALL": "False",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(PEERS.parent),
    }
    command = [str(python), "-m", f"{PEERS.name}.{script}", str(job.resolve())]
    try:
        # Some leave temporary files where they are called.
        with log.open("w", encoding="utf-8") as stream, tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
                check=False,
            )
    except OSError as error:
        return f"{python} does not start: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"took more than {LIMIT_S} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return (lines[-1] if lines else f"ended with code {done.returncode} and said nothing")[:300]
