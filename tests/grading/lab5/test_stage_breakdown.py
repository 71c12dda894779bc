"""lab5.stage_breakdown: where a frame's time goes, and what a faster engine can bring at most (Amdahl)."""

from __future__ import annotations

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points

_STAGES = ("preprocess", "copy_in", "inference", "copy_out", "postprocess")
_KEYS = ("median_ms", "share", "speedup", "bound", "needed")

EXERCISE = Exercise(
    id="lab5.stage_breakdown",
    title="Stages and Amdahl's law",
    objective="Say where a frame's time goes, and how much a faster engine can bring at most.",
    answer="stage_breakdown",
    difficulty=2,
    minutes=20,
    cases=("inference dominates", "the rest dominates", "a cold start", "a slow tail", "out of reach", "fast enough"),
    hidden=("inference dominates", "a cold start", "a slow tail", "out of reach"),
    seconds=5.0,
    reading="https://en.wikipedia.org/wiki/Amdahl%27s_law",
)

_MEDIANS_MS = {
    "inference dominates": (2.0, 0.8, 18.0, 0.5, 1.6),
    "the rest dominates": (6.0, 1.2, 3.0, 0.9, 5.0),
    "a cold start": (3.0, 1.0, 8.0, 0.7, 2.0),
    "a slow tail": (4.0, 0.8, 6.0, 0.6, 3.0),
    "out of reach": (5.0, 1.0, 9.0, 0.6, 4.0),
    "fast enough": (1.0, 0.3, 3.0, 0.2, 0.7),
}


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Samples of every stage, the frames to leave out, a speed-up of the engine, and a target."""
    frames, warmup = int(rng.integers(40, 60)), int(rng.integers(12, 18))
    stage_ms = {}
    for stage, median in zip(_STAGES, _MEDIANS_MS[case], strict=True):
        samples = median * rng.uniform(0.8, 1.2) * rng.lognormal(0, 0.05, frames)
        if case == "a cold start":
            samples[:warmup] *= rng.uniform(3, 9)
        if case == "a slow tail" and stage in ("preprocess", "postprocess"):
            samples[rng.random(frames) < 0.2] *= 5
        stage_ms[stage] = samples
    medians = {stage: float(np.median(samples[warmup:])) for stage, samples in stage_ms.items()}
    total = sum(medians.values())
    others = total - medians["inference"]
    target_ms = others + medians["inference"] * float(rng.uniform(0.25, 0.6))
    if case == "out of reach":
        target_ms = others * float(rng.uniform(0.5, 0.9))
    if case == "fast enough":
        target_ms = total * float(rng.uniform(1.2, 1.8))
    return {
        "stage_ms": stage_ms,
        "warmup": warmup,
        "engine_speedup": float(rng.uniform(1.5, 5)),
        "target_ms": target_ms,
    }


def _medians(answer) -> dict[str, float]:
    warmup = answer.inputs["warmup"]
    return {stage: float(np.median(samples[warmup:])) for stage, samples in answer.inputs["stage_ms"].items()}


def _own_medians(answer) -> dict[str, float]:
    """Return the answer's own medians: a mistake there costs its points only once."""
    values = _by_stage(answer, "median_ms")
    if (values <= 0).any():
        raise Mismatch(expected="medians of more than 0 ms", seen=f"{values.min():g} ms")
    return dict(zip(_STAGES, values.tolist(), strict=True))


def _by_stage(answer, key: str) -> np.ndarray:
    answer.mapping(keys=_KEYS)
    answer.item(key).mapping(keys=_STAGES)
    return np.array([answer.item(key).item(stage).number() for stage in _STAGES])


def _close(seen: float, other: float) -> bool:
    return bool(np.isclose(seen, other, rtol=1e-6, atol=1e-9))


@points(1)
def test_each_stage_has_its_median(answer):
    """Each stage has the median of its frames, the warm-up left out."""
    samples, warmup = answer.inputs["stage_ms"], answer.inputs["warmup"]
    seen, right = _by_stage(answer, "median_ms"), np.array(list(_medians(answer).values()))
    ideas = {
        "The frames of the warm-up are still in: the first frames allocate, compile and fill caches.": [
            np.median(samples[stage]) for stage in _STAGES
        ],
        "These are means: a few slow frames pull them up.": [samples[stage][warmup:].mean() for stage in _STAGES],
        "These are means, with the warm-up still in them.": [samples[stage].mean() for stage in _STAGES],
        "The warm-up is the only part that was kept.": [np.median(samples[stage][:warmup]) for stage in _STAGES],
    }
    hint = next((idea for idea, values in ideas.items() if np.allclose(seen, values, rtol=1e-6)), "")
    expect_close(seen, right, what="the medians in milliseconds", rtol=1e-6, misconception=hint)


@points(1)
def test_shares_are_parts_of_the_whole(answer):
    """The shares are each stage's part of the sum of the medians."""
    seen, medians = _by_stage(answer, "share"), np.array(list(_own_medians(answer).values()))
    right = medians / medians.sum()
    hint = ""
    if np.allclose(seen, 100 * right, rtol=1e-6):
        hint = "These are per cent; a share is a fraction of 1."
    elif np.allclose(seen, medians / medians.max(), rtol=1e-6):
        hint = "These are parts of the slowest stage, not of the whole frame."
    elif not np.isclose(seen.sum(), 1, atol=1e-6):
        hint = f"They add up to {seen.sum():.3g}: parts of one whole add up to 1."
    expect_close(seen, right, what="the shares", rtol=1e-6, misconception=hint)


def _speedup(medians: dict[str, float], factor: float, stages: tuple[str, ...] = ("inference",)) -> float:
    total = sum(medians.values())
    part = sum(medians[stage] for stage in stages)
    return total / (total - part + part / factor)


@points(1)
def test_speedup_follows_amdahl(answer):
    """A faster engine speeds the frame up by as much as Amdahl's law says."""
    answer.mapping(keys=_KEYS)
    seen, medians, factor = answer.item("speedup").number(), _own_medians(answer), answer.inputs["engine_speedup"]
    share = medians["inference"] / sum(medians.values())
    hint = ""
    if _close(seen, factor):
        hint = "The whole frame does not become faster by that factor: only the inference does."
    elif _close(seen, share * factor) or _close(seen, 1 + share * (factor - 1)):
        hint = "Speed-ups do not average. Add up the milliseconds that are left, then divide."
    elif _close(seen, _speedup(medians, factor, ("copy_in", "inference", "copy_out"))):
        hint = "A faster engine does not make the copies faster: they take as long as their bytes."
    elif _close(seen, 1 / _speedup(medians, factor)):
        hint = "That is the new time over the old; a speed-up is the old over the new."
    expect_close(
        seen, _speedup(medians, factor), what=f"the speed-up with an engine {factor:.2f} times as fast", rtol=1e-6,
        misconception=hint,
    )  # fmt: skip


@points(1)
def test_bound_is_that_of_an_infinitely_fast_engine(answer):
    """The bound is the speed-up if the inference took no time at all."""
    answer.mapping(keys=_KEYS)
    seen, medians = answer.item("bound").number(), _own_medians(answer)
    total = sum(medians.values())
    right = total / (total - medians["inference"])
    hint = ""
    if _close(seen, total / medians["inference"]):
        hint = "That is what would be won if everything else took no time. What remains when the engine takes none?"
    elif _close(seen, _speedup(medians, np.inf, ("copy_in", "inference", "copy_out"))):
        hint = "The copies stay, however fast the engine is."
    elif seen > right and seen > 50:
        hint = "No engine makes a frame arbitrarily fast while something else remains to be done."
    expect_close(seen, right, what="the bound", rtol=1e-6, misconception=hint)


@points(1)
def test_needed_speedup_of_the_engine(answer):
    """The needed speed-up brings the frame to its target; None where no engine can."""
    value = answer.mapping(keys=_KEYS)["needed"]
    medians, target = _own_medians(answer), answer.inputs["target_ms"]
    total = sum(medians.values())
    left = target - (total - medians["inference"])
    if left <= 0:
        expect(
            value is None,
            expected=f"None: the other stages alone take {total - medians['inference']:.2f} ms of {target:.2f} ms",
            seen=value,
            misconception="If the rest alone is slower than the target, no engine helps: there is no such speed-up.",
        )
        return
    if value is None:
        raise Mismatch(
            expected=f"a number: {left:.2f} ms are left for the inference",
            seen="None",
            misconception="What is left for the engine when the other stages have taken their time?",
        )
    seen, right = answer.item("needed").number(), max(medians["inference"] / left, 1.0)
    hint = ""
    if _close(seen, total / target):
        hint = "That is the factor for the whole frame. The engine has to make up for it alone."
    elif _close(seen, medians["inference"] / target):
        hint = "The engine cannot have the whole target for itself."
    elif seen < 1:
        hint = "A frame that is fast enough already needs no faster engine: that is a factor of 1, not of less."
    expect_close(seen, right, what="the engine's needed speed-up", rtol=1e-6, misconception=hint)
