import numpy as np
import pytest
from matplotlib.colors import to_hex

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.curves import ScoredClass, interpolated_precision
from yolotrt_lab.figures.average_precision import (
    ap_by_class,
    average_precision_curve,
    label_noise_ceiling,
    operating_points,
    overlaps,
    paired_gains,
)
from yolotrt_lab.report.plots.style import figure_to_png


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_overlaps_name_the_iou():
    ten = (0.0, 0.0, 10.0, 10.0)
    figure = overlaps([(ten, ten), (ten, (5.0, 0.0, 15.0, 10.0)), (ten, (20.0, 20.0, 30.0, 30.0))])
    assert [axes.get_title() for axes in figure.axes] == ["IoU 1.00", "IoU 0.33", "IoU 0.00"]
    assert [len(axes.patches) for axes in figure.axes] == [5, 5, 4]
    with pytest.raises(InputError):
        overlaps([])


@pytest.mark.parametrize(
    ("verdicts", "positives"),
    [
        ([True], 1),
        ([False, False], 3),
        ([True, True, False, True, False, False, True], 6),
        ([True] * 5 + [False] * 9, 5),
    ],
)
def test_the_samples_are_those_of_the_evaluation(verdicts, positives):
    figure = average_precision_curve(verdicts, positives, title="bolt")
    (axes,) = figure.axes
    judged = ScoredClass("bolt", np.linspace(1, 0, len(verdicts)), np.array(verdicts)[:, None], positives)
    expected = interpolated_precision(judged)[0]
    samples = next(line for line in axes.lines if line.get_marker() == ".")
    np.testing.assert_allclose(samples.get_ydata(), expected, atol=1e-9)
    assert any(f"mean {expected.mean():.3f} = AP" in text for text in labels(axes))
    assert axes.get_title(loc="left") == "bolt"


def test_what_is_never_found_is_named():
    (axes,) = average_precision_curve([True, False, True], 5).axes
    assert any("3 of 5" in text.get_text() for text in axes.texts)
    (axes,) = average_precision_curve([True, True], 2).axes
    assert not axes.texts


@pytest.mark.parametrize(("verdicts", "positives"), [([], 3), ([True], 0)])
def test_no_curve_is_refused(verdicts, positives):
    with pytest.raises(InputError):
        average_precision_curve(verdicts, positives)


def test_the_ceiling_has_a_line_per_measure():
    (axes,) = label_noise_ceiling([0, 2, 4], {"mAP50": [1, 1, 0.9], "mAP50-95": [1, 0.7, 0.4]}).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[1, 1, 0.9], [1, 0.7, 0.4]]
    assert [text.get_text() for text in axes.texts] == ["mAP50", "mAP50-95"]


def test_gains_are_sorted_and_coloured_by_their_interval():
    gains = {"flip": [0.02, 0.03], "rotation": [-0.05, -0.07], "mixup": [0.01, -0.01]}
    intervals = {"flip": (0.01, 0.04), "rotation": (-0.09, -0.03), "mixup": (-0.1, 0.1)}
    (axes,) = paired_gains(gains, intervals).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rotation", "mixup", "flip"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [np.asarray(line.get_xdata()).tolist() for line in dots] == [[-0.05, -0.07], [0.01, -0.01], [0.02, 0.03]]
    assert len({to_hex(line.get_color()) for line in dots}) == 3
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert means == pytest.approx([-0.06, 0.0, 0.025])


@pytest.mark.parametrize("intervals", [{}, {"other": (0, 1)}])
def test_gains_without_their_intervals_are_refused(intervals):
    with pytest.raises(InputError):
        paired_gains({"flip": [0.1]}, intervals)


def test_operating_points_show_floors_and_choices():
    cuts = np.linspace(0, 1, 11)
    figure = operating_points(cuts, cuts, 1 - cuts, floors={"recall": 0.7}, chosen={"safety": 0.3, "search": 0.8})
    (axes,) = figure.axes
    words = [text.get_text().strip() for text in axes.texts]
    assert words == ["recall floor\n0.7", "safety: 0.30", "search: 0.80"]
    assert labels(axes) == ["precision", "recall"]


def test_classes_are_compared_where_both_have_them():
    figure = ap_by_class({"bolt": 0.2, "nut": 0.4, "gear": 0.1}, {"nut": 0.6, "bolt": 0.7}, names=("old", "new"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["nut", "bolt"]
    before, after = (collection.get_offsets()[:, 0].tolist() for collection in axes.collections)
    assert before == [0.4, 0.2]
    assert after == [0.6, 0.7]
    assert labels(axes) == ["old", "new"]
    with pytest.raises(InputError):
        ap_by_class({"bolt": 0.2}, {}, names=("old", "new"))


def test_all_of_it_can_be_drawn():
    cuts = np.linspace(0, 1, 5)
    figures = (
        overlaps([((0, 0, 1, 1), (0, 0, 2, 2))]),
        average_precision_curve([True, False], 3, title="$x"),
        label_noise_ceiling([0, 1], {"m": [1, 0.5]}),
        paired_gains({"a": [0.1]}, {"a": (0.0, 0.2)}),
        operating_points(cuts, cuts, cuts, floors={}, chosen={}),
        ap_by_class({"a": 0.1}, {"a": 0.2}, names=("x", "y")),
    )
    for figure in figures:
        assert figure_to_png(figure, dpi=40).startswith(b"\x89PNG")
