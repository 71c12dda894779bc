"""lab5.pareto: which engines are really beaten, given the error bars.

Each engine comes as draws of its median latency and of its mAP. Draw i of all engines rests on the same resampled
rounds and images, so that differences may be taken draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

_NOT_PAIRED = ("clear", "faster but not better", "noise", "judged by one in doubt")

EXERCISE = Exercise(
    id="lab5.pareto",
    title="The Pareto front with error bars",
    objective="Tell engines that are really beaten from those that only look so.",
    answer="judge_engines",
    difficulty=3,
    minutes=20,
    cases=(*_NOT_PAIRED, "overlapping bars"),
    hidden=(*_NOT_PAIRED, "overlapping bars"),
    forbidden=("yolotrt_lab.report.plots.tradeoff.pareto_front",),
    seconds=10.0,
    reading="https://en.wikipedia.org/wiki/Pareto_front",
)

_VERDICTS = ("front", "undecided", "dominated")
_DRAWS = 200
Draws = Mapping[str, np.ndarray]


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    make, wanted = {
        "clear": (_clear, {"front", "dominated"}),
        "faster but not better": (_faster_but_not_better, {"front", "undecided"}),
        "noise": (_noise, {"front", "undecided"}),
        "judged by one in doubt": (_judged_by_one_in_doubt, set(_VERDICTS)),
        "overlapping bars": (_overlapping_bars, {"front", "dominated"}),
    }[case]
    for _ in range(2000):
        latency, accuracy = make(rng)
        right = verdicts(latency, accuracy)
        if (
            set(right.values()) == wanted
            and _is_robust(latency, accuracy, right)
            and _is_telling(case, latency, accuracy)
        ):
            return {"latency_ms": latency, "map50_95": accuracy}
    raise RuntimeError(f"no draws found for {case!r}")


def _is_robust(latency: Draws, accuracy: Draws, right: Mapping[str, str]) -> bool:
    """Return whether neither the exact quantiles nor mean instead of median decide."""
    variants = (
        verdicts(latency, accuracy, confidence=0.93),
        verdicts(latency, accuracy, confidence=0.97),
        verdicts(latency, accuracy, center=np.mean),
    )
    return all(variant == right for variant in variants)


def _is_telling(case: str, latency: Draws, accuracy: Draws) -> bool:
    """Return whether the case shows the mistake that it is there for."""
    right = verdicts(latency, accuracy)
    if case == "faster but not better":
        one_is_enough = verdicts(latency, accuracy, certainly=_one_is_enough)
        return {"undecided", "dominated"} <= set(one_is_enough.values())
    if case == "overlapping bars":
        return verdicts(latency, accuracy, certainly=_bars_apart) != right
    if case == "judged by one in doubt":
        return verdicts(latency, accuracy, only_front_judges=True) != right
    return True


def _engines(
    rng: np.random.Generator,
    centers: Mapping[str, tuple[float, float]],
    *,
    latency_noise: float | Mapping[str, float],
    own: float | Mapping[str, float],
    shared: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return draws around centers (milliseconds, mAP).

    Args:
        rng: Where the draws come from.
        centers: Engine to its true place.
        latency_noise: Relative spread of latency, of an engine's own.
        own: Spread of mAP, of an engine's own.
        shared: Spread of mAP that all engines share, because some drawn images are harder than others.
    """
    together = rng.normal(0, shared, _DRAWS)
    latency, accuracy = {}, {}
    for name, (milliseconds, quality) in centers.items():
        slow = latency_noise if isinstance(latency_noise, float) else latency_noise[name]
        spread = own if isinstance(own, float) else own[name]
        latency[name] = milliseconds * (1 + rng.normal(0, slow, _DRAWS))
        accuracy[name] = np.clip(quality + together + rng.normal(0, spread, _DRAWS), 0, 1)
    return latency, accuracy


def _named(rng: np.random.Generator, *centers: tuple[float, float]) -> dict[str, tuple[float, float]]:
    names = [f"{precision} at {size}" for size in (640, 512, 416, 320) for precision in ("FP32", "FP16", "INT8")]
    return {names[place]: center for place, center in zip(rng.permutation(len(names)), centers, strict=False)}


def _clear(rng: np.random.Generator):
    a, b = rng.uniform(0.6, 0.7), rng.uniform(8, 14)
    centers = _named(rng, (b, a), (2.0 * b, a + 0.05), (2.6 * b, a + 0.02), (3.5 * b, a + 0.08), (4.5 * b, a - 0.03))
    return _engines(rng, centers, latency_noise=0.01, own=0.003, shared=0.003)


def _faster_but_not_better(rng: np.random.Generator):
    a, b = rng.uniform(0.65, 0.72), rng.uniform(8, 14)
    gaps = rng.uniform(0.001, 0.003, 2)
    # The second is the first once more, as far as anybody can tell; the others are clearly slower and nothing else.
    centers = _named(rng, (b, a), (1.01 * b, a - 0.001), (1.6 * b, a - gaps[0]), (2.5 * b, a - gaps.sum()))
    return _engines(rng, centers, latency_noise=0.02, own=0.006, shared=0.01)


def _noise(rng: np.random.Generator):
    a, b = rng.uniform(0.6, 0.72), rng.uniform(8, 14)
    centers = _named(rng, *((b * rng.uniform(0.97, 1.03), a + rng.uniform(-0.002, 0.002)) for _ in range(4)))
    return _engines(rng, centers, latency_noise=0.08, own=0.01, shared=0.01)


def _judged_by_one_in_doubt(rng: np.random.Generator):
    a, b = rng.uniform(0.65, 0.7), rng.uniform(8, 14)
    # The first looks best but is hardly known; the second is well known, and really beats the third.
    centers = _named(rng, (b, a), (1.1 * b, a - 0.005), (1.5 * b, a - 0.03))
    wide, narrow = list(centers)[:1], list(centers)[1:]
    noise = {**dict.fromkeys(wide, 0.3), **dict.fromkeys(narrow, 0.01)}
    spread = {**dict.fromkeys(wide, 0.03), **dict.fromkeys(narrow, 0.003)}
    return _engines(rng, centers, latency_noise=noise, own=spread, shared=0.003)


def _overlapping_bars(rng: np.random.Generator):
    a, b = rng.uniform(0.6, 0.7), rng.uniform(8, 14)
    centers = _named(rng, (b, a), (1.5 * b, a - 0.015), (2.2 * b, a - 0.03), (2.9 * b, a + 0.02))
    return _engines(rng, centers, latency_noise=0.01, own=0.002, shared=0.03)


def _interval(values: np.ndarray, confidence: float) -> np.ndarray:
    tail = (1 - confidence) / 2
    return np.quantile(values, [tail, 1 - tail])


def _certainly_beats(latency: Draws, accuracy: Draws, one: str, other: str, confidence: float) -> bool:
    """Return whether `one` is faster and more accurate than `other`, differences taken draw by draw."""
    faster = _interval(latency[one] - latency[other], confidence)[1] < 0
    better = _interval(accuracy[one] - accuracy[other], confidence)[0] > 0
    return bool(faster and better)


def _bars_apart(latency: Draws, accuracy: Draws, one: str, other: str, confidence: float) -> bool:
    """Return the same by comparing the ends of separate error bars."""
    faster = _interval(latency[one], confidence)[1] < _interval(latency[other], confidence)[0]
    better = _interval(accuracy[one], confidence)[0] > _interval(accuracy[other], confidence)[1]
    return bool(faster and better)


def _one_is_enough(latency: Draws, accuracy: Draws, one: str, other: str, confidence: float) -> bool:
    """Return whether `one` looks no worse in both and is certainly better in one of them."""
    faster = _interval(latency[one] - latency[other], confidence)[1] < 0
    better = _interval(accuracy[one] - accuracy[other], confidence)[0] > 0
    return bool((faster or better) and _looks_better(latency, accuracy, one, other, np.median))


def _looks_better(latency: Draws, accuracy: Draws, one: str, other: str, center: Callable[[np.ndarray], float]) -> bool:
    differences = center(latency[other]) - center(latency[one]), center(accuracy[one]) - center(accuracy[other])
    return min(differences) >= 0 and max(differences) > 0


def verdicts(
    latency: Draws,
    accuracy: Draws,
    *,
    confidence: float = 0.95,
    center: Callable[[np.ndarray], float] = np.median,
    certainly: Callable[[Draws, Draws, str, str, float], bool] = _certainly_beats,
    only_front_judges: bool = False,
) -> dict[str, str]:
    """Return the verdict on each engine; the last two arguments are what people get wrong."""
    beaten = {
        name: [other for other in latency if other != name and _looks_better(latency, accuracy, other, name, center)]
        for name in latency
    }
    found = {}
    for name in latency:
        judges = [other for other in latency if other != name and not (only_front_judges and beaten[other])]
        if any(certainly(latency, accuracy, other, name, confidence) for other in judges):
            found[name] = "dominated"
        else:
            found[name] = "undecided" if beaten[name] else "front"
    return found


def _found(answer) -> dict[str, str]:
    """Return the answer's verdicts by engine.

    Raises:
        Mismatch: They are incomplete or others than the three.
    """
    names = tuple(answer.inputs["latency_ms"])
    found = answer.mapping(keys=names)
    unknown = [value for name, value in found.items() if name in names and value not in _VERDICTS]
    if unknown:
        raise Mismatch(expected=f"one of {', '.join(_VERDICTS)} for each engine", seen=repr(unknown[0])[:80])
    extra = [str(name) for name in found if name not in names]
    expect(not extra, expected=f"verdicts on {len(names)} engines", seen=f"also one on {', '.join(extra)[:80]}")
    return {name: str(found[name]) for name in names}


def _all_fail_alike(answer, found: Mapping[str, str]) -> str:
    """Return the words for the typical mistake that gives just these verdicts, or nothing."""
    latency, accuracy = answer.inputs["latency_ms"], answer.inputs["map50_95"]
    right = verdicts(latency, accuracy)
    slow_is_good = {name: -values for name, values in latency.items()}
    ideas = (
        (verdicts(slow_is_good, accuracy), "Read the axes again: less latency is better, more mAP is better."),
        (
            {name: "front" if value == "front" else "dominated" for name, value in right.items()},
            "Only the centres were compared. What lies within the error bars may be the other way round next time.",
        ),
        (
            verdicts(latency, accuracy, certainly=_bars_apart),
            "Separate error bars were compared. They overlap because all engines met the same hard images; the "
            "difference of two engines, draw by draw, does not suffer from that.",
        ),
        (
            verdicts(latency, accuracy, certainly=_one_is_enough),
            "Certainly better in one of the two is not enough: in the other, these draws leave it open.",
        ),
        (
            verdicts(latency, accuracy, only_front_judges=True),
            "An engine may be beaten by one that is itself in doubt: compare with all others.",
        ),
        ({name: "front" for name in right}, "Nobody is ever beaten here. Is each engine compared with every other?"),
    )
    for idea, words in ideas:
        if found == idea != right:
            return words
    return ""


@points(1)
def test_every_engine_has_a_verdict(answer):
    """Each engine is on the front, undecided or dominated."""
    _found(answer)


@points(2)
def test_front(answer):
    """The front holds the engines that none looks better than."""
    found = _found(answer)
    right = verdicts(answer.inputs["latency_ms"], answer.inputs["map50_95"])
    for name, verdict in right.items():
        if (verdict == "front") != (found[name] == "front"):
            raise Mismatch(
                expected=f"{sum(value == 'front' for value in right.values())} of {len(right)} engines on the front",
                seen=f"{sum(value == 'front' for value in found.values())}; {name} is called {found[name]}",
                misconception=_all_fail_alike(answer, found)
                or "On the front are those for which no other is both at least as fast and at least as accurate.",
            )


def _require_same(answer, fallback: str) -> None:
    found = _found(answer)
    right = verdicts(answer.inputs["latency_ms"], answer.inputs["map50_95"])
    wrong = [name for name in right if found[name] != right[name]]
    if wrong:
        raise Mismatch(
            expected=_counted(right),
            seen=f"{_counted(found)}; {wrong[0]} is called {found[wrong[0]]}",
            misconception=_all_fail_alike(answer, found) or fallback,
        )


def _counted(verdict_of: Mapping[str, str]) -> str:
    numbers = {verdict: list(verdict_of.values()).count(verdict) for verdict in _VERDICTS}
    return ", ".join(f"{count} {verdict}" for verdict, count in numbers.items())


@points(2, cases=_NOT_PAIRED)
def test_dominated_means_certainly(answer):
    """Dominated are only those that another engine certainly beats in both."""
    _require_same(
        answer, "Certain is what the whole 95 % interval of the difference says; where it holds zero, it is open."
    )


@points(1, cases=("overlapping bars",))
def test_differences_draw_by_draw(answer):
    """Engines that were measured on the same images are compared on the same images."""
    _require_same(answer, "Take the difference in each draw first, and its interval then.")
