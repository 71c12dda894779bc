import gc
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.timing import LatencyStats, gc_paused, measure_latency, time_call_ms


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300))
def test_statistics_are_numpys(samples):
    stats = LatencyStats.from_samples(samples)
    assert stats.p50_ms == pytest.approx(np.percentile(samples, 50))
    assert stats.p90_ms == pytest.approx(np.percentile(samples, 90))
    assert stats.p99_ms == pytest.approx(np.percentile(samples, 99))
    assert stats.mean_ms == pytest.approx(np.mean(samples))
    assert stats.min_ms == min(samples)
    assert stats.samples_ms == tuple(samples)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50))
def test_json_round_trip(samples):
    stats = LatencyStats.from_samples(samples)
    again = LatencyStats.from_json(json.loads(json.dumps(stats.to_json())))
    np.testing.assert_allclose(again.samples_ms, stats.samples_ms, atol=1e-6)
    assert again.p99_ms == pytest.approx(stats.p99_ms, abs=1e-5)


def test_statistics_come_from_the_samples_not_from_the_file():
    value = LatencyStats.from_samples([1.0, 2.0, 3.0]).to_json()
    assert LatencyStats.from_json({**value, "p50": 0.1}).p50_ms == 2.0


@pytest.mark.parametrize("samples", [[], [float("nan")], [1.0, float("inf")], [-1.0], [[1.0]]])
def test_samples_that_are_no_latencies(samples):
    with pytest.raises(InputError, match="finite milliseconds"):
        LatencyStats.from_samples(samples)


@pytest.mark.parametrize("value", [{}, {"samples": None}, {"samples": 3}, {"samples": ["1"]}, {"samples": [True]}])
def test_json_without_samples(value):
    with pytest.raises(InputError, match="no samples"):
        LatencyStats.from_json(value)


def test_a_call_is_timed_in_milliseconds(clock):
    assert time_call_ms(clock.takes_ms([2.5])) == pytest.approx(2.5)


def test_warm_up_is_not_measured(clock):
    stats = measure_latency(clock.takes_ms([500, 400, 300, 10]), warmup=3, repeats=5)
    assert stats.samples_ms == (10,) * 5


def test_it_repeats_until_the_median_is_stable(clock):
    restless = [10 + 5 * (index % 2) for index in range(200)]
    stats = measure_latency(clock.takes_ms([*restless, 10]), warmup=0, repeats=10, max_repeats=500)
    assert 200 < len(stats.samples_ms) < 500
    calm = measure_latency(clock.takes_ms([10]), warmup=0, repeats=10, max_repeats=500)
    assert len(calm.samples_ms) == 10


def test_it_gives_up_at_the_most(clock):
    never = [10 + 5 * (index % 2) for index in range(100)]
    stats = measure_latency(clock.takes_ms(never), warmup=0, repeats=10, max_repeats=40)
    assert len(stats.samples_ms) == 40


def test_without_a_maximum_it_runs_exactly_the_repeats(clock):
    restless = [1, 100] * 20
    assert len(measure_latency(clock.takes_ms(restless), warmup=0, repeats=17).samples_ms) == 17


def test_time_is_limited(clock):
    stats = measure_latency(clock.takes_ms([400]), warmup=0, repeats=50, max_seconds=1)
    assert len(stats.samples_ms) == 3
    assert len(measure_latency(clock.takes_ms([400]), warmup=0, repeats=50, max_seconds=0).samples_ms) == 1


def test_the_interval_holds_the_median(clock):
    stats = measure_latency(clock.takes_ms(range(1, 60)), warmup=0, repeats=50)
    low, high = stats.p50_interval_ms
    assert low < stats.p50_ms < high


@pytest.mark.parametrize("counts", [{"warmup": -1}, {"repeats": 0}, {"repeats": 10, "max_repeats": 9}])
def test_counts_out_of_range(counts):
    with pytest.raises(InputError, match="out of range"):
        measure_latency(lambda: None, **counts)


def test_progress(clock):
    seen = []
    measure_latency(clock.takes_ms([1]), warmup=2, repeats=3, on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_off_inside_and_as_before_after(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        seen = []
        measure_latency(lambda: seen.append(gc.isenabled()), warmup=0, repeats=2)
        assert seen == [False, False]
        assert gc.isenabled() is enabled
        with pytest.raises(ZeroDivisionError), gc_paused():
            _ = 1 / 0
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
