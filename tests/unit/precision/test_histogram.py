import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.histogram import StreamingHistogram


def histogram_of(*pieces, **options):
    histogram = StreamingHistogram(**options)
    for piece in pieces:
        histogram.update(np.asarray(piece))
    return histogram


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
def test_equals_numpys_histogram_of_all_data(scale):
    rng = np.random.default_rng(0)
    pieces = [rng.normal(0, scale * factor, 3000) for factor in (0.3, 1, 5, 0.1)]
    histogram = histogram_of(*pieces)
    everything = np.abs(np.concatenate(pieces))
    expected, _ = np.histogram(everything, bins=2048, range=(0, histogram.limit))
    # Merging is exact; only values on a bin's edge may fall to either side.
    assert np.abs(histogram.counts - expected).sum() <= 4
    assert histogram.amax == everything.max()
    assert histogram.total == everything.size


@settings(deadline=None)
@given(st.lists(arrays(np.float32, st.integers(0, 30), elements=st.floats(-1e6, 1e6, width=32)), max_size=6))
def test_no_value_is_lost_and_the_range_covers_them(pieces):
    histogram = histogram_of(*pieces)
    everything = np.abs(np.concatenate(pieces)) if pieces else np.zeros(0)
    assert histogram.total == everything.size
    assert histogram.amax == (everything.max() if everything.size else 0)
    assert histogram.limit >= histogram.amax or histogram.limit == 0


def test_order_of_the_pieces_does_not_matter_once_the_range_is_set():
    rng = np.random.default_rng(1)
    pieces = [rng.normal(size=500) for _ in range(4)]
    largest = max(pieces, key=lambda piece: np.abs(piece).max())
    rest = [piece for piece in pieces if piece is not largest]
    a, b = histogram_of(largest, *rest), histogram_of(largest, *reversed(rest))
    np.testing.assert_array_equal(a.counts, b.counts)


def test_the_range_doubles():
    histogram = histogram_of([1.0], [1.5], [9.0], bin_count=8)
    assert histogram.limit == 16.0
    np.testing.assert_array_equal(histogram.counts, [2, 0, 0, 0, 1, 0, 0, 0])


def test_the_largest_value_is_in_the_last_bin():
    histogram = histogram_of([0.0, 2.0], bin_count=4)
    np.testing.assert_array_equal(histogram.counts, [1, 0, 0, 1])


def test_zeros_wait_for_a_scale():
    histogram = histogram_of(np.zeros(5))
    assert (histogram.total, histogram.limit, histogram.amax, histogram.quantile(0.5)) == (5, 0.0, 0.0, 0.0)
    histogram.update(np.array([4.0, 0.0]))
    assert histogram.total == 7
    assert histogram.counts[0] == 6


def test_subnormal_values_count_as_zero():
    histogram = histogram_of(np.float32([1e-41]))
    assert (histogram.total, histogram.limit) == (1, 0.0)


@settings(deadline=None)
@given(st.lists(arrays(np.float32, st.integers(0, 20), elements=st.floats(-1e6, 1e6, width=32)), max_size=8))
def test_two_halves_make_the_whole(pieces):
    """In turns into two aligned histograms, and merged: as if all had gone into one."""
    halves = histogram_of(), histogram_of()
    for turn, piece in enumerate(pieces):
        halves[turn % 2].align(halves[1 - turn % 2])
        halves[turn % 2].update(piece)
    merged, single = halves[0].merged(halves[1]), histogram_of(*pieces)
    assert (merged.limit, merged.amax, merged.total) == (single.limit, single.amax, single.total)
    # A value on a bin's edge may fall to either side, as its bin may have been finer when it came.
    ours, theirs = np.cumsum(merged.counts), np.cumsum(single.counts)
    assert np.all((ours[1:] >= theirs[:-1]) & (ours[:-1] <= theirs[1:]))
    assert sum(half.total for half in halves) == merged.total


@settings(deadline=None)
@given(
    st.lists(arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e3, 1e3, width=32)), min_size=1, max_size=4)
)
def test_signs_are_counted_apart(pieces):
    histogram = histogram_of(*pieces)
    values = np.concatenate(pieces)
    if histogram.limit == 0.0:
        return
    # A value so small that it vanishes beside the range counts as positive.
    assert abs(histogram.negative.sum() - np.count_nonzero(values < 0)) <= np.count_nonzero(
        np.abs(values) < 1e-3 * histogram.bin_width
    )
    np.testing.assert_array_equal(histogram.positive + histogram.negative, histogram.counts)
    mirrored = histogram_of(*(-piece for piece in pieces))
    assert mirrored.limit == histogram.limit
    edges = np.arange(2049) * histogram.bin_width
    inner = np.abs(np.abs(values)[:, None] - edges).min() > 1e-3 * histogram.bin_width
    if inner:  # no value on an edge
        np.testing.assert_array_equal(mirrored.positive, histogram.negative)


@pytest.mark.parametrize(
    ("values", "side"),
    [([3.0, -1.0], "positive"), ([1.0, -3.0], "negative"), ([2.0, -2.0], "positive"), ([0.0], "positive")],
)
def test_the_longer_side(values, side):
    histogram = histogram_of(values, bin_count=4)
    np.testing.assert_array_equal(histogram.longer_side, getattr(histogram, side))


def test_merging_changes_neither():
    one = histogram_of([1.0, 0.3])
    other = histogram_of()
    other.align(one)
    other.update(np.array([7.0]))
    before = one.counts.copy(), other.counts.copy()
    assert one.merged(other).limit == 8.0
    np.testing.assert_array_equal(one.counts, before[0])
    np.testing.assert_array_equal(other.counts, before[1])


@pytest.mark.parametrize("other", [histogram_of([1.5]), histogram_of([1.0], bin_count=4)])
def test_bins_that_do_not_match_are_not_merged(other):
    with pytest.raises(InputError, match="do not share their bins"):
        histogram_of([1.0]).merged(other)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad):
    with pytest.raises(InputError, match="not finite") as caught:
        histogram_of([1.0, bad])
    assert "yolotrt verify" in caught.value.fix


def test_bins_come_in_pairs():
    with pytest.raises(InputError, match="pairs"):
        StreamingHistogram(bin_count=3)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999, 1.0])
def test_quantiles(share):
    values = np.abs(np.random.default_rng(2).normal(size=20_000))
    histogram = histogram_of(values)
    assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), abs=2 * histogram.bin_width)
    assert histogram.share_above(histogram.quantile(share)) == pytest.approx(1 - share, abs=2e-3)


def test_memory_does_not_grow_with_the_data():
    histogram = StreamingHistogram()
    batch = np.random.default_rng(3).normal(size=50_000).astype(np.float32)
    histogram.update(batch)
    before = histogram.state_bytes
    tracemalloc.start()
    for factor in range(1, 200):
        histogram.update(batch * np.float32(factor))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert histogram.state_bytes == before == 2 * 2048 * 8  # both signs
    assert kept < 100_000  # less than half of one batch
