"""Wrong and right answers to lab5.stage_breakdown."""

import statistics

import numpy as np
from tests_course_api import right, wrong

MEDIANS = "test_each_stage_has_its_median"
SHARES = "test_shares_are_parts_of_the_whole"
SPEEDUP = "test_speedup_follows_amdahl"
BOUND = "test_bound_is_that_of_an_infinitely_fast_engine"
NEEDED = "test_needed_speedup_of_the_engine"


def sound(stage_ms, warmup, engine_speedup, target_ms):
    """What each wrong answer changes in one place."""
    medians = {stage: float(np.median(samples[warmup:])) for stage, samples in stage_ms.items()}
    total, infer = sum(medians.values()), medians["inference"]
    rest = total - infer
    return {
        "median_ms": medians,
        "share": {stage: value / total for stage, value in medians.items()},
        "speedup": total / (rest + infer / engine_speedup),
        "bound": total / rest,
        "needed": max(infer / (target_ms - rest), 1.0) if target_ms > rest else None,
    }


@wrong(caught_by=MEDIANS, says="warm-up are still in")
def with_warmup(stage_ms, *, warmup, engine_speedup, target_ms):
    """Believes that enough frames make the first ones harmless."""
    return sound(stage_ms, 0, engine_speedup, target_ms)


@wrong(caught_by=MEDIANS, says="these are means")
def means(stage_ms, *, warmup, engine_speedup, target_ms):
    """Takes the mean."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    return {**result, "median_ms": {stage: float(np.mean(samples[warmup:])) for stage, samples in stage_ms.items()}}


@wrong(caught_by=SHARES, says="per cent")
def per_cent(stage_ms, *, warmup, engine_speedup, target_ms):
    """Shares as people say them."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    return {**result, "share": {stage: 100 * share for stage, share in result["share"].items()}}


@wrong(caught_by=SHARES, says="slowest stage")
def of_the_slowest(stage_ms, *, warmup, engine_speedup, target_ms):
    """Compares with the slowest stage, as in a pipeline."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    most = max(result["median_ms"].values())
    return {**result, "share": {stage: value / most for stage, value in result["median_ms"].items()}}


@wrong(caught_by=SPEEDUP, says="only the inference does")
def the_engine_is_everything(stage_ms, *, warmup, engine_speedup, target_ms):
    """Believes the vendor's bar chart."""
    return {**sound(stage_ms, warmup, engine_speedup, target_ms), "speedup": engine_speedup}


@wrong(caught_by=SPEEDUP, says="do not average")
def averages_speedups(stage_ms, *, warmup, engine_speedup, target_ms):
    """Weighs the factors with the shares."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    share = result["share"]["inference"]
    return {**result, "speedup": share * engine_speedup + (1 - share)}


@wrong(caught_by=SPEEDUP, says="copies faster")
def copies_belong_to_the_engine(stage_ms, *, warmup, engine_speedup, target_ms):
    """Counts everything on the GPU as the engine's."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    share = sum(result["share"][stage] for stage in ("copy_in", "inference", "copy_out"))
    return {**result, "speedup": 1 / (1 - share + share / engine_speedup), "bound": 1 / (1 - share)}


@wrong(caught_by=BOUND, says="everything else took no time")
def bound_upside_down(stage_ms, *, warmup, engine_speedup, target_ms):
    """Divides by the part that is sped up."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    return {**result, "bound": 1 / result["share"]["inference"]}


@wrong(caught_by=NEEDED, says="factor for the whole frame")
def needed_for_the_frame(stage_ms, *, warmup, engine_speedup, target_ms):
    """Asks the engine for the factor that the frame needs."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    return {**result, "needed": sum(result["median_ms"].values()) / target_ms}


@wrong(caught_by=NEEDED, says="no engine helps")
def never_impossible(stage_ms, *, warmup, engine_speedup, target_ms):
    """Does not ask whether the rest alone is too slow."""
    result = sound(stage_ms, warmup, engine_speedup, target_ms)
    rest = sum(result["median_ms"].values()) - result["median_ms"]["inference"]
    return {**result, "needed": max(result["median_ms"]["inference"] / max(target_ms - rest, 1e-9), 1.0)}


@right
def by_shares(stage_ms, *, warmup, engine_speedup, target_ms):
    """Amdahl's formula in shares; NumPy scalars."""
    names = list(stage_ms)
    table = np.median(np.array([stage_ms[name][warmup:] for name in names]), axis=1)
    share = dict(zip(names, table / table.sum(), strict=True))
    p = share["inference"]
    allowed = np.float64(target_ms) / table.sum() - (1 - p)
    return {
        "median_ms": dict(zip(names, table, strict=True)),
        "share": share,
        "speedup": 1 / ((1 - p) + p / engine_speedup),
        "bound": 1 / (1 - p),
        "needed": None if allowed <= 0 else np.maximum(p / allowed, 1),
    }


@right
def without_numpy(stage_ms, *, warmup, engine_speedup, target_ms):
    """The standard library's statistics."""
    kept = {name: [float(value) for value in times][warmup:] for name, times in stage_ms.items()}
    medians = {name: statistics.median(times) for name, times in kept.items()}
    before = sum(medians.values())
    others = before - medians["inference"]
    needed = None
    if target_ms > others:
        needed = 1 if before <= target_ms else medians["inference"] / (target_ms - others)
    return {
        "median_ms": medians,
        "share": {name: value / before for name, value in medians.items()},
        "speedup": before / (others + medians["inference"] / engine_speedup),
        "bound": before / others,
        "needed": needed,
    }
