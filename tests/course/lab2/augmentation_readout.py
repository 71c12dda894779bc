"""Wrong and right answers to lab2.augmentation_readout."""

import math
import statistics

import numpy as np
from scipy.stats import ttest_rel
from tests_course_api import right, wrong


def _table(rows):
    table = {}
    for row in rows:
        table.setdefault(row["augmentation"], {})[row["seed"]] = row["map50_95"]
    return table


def _readout(rows, baseline, t_quantile, *, gains_of=None, half_of=None, verdict_of=None):
    """The frame that the wrong answers share."""
    table = _table(rows)
    base = table.pop(baseline)
    result = {}
    for name, runs in table.items():
        gains = gains_of(runs, base) if gains_of else [runs[seed] - base[seed] for seed in runs if seed in base]
        spread, n = statistics.stdev(gains), len(gains)
        half = half_of(gains, runs, base) if half_of else t_quantile[n - 1] * spread / math.sqrt(n)
        gain = statistics.fmean(gains)
        low, high = gain - half, gain + half
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "unclear"
        if verdict_of:
            verdict = verdict_of(gain)
        result[name] = {"gain": gain, "low": low, "high": high, "verdict": verdict}
    return result


@wrong(caught_by="test_verdicts", says="whatever the mean says")
def sign_of_the_mean(rows, baseline, t_quantile):
    """Better on average is better."""
    return _readout(rows, baseline, t_quantile, verdict_of=lambda gain: "helps" if gain > 0 else "hurts")


@wrong(caught_by="test_gains_are_paired", says="paired by row")
def paired_by_row(rows, baseline, t_quantile):
    """Trusts the order of the rows."""

    def gains_of(runs, base):
        return [a - b for a, b in zip(runs.values(), base.values(), strict=False)]

    return _readout(rows, baseline, t_quantile, gains_of=gains_of)


@wrong(caught_by="test_gains_are_paired", says="different seeds where one is missing")
def difference_of_means(rows, baseline, t_quantile):
    """Averages first and subtracts afterwards."""
    table = _table(rows)
    base = statistics.fmean(table[baseline].values())
    result = _readout(rows, baseline, t_quantile)
    for name, entry in result.items():
        entry["gain"] = statistics.fmean(table[name].values()) - base
    return result


@wrong(caught_by="test_gains_are_paired", says="lucky one")
def best_against_best(rows, baseline, t_quantile):
    """Reports each augmentation's best run."""
    table = _table(rows)
    result = _readout(rows, baseline, t_quantile)
    for name, entry in result.items():
        entry["gain"] = max(table[name].values()) - max(table[baseline].values())
    return result


@wrong(caught_by="test_intervals_are_student_t", says="single run")
def scatter_of_single_runs(rows, baseline, t_quantile):
    """Forgets that a mean is better known than a run."""
    return _readout(
        rows, baseline, t_quantile, half_of=lambda gains, *_: t_quantile[len(gains) - 1] * statistics.stdev(gains)
    )


@wrong(caught_by="test_intervals_are_student_t", says="1.96 belongs")
def normal_quantile(rows, baseline, t_quantile):
    """Takes the normal distribution's quantile for a handful of runs."""
    return _readout(
        rows, baseline, t_quantile, half_of=lambda gains, *_: 1.96 * statistics.stdev(gains) / math.sqrt(len(gains))
    )


@wrong(caught_by="test_intervals_are_student_t", says="n - 1")
def population_deviation(rows, baseline, t_quantile):
    """NumPy's default."""

    def half_of(gains, *_):
        return t_quantile[len(gains) - 1] * np.std(gains) / math.sqrt(len(gains))

    return _readout(rows, baseline, t_quantile, half_of=half_of)


@wrong(caught_by="test_intervals_are_student_t", says="cancel in the difference per seed")
def unpaired_interval(rows, baseline, t_quantile):
    """Adds the variances of both sides."""

    def half_of(gains, runs, base):
        variance = statistics.variance(runs.values()) + statistics.variance(base.values())
        n = min(len(runs), len(base))
        return t_quantile[n - 1] * math.sqrt(variance) / math.sqrt(n)

    return _readout(rows, baseline, t_quantile, half_of=half_of)


@wrong(caught_by="test_one_entry_per_augmentation", says="compared with itself")
def baseline_included(rows, baseline, t_quantile):
    """Lists the baseline among the augmentations."""
    result = _readout(rows, baseline, t_quantile)
    return {baseline: {"gain": 0.0, "low": 0.0, "high": 0.0, "verdict": "unclear"}, **result}


@right
def with_scipy(rows, baseline, t_quantile):
    """SciPy's paired test and its interval; NumPy floats."""
    result = {}
    for name in {row["augmentation"] for row in rows} - {baseline}:
        arms = {
            each: {r["seed"]: r["map50_95"] for r in rows if r["augmentation"] == each} for each in (name, baseline)
        }
        seeds = sorted(set(arms[name]) & set(arms[baseline]))
        runs, base = (np.array([arms[each][seed] for seed in seeds]) for each in (name, baseline))
        gain = (runs - base).mean()
        # The given quantiles have three decimals; SciPy's own interval differs in the fifth.
        error = ttest_rel(runs, base)
        half = t_quantile[len(seeds) - 1] * abs(gain / error.statistic)
        verdict = "unclear" if abs(gain) <= half else ("helps" if gain > 0 else "hurts")
        result[name] = {"gain": gain, "low": gain - half, "high": gain + half, "verdict": verdict}
    return result


@right
def as_arrays_with_gaps(rows, baseline, t_quantile):
    """A matrix of seeds by augmentation, NaN where a run is missing."""
    names = list(dict.fromkeys(row["augmentation"] for row in rows))
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    matrix = np.full((len(seeds), len(names)), np.nan)
    for row in rows:
        matrix[seeds.index(row["seed"]), names.index(row["augmentation"])] = row["map50_95"]
    gains = matrix - matrix[:, [names.index(baseline)]]
    n = np.isfinite(gains).sum(axis=0)
    mean, spread = np.nanmean(gains, axis=0), np.nanstd(gains, axis=0, ddof=1)
    result = {}
    for index, name in enumerate(names):
        if name == baseline:
            continue
        half = t_quantile[int(n[index]) - 1] * spread[index] / np.sqrt(n[index])
        low, high = float(mean[index] - half), float(mean[index] + half)
        verdict = ("hurts", "unclear", "helps")[1 + (low > 0) - (high < 0)]
        result[name] = {"gain": float(mean[index]), "low": low, "high": high, "verdict": verdict}
    return result
