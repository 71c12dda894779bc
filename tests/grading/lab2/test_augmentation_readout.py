"""lab2.augmentation_readout: which augmentations help, and which only seem to."""

import math

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.augmentation_readout",
    title="Read an ablation table",
    objective="Tell an effect from the noise between seeds.",
    answer="read_ablation",
    difficulty=3,
    minutes=30,
    cases=("five seeds", "three seeds", "rows shuffled", "runs missing", "noisy seeds"),
    hidden=("five seeds", "rows shuffled", "runs missing", "noisy seeds"),
    reading="https://en.wikipedia.org/wiki/Student%27s_t-test#Dependent_t-test_for_paired_samples",
)

VERDICTS = ("helps", "hurts", "unclear")
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}
_EFFECTS = {"flips": 0.03, "mosaic": 0.02, "colour": 0.0, "mixup": -0.002, "rotation": -0.06}


def inputs(case, rng):
    """A table of runs: one row per augmentation and seed, and the baseline's rows."""
    seeds = 3 if case == "three seeds" else int(rng.integers(5, 8))
    numbers = rng.choice(100, seeds, replace=False)
    between = 0.04 if case == "noisy seeds" else 0.008
    seed_effect = rng.normal(0, between, seeds)
    rows = []
    for name, effect in {"none": 0.0, **_EFFECTS}.items():
        scatter = _scatter(name, effect, seeds, rng)
        for seed, common, own in zip(numbers, seed_effect, scatter, strict=True):
            value = round(float(0.45 + common + own), 4)
            rows.append({"augmentation": name, "seed": int(seed), "map50_95": value})
    if case in ("rows shuffled", "noisy seeds"):
        rows = [rows[index] for index in rng.permutation(len(rows))]
    if case == "runs missing":  # of two augmentations one run is lost, and of the baseline another one
        lost = {("mosaic", numbers[0]), ("rotation", numbers[1]), ("none", numbers[2])}
        rows = [row for row in rows if (row["augmentation"], row["seed"]) not in lost]
    return {"rows": rows, "baseline": "none", "t_quantile": dict(_T)}


def _scatter(name, effect, seeds, rng):
    """Return effects per seed whose interval is clearly on one side of zero, or clearly around it."""
    if name == "none":
        return np.zeros(seeds)
    noise = rng.normal(0, 1, seeds)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    half = _T[seeds - 1] / math.sqrt(seeds)  # of the interval, in units of the scatter
    if abs(effect) >= 0.02:
        return effect + noise * abs(effect) * 0.4 / half
    # Unclear: the mean is a third of the half width.
    return effect + noise * 0.012 / half + 0.004 * rng.choice([-1, 1])


def reference(rows, baseline, t_quantile, *, paired=True, by_row=False, ddof=1, of_mean=True, quantile=None):
    """Return the readout. The switches give what people get wrong."""
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        values.setdefault(row["augmentation"], {})[row["seed"]] = row["map50_95"]
    base = values.pop(baseline)
    readout = {}
    for name, runs in values.items():
        if by_row:
            count = min(len(runs), len(base))
            gains = np.array(list(runs.values())[:count]) - np.array(list(base.values())[:count])
        else:
            gains = np.array([runs[seed] - base[seed] for seed in runs if seed in base])
        gain = float(np.mean(gains))
        spread = float(np.std(gains, ddof=ddof))
        n = len(gains)
        if not paired:
            a, b = np.array(list(runs.values())), np.array(list(base.values()))
            gain = float(a.mean() - b.mean())
            spread, n = math.sqrt(a.var(ddof=1) + b.var(ddof=1)), min(len(a), len(b))
        half = (quantile or t_quantile[n - 1]) * spread / (math.sqrt(n) if of_mean else 1.0)
        low, high = gain - half, gain + half
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "unclear"
        readout[name] = {"gain": gain, "low": low, "high": high, "verdict": verdict}
    return readout


def _read(answer):
    """Return the readout, every augmentation in it."""
    wanted = reference(**answer.inputs)
    found = answer.mapping()
    baseline = answer.inputs["baseline"]
    expect(
        baseline not in found,
        expected="one entry per augmentation",
        seen=f"an entry for {baseline!r} too",
        misconception="The baseline is what the others are compared with; compared with itself it says nothing.",
    )
    answer.mapping(keys=tuple(wanted))
    for name in wanted:
        answer.item(name).mapping(keys=("gain", "low", "high", "verdict"))
    return wanted


def _compare(answer, keys, ideas):
    given = answer.inputs
    wanted = _read(answer)
    for name, right in wanted.items():
        for key in keys:
            seen = answer.item(name).item(key).number()
            if abs(seen - right[key]) <= 2e-6:
                continue
            text = ""
            for switches, idea in ideas:
                if abs(reference(**given, **switches)[name][key] - seen) <= 2e-6:
                    text = idea
                    break
            raise Mismatch(expected=f"{name}: {key} {right[key]:+.5f}", seen=f"{seen:+.5f}", misconception=text)


@points(1)
def test_one_entry_per_augmentation(answer):
    """One entry per augmentation, with gain, interval and verdict."""
    for name in _read(answer):
        verdict = answer.item(name).item("verdict").text()
        expect(verdict in VERDICTS, expected=f"{name}: one of {', '.join(VERDICTS)}", seen=repr(verdict)[:60])


@points(3)
def test_gains_are_paired(answer):
    """The gain is the mean difference of runs with the same seed."""
    given = answer.inputs
    best = _best_of_seeds(**given)
    ideas = (
        ({"by_row": True}, "Paired by row, not by seed: the rows come in any order, and some are missing."),
        ({"paired": False}, "The difference of two means compares runs with different seeds where one is missing."),
    )
    wanted = _read(answer)
    for name in wanted:
        seen = answer.item(name).item("gain").number()
        if abs(seen - wanted[name]["gain"]) > 2e-6 and abs(seen - best[name]) <= 2e-6:
            raise Mismatch(
                expected=f"{name}: gain {wanted[name]['gain']:+.5f}",
                seen=f"{seen:+.5f}",
                misconception="Best run against best run: with enough seeds, any augmentation has a lucky one.",
            )
    _compare(answer, ("gain",), ideas)


def _best_of_seeds(rows, baseline, t_quantile):
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["augmentation"], []).append(row["map50_95"])
    return {name: max(runs) - max(values[baseline]) for name, runs in values.items()}


@points(3)
def test_intervals_are_student_t(answer):
    """The interval is the 95 % t interval of the mean difference."""
    ideas = (
        ({"of_mean": False}, "That is where a single run may lie. The mean of n runs is known sqrt(n) times better."),
        ({"ddof": 0}, "The standard deviation of a sample divides by n - 1 (`ddof=1`)."),
        ({"quantile": 1.96}, "1.96 belongs to a known standard deviation; one guessed from a few runs needs more."),
        (
            {"quantile": 1.0},
            "That is one standard error on each side, which covers the truth about two times in three.",
        ),
        ({"quantile": 2.0}, "Two standard errors are right for many runs; with a few, Student's t is wider."),
        ({"paired": False}, "The seeds' own differences are in this interval. They cancel in the difference per seed."),
        ({"by_row": True}, "Paired by row, not by seed."),
        ({"of_mean": False, "quantile": 1.0}, "That is the scatter of single runs, not of their mean."),
    )
    _compare(answer, ("low", "high"), ideas)


@points(3)
def test_verdicts(answer):
    """What is called a help or a harm is beyond noise."""
    wanted = _read(answer)
    for name, right in wanted.items():
        seen = answer.item(name).item("verdict").text()
        if seen == right["verdict"]:
            continue
        idea = ""
        if right["verdict"] == "unclear":
            idea = "The interval holds zero: these runs cannot tell this from no effect, whatever the mean says."
        elif seen == "unclear":
            idea = (
                "The whole interval lies on one side of zero. Seeds that scatter do so with and without it: pair them."
            )
        raise Mismatch(
            expected=f"{name}, interval {right['low']:+.4f} to {right['high']:+.4f}: another verdict than {seen!r}",
            seen=repr(seen)[:60],
            misconception=idea,
        )
