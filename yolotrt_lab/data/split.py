"""Divide images into train, validation and test: seeded, alike in content, and without near-duplicates on both sides.

Pictures of the same scene in two splits make a model look better than it is. Pictures are compared by a difference
hash (is each cell of a 16 x 16 grey thumbnail darker than its right neighbour?): 256 bits that barely change with
scale, brightness, compression and small shifts. Those within `max_distance` bits of each other stay together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import LabeledImage
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import ImageArray, ProgressCallback

__all__ = [
    "DEFAULT_FRACTIONS",
    "DEFAULT_MAX_DISTANCE",
    "Split",
    "difference_hash",
    "group_near_duplicates",
    "split_images",
]

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of the images by split."""

DEFAULT_MAX_DISTANCE = 48
"""Bits of 256. In BCCD, two shots of one scene differ by 27, the closest different scenes by 82."""

_SIDE = 16


@dataclass(frozen=True)
class Split:
    """Images by split.

    Attributes:
        images: Images of each split, in the order they came in.
        groups: How many groups of near-duplicates were kept together (single images not counted).
        class_counts: Objects per split and class id.
    """

    images: Mapping[str, tuple[LabeledImage, ...]]
    groups: int
    class_counts: Mapping[str, tuple[int, ...]]


def difference_hash(image_bgr: ImageArray) -> NDArray[np.uint64]:
    """Return 256 bits, as four uint64, that are nearly the same for nearly the same pictures.

    Example:
        >>> grey = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 1, 3))
        >>> int(np.bitwise_count(difference_hash(grey)).sum())
        256
    """
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    small = np.asarray(cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA), np.int16)
    return np.packbits((small[:, 1:] > small[:, :-1]).ravel()).view(np.uint64)


def group_near_duplicates(hashes: NDArray[np.uint64], *, max_distance: int = DEFAULT_MAX_DISTANCE) -> NDArray[np.int64]:
    """Return a group number per hash; hashes within `max_distance` bits, also by way of others, share one.

    Args:
        hashes: (n, 4) difference hashes.
        max_distance: Largest number of differing bits; negative keeps all apart.
    """
    parent = np.arange(len(hashes), dtype=np.int64)

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = int(parent[index])
        return index

    for index in range(1, len(hashes)):
        distance = np.bitwise_count(hashes[:index] ^ hashes[index]).sum(axis=1)
        for other in np.flatnonzero(distance <= max_distance):
            first, second = sorted((root(index), root(int(other))))
            parent[second] = first
    return np.asarray([root(index) for index in range(len(hashes))], np.int64)


def _checked_fractions(fractions: Mapping[str, float]) -> dict[str, float]:
    total = sum(fractions.values())
    if not fractions or min(fractions.values()) < 0 or abs(total - 1) > 1e-6:
        raise InputError(
            "The shares of the splits are wrong.",
            expected="shares of 0 or more that add up to 1",
            got=", ".join(f"{name} {share:g}" for name, share in fractions.items()) + f" (sum {total:g})",
        )
    return {name: share for name, share in fractions.items() if share > 0}


def split_images(
    images: Sequence[LabeledImage],
    *,
    num_classes: int,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    max_distance: int | None = DEFAULT_MAX_DISTANCE,
    on_progress: ProgressCallback | None = None,
) -> Split:
    """Divide images so that every split gets its share of the images and of each class's objects.

    Groups are dealt out one by one, those with the rarest class first, each to the split that still lacks most of what
    the group has (after Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", 2011).

    Args:
        images: What to divide.
        num_classes: Class ids are below it.
        fractions: Share of each split; they add up to 1.
        seed: Breaks ties; the same seed gives the same split.
        max_distance: Bits up to which pictures count as near-duplicates; None does not look at the pictures.
        on_progress: Called with (images hashed, images in all).

    Raises:
        InputError: Bad shares, too few images, or an unreadable image.
    """
    shares = _checked_fractions(fractions)
    if len(images) < len(shares):
        raise InputError("Too few images to split.", expected=f"at least {len(shares)}", got=len(images))
    groups = np.arange(len(images), dtype=np.int64)
    if max_distance is not None:
        hashes = []
        for done, image in enumerate(images, start=1):
            hashes.append(difference_hash(read_image(image.path)))
            if on_progress:
                on_progress(done, len(images))
        groups = group_near_duplicates(np.stack(hashes), max_distance=max_distance)
    # One more column counts the images themselves, so the splits' sizes are balanced like one more class.
    content = np.zeros((len(images), num_classes + 1), np.float64)
    for index, image in enumerate(images):
        content[index, :-1] = np.bincount(image.class_ids, minlength=num_classes)
    content[:, -1] = 1
    members, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    group_content = np.zeros((len(members), num_classes + 1), np.float64)
    np.add.at(group_content, inverse, content)
    chosen = _deal(group_content, shares=list(shares.values()), seed=seed)
    return _collect(images, [list(shares)[chosen[index]] for index in inverse], list(shares), content, sizes)


def _deal(content: NDArray[np.float64], *, shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Return the split of each group, given (groups, classes + 1) counts."""
    rng = np.random.default_rng(seed)
    total = content.sum(axis=0)
    lacking = np.outer(shares, total)
    chosen = np.full(len(content), -1, np.int64)
    # Rarest class first; the images' own column is the last resort for groups without objects.
    by_rarity = [*sorted(np.flatnonzero(total[:-1]), key=lambda column: (total[column], column)), content.shape[1] - 1]
    for column in by_rarity:
        waiting = np.flatnonzero((chosen < 0) & (content[:, column] > 0))
        shuffled = rng.permutation(waiting)
        for group in shuffled[np.argsort(-content[shuffled, column], kind="stable")]:
            need = lacking[:, column] / max(total[column], 1)
            room = lacking[:, -1] / total[-1]
            best = max(range(len(shares)), key=lambda k: (room[k] > 0, round(need[k], 9), round(room[k], 9), shares[k]))
            chosen[group] = best
            lacking[best] -= content[group]
    _fill_empty(chosen, content, len(shares))
    return chosen


def _fill_empty(chosen: NDArray[np.int64], content: NDArray[np.float64], count: int) -> None:
    """Give a split that got nothing the smallest group of the split that has most."""
    for split in range(count):
        if (chosen == split).any():
            continue
        fullest = int(np.argmax(np.bincount(chosen, minlength=count)))
        candidates = np.flatnonzero(chosen == fullest)
        if len(candidates) < 2:
            raise InputError(
                "Too few different images to split.",
                expected=f"at least {count} groups of near-duplicates",
                got=len(chosen),
                fix="Add images, or lower the largest distance of near-duplicates.",
            )
        chosen[candidates[np.argmin(content[candidates, -1])]] = split


def _collect(
    images: Sequence[LabeledImage],
    split_of: Sequence[str],
    names: Sequence[str],
    content: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> Split:
    chosen = {name: [index for index, split in enumerate(split_of) if split == name] for name in names}
    counts = {name: tuple(int(n) for n in content[rows, :-1].sum(axis=0)) for name, rows in chosen.items()}
    taken = {name: tuple(images[index] for index in rows) for name, rows in chosen.items()}
    return Split(taken, int((sizes > 1).sum()), counts)
