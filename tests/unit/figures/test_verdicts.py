"""Figures of verdicts draw whatever an answer gave, show both sides, and leave pyplot alone."""

import subprocess
import sys

import numpy as np
import pytest

from yolotrt_lab.figures.verdicts import (
    FlaggedBox,
    flagged_boxes,
    kept_boxes,
    operating_choices,
    paired_boxes,
    precision_recall_curves,
    roofline_points,
    samples_over_calls,
    threshold_choice,
)
from yolotrt_lab.report.plots.style import figure_to_png

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [40, 40, 60, 50]], np.float64)
COUNTS, EDGES = np.array([50, 20, 8, 0, 1]), np.linspace(0, 5, 6)


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def colours_of(axes) -> list:
    return [patch.get_edgecolor() for patch in axes.patches]


def png(figure) -> bytes:
    data = figure_to_png(figure, dpi=40)
    assert data.startswith(b"\x89PNG")
    return data


@pytest.mark.parametrize(
    ("expected", "seen"), [([], []), ([0, 2], [0, 2]), ([0, 2], [1]), ([], [0, 1, 2]), ([0, 2], [-5, 99, 0])]
)
@pytest.mark.parametrize("count", [0, 3])
def test_kept_boxes(expected, seen, count):
    expected = [index for index in expected if index < count]
    figure = kept_boxes(BOXES[:count], expected=expected, seen=seen)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    inside = [index for index in seen if 0 <= index < count]
    assert titles == [f"Expected: {len(expected)} of {count} boxes", f"Yours: {len(inside)} boxes"]
    assert [len(axes.patches) for axes in figure.axes] == [count, count]
    png(figure)


def test_of_very_many_boxes_those_around_the_first_difference_are_drawn():
    corners = np.stack(np.meshgrid(np.arange(30) * 20.0, np.arange(30) * 20.0), axis=-1).reshape(-1, 2)
    boxes = np.concatenate((corners, corners + 10), axis=1)
    figure = kept_boxes(boxes, expected=range(900), seen=range(899))
    assert len(figure.axes[1].patches) == 150
    assert figure.axes[1].get_xlim()[0] > 200
    assert len({tuple(np.round(colour, 3)) for colour in colours_of(figure.axes[1])}) == 2  # the missing one is there


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1e12, 0.3])
def test_paired_boxes_draw_what_can_be_drawn(value):
    seen = BOXES.copy()
    seen[1] = value
    figure = paired_boxes(BOXES, seen, image_hw=(50, 80))
    far = not 0 <= value < 100
    assert ("(1 of yours lie far outside)" in " ".join(legend_of(figure))) is far
    assert np.isfinite(figure.axes[0].get_xlim()).all()
    png(figure)


def test_paired_boxes_number_only_those_apart():
    seen = BOXES + np.array([[0], [0], [5]])
    figure = paired_boxes(BOXES, seen, image_hw=(50, 80), image_bgr=np.zeros((50, 80, 3), np.uint8))
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["2"]


def test_flagged_boxes_name_those_that_were_judged_wrongly():
    boxes = [
        FlaggedBox((0.5, 0.5, 0.2, 0.2), "", "", "line 1"),
        FlaggedBox((0.3, 0.3, 0.0, 0.0), "size", "", "line 2"),
        FlaggedBox((900.0, -5.0, 3.0, 3.0), "outside", "outside", "line 3"),
        FlaggedBox((0.7, 0.3, 0.1, 0.1), "", "double", "line $4$"),
    ]
    figure = flagged_boxes(boxes)
    assert {text.get_text() for text in figure.axes[0].texts} == {"line 2: size", r"line \$4\$ is sound"}
    png(figure)
    png(flagged_boxes([]))


@pytest.mark.parametrize("seen", [1.5, 3.01, -4.0, 1e9])
@pytest.mark.parametrize("cost", [None, (EDGES[1:], np.array([3, 1, np.inf, np.nan, 2]), "cost")])
def test_threshold_choice_has_both_thresholds(seen, cost):
    figure = threshold_choice(COUNTS, EDGES, expected=3.0, seen=seen, cost=cost)
    assert len(figure.axes) == (2 if cost else 1)
    for axes in figure.axes:
        at = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
        assert at == ([3.0, seen] if 0 <= seen <= 5 else [3.0])
    assert legend_of(figure)[0] == "expected: 3"
    png(figure)


def test_thresholds_that_are_near_are_shown_from_near():
    left, right = threshold_choice(np.ones(500), np.linspace(0, 5, 501), expected=3.0, seen=3.01).axes[0].get_xlim()
    assert right - left < 0.5


def test_operating_choices():
    thresholds = np.array([0.9, 0.5, 0.1])
    rates = {"precision": np.array([1.0, 0.8, 0.5]), "recall": np.array([0.1, 0.6, 1.0])}
    figure = operating_choices(thresholds, rates, floor=("recall", 0.6), expected=0.5, seen=7.0)
    assert {"expected: 0.5", "yours: 7", "floor of recall: 0.6", "precision"} <= set(legend_of(figure))
    png(figure)


def test_curves_and_points():
    png(precision_recall_curves({"expected": (np.array([0.5, 1.0]), np.array([1.0, 0.7]))}))
    png(roofline_points(1e5, 900.0, expected=(30.0, 2.7e4), seen=(1e-6, 1e-3)))


@pytest.mark.parametrize("seen", [[], [1.0], [0.0, -1.0, np.nan, np.inf], [1e9, 1e-9]])
def test_samples_of_any_kind(seen):
    png(samples_over_calls(np.array([1.0, 2.0]), np.array(seen, np.float64), unit="ms"))


def test_pyplot_is_not_touched():
    program = (
        "import sys; from yolotrt_lab.figures.verdicts import kept_boxes; import numpy as np;"
        "kept_boxes(np.zeros((1, 4)), expected=[0], seen=[]); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
