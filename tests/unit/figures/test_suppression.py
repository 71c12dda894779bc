import numpy as np
import pytest
from matplotlib.colors import to_hex

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.suppression import (
    SuppressionStep,
    candidates_by_score,
    overlap_table,
    score_maps,
    suppression_steps,
)
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.types import Detections

IMAGE = np.full((64, 96, 3), 90, np.uint8)


@pytest.fixture
def found():
    """Two objects of class 0 with two boxes each, mixed, and one of an unknown class."""
    return Detections(
        np.array([[0, 0, 20, 20], [40, 10, 60, 30], [0, 0, 20, 18], [40, 10, 60, 31], [70, 40, 90, 60]], np.float32),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32),
        np.array([0, 0, 0, 0, 7]),
    )


def test_each_score_lies_in_its_cell():
    scores = np.zeros(96 + 24 + 6, np.float32)
    scores[13] = 0.75  # row 1, column 1 of the fine grid
    scores[96 + 5] = 0.5
    figure = score_maps(IMAGE, scores)
    fine, middle, coarse = (axes.images[1].get_array() for axes in figure.axes[:3])
    assert fine.shape == (8, 12)
    assert fine[1, 1] == 0.75
    assert middle[0, 5] == 0.5
    assert not coarse.any()
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == [
        "1 candidates above 0.25",
        "1 candidates above 0.25",
        "0 candidates above 0.25",
    ]
    assert figure_to_png(figure)


def test_scores_that_fit_no_grid_are_an_error():
    with pytest.raises(InputError):
        score_maps(IMAGE, np.zeros(8400, np.float32))


def test_every_score_is_counted(found):
    scores = np.concatenate((found.scores, np.full(95, 0.01), [1.02, -0.01]))  # quantized scores overshoot a little
    figure = candidates_by_score(IMAGE, found, all_scores=scores, conf_threshold=0.25)
    counts, picture = figure.axes[:2]
    assert sum(bar.get_height() for bar in counts.patches) == len(scores)
    assert len(picture.patches) == len(found)
    assert "5 of 102 pass" in counts.texts[0].get_text()


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_one_panel_for_each_round(found, count):
    steps = [SuppressionStep(0, (2,), (1, 3, 4), ())] * count
    figure = suppression_steps(IMAGE, found, steps, class_names=["nut"])
    used = [axes for axes in figure.axes if axes.images]
    assert len(used) == min(count, 8)
    assert figure_to_png(figure)


def test_colours_say_what_becomes_of_a_box(found):
    steps = [
        SuppressionStep(0, (2,), (1, 3, 4), ()),
        SuppressionStep(1, (3,), (4,), (0,)),
        SuppressionStep(4, (), (), (0, 1)),
    ]
    first, second, third = suppression_steps(IMAGE, found, steps, class_names=["nut"]).axes[:3]
    assert [axes.get_title(loc="left") for axes in (first, second, third)] == [
        "1. nut 0.90 removes 1",
        "2. nut 0.80 removes 1",
        "3. class 7 0.50 removes 0",
    ]
    colors = [to_hex(patch.get_edgecolor()) for patch in second.patches]
    assert colors == ["#ffffff", "#009e73", "#d55e00", "#0072b2"]
    assert third.get_xlim() == (0, 96 - 0)  # the margin ends at the image


def test_no_rounds_are_an_error(found):
    with pytest.raises(InputError):
        suppression_steps(IMAGE, found, [], class_names=["nut"])


def test_no_candidates_show_the_whole_image(found):
    one = found.select(np.array([0]))
    figure = suppression_steps(IMAGE, one, [SuppressionStep(0, (), (), ())], class_names=["nut"])
    assert figure.axes[0].get_xlim() == (0, 35)


def test_boxes_of_one_object_form_a_block(found):
    figure = overlap_table(found, iou_matrix(found.xyxy, found.xyxy), class_names=["nut"], iou_threshold=0.5)
    table = np.asarray(figure.axes[0].images[0].get_array())
    assert (table > 0.5).tolist() == [
        [True, True, False, False, False],
        [True, True, False, False, False],
        [False, False, True, True, False],
        [False, False, True, True, False],
        [False, False, False, False, True],
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["nut", "class 7"]


def test_boxes_without_area_have_their_place(found):
    flat = Detections(np.zeros((3, 4), np.float32), found.scores[:3], found.class_ids[:3])
    figure = overlap_table(flat, iou_matrix(flat.xyxy, flat.xyxy), class_names=["nut"], iou_threshold=0.5)
    assert figure.axes[0].images[0].get_array().shape == (3, 3)


def test_a_table_of_other_boxes_is_an_error(found):
    with pytest.raises(InputError):
        overlap_table(found, np.zeros((2, 2)), class_names=["nut"], iou_threshold=0.5)
