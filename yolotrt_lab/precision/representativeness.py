"""Do the calibration images stand for what the detector will see? Says what to do where they do not.

Ranges come from the images that calibrate, so what those do not show gets clipped or rounded away later. Compared with
the split they should stand for: classes, brightness, sizes and shapes of objects, shapes of images. From the pass
through the network: what each threshold clips, and how far it moves when half of the images is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.precision.image_profile import ImageProfile

__all__ = [
    "ClassCoverage",
    "Comparison",
    "RepresentativenessReport",
    "judge_representativeness",
    "kolmogorov_smirnov",
]

_FEW_IMAGES_OF_A_CLASS = 3
_RARE = 0.25
"""A class is rare when its share of the objects is below this part of its share in the reference."""

_CLEAR_DISTANCE = 0.15
"""Two distributions closer than this are alike enough, however many images prove the difference."""

_MUCH_OUTSIDE = 0.05
_MUCH_SATURATION = 0.005
_MUCH_SHIFT = 0.25


@dataclass(frozen=True)
class ClassCoverage:
    """How often a class is shown.

    Attributes:
        name: Of the class.
        calibration_objects: Objects in the calibration images.
        calibration_images: Calibration images that show it.
        reference_objects: Objects in the images they should stand for.
        reference_images: Images of those that show it.
        verdict: "shown", "rare", "missing", or "unknown" when the reference does not show it either.
    """

    name: str
    calibration_objects: int
    calibration_images: int
    reference_objects: int
    reference_images: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """How a quantity is distributed in the calibration images and in those they should stand for.

    Attributes:
        quantity: What was compared.
        calibration: 5th, 50th and 95th percentile in the calibration images.
        reference: The same in the reference.
        distance: Kolmogorov-Smirnov statistic: the largest difference of the two cumulative distributions, 0 to 1.
        outside: Share of the reference beyond the calibration images' smallest and largest value.
        alike: Whether the difference is small, or what chance makes of so few images (1 % level).
    """

    quantity: str
    calibration: tuple[float, float, float]
    reference: tuple[float, float, float]
    distance: float
    outside: float
    alike: bool


@dataclass(frozen=True, eq=False)
class RepresentativenessReport:
    """What the calibration images show, compared with what they should stand for.

    Attributes:
        method: Whose thresholds are judged.
        calibration: What the calibration images show.
        reference: What they should stand for.
        classes: One entry per class; none without labels.
        comparisons: One entry per quantity that both sets have.
        saturation: Tensor to the share of its values that the threshold clips.
        threshold_shifts: Tensor to how far its threshold moves when half of the images is left out, relative.
        warnings: What to do, in words; empty when there is nothing to do.
    """

    method: str
    calibration: ImageProfile
    reference: ImageProfile
    classes: tuple[ClassCoverage, ...]
    comparisons: tuple[Comparison, ...]
    saturation: Mapping[str, float]
    threshold_shifts: Mapping[str, float]
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return what fits into JSON."""
        return {
            "method": self.method,
            "calibration_images": self.calibration.image_count,
            "reference_images": self.reference.image_count,
            "classes": [asdict(item) for item in self.classes],
            "comparisons": [asdict(item) for item in self.comparisons],
            "saturation": dict(self.saturation),
            "threshold_shifts": dict(self.threshold_shifts),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Quantity:
    name: str
    attribute: str
    subject: str
    lower: str
    higher: str
    advice: str


_QUANTITIES = (
    _Quantity("brightness", "brightness", "images", "darker", "brighter", "take them in the light the detector gets"),
    _Quantity("object size (px)", "object_px", "objects", "smaller", "larger", "add images with objects of all sizes"),
    _Quantity("object width / height", "object_aspect", "objects", "narrower", "wider", "add images with such shapes"),
    _Quantity("image width / height", "image_aspect", "images", "narrower", "wider",
              "use images of the same format: the letterbox pads others differently"),
)  # fmt: skip


def kolmogorov_smirnov(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest difference of two samples' cumulative distributions.

    Example:
        >>> kolmogorov_smirnov(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.5
    """
    places = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), places, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def judge_representativeness(
    calibration: ImageProfile,
    reference: ImageProfile,
    *,
    class_names: Sequence[str],
    method: str,
    saturation: Mapping[str, float],
    threshold_shifts: Mapping[str, float],
) -> RepresentativenessReport:
    """Compare the calibration images with those they should stand for.

    Args:
        calibration: What the calibration images show.
        reference: What they should stand for.
        class_names: Names in the order of the class ids; none without labels.
        method: Whose thresholds are judged.
        saturation: Tensor to the share of its values that are clipped.
        threshold_shifts: Tensor to the relative move when half of the images is left out.
    """
    classes = tuple(_coverage(index, name, calibration, reference) for index, name in enumerate(class_names))
    compared = [(quantity, _compare(quantity, calibration, reference)) for quantity in _QUANTITIES]
    found = [(quantity, item) for quantity, item in compared if item is not None]
    warnings = (
        *_class_warnings(classes),
        *(text for quantity, item in found for text in _comparison_warnings(quantity, item, calibration.image_count)),
        *_threshold_warnings(method, saturation, threshold_shifts),
    )
    comparisons = tuple(item for _, item in found)
    return RepresentativenessReport(
        method, calibration, reference, classes, comparisons, saturation, threshold_shifts, warnings
    )


def _coverage(index: int, name: str, calibration: ImageProfile, reference: ImageProfile) -> ClassCoverage:
    objects, images = int(calibration.object_counts[index]), int(calibration.class_image_counts[index])
    reference_objects, reference_images = int(reference.object_counts[index]), int(reference.class_image_counts[index])
    share = objects / max(int(calibration.object_counts.sum()), 1)
    reference_share = reference_objects / max(int(reference.object_counts.sum()), 1)
    few = images < min(_FEW_IMAGES_OF_A_CLASS, reference_images)
    if reference_objects == 0:
        verdict = "shown" if objects else "unknown"
    elif objects == 0:
        verdict = "missing"
    else:
        verdict = "rare" if few or share < _RARE * reference_share else "shown"
    return ClassCoverage(name, objects, images, reference_objects, reference_images, verdict)


def _compare(quantity: _Quantity, calibration: ImageProfile, reference: ImageProfile) -> Comparison | None:
    ours, theirs = (getattr(profile, quantity.attribute) for profile in (calibration, reference))
    if not len(ours) or not len(theirs):
        return None
    distance = kolmogorov_smirnov(ours, theirs)
    # Objects of one image are alike, so images count, not objects.
    sizes = (min(calibration.image_count, len(ours)), min(reference.image_count, len(theirs)))
    by_chance = 1.63 * float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))
    return Comparison(
        quantity.name,
        _percentiles(ours),
        _percentiles(theirs),
        distance,
        float(np.mean((theirs < ours.min()) | (theirs > ours.max()))),
        distance <= max(_CLEAR_DISTANCE, by_chance),
    )


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = (float(value) for value in np.percentile(values, [5, 50, 95]))
    return low, middle, high


def _class_warnings(classes: Sequence[ClassCoverage]) -> Iterator[str]:
    for item in classes:
        if item.verdict == "missing":
            yield (
                f"No calibration image shows class {item.name!r}, which has {item.reference_objects} objects in "
                f"{item.reference_images} reference images: add images with it, or what only it makes large is clipped."
            )
        if item.verdict == "rare":
            yield (
                f"Class {item.name!r} is rare: {item.calibration_objects} objects in {item.calibration_images} "
                f"calibration images. Add images that show it."
            )
    unknown = [item.name for item in classes if item.verdict == "unknown"]
    if unknown:
        yield f"Neither set shows {', '.join(unknown)}: nothing here says how INT8 treats them. Add labeled images."


def _comparison_warnings(quantity: _Quantity, item: Comparison, image_count: int) -> Iterator[str]:
    if not item.alike:
        ours, theirs = item.calibration[1], item.reference[1]
        relation = f"{quantity.lower if ours < theirs else quantity.higher} than"
        numbers = f"median {ours:.3g} against {theirs:.3g}"
        if np.isclose(ours, theirs, rtol=0.05):
            relation = "spread differently from"
            numbers = f"{_span(item.calibration)} against {_span(item.reference)}"
        yield (
            f"The {quantity.subject} of the calibration set are {relation} those they stand for "
            f"({quantity.name}: {numbers}): {quantity.advice}."
        )
    # The range of n values leaves about 2 / (n + 1) outside by chance.
    if item.outside > max(_MUCH_OUTSIDE, 4.0 / (image_count + 1)):
        yield (
            f"{item.outside:.0%} of the {quantity.subject} they stand for lie beyond all of the calibration set in "
            f"{quantity.name}: {quantity.advice}."
        )


def _span(percentiles: tuple[float, float, float]) -> str:
    return f"{percentiles[0]:.3g} to {percentiles[2]:.3g}"


def _threshold_warnings(method: str, saturation: Mapping[str, float], shifts: Mapping[str, float]) -> Iterator[str]:
    clipped = {name: share for name, share in saturation.items() if share > _MUCH_SATURATION}
    if clipped:
        worst = max(clipped, key=lambda name: clipped[name])
        yield (
            f"{_tensors(clipped)} more than {_MUCH_SATURATION:.1%} of their values clipped, most of all {worst} "
            f"({clipped[worst]:.1%}): compare the accuracy with --method {'minmax' if method == 'mse' else 'mse'}."
        )
    moved = {name: shift for name, shift in shifts.items() if shift > _MUCH_SHIFT}
    if moved:
        worst = max(moved, key=lambda name: moved[name])
        yield (
            f"{_tensors(moved)} thresholds that move by more than {_MUCH_SHIFT:.0%} when half of the images is left "
            f"out, most of all {worst} ({moved[worst]:.0%}): single images decide them. Use twice as many images."
        )


def _tensors(found: Mapping[str, float]) -> str:
    return f"{len(found)} tensor{'' if len(found) == 1 else 's'} {'has' if len(found) == 1 else 'have'}"
