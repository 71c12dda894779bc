"""Pictures of agreement: the numbers in them are the numbers handed in."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.agreement import blind_measures, error_along_depth, error_histograms, keeps_limit

LIMITS = {"max_abs": 0.01, "relative_l2": 0.01, "cosine": 0.999}
NAMES = [f"model.{number}" for number in range(8)]


def legend_of(holder) -> list[str]:
    legend = holder.get_legend() if hasattr(holder, "get_legend") else holder.legends[0]
    return [text.get_text() for text in legend.get_texts()]


class TestHistograms:
    def test_shares_add_up_and_exact_zeros_are_counted(self):
        errors = np.array([0.0, 0.0, 1e-4, -1e-3])
        figure = error_histograms({"boxes": {"noise": errors}})
        values = figure.axes[0].patches[0].get_data().values
        assert values.sum() == pytest.approx(100)
        assert legend_of(figure.axes[0]) == ["noise: largest 1.0e-03, 50 % exact"]

    def test_limit_is_inside_of_the_picture(self):
        figure = error_histograms({"boxes": {"noise": np.full(5, 1e-7)}}, limits={"boxes": 0.5})
        low, high = figure.axes[0].get_xlim()
        assert low < 1e-7 < 0.5 < high
        assert "would matter: 0.5" in legend_of(figure.axes[0])

    def test_one_panel_each_with_one_colour_per_name(self):
        errors = {"a": np.ones(3), "b": np.ones(3)}
        figure = error_histograms({"boxes": errors, "scores": dict(reversed(errors.items()))})
        colors = [
            {p.get_label().split(":")[0]: to_hex(p.get_edgecolor()) for p in axes.patches} for axes in figure.axes
        ]
        assert len(figure.axes) == 2
        assert colors[0] == colors[1]

    def test_empty_errors_and_no_panels(self):
        error_histograms({"boxes": {"nothing": np.zeros(0)}})
        with pytest.raises(InputError, match="no errors"):
            error_histograms({})


class TestBlindMeasures:
    def test_cells_say_what_each_measure_notices(self):
        rows = {"scaled": {"max_abs": 2.0, "relative_l2": 0.5, "cosine": 1.0}}
        table = blind_measures(rows, limits=LIMITS).axes[0].tables[0].get_celld()
        assert [table[1, column].get_text().get_text() for column in range(4)] == [
            "scaled", "2  noticed", "0.5  noticed", "1  passes"
        ]  # fmt: skip
        assert to_hex(table[1, 1].get_facecolor()) == to_hex(table[1, 2].get_facecolor())
        assert to_hex(table[1, 1].get_facecolor()) != to_hex(table[1, 3].get_facecolor())
        assert table[0, 3].get_text().get_text() == "cosine ≥ 0.999"

    def test_without_rows(self):
        assert not blind_measures({}, limits=LIMITS).axes[0].tables

    @pytest.mark.parametrize(
        ("measure", "value", "kept"),
        [("cosine", 0.999, True), ("cosine", 0.99, False), ("max_abs", 0.01, True), ("max_abs", 0.02, False)],
    )
    def test_limits(self, measure, value, kept):
        assert keeps_limit(measure, value, LIMITS) is kept


class TestDepth:
    def test_lines_hold_the_errors_and_looks_are_numbered(self):
        errors = {"sound": [1e-7] * 8, "broken": [1e-7] * 4 + [0.1] * 4}
        figure = error_along_depth(NAMES, errors, tolerance=1e-3, looks=["model.4", "model.2"], first="model.4")
        axes = figure.axes[0]
        drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
        assert drawn["broken"] == errors["broken"]
        assert drawn["tolerance 0.001"] == [1e-3, 1e-3]
        assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("1", 4), ("2", 2)]
        assert "first: model.4" in legend_of(figure)

    def test_an_exact_zero_and_nan_can_be_drawn(self):
        figure = error_along_depth(NAMES, {"a": [0.0] * 7 + [np.nan]}, tolerance=1e-3)
        shown = figure.axes[0].lines[0].get_ydata()
        assert shown[0] > 0
        assert np.isnan(shown[-1])
        FigureCanvasAgg(figure).draw()

    @pytest.mark.parametrize(
        ("errors", "looks", "first"), [([1.0], (), None), ([1.0] * 8, ("model.9",), None), ([1.0] * 8, (), "model.9")]
    )
    def test_what_does_not_fit(self, errors, looks, first):
        with pytest.raises(InputError, match="do not fit"):
            error_along_depth(NAMES, {"a": errors}, tolerance=1e-3, looks=looks, first=first)


@pytest.mark.parametrize("count", [2, 25])
def test_no_text_is_cut_off(count):
    names = [f"model.{number}" for number in range(count)]
    figures = [
        error_along_depth(names, {"a": [0.1] * count}, tolerance=1e-3, looks=names[:2], first=names[0]),
        error_histograms({"boxes (pixels)": {"random picture": np.full(4, 1e-4), "a part": np.full(4, 1e-5)}}),
        blind_measures({"one wild value among many": dict.fromkeys(LIMITS, 0.12345)}, limits=LIMITS),
    ]
    for figure in figures:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = figure.get_size_inches() * figure.dpi
        for axes in figure.axes:
            for text in (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label):
                if not text.get_text() or not axes.axison:
                    continue
                box = text.get_window_extent(canvas.get_renderer())
                assert box.x0 >= -1
                assert box.x1 <= width + 1
                assert box.y0 >= -1
                assert box.y1 <= height + 1


def test_global_settings_stay_as_they_are():
    before = dict(matplotlib.rcParams)
    error_along_depth(NAMES, {"a": [0.1] * 8}, tolerance=1e-3)
    assert dict(matplotlib.rcParams) == before
