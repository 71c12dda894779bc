"""Pictures of latencies, batches and Amdahl's law: what they show, and that it can be read."""

import numpy as np
import pytest
from matplotlib.text import Text

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.latency import BatchPoint, amdahl, batch_tradeoff, latency_tail, share_bars
from yolotrt_lab.report.schema import PlatformInfo

PLATFORM = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on AMD EPYC)")
STAGES = {"preprocess": 3.1, "copy_in": 0.6, "inference": 12.2, "copy_out": 0.3, "postprocess": 1.4}


def samples(count=300):
    rng = np.random.default_rng(0)
    times = 8 * rng.lognormal(0, 0.04, count)
    times[::25] *= 2.2
    return times


def sweep(scale=1.0):
    return [BatchPoint(batch, scale * (4 + 1.1 * batch), 1000 * batch / (4 + batch)) for batch in (1, 2, 4, 8, 16, 32)]


FIGURES = {
    "tail": lambda p: latency_tail(samples(), platform=p),
    "tail, one call": lambda p: latency_tail([5.0], platform=p),
    "tail, equal calls": lambda p: latency_tail([5.0] * 20, platform=p),
    "trade": lambda p: batch_tradeoff({"FP32": sweep()}, latency="p99 of the batch", budget_ms=20, platform=p),
    "trade, two": lambda p: batch_tradeoff(
        {"kernel by kernel": sweep(4), "one CUDA graph": sweep(1)}, latency="p99 of the batch", platform=p
    ),
    "shares": lambda p: share_bars({"FP32": STAGES, "INT8": {**STAGES, "inference": 7.0}}, platform=p),
    "amdahl": lambda p: amdahl(STAGES, platform=p),
    "amdahl, little to win": lambda p: amdahl({**STAGES, "inference": 2.0}, platform=p),
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


def test_the_tail_names_its_summaries():
    words = words_of(latency_tail([1.0] * 90 + [11.0] * 10))
    for text in ("median 1.00 ms", "mean 2.00 ms", "p99 11.00 ms"):
        assert text in words


def test_calls_far_out_are_counted_not_drawn():
    figure = latency_tail([*np.linspace(1, 2, 999), 500.0])
    assert "1000 calls; 1 are above the picture" in words_of(figure)
    assert figure.axes[0].get_ylim()[1] < 10


def test_no_samples_are_refused():
    with pytest.raises(InputError):
        latency_tail([])


def test_the_tradeoff_shows_every_batch_with_its_number():
    axes = batch_tradeoff({"FP32": sweep()[::-1]}, latency="p99", budget_ms=20).axes[0]
    line = axes.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), [point.latency_ms for point in sweep()])
    np.testing.assert_allclose(line.get_ydata(), [point.images_per_s for point in sweep()])
    assert {"1", "2", "4", "8", "16", "32", "budget 20 ms"} <= {text.get_text() for text in axes.texts}


def test_far_latencies_are_drawn_on_a_logarithmic_axis():
    near, far = (batch_tradeoff({"a": points}, latency="p99").axes[0] for points in (sweep()[:4], sweep() + sweep(9)))
    assert (near.get_xscale(), far.get_xscale()) == ("linear", "log")


def test_bars_have_the_stages_shares():
    axes = share_bars({"FP32": STAGES, "ten times as slow": {name: 10 * ms for name, ms in STAGES.items()}}).axes[0]
    widths = [patch.get_width() for patch in axes.patches if patch.get_width()]
    np.testing.assert_allclose(widths, [100 * ms / 17.6 for ms in STAGES.values()] * 2)
    assert {"12.2", "122", "17.6 ms", "176 ms"} <= {text.get_text() for text in axes.texts}


def test_amdahl_bars_and_bound():
    figure = amdahl(STAGES, factors=(1, 2))
    bars, curve = figure.axes
    rows = {0: 17.6, 1: 11.5, 2: 5.4}
    for row, total in rows.items():
        widths = [p.get_width() for p in bars.patches if abs(p.get_y() + p.get_height() / 2 - row) < 0.1]
        assert sum(widths) == pytest.approx(total)
    assert "bound 3.26" in words_of(figure)
    x, y = curve.get_lines()[0].get_data()
    assert y[0] == pytest.approx(1)
    assert np.interp(10, x, y) == pytest.approx(17.6 / (5.4 + 1.22), rel=1e-3)
