"""Turns measurements into rows: ratios to FP32, intervals, who is on the Pareto front, and who is clearly beaten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from peers.bootstrap import interval
from peers.measure import Accuracy, Contender
from peers.recipes import OURS
from yolotrt_lab.profiling.interleave import InterleavedTimings
from yolotrt_lab.report.plots.tradeoff import pareto_front

__all__ = ["MOST_DROP", "MOST_TIME", "Row", "goals", "make_rows", "mark_front"]

Row = dict[str, Any]
"""One model in one runtime, in JSON's types; a row with a "reason" has no measurements."""

MOST_DROP = 0.003
MOST_TIME = 0.6


def make_rows(
    contenders: Sequence[Contender],
    accuracy: Mapping[str, Accuracy],
    timings: Sequence[InterleavedTimings],
    reasons: Mapping[str, str],
) -> list[Row]:
    """Return one row per contender, in their order, also for those that could not be measured.

    Args:
        contenders: All of them; the reference first.
        accuracy: By name, of those that were measured.
        timings: One per repeat, of the same.
        reasons: By name, why the others were not.
    """
    reference = contenders[0].name
    rows = []
    for contender in contenders:
        row: Row = {
            "name": contender.name,
            "maker": contender.recipe.maker,
            "model": contender.recipe.label,
            "runtime": contender.run.label,
            "is_makers_runtime": contender.run.is_makers,
            "made": {key: value for key, value in contender.artifact.record.items() if key != "key"},
        }
        if contender.name in accuracy:
            row |= _accuracy(accuracy[contender.name], accuracy[reference]) | _times(contender.name, reference, timings)
        else:
            row["reason"] = reasons[contender.name]
        rows.append(row)
    mark_front(rows)
    _mark_beaten(rows, accuracy, timings)
    return rows


def _accuracy(measured: Accuracy, reference: Accuracy) -> Row:
    low, high = interval(measured.draws)
    drop_low, drop_high = interval(reference.draws - measured.draws)
    return {
        "map50": measured.map50,
        "map50_95": measured.map50_95,
        "map50_95_interval": [low, high],
        "map50_95_drop": {"value": reference.map50_95 - measured.map50_95, "low": drop_low, "high": drop_high},
    }


def _times(name: str, reference: str, timings: Sequence[InterleavedTimings]) -> Row:
    return {
        "latency_ms": _spread([repeat.stats[name].p50_ms for repeat in timings]),
        "time_to_fp32": _spread([repeat.ratio(name, baseline=reference).value for repeat in timings]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def mark_front(rows: Sequence[Row]) -> None:
    """Say of each measured row whether no other is both faster and more accurate."""
    measured = [row for row in rows if "reason" not in row]
    front = pareto_front([(row["time_to_fp32"]["median"], row["map50_95"]) for row in measured])
    for index, row in enumerate(measured):
        row["on_front"] = index in front


def _mark_beaten(rows: Sequence[Row], accuracy: Mapping[str, Accuracy], timings: Sequence[InterleavedTimings]) -> None:
    """Name for each row those that are faster in every repeat and, image by image, more accurate beyond chance."""
    names = [row["name"] for row in rows if "reason" not in row]
    for row in rows:
        if "reason" in row:
            continue
        mine = row["name"]
        row["clearly_beaten_by"] = [
            other
            for other in names
            if other != mine
            and interval(accuracy[other].draws - accuracy[mine].draws)[0] > 0
            and all(repeat.ratio(other, baseline=mine).value < 1 for repeat in timings)
        ]


def goals(rows: Sequence[Row]) -> list[Row]:
    """Return for each of our INT8 engines which of the goals it meets."""
    ours = [row for row in rows if row["maker"] == OURS and "INT8" in row["model"] and row["is_makers_runtime"]]
    return [
        {
            "name": row["name"],
            "drop_is_small": row["map50_95_drop"]["value"] <= MOST_DROP,
            "is_fast": row["time_to_fp32"]["median"] <= MOST_TIME,
            "on_front": row["on_front"],
            "beaten_by_nobody": not row["clearly_beaten_by"],
        }
        for row in ours
        if "reason" not in row
    ]
