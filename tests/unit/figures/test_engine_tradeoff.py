import math

import pytest
from matplotlib.patches import Rectangle

from yolotrt_lab.figures.engine_tradeoff import Rung, accuracy_latency, tolerance_ladder
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.schema import PlatformInfo

EMULATED = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on Some CPU)")


def row(name, executed, accuracy, median, tail):
    return {"name": name, "executed": executed, "map50_95": accuracy, "median_ms": median, "p99_ms": tail}


ROWS = [
    row("ONNX Runtime FP32", "fp32", 0.5, 20.0, 24.0),
    row("FP16 engine", "bf16", 0.495, 9.0, 9.5),
    row("INT8 engine", "int8", 0.48, 6.0, 11.0),
]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_an_engine_within_its_limit_is_a_dot_and_one_beyond_a_cross():
    rungs = [Rung("FP32 engine", "fp32", 3e-7, 1e-4), Rung("INT8 engine", "int8", 0.3, 0.15)]
    (axes,) = tolerance_ladder(rungs).axes
    markers = [line.get_marker() for line in axes.lines if line.get_marker() != "None"]
    assert markers == ["o", "X"]
    assert texts(axes) == ["3.0e-07", "limit 0.0001", "3.0e-01 beyond its limit", "limit 0.15"]
    assert axes.get_xlim()[1] > 0.3


@pytest.mark.parametrize("error", [0.0, math.inf, math.nan])
def test_errors_that_a_logarithm_cannot_show_are_named(error):
    (axes,) = tolerance_ladder([Rung("engine", "fp32", error, 1e-4)]).axes
    (marker,) = [line for line in axes.lines if line.get_marker() != "None"]
    assert marker.get_marker() == ("o" if error == 0 else "X")
    assert math.isfinite(marker.get_xdata()[0])


def test_every_engine_is_a_point_with_its_tail():
    (axes,) = accuracy_latency(ROWS, platform=EMULATED).axes
    points = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() in ("o", "s")]
    assert points == [(20.0, 0.5), (9.0, 0.495), (6.0, 0.48)]
    ends = [collection.get_segments()[0][1][0] for collection in axes.collections]
    assert ends == [24.0, 9.5, 11.0]
    assert any(text.startswith("INT8 engine, runs INT8") for text in texts(axes))
    assert "not GPU timings" in axes.figure.get_supxlabel()


def test_the_demands_bound_what_the_product_can_use():
    (axes,) = accuracy_latency(ROWS, budget_ms=10.0, floor=0.49).axes
    (area,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    left, top = axes.get_xlim()[0], axes.get_ylim()[1]
    assert area.get_bbox().get_points().tolist() == [[left, 0.49], [10.0, top]]
    assert {"budget 10 ms", "at least 0.49"} <= set(texts(axes))


def test_without_demands_nothing_is_shaded():
    (axes,) = accuracy_latency(ROWS).axes
    assert not [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_rows_with_gaps_are_named_instead_of_drawn():
    figure = accuracy_latency([*ROWS, row("broken", "int8", None, None, None)])
    assert figure.get_supxlabel() == "Not measured: broken."
    assert len([line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]) == 3


def test_no_rows_are_an_empty_picture():
    assert figure_to_png(accuracy_latency([], budget_ms=5.0)).startswith(b"\x89PNG")
