"""Pictures about latencies: what they show, and that it can be read."""

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.benchmarking import (
    first_calls,
    latency_tail,
    launch_and_wait,
    percentile_spread,
    told_speedups,
)
from yolotrt_lab.report.schema import PlatformInfo

PLATFORM = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on AMD EPYC)")


def latencies(count=200):
    rng = np.random.default_rng(0)
    samples = 5 * rng.lognormal(0, 0.05, count)
    samples[::20] *= 3
    return samples


TOLD = {"honest": 2.4, "cold start": 9.1, "nobody waited": 140.0, "the other way round": 0.7}
FIGURES = {
    "first": lambda p: first_calls(
        {"PyTorch": [180.0, 9.0, *latencies(20)], "engine": [60.0, *latencies(21)]}, platform=p
    ),
    "tail": lambda p: latency_tail(latencies(), platform=p),
    "spread": lambda p: percentile_spread(latencies(), platform=p),
    "launch": lambda p: launch_and_wait(0.031, 4.4, platform=p),
    "told": lambda p: told_speedups(TOLD, honest="honest", platform=p),
    "told, equal": lambda p: told_speedups({"honest": 1.0, "other": 1.0}, honest="honest", platform=p),
}


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_whole_apart_and_large_enough(name, check_legible):
    check_legible(FIGURES[name](PLATFORM))


@pytest.mark.parametrize("name", FIGURES)
def test_timings_say_where_they_come_from(name, painted_words):
    words = painted_words(FIGURES[name](PLATFORM))
    assert "not GPU timings (AMD EPYC)" in words


def words_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_first_calls_are_compared_with_the_warm_median():
    assert "first call 90.0 ms, warm 3.00 ms (30.0\u00d7)" in words_of(first_calls({"engine": [90.0, 5.0, 3.0, 3.0]}))


def test_the_tail_shows_median_mean_and_percentiles():
    samples = [1.0] * 90 + [11.0] * 10
    words = words_of(latency_tail(samples))
    assert "median 1.00 ms" in words
    assert "mean 2.00 ms" in words
    assert "p99 11.00 ms" in words


def test_calls_slower_than_p99_stand_out():
    samples = np.r_[np.linspace(1, 2, 199), 50.0]
    marked = [line for line in latency_tail(samples).axes[0].get_lines() if line.get_label() == "slower than p99"]
    assert 50.0 in marked[0].get_ydata()
    assert len(marked[0].get_ydata()) == 2


def test_small_benchmarks_scatter_more():
    figure = percentile_spread(latencies(), counts=(10, 200))
    p99, median = (band.get_paths()[0].vertices for band in figure.axes[0].collections)

    def width(vertices, count):
        heights = vertices[vertices[:, 0] == count][:, 1]
        return heights.max() - heights.min()

    assert width(median, 10) > width(median, 200)
    assert width(p99, 200) > width(median, 200)


def test_repeating_a_picture_gives_the_same_picture():
    one, other = (percentile_spread(latencies()).axes[0].get_lines()[0].get_ydata() for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_honest_speedup_comes_first_and_is_the_yardstick():
    axes = told_speedups({"cold start": 9.1, "honest": 2.4}, honest="honest").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["honest", "cold start"]
    vertical = [
        line for line in axes.get_lines() if list(line.get_xdata()) == [2.4, 2.4] and line.get_linestyle() == ":"
    ]
    assert len(vertical) == 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [1.0, -2.0], [[1.0, 2.0]]])
def test_what_is_no_latency_is_refused(values):
    for draw in (latency_tail, lambda v: first_calls({"a": v}), percentile_spread):
        with pytest.raises(InputError, match="no latencies"):
            draw(values)


@pytest.mark.parametrize(("launch", "total"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0)])
def test_a_call_that_ends_before_it_was_launched_is_refused(launch, total):
    with pytest.raises(InputError, match="no times of one call"):
        launch_and_wait(launch, total)


@pytest.mark.parametrize("speedups", [{"cold start": 2.0}, {"honest": 2.0, "cold start": 0.0}])
def test_speedups_without_a_yardstick_are_refused(speedups):
    with pytest.raises(InputError, match="no honest speed-up"):
        told_speedups(speedups, honest="honest")


def test_matplotlib_is_left_as_it_was():
    import matplotlib.pyplot as plt

    settings, figures = dict(matplotlib.rcParams), plt.get_fignums()
    for make in FIGURES.values():
        make(None)
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == figures
