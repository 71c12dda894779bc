"""Error bars for accuracy: how far mAP moves when other images of the same kind had been drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.types import Detections, ProgressCallback

__all__ = ["bootstrap_map_interval"]


def bootstrap_map_interval(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of mAP50-95 over images.

    Whole images are drawn with replacement, because objects in one image are not independent. Two engines measured on
    the same images vary together: their intervals may overlap though one is reliably better, so compare
    `delta_to_fp32`, not intervals.

    Args:
        ground_truth: As for `evaluate_detections`.
        detections: As for `evaluate_detections`.
        class_names: As for `evaluate_detections`.
        confidence: Probability mass inside the interval.
        resamples: How often to draw; each costs one evaluation.
        seed: Seed of the draws.
        on_progress: Called with (draws done, draws).

    Raises:
        InputError: As `evaluate_detections`, or `resamples` is below 2.
    """
    if resamples < 2:
        raise InputError("There are too few resamples.", expected="2 or more", got=resamples)
    evaluate_detections(ground_truth, detections, class_names=class_names)  # checks the input once
    random = np.random.default_rng(seed)
    found: list[float] = []
    for done in range(resamples):
        drawn = random.integers(0, len(ground_truth), len(ground_truth))
        truths = [ground_truth[index] for index in drawn]
        if any(map(len, truths)):  # a draw of empty images only has no mAP
            metrics = evaluate_detections(truths, [detections[index] for index in drawn], class_names=class_names)
            found.append(metrics.map50_95)
        if on_progress is not None:
            on_progress(done + 1, resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
