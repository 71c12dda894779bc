"""Mixed precision to a budget: which layers to keep out of INT8 so that mAP falls no further than allowed.

Each layer has a share of the damage (from `sensitivity`) and a price: the time it takes longer in high precision.
For a part of the damage that shall go away, the cheapest set of layers that carries it is a covering knapsack problem;
with shares in steps of 0.1 % it is solved exactly. A handful of such sets, from nothing to 99 % of the damage, is
written and judged by mAP, and the cheapest is taken from which on all are within the budget: a set that merely was
lucky, with worse ones among its more careful neighbours, is not.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import infer_tensor_types, node_label
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.sensitivity import Judge, LayerDamage, SensitivityReport, multiply_adds
from yolotrt_lab.precision.table import CalibrationTable
from yolotrt_lab.types import Precision, ProgressCallback

__all__ = [
    "Clock",
    "LayerCosts",
    "MixedPlan",
    "MixedPoint",
    "cheapest_cover",
    "costs_from_times",
    "estimated_work",
    "plan_mixed",
]

Clock = Callable[[Path], float]
"""Returns the latency of an ONNX file in ms."""

TARGETS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Parts of the damage to be taken away, for the curve."""

_RESOLUTION = 1000
_REFINEMENTS = 2
_HIGH_PRECISION_FACTOR = 2.0
"""Time of a layer in FP16 over that in INT8, when nothing is measured: twice the bytes, half the tensor cores' peak."""

_RIDGE = 200.0
"""Multiply-additions in INT8 in the time of one byte of memory traffic: 203 on an NVIDIA T4, 206 on an H200."""


@dataclass(frozen=True)
class LayerCosts:
    """What it costs to keep layers in high precision.

    Attributes:
        extra: Layer to the time it takes longer than in INT8.
        total: Time of the network with everything in INT8.
        unit: Of both: "ms", or "estimate" when nothing was measured.
    """

    extra: Mapping[str, float]
    total: float
    unit: str

    def relative(self, kept: Collection[str]) -> float:
        """Return the estimated time with some layers kept, over that of INT8 throughout."""
        return 1.0 + sum(self.extra.get(layer, 0.0) for layer in kept) / self.total if self.total > 0 else 1.0


def costs_from_times(int8_ms: Mapping[str, float], high_ms: Mapping[str, float]) -> LayerCosts:
    """Return costs from layer times measured in two engines.

    Args:
        int8_ms: Layer to time in the INT8 engine; all layers, so that their sum is the network's.
        high_ms: Layer to time in the engine without INT8.
    """
    extra = {layer: max(high_ms[layer] - time_ms, 0.0) for layer, time_ms in int8_ms.items() if layer in high_ms}
    return LayerCosts(extra, sum(int8_ms.values()), "ms")


@dataclass(frozen=True)
class MixedPoint:
    """One choice of layers.

    Attributes:
        kept: Layers in high precision, in graph order.
        damage_left: Part of the summed squared errors that is left, 0 to 1.
        map50_95: As judged.
        loss: Against the FP32 model, positive when worse.
        relative_time: Estimated, over INT8 throughout.
        latency_ms: Measured, or None without a clock.
    """

    kept: tuple[str, ...]
    damage_left: float
    map50_95: float
    loss: float
    relative_time: float
    latency_ms: float | None = None


@dataclass(frozen=True)
class MixedPlan:
    """Which layers to keep, why, and what else was tried.

    Attributes:
        chosen: The point to build.
        curve: All judged points, fewest kept layers first.
        reference_map: mAP50-95 of the FP32 model on the same images.
        budget: Loss of mAP50-95 allowed.
        within_budget: Whether the chosen point keeps it.
        unit: Of the costs: "ms" or "estimate".
        explanation: All of it in words, one sentence or two per line.
    """

    chosen: MixedPoint
    curve: tuple[MixedPoint, ...]
    reference_map: float
    budget: float
    within_budget: bool
    unit: str
    explanation: tuple[str, ...]


def cheapest_cover(shares: Mapping[str, float], costs: Mapping[str, float], *, target: float) -> tuple[str, ...]:
    """Return the cheapest set of layers whose shares add up to a target, in the order of `shares`.

    A covering knapsack by dynamic programming over shares rounded down to 0.1 %; among equally cheap sets one with
    fewer layers.

    Args:
        shares: Layer to its share of the damage, summing to 1 at most.
        costs: Layer to its price, 0 or more; a layer without one is free.
        target: From 0 to 1. When rounded shares do not reach it, all layers that have any are taken.

    Example:
        >>> cheapest_cover({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 9.0, "b": 2.0, "c": 2.0}, target=0.5)
        ('b', 'c')
    """
    units = {layer: int(share * _RESOLUTION + 1e-9) for layer, share in shares.items()}
    useful = [layer for layer, unit in units.items() if unit > 0]
    goal = min(math.ceil(target * _RESOLUTION - 1e-9), sum(units[layer] for layer in useful))
    spread = sum(costs.get(layer, 0.0) for layer in useful) or 1.0
    best = np.full(goal + 1, np.inf)
    best[0] = 0.0
    taken = np.zeros((len(useful), goal + 1), bool)
    positions = np.arange(goal + 1)
    for row, layer in enumerate(useful):
        price = costs.get(layer, 0.0) / spread + 1e-6  # the latter prefers few layers
        candidate = best[np.maximum(positions - units[layer], 0)] + price
        candidate[0] = np.inf
        taken[row] = candidate < best
        best = np.minimum(best, candidate)
    chosen = set()
    left = goal
    for row in range(len(useful) - 1, -1, -1):
        if taken[row, left]:
            chosen.add(useful[row])
            left = max(left - units[useful[row]], 0)
    return tuple(layer for layer in shares if layer in chosen)


def plan_mixed(
    onnx_path: Path,
    *,
    table: CalibrationTable,
    report: SensitivityReport,
    judge: Judge,
    budget: float = 0.003,
    base: Precision = Precision.FP16,
    costs: LayerCosts | None = None,
    clock: Clock | None = None,
    on_progress: ProgressCallback | None = None,
) -> MixedPlan:
    """Find the cheapest layers to keep in high precision for a loss of mAP50-95 within a budget.

    Args:
        onnx_path: The FP32 model.
        table: Its ranges.
        report: From `rank_layers`.
        judge: Measures mAP50-95, on a part of the training split that calibration does not see, for instance. Not on
            the test split: what is chosen by it cannot be tested on it any more.
        budget: Loss of mAP50-95 allowed.
        base: Precision of the layers kept.
        costs: What keeping layers costs; by default an estimate from multiply-additions and bytes.
        clock: Measures the latency of each point.
        on_progress: Called with (points judged, points at most).

    Raises:
        InputError: A negative budget, or a report of another model.
    """
    if not budget >= 0:
        raise InputError("The budget is out of range.", expected="a loss of mAP50-95, 0 or more", got=budget)
    costs = costs or _default_costs(onnx_path, report)
    shares = {layer.node: layer.share for layer in report.layers}
    reference = judge(onnx_path)
    points: dict[tuple[str, ...], MixedPoint] = {}
    most = len(TARGETS) + _REFINEMENTS

    def point(target: float) -> MixedPoint:
        kept = cheapest_cover(shares, costs.extra, target=target)
        if kept not in points:
            points[kept] = _judged(onnx_path, table, base, kept, shares, costs, judge, clock, reference)
        if on_progress is not None:
            on_progress(min(len(points), most), most)
        return points[kept]

    judged = [(target, point(target)) for target in TARGETS]
    for _ in range(_REFINEMENTS):
        position = _first_safe(judged, budget)
        if not 0 < position < len(judged):
            break
        middle = (judged[position - 1][0] + judged[position][0]) / 2
        judged.insert(position, (middle, point(middle)))
    position = _first_safe(judged, budget)
    within = position < len(judged)
    chosen = judged[position][1] if within else max((each for _, each in judged), key=lambda each: each.map50_95)
    curve = tuple(sorted(points.values(), key=lambda each: (-each.damage_left, each.relative_time)))
    plan = MixedPlan(chosen, curve, reference, budget, within, costs.unit, ())
    return MixedPlan(chosen, curve, reference, budget, within, costs.unit, explain(plan, report))


def _first_safe(judged: list[tuple[float, MixedPoint]], budget: float) -> int:
    """Return where the points start that all are within the budget; their number when not even the last is."""
    position = len(judged)
    while position > 0 and judged[position - 1][1].loss <= budget:
        position -= 1
    return position


def _default_costs(onnx_path: Path, report: SensitivityReport) -> LayerCosts:
    work = estimated_work(load_onnx_checked(onnx_path))
    quantized = {layer.node: work.get(layer.node, 0.0) for layer in report.layers}
    fixed = sum(amount for node, amount in work.items() if node not in quantized)
    extra = {node: (_HIGH_PRECISION_FACTOR - 1) * amount for node, amount in quantized.items()}
    return LayerCosts(extra, sum(quantized.values()) + _HIGH_PRECISION_FACTOR * fixed, "estimate")


def estimated_work(model: ModelProto) -> dict[str, float]:
    """Return what each convolution and Add would cost in INT8, by node name, in multiply-additions.

    By the roofline: arithmetic, or the traffic of inputs, weights and output at one byte each, whichever takes longer.
    """
    types, arithmetic = infer_tensor_types(model), multiply_adds(model)
    work = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Add"):
            shapes = [types.get(name, (0, None))[1] or () for name in (*node.input, *node.output)]
            traffic = sum(math.prod(size or 1 for size in shape) for shape in shapes if shape)
            work[node_label(node)] = _RIDGE * traffic
    return {node: max(amount, float(arithmetic[node])) for node, amount in work.items()}


def _judged(
    onnx_path: Path,
    table: CalibrationTable,
    base: Precision,
    kept: tuple[str, ...],
    shares: Mapping[str, float],
    costs: LayerCosts,
    judge: Judge,
    clock: Clock | None,
    reference: float,
) -> MixedPoint:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixed.onnx"
        quantize_onnx(onnx_path, path, table=table, high_precision_nodes=kept, base=base)
        map50_95 = judge(path)
        latency_ms = None if clock is None else clock(path)
    return MixedPoint(
        kept=kept,
        damage_left=max(1.0 - sum(shares[layer] for layer in kept), 0.0),
        map50_95=map50_95,
        loss=reference - map50_95,
        relative_time=costs.relative(kept),
        latency_ms=latency_ms,
    )


def explain(plan: MixedPlan, report: SensitivityReport) -> tuple[str, ...]:
    """Say in words where the damage comes from, what was chosen and what it costs."""
    everything, kept = plan.curve[0], plan.chosen.kept
    culprits = _culprits(report, 0.8)
    lines = [
        f"INT8 in all {len(report.layers)} layers changes mAP50-95 by {-everything.loss:+.4f} "
        f"(from {plan.reference_map:.4f} to {everything.map50_95:.4f}); the output error is {report.error.total:.3f}.",
        f"{_count(len(culprits), 'layer')} of {len(report.layers)} cause "
        f"{100 * sum(layer.share for layer in culprits):.0f} % of the damage.",
        *(f"{layer.node}: {100 * layer.share:.0f} % of it{_reason(layer)}" for layer in culprits[:3]),
    ]
    if not plan.within_budget:
        lines.append(
            f"No choice of layers keeps the loss within {plan.budget:g}: at best {plan.chosen.loss:.4f} is left with "
            f"{_count(len(kept), 'layer')} kept. That is not these layers' doing: check the calibration images, the "
            "base precision, and on how many images mAP was judged."
        )
    elif not kept:
        lines.append(f"That is within the budget of {plan.budget:g}: every layer may stay in INT8.")
    else:
        source = "by measured layer times" if plan.unit == "ms" else "by estimate"
        lines.append(
            f"In high precision: {_count(len(kept), 'layer')} with {100 * (1 - plan.chosen.damage_left):.0f} % of the "
            f"damage. The loss is then {plan.chosen.loss:.4f}, within the budget of {plan.budget:g}, "
            f"for {100 * (plan.chosen.relative_time - 1):.1f} % more time, {source}."
        )
    return tuple(lines)


def _culprits(report: SensitivityReport, share: float) -> tuple[LayerDamage, ...]:
    """Return the fewest layers that together cause a share of the damage."""
    found: list[LayerDamage] = []
    for layer in report.ranked:
        if sum(each.share for each in found) >= share:
            break
        found.append(layer)
    return tuple(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(layer: LayerDamage) -> str:
    """Say what about a layer's inputs makes INT8 hard."""
    levels = 127 * layer.input_bulk / layer.clip if layer.clip > 0 else 127.0
    if levels < 64:
        text = (
            f", because its inputs reach {layer.input_amax:.3g} while 99 % of the values are below "
            f"{layer.input_bulk:.3g}: they share {max(round(levels), 1)} of 127 steps"
        )
    else:
        text = (
            f", though its inputs, up to {layer.input_amax:.3g}, make good use of the 127 steps: what it computes "
            "matters more to the output"
        )
    if layer.clip < 0.9 * layer.input_amax:
        text += f"; what lies above {layer.clip:.3g} is clipped"
    return text + "."
