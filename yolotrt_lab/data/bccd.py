"""BCCD: 364 microscope images of blood cells with Pascal VOC labels, under the MIT licence.

Source: https://github.com/Shenggan/BCCD_Dataset at a fixed commit; every file is checked against the SHA-256 in
`manifests/bccd.sha256`. `YOLOTRT_DATA_MIRROR` names a local folder or a URL that holds a copy in `BCCD/` instead. The
images are never part of this package.

Two of the boxes have no area; they are skipped, and `dataset.json` records them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from yolotrt_lab.data.convert import read_voc, write_yolo
from yolotrt_lab.data.datasets import Dataset, load_dataset
from yolotrt_lab.data.download import FetchPolicy, fetch_archive, fetch_files, read_manifest
from yolotrt_lab.data.labels import LabeledImage
from yolotrt_lab.data.staging import publish_folder, staging_folder
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, sha256_of, write_json, write_text
from yolotrt_lab.types import ProgressCallback

__all__ = ["BCCD_CLASS_NAMES", "BCCD_COMMIT", "MANIFEST_PATH", "MIRROR_VARIABLE", "fetch_bccd", "prepare_bccd"]

BCCD_COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
"""The commit of the public repository that the checksums belong to."""

BCCD_CLASS_NAMES: tuple[str, ...] = ("RBC", "WBC", "Platelets")
"""Class names in the order of their ids."""

MIRROR_VARIABLE = "YOLOTRT_DATA_MIRROR"
"""Environment variable with a folder or URL that holds `BCCD/`."""

MANIFEST_PATH = Path(__file__).parent / "manifests" / "bccd.sha256"
"""SHA-256 of every file of the data set."""

_ARCHIVE_URL = f"https://codeload.github.com/Shenggan/BCCD_Dataset/tar.gz/{BCCD_COMMIT}"
_FILES_URL = f"https://raw.githubusercontent.com/Shenggan/BCCD_Dataset/{BCCD_COMMIT}"
_SPLITS = ("train", "val", "test")
_META = "dataset.json"
_FORMAT_VERSION = 1


def _upstream_name(name: str) -> str:
    """Return a file's path in the public repository, where the licence is at the top."""
    return name if name == "LICENSE" else f"BCCD/{name}"


def _mirror_name(name: str) -> str:
    return f"BCCD/{name}"


def fetch_bccd(
    target: Path,
    *,
    mirror: str | None = None,
    manifest_path: Path = MANIFEST_PATH,
    policy: FetchPolicy | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Bring the data set in its own VOC form below `target`, every file checked.

    Without a mirror, GitHub's archive of the commit is tried first and single files after it.

    Args:
        target: Gets `JPEGImages`, `Annotations`, `ImageSets` and `LICENSE`.
        mirror: Folder or URL that holds `BCCD/`; a URL that ends in `.tar.gz` is an archive like GitHub's.
        manifest_path: Checksum list.
        policy: How patient to be.
        on_progress: Called with (files done, files in all).

    Raises:
        InputError: No source has the files, or a file is not the right one.
        OutputError: `target` cannot be written.
    """
    manifest = read_manifest(manifest_path)
    if mirror is not None and mirror.endswith(".tar.gz"):
        fetch_archive(
            mirror, target, manifest=manifest, remote_name=_upstream_name, policy=policy, on_progress=on_progress
        )
        return
    if mirror is not None:
        _require_mirror(mirror)
        fetch_files(mirror, target, manifest=manifest, remote_name=_mirror_name, policy=policy, on_progress=on_progress)
        return
    try:
        fetch_archive(
            _ARCHIVE_URL, target, manifest=manifest, remote_name=_upstream_name, policy=policy, on_progress=on_progress
        )
    except InputError:
        fetch_files(
            _FILES_URL, target, manifest=manifest, remote_name=_upstream_name, policy=policy, on_progress=on_progress
        )


def _require_mirror(mirror: str) -> None:
    if "://" not in mirror and not (Path(mirror) / "BCCD").is_dir():
        raise InputError(
            f"{MIRROR_VARIABLE} leads to no copy of BCCD.",
            expected=f"a folder {Path(mirror) / 'BCCD'} with JPEGImages, Annotations and ImageSets",
            got="nothing there",
            fix=f"Correct {MIRROR_VARIABLE}, or unset it to download from GitHub.",
        )


def _existing(root: Path, meta: Mapping[str, object]) -> Dataset | None:
    """Return the data set at `root` if it is this one, None if the place is free."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    found = read_json(root / _META) if (root / _META).is_file() else None
    if not isinstance(found, dict) or any(found.get(key) != value for key, value in meta.items()):
        raise InputError(
            f"{root} holds something else.",
            expected=f"nothing, or BCCD at commit {BCCD_COMMIT[:7]}",
            got="other files" if found is None else f"a {_META} with other contents",
            fix=f"Choose another root, or delete {root} first.",
        )
    dataset = load_dataset(root / "data.yaml")
    counts = {split: len(images) for split, images in dataset.splits.items()}
    if counts != found.get("counts"):
        raise InputError(
            f"{root} is incomplete.", expected=f"images {found.get('counts')}", got=counts, fix=f"Delete {root} first."
        )
    return dataset


def _read_splits(voc: Path) -> tuple[dict[str, list[LabeledImage]], list[str]]:
    """Return the images of each split and the problems in their labels, with paths relative to the VOC folder."""
    splits: dict[str, list[LabeledImage]] = {}
    problems: list[str] = []
    for split in _SPLITS:
        stems = (voc / "ImageSets" / "Main" / f"{split}.txt").read_text(encoding="utf-8").split()
        conversion = read_voc(voc / "Annotations", images=voc / "JPEGImages", class_names=BCCD_CLASS_NAMES, stems=stems)
        splits[split] = list(conversion.images)
        problems += [str(problem).removeprefix(f"{voc}{os.sep}") for problem in conversion.problems]
    return splits, problems


def prepare_bccd(
    root: Path | str,
    *,
    mirror: str | None = None,
    manifest_path: Path = MANIFEST_PATH,
    policy: FetchPolicy | None = None,
    on_progress: ProgressCallback | None = None,
) -> Dataset:
    """Make BCCD ready in YOLO's layout, with its own lists for train, val and test; the VOC files stay in `voc/`.

    Args:
        root: The data set's folder; made only when everything in it is complete.
        mirror: Folder or URL that holds `BCCD/`; default: `YOLOTRT_DATA_MIRROR`, or else GitHub.
        manifest_path: Checksum list.
        policy: How patient to be.
        on_progress: Called with (files done, files in all).

    Raises:
        InputError: `root` holds something else, no source has the files, or a file is not the right one.
        OutputError: `root` cannot be written.
    """
    root = Path(root)
    meta: dict[str, object] = {
        "name": "bccd",
        "format_version": _FORMAT_VERSION,
        "commit": BCCD_COMMIT,
        "manifest_sha256": sha256_of(manifest_path),
    }
    if (existing := _existing(root, meta)) is not None:
        return existing
    mirror = mirror or os.environ.get(MIRROR_VARIABLE) or None
    with staging_folder(root) as partial:
        voc, yolo = partial / "voc", partial / "yolo"
        fetch_bccd(voc, mirror=mirror, manifest_path=manifest_path, policy=policy, on_progress=on_progress)
        shutil.rmtree(yolo, ignore_errors=True)
        splits, problems = _read_splits(voc)
        write_yolo(splits, yolo, class_names=BCCD_CLASS_NAMES)
        counts = {split: len(images) for split, images in splits.items() if images}
        write_json(yolo / _META, meta | {"counts": counts, "problems": problems})
        write_text(yolo / "README.md", _README)
        voc.replace(yolo / "voc")
        publish_folder(yolo, root)
        shutil.rmtree(partial, ignore_errors=True)
    return load_dataset(root / "data.yaml")


_README = f"""# BCCD

364 microscope images of blood cells, 640 x 480 pixels, by Shenggan and contributors, MIT licence (`voc/LICENSE`).
Source: https://github.com/Shenggan/BCCD_Dataset at commit {BCCD_COMMIT}.

Classes: {", ".join(BCCD_CLASS_NAMES)}. Splits: the repository's own lists. `voc/` holds the original annotations;
`dataset.json` lists the boxes that were skipped and why.
"""
