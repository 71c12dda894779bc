"""The roofline and the hot layers: what they show, and that it can be read."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from yolotrt_lab.figures.roofline import LayerPoint, Machine, hot_layer_bars, roofline_plot
from yolotrt_lab.report.schema import PlatformInfo

PLATFORM = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on AMD EPYC)")
MACHINE = Machine("This machine, FP32", peak_gflops=100.0, bandwidth_gb_s=10.0)
LAYERS = [
    LayerPoint(f"/model.{n}/cv1/conv/Conv", 1.5 * 1.2**n, 3 + 2.0 * n, weight=1 + (7 * n) % 11) for n in range(25)
]
TIMES = {layer.name: layer.weight / 10 for layer in LAYERS}

FIGURES = {
    "roofline": lambda p: roofline_plot(MACHINE, LAYERS, platform=p),
    "roofline, no layers": lambda p: roofline_plot(MACHINE, [], platform=p),
    "roofline, one layer": lambda p: roofline_plot(MACHINE, [LayerPoint("/stem/Conv", 10.0)], note="a", platform=p),
    "hot": lambda p: hot_layer_bars(TIMES, [layer.name for layer in LAYERS[:4]], share=0.5, platform=p),
    "hot, few": lambda p: hot_layer_bars({"a": 1.0, "b": 0.5}, ["a"], share=0.5, platform=p),
    "hot, none": lambda p: hot_layer_bars({}, [], share=0.5, platform=p),
}


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_whole_apart_and_large_enough(name, check_legible):
    # Numbers in the layers' circles may lie over each other.
    check_legible(FIGURES[name](PLATFORM), may_overlap=str.isdigit)


@pytest.mark.parametrize("name", FIGURES)
def test_timings_say_where_they_come_from(name, painted_words):
    assert "not GPU timings (AMD EPYC)" in painted_words(FIGURES[name](PLATFORM))


def words_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def spots(axes):
    return [item for item in axes.collections if isinstance(item, PathCollection)]


def test_the_roof_bends_at_the_ridge():
    assert MACHINE.ridge == 10
    x, y = roofline_plot(MACHINE, LAYERS).axes[0].get_lines()[0].get_data()
    np.testing.assert_allclose(y, np.minimum(100, 10 * np.asarray(x)))
    assert min(x) < 1.5
    assert max(x) > 10


def test_layers_are_where_they_belong_and_coloured_by_their_bound():
    axes = roofline_plot(MACHINE, LAYERS).axes[0]
    points = {tuple(spot.get_offsets()[0]): to_hex(spot.get_facecolor()[0]) for spot in spots(axes)}
    for layer in LAYERS:
        assert points[(layer.intensity, layer.gflops)] == ("#e69f00" if layer.intensity < 10 else "#0072b2")


def test_a_layer_that_was_not_timed_lies_on_the_roof():
    axes = roofline_plot(MACHINE, [LayerPoint("a", 2.0), LayerPoint("b", 50.0)]).axes[0]
    offsets = [tuple(spot.get_offsets()[0]) for spot in spots(axes)]
    assert sorted(offsets) == [(2.0, 20.0), (50.0, 100.0)]


def test_layers_above_the_roof_are_in_the_picture():
    axes = roofline_plot(MACHINE, [LayerPoint("cached", 2.0, 900.0), LayerPoint("b", 50.0, 40.0)]).axes[0]
    assert axes.get_ylim()[1] > 900


def test_the_heaviest_layers_are_named_heaviest_first():
    words = words_of(roofline_plot(MACHINE, LAYERS, labelled=3))
    heaviest = sorted(LAYERS, key=lambda layer: -layer.weight)[:3]
    assert [words.index(layer.name) for layer in heaviest] == sorted(words.index(layer.name) for layer in heaviest)
    assert sum(layer.name in words for layer in LAYERS) == 3


def test_hot_layers_stand_out_and_the_rest_is_summed():
    hot = ["slow", "slower"]
    times = {"fast": 0.1, "slow": 1.0, "slower": 2.0, "tiny": 0.2, "small": 0.3}
    axes = hot_layer_bars(times, hot, share=0.8, shown=3).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [2.0, 1.0, 0.3, 0.3])
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches][:3] == ["#d55e00", "#d55e00", "#9e9e9e"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slower", "slow", "small", "the other 2 layers"]
    words = words_of(axes.figure)
    assert "2 of 5 layers take 80% of the layers' time" in words
    assert "1.000 ms, together 83%" in words
