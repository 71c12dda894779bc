"""The value `Dataset`, loading it from a `data.yaml`, and the two data sets that can be made ready by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from yolotrt_lab.data.images import list_images
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import require_file, write_text
from yolotrt_lab.types import ProgressCallback

__all__ = [
    "DATASET_NAMES",
    "DEFAULT_PARTS_COUNTS",
    "Dataset",
    "labels_path",
    "load_dataset",
    "prepare_dataset",
    "write_data_yaml",
]

DATASET_NAMES: tuple[str, ...] = ("parts", "bccd")
"""What `prepare_dataset` knows."""

DEFAULT_PARTS_COUNTS: Mapping[str, int] = MappingProxyType({"train": 1200, "val": 200, "test": 200})
"""Images per split of `parts` unless asked otherwise; enough to train on a GPU."""

_SPLITS = ("train", "val", "test")


def labels_path(image: Path) -> Path:
    """Return where an image's YOLO labels belong: the last `images` folder becomes `labels`, the suffix `.txt`.

    Example:
        >>> labels_path(Path("parts/images/train/a.jpg")).as_posix()
        'parts/labels/train/a.txt'
    """
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


@dataclass(frozen=True)
class Dataset:
    """Images in named splits, with the names of their classes.

    Attributes:
        name: Short name.
        root: The data set's folder.
        class_names: Names in the order of the class ids.
        splits: Image paths by split ("train", "val", "test").
        yaml_path: The file it was loaded from, if that is not `root/data.yaml`.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]] = field(repr=False)
    yaml_path: Path | None = None

    @property
    def data_yaml(self) -> Path:
        """The file that Ultralytics trains from."""
        return self.yaml_path or self.root / "data.yaml"

    def labels_path(self, image: Path) -> Path:
        """Return where an image's labels are."""
        return labels_path(image)

    def images(self, split: str) -> tuple[Path, ...]:
        """Return a split's images.

        Raises:
            InputError: There is no such split, or it is empty.
        """
        if not self.splits.get(split):
            raise InputError(
                f"Data set {self.name} has no images in split {split!r}.",
                expected="one of " + ", ".join(name for name, paths in self.splits.items() if paths),
                got=split,
            )
        return self.splits[split]


def write_data_yaml(root: Path, *, class_names: Sequence[str], splits: Sequence[str]) -> Path:
    """Write `root/data.yaml` for folders `images/<split>` and return its path.

    It has no `path:` entry on purpose: Ultralytics then looks beside the file, so the folder can be moved.
    """
    content = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(class_names))}
    path = root / "data.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def _read_yaml(path: Path) -> Mapping[str, Any]:
    require_file(path, kind="data.yaml of a YOLO data set")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML.", expected="UTF-8 YAML", got=error) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path} describes no data set.", expected="keys train, val, names", got=type(content).__name__
        )
    return content


def _class_names(content: Mapping[str, Any], *, path: Path) -> tuple[str, ...]:
    """Return names in id order from a list, or from a mapping whose keys are exactly 0 … n-1."""
    names = content.get("names")
    if isinstance(names, dict):
        keys = list(names)
        if sorted(map(str, keys)) != sorted(str(k) for k in range(len(keys))):
            raise InputError(
                f"{path} numbers its classes with gaps.", expected=f"names 0 to {len(keys) - 1}", got=f"keys {keys}"
            )
        names = [names[key] for key in sorted(keys, key=int)]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int)) for name in names):
        raise InputError(f"{path} names no classes.", expected="names: [bolt, nut, …]", got=f"names: {names!r}")
    if "nc" in content and content["nc"] != len(names):
        raise InputError(
            f"{path} contradicts itself.", expected=f"nc: {len(names)} (as many as names)", got=f"nc: {content['nc']!r}"
        )
    return tuple(str(name) for name in names)


def _images_of(entry: object, *, base: Path, path: Path, split: str) -> tuple[Path, ...]:
    """Return the images of a split given as a folder, a text file with one image per line, or a list of these."""
    if isinstance(entry, list):
        return tuple(image for item in entry for image in _images_of(item, base=base, path=path, split=split))
    if not isinstance(entry, str):
        raise InputError(
            f"{path}: split {split!r} is not a path.", expected=f"{split}: images/{split}", got=repr(entry)
        )
    place = base / entry
    if place.is_dir():
        return list_images(place, recursive=True)
    if place.suffix == ".txt" and place.is_file():
        lines = place.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return tuple(place.parent / line.strip() for line in lines if line.strip())
    raise InputError(
        f"{path}: the images of split {split!r} are not there.",
        expected=f"a folder or a .txt list at {place}",
        got="nothing there",
        fix="Correct the entry, or make the data set first with `yolotrt data make`.",
    )


def load_dataset(data_yaml: Path | str) -> Dataset:
    """Load a YOLO data set from its `data.yaml`, or from the folder that holds one.

    Raises:
        InputError: The file is missing or broken, or the images it names are not there.
    """
    path = Path(data_yaml)
    if path.is_dir():
        path = path / "data.yaml"
    content = _read_yaml(path)
    class_names = _class_names(content, path=path)
    given = content.get("path")
    base = path.parent if given is None else path.parent / str(given)
    if not base.is_dir() and given is not None and Path(str(given)).is_dir():
        base = Path(str(given))
    splits = {
        split: _images_of(content[split], base=base, path=path, split=split)
        for split in _SPLITS
        if content.get(split) is not None
    }
    if not any(splits.values()):
        raise InputError(f"{path} leads to no images.", expected="at least one image", got=f"splits {list(splits)}")
    return Dataset(base.resolve().name, base, class_names, MappingProxyType(splits), path)


def prepare_dataset(
    name: str,
    *,
    root: Path | str = Path("datasets"),
    seed: int = 0,
    counts: Mapping[str, int] | None = None,
    image_hw: tuple[int, int] = (640, 640),
    workers: int = 1,
    on_progress: ProgressCallback | None = None,
) -> Dataset:
    """Make a data set ready under `root/<name>` and return it; one that is there already is reused.

    Args:
        name: "parts" (drawn offline) or "bccd" (downloaded, or copied from `YOLOTRT_DATA_MIRROR`).
        root: Folder of data sets.
        seed: Seed of `parts`.
        counts: Images per split of `parts`; default 1200, 200, 200.
        image_hw: Height and width of the images of `parts`.
        workers: Processes that draw `parts`; the result does not depend on it.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: Unknown name, or a different data set stands at that place.
    """
    root = Path(root)
    if name == "parts":
        from yolotrt_lab.data.parts import generate_parts

        wanted = DEFAULT_PARTS_COUNTS if counts is None else counts
        return generate_parts(
            root / "parts", seed=seed, counts=wanted, image_hw=image_hw, workers=workers, on_progress=on_progress
        )
    if name == "bccd":
        from yolotrt_lab.data.bccd import prepare_bccd

        return prepare_bccd(root / "bccd", on_progress=on_progress)
    raise InputError(f"Unknown data set {name!r}.", expected=" or ".join(DATASET_NAMES), got=name)
