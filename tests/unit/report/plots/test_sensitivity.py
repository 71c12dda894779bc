import pytest
from matplotlib.colors import to_hex

from yolotrt_lab.precision.mixed import MixedPlan, MixedPoint
from yolotrt_lab.precision.output_error import OutputError
from yolotrt_lab.precision.sensitivity import LayerDamage, SensitivityReport
from yolotrt_lab.report.plots.sensitivity import layer_damage, mixed_precision_curve
from yolotrt_lab.report.plots.style import figure_to_png


def report(shares):
    layers = tuple(
        LayerDamage(
            f"/model.{depth // 2}/cv{depth % 2}/conv/Conv", "Conv", depth, share**0.5, share, share, 10, 1, 1, 1
        )
        for depth, share in enumerate(shares)
    )
    return SensitivityReport(layers, OutputError(0.1, 0.02), 8)


def plan(*, within=True, clock=None):
    points = tuple(
        MixedPoint(tuple(f"l{index}" for index in range(count)), left, 0.6 - loss, loss, time, clock)
        for count, left, loss, time in ((0, 1.0, 0.006, 1.0), (1, 0.5, 0.002, 1.03), (4, 0.1, 0.0005, 1.2))
    )
    return MixedPlan(points[1], points, 0.6, 0.003, within, "estimate", ())


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_one_bar_for_each_layer_in_the_order_of_the_network():
    shares = [0.1, 0.6, 0.05, 0.15, 0.1]
    figure = layer_damage(report(shares), kept=["/model.0/cv1/conv/Conv"])
    axes = figure.axes[0]
    bars = axes.patches[:5]
    assert [bar.get_height() for bar in bars] == pytest.approx([100 * share for share in shares])
    colors = [to_hex(bar.get_facecolor()) for bar in bars]
    assert colors[0] == colors[1] != colors[2] == colors[3] != colors[4]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, False, False, False]
    assert "3 of 5 layers cause 85% of the damage" in axes.get_title(loc="left")
    assert any("model.0/cv1" in text and "60%" in text for text in texts(axes))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]
    assert figure_to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("shares", [[1.0], [0.0, 0.0], [0.01] * 100])
def test_few_and_many_layers(shares):
    assert figure_to_png(layer_damage(report(shares))).startswith(b"\x89PNG")


def test_the_curve_has_budget_and_choice():
    axes = mixed_precision_curve(plan()).axes[0]
    curve = axes.lines[0]
    assert list(curve.get_xdata()) == [1.0, 1.03, 1.2]
    assert list(curve.get_ydata()) == pytest.approx([0.6, 0.2, 0.05])
    assert axes.lines[1].get_ydata()[0] == pytest.approx(0.3)
    chosen = axes.lines[3]
    assert (chosen.get_xdata()[0], chosen.get_ydata()[0]) == pytest.approx((1.03, 0.2))
    assert {"all INT8", "chosen: 1 kept", "4 kept"} <= set(texts(axes))
    assert "Estimated time" in axes.get_xlabel()


def test_measured_latency_is_the_axis_when_there_is_one():
    figure = mixed_precision_curve(plan(clock=7.5))
    assert figure.axes[0].get_xlabel() == "Latency (ms)"
    assert "latency measured" in figure.get_supxlabel()
    assert figure_to_png(figure).startswith(b"\x89PNG")
