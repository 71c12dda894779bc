import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.annotation import (
    Outline,
    Panel,
    box_notations,
    class_color,
    class_shares,
    labelled_panels,
    outlines,
)
from yolotrt_lab.report.plots.style import figure_to_png

GRAY = np.full((60, 80, 3), 90, np.uint8)
NAMES = ("bolt", "nut")


def rectangles(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_class_colours_are_those_of_the_contact_sheets():
    assert class_color(0, 8) == "#44aaff"
    assert class_color(12, 20) == class_color(0, 20)


def test_outlines_take_name_and_colour_from_the_class():
    found = outlines(np.array([[1, 2, 30, 40], [5, 5, 9, 9]]), [1, 0], class_names=NAMES)
    assert [each.name for each in found] == ["nut", "bolt"]
    assert found[0].xyxy == (1, 2, 30, 40)
    assert found[0].color == class_color(1, 2) != found[1].color
    assert outlines(np.zeros((0, 4)), [], class_names=NAMES) == ()
    assert outlines(np.ones((1, 4)), [0], class_names=NAMES, names=False)[0].name == ""


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 3, 1), (3, 3, 1), (4, 3, 2), (5, 1, 5)])
def test_panels_fill_rows(count, columns, rows):
    figure = labelled_panels([Panel(f"p{number}", GRAY) for number in range(count)], columns=columns)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == count
    assert figure.axes[0].get_gridspec().get_geometry() == (rows, min(count, columns))
    assert [axes.get_title(loc="left") for axes in shown] == [f"p{number}" for number in range(count)]


def test_a_panel_shows_its_boxes_where_they_are():
    boxes = (Outline((10, 20, 30, 50), "bolt", "#ff0000"), Outline((0, 0, 5, 5), dashed=True))
    (axes,) = labelled_panels([Panel("one", GRAY, boxes)]).axes
    drawn = rectangles(axes)
    assert [(r.get_x(), r.get_y(), r.get_width(), r.get_height()) for r in drawn] == [(10, 20, 20, 30), (0, 0, 5, 5)]
    assert to_hex(drawn[0].get_edgecolor()) == "#ff0000"
    assert drawn[0].get_linestyle() != drawn[1].get_linestyle()
    assert texts(axes) == ["bolt"]
    assert axes.get_xlim() == (0, 80)
    assert axes.get_ylim() == (60, 0)


def test_colours_are_turned_for_matplotlib():
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 255
    (axes,) = labelled_panels([Panel("blue", blue)]).axes
    assert axes.images[0].get_array()[0, 0].tolist() == [0, 0, 255]


def test_names_are_left_out_where_they_would_cover_the_picture():
    crowd = [Outline((k, k, k + 3, k + 3), "nut") for k in range(20)]
    (axes,) = labelled_panels([Panel("crowd", GRAY, crowd)]).axes
    assert texts(axes) == []
    assert len(rectangles(axes)) == 20


@pytest.mark.parametrize(("panels", "columns"), [([], 3), ([Panel("p", GRAY)], 0)])
def test_nothing_to_draw_is_refused(panels, columns):
    with pytest.raises(InputError):
        labelled_panels(panels, columns=columns)


def test_notations_write_the_numbers_of_the_three_formats():
    figure = box_notations(GRAY, (20, 15, 60, 44.99996))
    numbers = [texts(axes)[0] for axes in figure.axes]
    assert numbers == ["0.5000 0.5000 0.5000 0.5000", "20 15 60 45", "20 15 40 30"]
    marked = [[tuple(point) for point in line.get_xydata().tolist()] for axes in figure.axes for line in axes.lines]
    expected = [[(40, 30)], [(20, 15), (60, 45)], [(20, 15)]]
    assert [np.round(points, 3).tolist() for points in marked] == [np.array(points).tolist() for points in expected]


def test_shares_are_of_each_class():
    figure = class_shares(
        {"train": [30, 2], "test": [10, 2]}, class_names=NAMES, fractions={"train": 0.75, "test": 0.25}
    )
    (axes,) = figure.axes
    heights = sorted(round(bar.get_height(), 3) for bar in axes.patches)
    assert heights == [0.25, 0.5, 0.5, 0.75]
    assert sorted(line.get_ydata()[0] for line in axes.lines) == [0.25, 0.75]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bolt\n(40)", "nut\n(4)"]


def test_a_class_without_objects_has_no_share():
    figure = class_shares({"train": [0, 4]}, class_names=NAMES, fractions={"train": 1.0})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 1]


@pytest.mark.parametrize(
    ("counts", "fractions"), [({"dev": [1, 2]}, {"train": 1.0}), ({"train": [1, 2, 3]}, {"train": 1.0})]
)
def test_counts_that_do_not_fit_are_refused(counts, fractions):
    with pytest.raises(InputError):
        class_shares(counts, class_names=NAMES, fractions=fractions)


def test_all_of_it_can_be_drawn():
    shares = class_shares({"train": [3, 2]}, class_names=("$bolt$", "nut"), fractions={"train": 1.0})
    for figure in (labelled_panels([Panel("$5", GRAY)]), box_notations(GRAY, (1, 2, 30, 40)), shares):
        assert figure_to_png(figure, dpi=40).startswith(b"\x89PNG")
