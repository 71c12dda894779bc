"""lab3.compare_outputs: three measures of agreement, and which of them is blind to which error."""

from __future__ import annotations

import math

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

MEASURES = ("cosine", "max_abs", "relative_l2")
PLAIN = ("close", "scaled", "one wild value")
TYPES = ("half precision", "bytes")
EDGES = ("both zero", "expected is zero", "actual is zero", "shapes that broadcast", "NaN")
BLIND = ("blind: scaled", "blind: one wild value", "blind: tiny values", "blind: all wrong", "blind: nothing wrong")
FORGED = ("fool cosine", "fool relative_l2", "fool max_abs")

EXERCISE = Exercise(
    id="lab3.compare_outputs",
    title="Three measures of agreement",
    objective="Compute the measures that compare two outputs, and know which errors each of them hides.",
    answer="OutputComparison",
    difficulty=3,
    minutes=30,
    cases=PLAIN + TYPES + EDGES + BLIND + FORGED,
    hidden=PLAIN + TYPES + ("NaN", "shapes that broadcast") + BLIND + FORGED,
    forbidden=(
        "yolotrt_lab.evaluation.tensor_agreement.compare_tensors",
        "yolotrt_lab.evaluation.tensor_agreement._measures",
    ),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/polygraphy/comparator/comparator.html",
)

LIMITS = {"max_abs": 0.01, "relative_l2": 0.01, "cosine": 0.999}


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return arrays to compare, or an array to forge an output for."""
    if case in FORGED:
        measure = case.split()[1]
        size = int(rng.integers(3_000, 6_000))
        values = rng.uniform(-1, 1, size) * 0.004 if measure == "max_abs" else rng.normal(0, 1, size)
        return {"expected": values.astype(np.float32), "fooled": measure, "limits": dict(LIMITS)}
    actual, expected = _pair(case.removeprefix("blind: "), rng)
    given: dict[str, object] = {"actual": actual, "expected": expected}
    if case in BLIND:
        given["limits"] = dict(LIMITS)
    return given


def _pair(case: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shape = (2, int(rng.integers(5, 9)), int(rng.integers(300, 400)))
    expected = rng.normal(0, 1, shape)
    actual = expected + rng.normal(0, 1e-4, shape)
    if case == "scaled":
        actual = expected * rng.uniform(1.2, 1.8)
    elif case == "one wild value":
        actual = actual.copy()
        actual.flat[int(rng.integers(actual.size))] += rng.uniform(0.1, 0.2)
    elif case == "half precision":
        return (300 + 30 * actual).astype(np.float16), (300 + 30 * expected + rng.normal(0, 1, shape)).astype(
            np.float16
        )
    elif case == "bytes":
        bytes_ = rng.integers(0, 256, shape)
        return np.clip(bytes_ + rng.integers(-3, 4, shape), 0, 255).astype(np.uint8), bytes_.astype(np.uint8)
    elif case == "tiny values":
        expected = rng.uniform(0, 0.004, shape)
        actual = rng.uniform(0, 0.004, shape)
    elif case == "all wrong":
        actual = rng.normal(0, 1, shape)
    elif case in ("both zero", "actual is zero"):
        actual = np.zeros(shape)
        expected = np.zeros(shape) if case == "both zero" else expected
    elif case == "expected is zero":
        expected = np.zeros(shape)
    elif case == "shapes that broadcast":
        expected, actual = expected[0, :, 0], actual[0, :, :1]
    elif case == "NaN":
        actual.flat[int(rng.integers(actual.size))] = np.nan
    return actual.astype(np.float32), expected.astype(np.float32)


def run(answer, **given) -> object:
    """Call the method that the case is about; an exception of `measures` is part of its answer."""
    if "fooled" in given:
        return answer.forge(given["expected"], given["fooled"], given["limits"])
    comparison = answer(given["actual"], given["expected"])
    if "limits" in given:
        return comparison.blind(given["limits"])
    try:
        return comparison.measures()
    except ValueError:
        return "ValueError"


def _measures(actual: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    a, e = (value.astype(np.longdouble).ravel() for value in (actual, expected))
    size_a, size_e, off = (float(np.sqrt(np.sum(value * value))) for value in (a, e, a - e))
    relative = off / size_e if size_e else (math.inf if off else 0.0)
    cosine = float(np.sum(a * e)) / (size_a * size_e) if size_a and size_e else float(size_a == size_e)
    return {"max_abs": float(np.max(np.abs(a - e))), "relative_l2": relative, "cosine": cosine}


def _blind(measures: dict[str, float], limits: dict[str, float]) -> list[str]:
    keeps = {name: measures[name] <= limits[name] for name in ("max_abs", "relative_l2")}
    keeps["cosine"] = measures["cosine"] >= limits["cosine"]
    return sorted(name for name, kept in keeps.items() if kept) if not all(keeps.values()) else []


def _check_measures(answer) -> None:
    given = answer.inputs
    if isinstance(answer.output, str):
        raise Mismatch(expected="three measures", seen="a ValueError", misconception="These two can be compared.")
    actual, expected = given["actual"], given["expected"]
    right = _measures(actual, expected)
    answer.mapping(keys=MEASURES)
    for name in MEASURES:
        seen = answer.item(name).number()
        if not math.isclose(seen, right[name], rel_tol=1e-4, abs_tol=1e-6):
            raise Mismatch(
                expected=f"{name} = {right[name]:.6g}",
                seen=f"{seen:.6g}",
                misconception=_idea(name, seen, actual, expected),
            )


def _idea(name: str, seen: float, actual: np.ndarray, expected: np.ndarray) -> str:
    """Return the idea that gives this number, if it is a known one."""
    a, e = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    off = np.linalg.norm(a - e)
    ideas = {
        "max_abs": (
            (float(np.mean(np.abs(a - e))), "That is the mean of the differences: it hides a single wrong value."),
            (float(np.max(a - e)), "Differences below zero count as well."),
            (abs(float(a.max() - e.max())), "That compares the largest values, not the values in the same place."),
        ),
        "relative_l2": (
            (float(off), "That is the norm of the difference alone: it grows with the size of the tensor."),
            (float(off / max(np.linalg.norm(a), 1e-30)), "Relative to what is expected, not to what came."),
            (
                float(np.sqrt(np.mean((a - e) ** 2))),
                "That is the root mean square error: nothing relates it to the values.",
            ),
            (float((off / np.linalg.norm(e)) ** 2), "The root is missing: that is the square of it."),
        ),
        "cosine": (
            (1 - _measures(actual, expected)["cosine"], "That is the cosine distance, 1 minus the cosine."),
            (float(np.corrcoef(a, e)[0, 1]), "That is the correlation: the means must not be subtracted."),
        ),
    }[name]
    for value, words in ideas:
        if math.isclose(seen, value, rel_tol=1e-3, abs_tol=1e-7):
            return words
    if actual.dtype.kind == "u":
        return "Unsigned bytes wrap around: 3 - 5 is 254. Change the type before the arithmetic."
    if actual.dtype == np.float16:
        return "Half precision overflows at 65504, and rounds on the way: change the type before the arithmetic."
    return "Look at the formula once more; the arrays count as one long vector each."


@points(3, cases=PLAIN)
def test_the_measures(answer):
    """The three measures are right."""
    _check_measures(answer)


@points(3, cases=TYPES)
def test_the_arithmetic(answer):
    """The measures are right for half precision and for bytes."""
    if answer.output is not None and not isinstance(answer.output, str):
        for name in MEASURES:
            value = answer.item(name).output
            if not (isinstance(value, (int, float, np.number)) and math.isfinite(value)):
                raise Mismatch(expected=f"a finite {name}", seen=f"{value}", misconception=_overflow(answer.inputs))
    _check_measures(answer)


def _overflow(given: dict[str, np.ndarray]) -> str:
    if given["actual"].dtype == np.float16:
        return "Half precision overflows at 65504: a sum of squares is past that soon. Change the type first."
    return ""


@points(3, cases=EDGES)
def test_what_cannot_be_measured(answer):
    """Zeros have an answer; other shapes and NaN are refused."""
    given = answer.inputs
    refused = isinstance(answer.output, str) and answer.output == "ValueError"
    if given["actual"].shape != given["expected"].shape:
        expect(
            refused,
            expected=f"a ValueError for shapes {given['actual'].shape} and {given['expected'].shape}",
            seen="measures",
            misconception="NumPy broadcasts (n, 1) against (n,) to (n, n) without a word.",
        )
        return
    if not np.isfinite(given["actual"]).all():
        expect(
            refused,
            expected="a ValueError: a value is NaN",
            seen="measures",
            misconception="Every comparison with NaN is False, so `error > limit` lets it pass: refuse it first.",
        )
        return
    expect(not refused, expected="three measures", seen="a ValueError", misconception="Zeros are values as any other.")
    answer.mapping(keys=MEASURES)
    for name, right in _measures(given["actual"], given["expected"]).items():
        seen = answer.item(name).output
        same = isinstance(seen, (int, float, np.number)) and (
            seen == right or math.isclose(float(seen), right, rel_tol=1e-4, abs_tol=1e-6)
        )
        expect(
            same,
            expected=f"{name} = {right:.6g}",
            seen=f"{name} = {seen}",
            misconception="Where a norm is zero the formula divides by zero; the answer cell says what to return then.",
        )


@points(3, cases=BLIND)
def test_which_measure_is_blind(answer):
    """The measures that hide an error are named."""
    given = answer.inputs
    right = _blind(_measures(given["actual"], given["expected"]), given["limits"])
    seen = answer.list()
    if sorted(map(str, seen)) != right:
        raise Mismatch(
            expected=f"blind: {', '.join(right) or 'none'}",
            seen=", ".join(map(str, seen)) or "none",
            misconception=_blind_idea(sorted(map(str, seen)), right, given),
        )


def _blind_idea(seen: list[str], right: list[str], given: dict[str, np.ndarray]) -> str:
    measures = _measures(given["actual"], given["expected"])
    inverted = sorted(set(MEASURES) - set(right))
    if right and seen == inverted:
        return "Those are the measures that see the error. Blind are the others."
    if not right and seen == sorted(MEASURES) and _blind(measures, given["limits"]) == []:
        return "Where nothing is wrong, nothing is hidden: a measure is blind only if another one breaks its limit."
    if ("cosine" in seen) != ("cosine" in right):
        return "The cosine is better when it is larger: its limit is a least value, the others' a greatest."
    return "Blind is a measure that keeps its limit although another one breaks its own."


@points(2, cases=FORGED)
def test_forged_outputs(answer):
    """A forged output fools the measure it should fool."""
    given = answer.inputs
    expected, limits, fooled = given["expected"], given["limits"], given["fooled"]
    forged = answer.array(shape=expected.shape)
    if not np.isfinite(forged).all():
        raise Mismatch(
            expected="finite values", seen="NaN or infinity", misconception="Shape and finiteness come first."
        )
    measures = _measures(forged, expected)
    shown = ", ".join(f"{name} {measures[name]:.4g}" for name in MEASURES)
    blind = _blind(measures, limits)
    expect(
        fooled in blind,
        expected=f"{fooled} within its limit ({limits[fooled]}) while another measure breaks its own",
        seen=shown,
        misconception=_forged_idea(fooled, measures, limits),
    )


def _forged_idea(fooled: str, measures: dict[str, float], limits: dict[str, float]) -> str:
    keeps = measures["cosine"] >= limits["cosine"] if fooled == "cosine" else measures[fooled] <= limits[fooled]
    if keeps:
        return "No measure sees an error here, because there is none worth the name: be bolder."
    reasons = {
        "cosine": "The cosine sees the direction only. What can be done to a vector without turning it?",
        "relative_l2": "Relative L2 spreads an error over the whole tensor. How many values have to be wrong?",
        "max_abs": "The greatest difference knows nothing of the size of the values. How small are they here?",
    }
    return reasons[fooled]
