import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.dominance import difference_cloud, verdict_plot
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.schema import PlatformInfo

EMULATED = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on AMD EPYC)")


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.03, 200)
    latency = {"INT8 640": rng.normal(20, 0.3, 200), "FP32 512": rng.normal(28, 0.3, 200)}
    accuracy = {"INT8 640": 0.73 + shared, "FP32 512": 0.70 + shared + rng.normal(0, 0.002, 200)}
    return latency, accuracy


def test_the_difference_is_narrower_than_either(draws):
    figure = difference_cloud(*draws, one="INT8 640", other="FP32 512", platform=EMULATED)
    separate, paired = figure.axes
    clouds = [np.asarray(cloud.get_offsets()) for cloud in separate.collections if len(cloud.get_offsets()) == 200]
    (difference,) = [np.asarray(c.get_offsets()) for c in paired.collections if len(c.get_offsets()) == 200]
    np.testing.assert_allclose(difference, clouds[0] - clouds[1])
    assert np.ptp(difference[:, 1]) < np.ptp(clouds[0][:, 1]) / 3
    assert paired.get_title(loc="left") == "INT8 640 minus FP32 512"


@pytest.mark.parametrize("pair", [("INT8 640", "FP32 512"), ("FP32 512", "INT8 640"), ("INT8 640", "INT8 640")])
def test_zero_is_always_in_the_picture(draws, pair):
    paired = difference_cloud(*draws, one=pair[0], other=pair[1]).axes[1]
    for low, high in (paired.get_xlim(), paired.get_ylim()):
        assert low < 0 < high


def test_timings_say_where_they_come_from(draws):
    verdicts = {"INT8 640": "front", "FP32 512": "dominated"}
    for figure in (
        difference_cloud(*draws, one="INT8 640", other="FP32 512", platform=EMULATED),
        verdict_plot(*draws, verdicts, platform=EMULATED),
    ):
        assert "not GPU timings" in figure._supxlabel.get_text()
        assert figure_to_png(figure)


def test_verdicts_by_colour_and_mark(draws):
    figure = verdict_plot(*draws, {"INT8 640": "front", "FP32 512": "dominated"})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["front", "dominated"]
    colors = [container.lines[0].get_color() for container in axes.containers]
    assert len(set(colors)) == 2
    assert {text.get_text() for text in axes.texts} >= {"INT8 640", "FP32 512"}


@pytest.mark.parametrize("verdicts", [{}, {"INT8 640": "front"}, {"INT8 640": "front", "FP32 512": "beaten"}])
def test_an_engine_without_verdict_is_an_error(draws, verdicts):
    with pytest.raises(InputError):
        verdict_plot(*draws, verdicts)
