"""Pictures of what eight bits do: the numbers in them are those that were handed in."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from yolotrt_lab.figures.quantization import channel_steps, clipping_tradeoff, layer_sensitivity, level_grids


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.fixture
def silu():
    values = np.random.default_rng(0).normal(0, 2, 5_000)
    return values / (1 + np.exp(-values))


def test_symmetric_levels_waste_the_side_without_values(silu):
    upper, lower = drawn(level_grids(silu, bits=4)).axes
    # SiLU's outputs are at least -0.28: eight levels of sixteen lie below, less the one next to zero.
    assert upper.get_title(loc="left").startswith("Symmetric: 9 of 16") or "8 of 16" in upper.get_title(loc="left")
    assert lower.get_title(loc="left").startswith("Affine: 16 of 16")


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_as_many_levels_as_the_bits_allow_and_one_is_zero(silu, bits):
    for axes in drawn(level_grids(silu, bits=bits)).axes:
        (lines,) = [item for item in axes.collections if len(item.get_segments()) == 2**bits]
        positions = [segment[0][0] for segment in lines.get_segments()]
        assert np.abs(positions).min() == pytest.approx(0, abs=1e-12)


def test_the_least_sum_is_marked():
    thresholds = np.array([1.0, 2.0, 3.0, 4.0])
    figure = drawn(clipping_tradeoff(thresholds, np.array([1.0, 2.0, 3.0, 4.0]), np.array([9.0, 3.0, 0.5, 0.0])))
    (axes,) = figure.axes
    assert axes.texts[0].get_text() == "least: 3"
    both = next(line for line in axes.lines if line.get_label() == "both")
    assert both.get_ydata().tolist() == [10.0, 5.0, 3.5, 4.0]


def test_an_error_of_zero_leaves_a_gap_on_a_logarithmic_axis():
    (axes,) = drawn(clipping_tradeoff(np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.array([1.0, 0.0]))).axes
    clipping = next(line for line in axes.lines if line.get_label() == "clipping")
    assert np.isnan(clipping.get_ydata()[1])


def test_channels_are_sorted_together():
    figure = drawn(channel_steps(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, 20.0]), np.array([31.0, 11.0, 21.0])))
    upper, lower = figure.axes
    assert [bar.get_height() for bar in upper.patches] == [1.0, 2.0, 3.0]
    lines = {line.get_label(): line.get_ydata().tolist() for line in lower.lines}
    assert lines == {"a step per channel": [11.0, 21.0, 31.0], "one step for all": [10.0, 20.0, 30.0]}


def test_the_worst_layer_is_on_top_and_kept_ones_are_orange():
    (axes,) = drawn(layer_sensitivity({"a": 0.1, "b$": 0.3, "c": 0.2}, kept=("b$",), all_int8=0.4)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", r"b\$"]
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.2, 0.3]
    colors = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colors[2] != colors[0] == colors[1]
    assert axes.texts[0].get_text() == "all of them: 0.400"


def test_sensitivity_without_marks():
    (axes,) = drawn(layer_sensitivity({"a": 0.1})).axes
    assert not axes.texts
    assert "orange" not in axes.get_title(loc="left")
