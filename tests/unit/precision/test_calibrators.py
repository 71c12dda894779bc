import warnings

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibrators import (
    METHODS,
    EntropyCalibrator,
    MinMaxCalibrator,
    MseCalibrator,
    OneSidedEntropyCalibrator,
    PercentileCalibrator,
    kl_divergences,
    make_calibrator,
)
from yolotrt_lab.precision.histogram import StreamingHistogram


def amax_of(calibrator, values, pieces=3):
    for piece in np.array_split(values, pieces):
        calibrator.update(piece)
    return calibrator.compute_amax()


def textbook_divergences(counts, levels=128):
    """KL(P || Q) for every cut, word for word from the slides, with loops instead of cumulative sums."""
    bins = counts.astype(float)
    bins[0] = bins[1]
    result = []
    for cut in range(levels, len(bins) + 1):
        p = bins[:cut].copy()
        p[-1] += bins[cut:].sum()
        q = np.zeros(cut)
        members = [[] for _ in range(levels)]
        for position in range(cut):
            members[position * levels // cut].append(position)
        for level in members:
            filled = [position for position in level if bins[position] > 0]
            for position in filled:
                q[position] = sum(bins[other] for other in filled) / len(filled)
        p, q = p / p.sum(), q / q.sum() if q.sum() else q
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, p * np.log(p / q), 0.0)
        result.append(terms.sum())
    return np.array(result)


def gaussian(rng):
    return rng.normal(size=20_000)


def gaussian_with_outlier(rng):
    return np.append(rng.normal(size=20_000), 30.0)


def uniform(rng):
    return rng.uniform(-1, 1, 20_000)


def silu(rng):
    x = rng.normal(0, 2, 20_000)
    return x / (1 + np.exp(-x))


def relu(rng):
    return np.maximum(rng.normal(size=20_000), 0)


@pytest.mark.parametrize("draw", [gaussian, gaussian_with_outlier, uniform, silu, relu])
def test_divergences_are_the_textbooks(draw):
    counts, _ = np.histogram(np.abs(draw(np.random.default_rng(0))), bins=512)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = kl_divergences(counts)
    expected = textbook_divergences(counts)
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))
    np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_entropy_clips_an_outlier():
    amax = amax_of(EntropyCalibrator(), gaussian_with_outlier(np.random.default_rng(0)))
    assert 2.5 < amax < 6


def test_entropy_does_not_clip_a_uniform_distribution():
    assert amax_of(EntropyCalibrator(), uniform(np.random.default_rng(0))) > 0.99


def nvidias_amax(counts, width):
    """The threshold by NVIDIA's rule (ModelOpt's HistogramCalibrator): the last best cut, as the edge of its bin."""
    divergences = textbook_divergences(counts)
    return (128 + len(divergences) - 1 - np.argmin(divergences[::-1])) * width


@pytest.mark.parametrize("draw", [gaussian, gaussian_with_outlier, silu, relu])
def test_the_threshold_is_nvidias(draw):
    """End to end from values, with fewer bins, because the slow way has to look at every bin of every cut."""
    values = draw(np.random.default_rng(1))
    for kind, sides in ((EntropyCalibrator, np.abs(values)), (OneSidedEntropyCalibrator, np.maximum(values, 0))):
        calibrator = kind(StreamingHistogram(bin_count=512))
        if np.abs(values).max() > values.max():
            sides = np.abs(values) if kind is EntropyCalibrator else np.maximum(-values, 0)
        calibrator.update(values)
        counts, edges = np.histogram(sides, bins=512, range=(0, np.abs(values).max()))
        if kind is OneSidedEntropyCalibrator:
            counts[0] -= np.count_nonzero(sides == 0) - np.count_nonzero(values == 0)  # those of the other sign
        assert calibrator.compute_amax() == pytest.approx(nvidias_amax(counts, edges[1]), rel=1e-6)


SILU_MINIMUM = 0.27846454


@pytest.mark.parametrize("spread", [1.0, 2.0, 3.0, 4.0])
def test_the_cliff_of_silu_decides_the_entropy(spread):
    """A level's edge lies on the cliff, whatever the tail; counting one side only, the tail decides again."""
    x = np.random.default_rng(0).normal(0, spread, 400_000)
    values = (x / (1 + np.exp(-x))).astype(np.float32)
    levels = 128 * SILU_MINIMUM / amax_of(EntropyCalibrator(), values)
    assert abs(levels - round(levels)) < 0.1
    both, one, mse = (amax_of(kind(), values) for kind in (EntropyCalibrator, OneSidedEntropyCalibrator, MseCalibrator))
    assert both < 0.88 * mse < 0.95 * one
    assert one <= values.max()


def test_one_side_of_a_symmetric_distribution_is_like_both():
    values = gaussian(np.random.default_rng(6))
    mirrored = np.concatenate([values, -values])
    assert amax_of(OneSidedEntropyCalibrator(), mirrored) == pytest.approx(
        amax_of(EntropyCalibrator(), mirrored), rel=0.1
    )
    assert amax_of(OneSidedEntropyCalibrator(), -silu(np.random.default_rng(7))) == pytest.approx(
        amax_of(OneSidedEntropyCalibrator(), silu(np.random.default_rng(7))), rel=1e-6
    )


def test_entropy_agrees_with_onnx_runtimes():
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = silu(np.random.default_rng(1)).astype(np.float32)
    collector = HistogramCollector(
        "entropy", True, num_bins=2048, num_quantized_bins=128, percentile=99.99, scenario="x"
    )
    collector.collect({"x": [values]})
    theirs = collector.compute_collection_result()["x"][1]
    ours = amax_of(EntropyCalibrator(), values)
    # Theirs looks at signed values with 128 levels for both signs, so only the neighborhood can agree.
    assert ours == pytest.approx(float(theirs), rel=0.25)


@pytest.mark.parametrize("method", METHODS)
def test_pixels_are_not_clipped(method):
    """256 values fill every eighth bin; a cut after the first tooth would map everything but black to 127."""
    pixels = np.random.default_rng(2).integers(0, 256, 200_000).astype(np.float32) / 255
    assert amax_of(make_calibrator(method), pixels) > 0.97


@pytest.mark.parametrize("method", METHODS)
def test_zeros_have_no_range(method):
    assert amax_of(make_calibrator(method), np.zeros(100)) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_values_must_be_finite(method):
    with pytest.raises(InputError, match="not finite"):
        make_calibrator(method).update(np.float32([1, np.nan]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
def test_ranges_scale_with_the_values(method, scale):
    values = silu(np.random.default_rng(3))
    one, other = amax_of(make_calibrator(method), values), amax_of(make_calibrator(method), values * scale)
    assert other == pytest.approx(one * scale, rel=1e-3)
    assert one <= np.abs(values).max()


def test_minmax_is_the_largest_magnitude():
    calibrator = MinMaxCalibrator()
    assert amax_of(calibrator, np.array([1.0, -7.5, 3.0])) == 7.5
    assert calibrator.observed_amax == 7.5
    assert calibrator.saturation(7.5) == 0.0


@pytest.mark.parametrize("percentile", [90.0, 99.9, 99.99])
def test_percentile_is_numpys(percentile):
    values = np.abs(np.random.default_rng(4).normal(size=400_000))
    calibrator = PercentileCalibrator(percentile=percentile)
    amax = amax_of(calibrator, values)
    assert amax == pytest.approx(np.percentile(values, percentile), rel=0.01)
    assert calibrator.saturation(amax) == pytest.approx(1 - percentile / 100, abs=1e-3)


def test_mse_beats_every_other_range():
    values = silu(np.random.default_rng(5))
    best = amax_of(MseCalibrator(), values)

    def damage(amax):
        step = amax / 127
        return (np.abs(values - np.clip(np.rint(values / step), -127, 127) * step) ** 2.4).sum()

    others = np.abs(values).max() * np.linspace(0.1, 1, 40)
    assert damage(best) <= 1.02 * min(damage(other) for other in others)
    assert best < np.abs(values).max()


def test_bad_choices():
    with pytest.raises(InputError, match="No such calibration method") as caught:
        make_calibrator("best")
    assert "entropy" in caught.value.expected
    with pytest.raises(InputError, match="percentile"):
        PercentileCalibrator(percentile=0.9999)
