"""Write the `parts` data set: the same seed gives the same bytes, alone or in a batch, in one process or many.

Every image has its own generator, seeded by `SeedSequence([seed, split id, index])`. The data set is drawn in a hidden
folder beside its place and moved there when it is complete; an interrupted run is continued by the next one.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from yolotrt_lab.data.datasets import Dataset, load_dataset, write_data_yaml
from yolotrt_lab.data.parts.scene import CLASS_NAMES, MIN_VISIBLE, Scene, render_scene
from yolotrt_lab.data.staging import publish_folder, staging_folder
from yolotrt_lab.errors import InputError, OutputError
from yolotrt_lab.files import read_json, write_bytes, write_json, write_text
from yolotrt_lab.types import ProgressCallback

__all__ = ["GENERATOR_VERSION", "PartsSpec", "draw_part_image", "encoded_part_image", "generate_parts"]

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other images."""

_SPLIT_IDS: Mapping[str, int] = MappingProxyType({"train": 0, "val": 1, "test": 2})
_META = "dataset.json"
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class PartsSpec:
    """All that determines the images: seed, how many per split, and their size in pixels."""

    seed: int
    counts: Mapping[str, int]
    image_hw: tuple[int, int]

    def __post_init__(self) -> None:
        unknown = [split for split in self.counts if split not in _SPLIT_IDS]
        if unknown:
            raise InputError("Unknown split.", expected="train, val, test", got=", ".join(map(str, unknown)))
        if any(count < 0 for count in self.counts.values()) or not any(self.counts.values()):
            raise InputError("A data set needs images.", expected="counts of 0 or more, not all 0", got=self.counts)
        if self.seed < 0:
            raise InputError("The seed is negative.", expected="0 or more", got=self.seed)
        if any(not 64 <= side <= 4096 for side in self.image_hw):
            raise InputError("The image size is out of range.", expected="64 to 4096 pixels", got=self.image_hw)

    def meta(self) -> dict[str, object]:
        """Return what `dataset.json` records."""
        return {
            "name": "parts",
            "generator_version": GENERATOR_VERSION,
            "seed": self.seed,
            "counts": {split: self.counts[split] for split in _SPLIT_IDS if self.counts.get(split)},
            "image_hw": list(self.image_hw),
            "class_names": list(CLASS_NAMES),
            "min_visible": MIN_VISIBLE,
            "jpeg_quality": _JPEG_QUALITY,
        }


def draw_part_image(seed: int, *, split: str, index: int, image_hw: tuple[int, int] = (640, 640)) -> Scene:
    """Draw one image of the data set, without the others.

    Args:
        seed: Seed of the data set.
        split: "train", "val" or "test".
        index: Number within the split, from 0.
        image_hw: Height and width in pixels.

    Example:
        >>> draw_part_image(0, split="test", index=3, image_hw=(160, 160)).image.shape
        (160, 160, 3)
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, _SPLIT_IDS[split], index]))
    return render_scene(rng, image_hw=image_hw)


def encoded_part_image(
    seed: int, *, split: str, index: int, image_hw: tuple[int, int] = (640, 640)
) -> tuple[bytes, str]:
    """Return one image's JPEG bytes and its label file's text."""
    scene = draw_part_image(seed, split=split, index=index, image_hw=image_hw)
    height, width = image_hw
    scale = np.array([width, height, width, height], np.float64)
    lines = []
    for class_id, box in zip(scene.class_ids, scene.xyxy / scale, strict=True):
        x0, y0, x1, y1 = box
        lines.append(f"{class_id} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}\n")
    _, packed = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return packed.tobytes(), "".join(lines)


@dataclass(frozen=True)
class _Job:
    folder: Path
    seed: int
    split: str
    index: int
    image_hw: tuple[int, int]

    @property
    def image_path(self) -> Path:
        return self.folder / "images" / self.split / f"{self.split}_{self.index:05d}.jpg"


def _run_job(job: _Job) -> None:
    data, labels = encoded_part_image(job.seed, split=job.split, index=job.index, image_hw=job.image_hw)
    write_text(job.folder / "labels" / job.split / f"{job.image_path.stem}.txt", labels)
    # The image comes last: where it is, its labels are, so an interrupted run can go on.
    write_bytes(job.image_path, data)


def _prepare_worker() -> None:
    # One process per core already; OpenCV's own threads would only fight over them.
    cv2.setNumThreads(1)
    # Ctrl-C reaches every process of a terminal; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _existing(root: Path, spec: PartsSpec) -> Dataset | None:
    """Return the data set at `root` if it is the one asked for, None if the place is free."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    fix = f"Choose another root, ask for the same data set, or delete {root} first."
    if not (root / _META).is_file():
        raise InputError(
            f"{root} holds something else.", expected=f"nothing, or a data set with {_META}", got="other files", fix=fix
        )
    found, wanted = read_json(root / _META), spec.meta()
    if found != wanted:
        differing = [key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]]
        raise InputError(
            f"{root} holds a different data set.",
            expected=", ".join(f"{key} {wanted[key]}" for key in differing),
            got=", ".join(f"{key} {found.get(key) if isinstance(found, dict) else found}" for key in differing),
            fix=fix,
        )
    missing = [job for job in _jobs(root, spec) if not job.image_path.is_file()]
    if missing:
        raise InputError(
            f"{root} is incomplete.",
            expected=f"{sum(spec.counts.values())} images",
            got=f"{len(missing)} missing, first {missing[0].image_path.name}",
            fix=f"Delete {root} and make it again.",
        )
    return load_dataset(root / "data.yaml")


def _jobs(folder: Path, spec: PartsSpec) -> list[_Job]:
    return [
        _Job(folder, spec.seed, split, index, spec.image_hw)
        for split in _SPLIT_IDS
        for index in range(spec.counts.get(split, 0))
    ]


def _draw_all(jobs: list[_Job], *, workers: int, on_progress: ProgressCallback | None) -> None:
    waiting = [job for job in jobs if not job.image_path.is_file()]
    done = len(jobs) - len(waiting)

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, len(jobs))

    if workers <= 1:
        for job in waiting:
            _run_job(job)
            step()
        return
    # "spawn": a forked child of a process with threads (PyTorch, OpenCV) may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
    try:
        for _ in pool.map(_run_job, waiting, chunksize=4):
            step()
    except BrokenProcessPool as error:
        raise OutputError(
            "A process that draws images ended before its work was done.",
            expected=f"{workers} running processes",
            got=error,
            fix="Use workers=1; or, in a script, start the work below `if __name__ == '__main__':`.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def generate_parts(
    root: Path | str,
    *,
    seed: int = 0,
    counts: Mapping[str, int],
    image_hw: tuple[int, int] = (640, 640),
    workers: int = 1,
    on_progress: ProgressCallback | None = None,
) -> Dataset:
    """Draw the `parts` data set into `root`, or return it if it is there already.

    Args:
        root: The data set's folder; made only when everything in it is complete.
        seed: The same seed gives the same bytes.
        counts: Images per split, for "train", "val" and "test".
        image_hw: Height and width in pixels.
        workers: Processes; the images do not depend on it.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: `root` holds something else, or an argument is out of range.
        OutputError: `root` cannot be written.
    """
    root = Path(root)
    spec = PartsSpec(seed, dict(counts), image_hw)
    if (existing := _existing(root, spec)) is not None:
        return existing
    with staging_folder(root) as partial:
        _discard_other(partial, spec)
        write_json(partial / _META, spec.meta())
        _draw_all(_jobs(partial, spec), workers=workers, on_progress=on_progress)
        splits = [split for split in _SPLIT_IDS if spec.counts.get(split)]
        write_data_yaml(partial, class_names=CLASS_NAMES, splits=splits)
        write_text(partial / "README.md", _readme(spec))
        publish_folder(partial, root)
    return load_dataset(root / "data.yaml")


def _discard_other(partial: Path, spec: PartsSpec) -> None:
    """Empty the hidden folder unless an interrupted run with the same settings left it."""
    meta = partial / _META
    if meta.is_file() and meta.stat().st_size and read_json(meta) == spec.meta():
        return
    for entry in partial.iterdir():
        if entry.name == ".lock":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _readme(spec: PartsSpec) -> str:
    counts = ", ".join(f"{split} {count}" for split, count in spec.counts.items() if count)
    return f"""# parts

Procedurally drawn images of industrial parts; no photograph was used.

- Classes: {", ".join(CLASS_NAMES)}
- Images: {counts}; {spec.image_hw[1]} x {spec.image_hw[0]} pixels; JPEG quality {_JPEG_QUALITY}
- Seed {spec.seed}, generator version {GENERATOR_VERSION}: the same values give the same bytes

Boxes are tight boxes of whole parts, hidden pixels included, cut at the image's border. A part is labelled if at least
{MIN_VISIBLE:.0%} of its area is visible. Clutter (pins, blanks, rings, keys, cables, swarf, tags) is never labelled.
"""
