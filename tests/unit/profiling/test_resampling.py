import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.resampling import bootstrap_interval, median_interval


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=60))
def test_both_intervals_hold_the_median_and_stay_in_the_data(samples):
    for low, high in (median_interval(samples), bootstrap_interval(samples, resamples=50)):
        assert min(samples) <= low <= high <= max(samples)
    low, high = median_interval(samples)
    assert low <= np.median(samples) <= high


def test_coverage_is_about_95_percent():
    """The claim itself: of many experiments, about 95 % of the intervals hold the true median."""
    random = np.random.default_rng(0)
    experiments = random.exponential(size=(400, 41))
    truth = np.log(2)
    covered = np.mean([low <= truth <= high for low, high in map(median_interval, experiments)])
    assert 0.92 <= covered <= 0.99
    covered = np.mean(
        [low <= truth <= high for low, high in (bootstrap_interval(e, resamples=200) for e in experiments[:150])]
    )
    assert 0.88 <= covered <= 0.99


def test_rows_are_resampled_together():
    """Pairs that belong together have a ratio that never changes; resampling columns apart would spread it."""
    x = np.random.default_rng(0).uniform(1, 10, 50)
    pairs = np.stack([x, 2 * x], axis=1)
    low, high = bootstrap_interval(pairs, statistic=lambda rows: float(np.median(rows[:, 1] / rows[:, 0])))
    assert low == high == 2


def test_more_samples_narrow_the_interval():
    random = np.random.default_rng(1)
    widths = [np.ptp(median_interval(random.normal(size=count))) for count in (20, 200, 2000)]
    assert widths[0] > widths[1] > widths[2]


def test_the_seed_decides():
    samples = np.random.default_rng(2).normal(size=30)
    assert bootstrap_interval(samples, seed=1) == bootstrap_interval(samples, seed=1)
    assert bootstrap_interval(samples, seed=1) != bootstrap_interval(samples, seed=2)


@pytest.mark.parametrize("interval", [median_interval, bootstrap_interval])
def test_nothing_to_resample(interval):
    with pytest.raises(InputError, match=r"nothing|Nothing"):
        interval([])
