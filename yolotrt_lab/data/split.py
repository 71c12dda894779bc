"""Divide images into train, validation and test: seeded, alike in content, and without near-duplicates on both sides.

Pictures of the same scene in two splits make a model look better than it is. Pictures are compared by a fingerprint: a
32 x 32 grey thumbnail without its slow changes of brightness, scaled to unit length. The scalar product of two is their
correlation: close to 1 for the same scene at another scale, brightness, sharpness or compression.

(A difference hash, the usual choice, fails here: on plain benches it records only which way the light falls off, and
calls hundreds of different pictures equal.)
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
from yolotrt_lab.types import FloatArray, ImageArray, ProgressCallback

__all__ = [
    "DEFAULT_FRACTIONS",
    "DEFAULT_MIN_SIMILARITY",
    "Split",
    "fingerprint",
    "group_near_duplicates",
    "split_images",
]

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of the images by split."""

DEFAULT_MIN_SIMILARITY = 0.9
"""In BCCD, two shots of one scene correlate with 0.94, the closest different scenes with 0.45; in `parts`, two sheets
with the same pattern of holes reach 0.88."""

_SIDE = 32
_SMOOTHING = 3.0
_MARGIN = 6


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


def fingerprint(image_bgr: ImageArray) -> FloatArray:
    """Return (1024,) values of unit length that are nearly the same for nearly the same pictures.

    Example:
        >>> blob = np.zeros((64, 64, 3), np.uint8); blob[20:40, 10:30] = 200
        >>> round(float(fingerprint(blob) @ fingerprint(blob[::2, ::2] // 2)), 2)
        1.0
    """
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    whole = _SIDE + 2 * _MARGIN
    small = np.asarray(cv2.resize(grey, (whole, whole), interpolation=cv2.INTER_AREA), np.float32)
    # Smoothing bends an even slope of light at the border, so the border is left out.
    inside = (small - cv2.GaussianBlur(small, (0, 0), _SMOOTHING))[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    detail = (inside - inside.mean()).ravel()
    length = float(np.linalg.norm(detail))
    if length < 1e-3:
        # A blank picture is like other blank ones and like nothing else: all other fingerprints add up to 0.
        return np.full(_SIDE * _SIDE, 1 / _SIDE, np.float32)
    return np.asarray(detail / length, np.float32)


def group_near_duplicates(
    fingerprints: FloatArray, *, min_similarity: float = DEFAULT_MIN_SIMILARITY
) -> NDArray[np.int64]:
    """Return a group number per picture; pictures at least that similar, also by way of others, share one.

    Args:
        fingerprints: (n, 1024) fingerprints.
        min_similarity: Least correlation of near-duplicates; above 1 keeps all apart.
    """
    parent = np.arange(len(fingerprints), dtype=np.int64)

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = int(parent[index])
        return index

    for index in range(1, len(fingerprints)):
        similarity = fingerprints[:index] @ fingerprints[index]
        for other in np.flatnonzero(similarity >= min_similarity):
            first, second = sorted((root(index), root(int(other))))
            parent[second] = first
    return np.asarray([root(index) for index in range(len(fingerprints))], np.int64)


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
    min_similarity: float | None = DEFAULT_MIN_SIMILARITY,
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
        min_similarity: Correlation from which on pictures count as near-duplicates; None does not look at them.
        on_progress: Called with (images looked at, images in all).

    Raises:
        InputError: Bad shares, too few images, or an unreadable image.
    """
    shares = _checked_fractions(fractions)
    if len(images) < len(shares):
        raise InputError("Too few images to split.", expected=f"at least {len(shares)}", got=len(images))
    groups = np.arange(len(images), dtype=np.int64)
    if min_similarity is not None:
        prints = []
        for done, image in enumerate(images, start=1):
            prints.append(fingerprint(read_image(image.path)))
            if on_progress:
                on_progress(done, len(images))
        groups = group_near_duplicates(np.stack(prints), min_similarity=min_similarity)
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
                fix="Add images, or raise the least similarity of near-duplicates.",
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
