"""Pictures of calibration: thresholds where they were chosen, pictures as the network sees them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from yolotrt_lab.figures.calibration import (
    divergence_curve,
    histogram_thresholds,
    kept_bins,
    method_errors,
    network_inputs,
    range_shares,
)
from yolotrt_lab.precision.calibrators import kl_divergences


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def vertical_lines(axes):
    return {line.get_label(): line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1}


def test_each_tensor_has_its_thresholds():
    histograms = {"a": (np.array([5, 3, 1, 0]), 0.5), "b": (np.array([1, 0, 0, 0]), 2.0)}
    thresholds = {"a": {"minmax": 1.5, "entropy": 1.0}, "b": {"minmax": 2.0, "entropy": 1.9}}
    first, second = drawn(histogram_thresholds(histograms, thresholds)).axes
    assert vertical_lines(first) == {"min-max": 1.5, "entropy": 1.0}
    assert vertical_lines(second) == {"min-max": 2.0, "entropy": 1.9}
    assert first.get_title(loc="left") == "a"
    assert first.get_xlim()[1] == pytest.approx(1.5 * 1.02)  # empty bins at the end are not shown


def test_an_empty_histogram_can_be_drawn():
    drawn(histogram_thresholds({"never used": (np.zeros(8, np.int64), 0.1)}, {"never used": {"mine": 0.0}}))


def test_the_divergence_leaves_out_what_is_infinite():
    figure = drawn(divergence_curve(np.array([1.0, 2.0, 3.0]), np.array([0.2, np.inf, 0.1]), {"yours": 3.0}))
    (axes,) = figure.axes
    assert np.isnan(axes.lines[0].get_ydata()[1])
    assert vertical_lines(axes) == {"yours: 3": 3.0}
    assert figure.legends


def test_p_and_q_of_every_cut():
    counts = np.array([4, 2, 1, 0, 1])
    first, second = drawn(kept_bins(counts, (2, 4), levels=2)).axes
    assert [bar.get_height() for bar in first.patches][5:] == [0.5, 0.5]  # the outliers are in the last bin
    (told,) = second.lines
    # Levels of two bins each; the second has one that is not empty.
    assert told.get_ydata()[:4] == pytest.approx([3 / 7, 3 / 7, 1 / 7, 0])


@pytest.mark.parametrize("levels", [3, 4, 8])
def test_the_divergences_are_those_of_the_calibrator(levels):
    counts = np.random.default_rng(levels).poisson(40 * np.exp(-np.arange(24) / 4)) + 1
    counts[0] = counts[1]
    expected = kl_divergences(counts, levels=levels)
    cuts = (levels, levels + 5, 24)
    titles = [axes.get_title(loc="left") for axes in drawn(kept_bins(counts, cuts, levels=levels)).axes]
    assert titles == [f"{cut} bins kept: {expected[cut - levels]:.4f}" for cut in cuts]


def test_range_shares_are_drawn_in_graph_order():
    (axes,) = drawn(range_shares({"mse": [0.9, 0.8], "entropy": [0.5, 0.4]})).axes
    assert {line.get_label(): line.get_ydata().tolist() for line in axes.lines} == {
        "squared error": [0.9, 0.8],
        "entropy": [0.5, 0.4],
    }


@pytest.mark.parametrize("limit", [None, 0.15])
def test_a_dot_per_image_and_the_mean(limit):
    (axes,) = drawn(method_errors({"mse": [0.1, 0.3], "my own": [0.2]}, limit=limit, what="error")).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.2, 0.2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["squared error", "my own"]
    assert [text.get_text() for text in axes.texts] == ([] if limit is None else ["tolerance"])


def test_inputs_are_shown_as_the_network_sees_them():
    right = np.full((3, 4, 6), 0.5)
    figure = drawn(network_inputs({"right": right, "times 255": right * 255}))
    pictures = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in pictures] == ["right", "times 255"]
    assert pictures[0].images[0].get_array().max() == 0.5
    assert pictures[1].images[0].get_array().min() == 1.0  # white: beyond what a picture can show
    assert any(text.get_text() == "128" for axes in figure.axes for text in axes.texts)


def test_a_black_input():
    drawn(network_inputs({"black": np.zeros((3, 2, 2))}))
