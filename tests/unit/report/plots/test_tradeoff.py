import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import readable, series_colors
from yolotrt_lab.report.plots.tradeoff import pareto_front

points = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(st.lists(points, max_size=12))
def test_the_front_is_what_brute_force_finds(found):
    def beaten(index):
        x, y = found[index]
        return any(
            (ox <= x and oy >= y and (ox, oy) != (x, y)) or ((ox, oy) == (x, y) and other < index)
            for other, (ox, oy) in enumerate(found)
        )

    front = pareto_front(found)
    assert sorted(front) == [index for index in range(len(found)) if not beaten(index)]
    assert [found[index][0] for index in front] == sorted(found[index][0] for index in front)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=1, max_size=5))
def test_labels_keep_apart_and_inside(found):
    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    notes = place_labels(axes, found, ["Engine\n12.3 ms, 0.612"] * len(found), colors=["black"] * len(found))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [note.get_window_extent(canvas.get_renderer()) for note in notes]
    frame = axes.get_window_extent()
    for index, box in enumerate(boxes):
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0
        assert box.y1 <= frame.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_a_label_avoids_a_line():
    def place(segments):
        figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        (note,) = place_labels(axes, [(0.5, 0.5)], ["label"], colors=["black"], segments=segments)
        return note.get_position()

    assert place([]) != place([((0.5, 0.5), (0.9, 0.9))])


@pytest.mark.parametrize("color", ["#E69F00", "#56B4E9", "#ffffff", "#000000", "#0072B2"])
def test_readable_ink_has_the_contrast_wcag_asks_for(color):
    rgb = np.array([int(readable(color)[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.4


def test_colors_are_fixed_for_precisions_and_differ_for_others():
    colors = series_colors(["fp32", "int8", "x", "y"])
    assert colors["fp32"] == series_colors(["fp32"])["fp32"]
    assert len(set(colors.values())) == 4
    assert len(series_colors([str(n) for n in range(20)])) == 20
