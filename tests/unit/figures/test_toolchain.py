"""The map and the version charts: what they show, and that it can be read."""

import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.toolchain import (
    STAGES,
    Station,
    driver_support,
    opset_support,
    piece_counts,
    toolchain_map,
)

STATIONS = [
    Station("PyTorch", STAGES[0], "2.15.0"),
    Station("TensorFlow", STAGES[0], presence="absent"),
    Station("ONNX", STAGES[1], "1.23.2, operator set 17 $x$"),
    Station("TensorRT", STAGES[2], "10.16.1.11", "emulated"),
    Station("a runtime with quite a long name", STAGES[2], "1.31.1"),
    Station("CPU", STAGES[3], "AMD EPYC, 2 cores"),
]
ROUTES = [("PyTorch", "ONNX"), ("TensorFlow", "ONNX"), ("ONNX", "TensorRT"), ("TensorRT", "CPU")]
DRIVERS = {"old": "535.183.01", "near": "540.1", "new": "590.48.01"}
FIGURES = {
    "map": lambda: toolchain_map(STATIONS, ROUTES),
    "driver": lambda: driver_support({11: 450, 12: 525, 13: 580}, DRIVERS),
    "driver, none": lambda: driver_support({12: 525, 13: 580}, {}),
    "opset": lambda: opset_support({"ONNX Runtime 1.17": 20, "here": 26}, models={"course": 17, "newest": 28}),
    "pieces": lambda: piece_counts({"PyTorch modules": 213, "ONNX nodes": 262, "engine layers": 131}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_whole_apart_and_large_enough(name, check_legible):
    check_legible(FIGURES[name]())


def test_the_map_has_a_box_per_station_and_an_arrow_per_route():
    axes = toolchain_map(STATIONS, ROUTES).axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert (len(boxes), len(arrows)) == (len(STATIONS), len(ROUTES))
    assert len({box.get_facecolor() for box in boxes}) == 3  # here, emulated, absent
    pale = [arrow for arrow in arrows if arrow.get_linewidth() == 1.0]
    assert len(pale) == 1  # from what is absent


def test_the_map_says_what_its_colours_mean(texts_of):
    words = {text.get_text() for text, _ in texts_of(toolchain_map(STATIONS, ROUTES))}
    assert {"on this machine", "emulated on this machine", "not here"} <= words
    only_here = {text.get_text() for text, _ in texts_of(toolchain_map(STATIONS[:1], []))}
    assert "not here" not in only_here


@pytest.mark.parametrize(
    ("stations", "routes"),
    [
        ([], []),
        ([STATIONS[0], STATIONS[0]], []),
        ([Station("x", "Nowhere")], []),
        (STATIONS, [("PyTorch", "Caffe")]),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(stations, routes):
    with pytest.raises(InputError, match="do not make a map"):
        toolchain_map(stations, routes)


def marks_of(figure):
    """Return (marker, x, row) of every mark."""
    lines = figure.axes[0].get_lines()
    return [
        (line.get_marker(), line.get_xdata()[0], line.get_ydata()[0])
        for line in lines
        if line.get_marker() in ("o", "X")
    ]


def test_drivers_run_their_own_cuda_and_all_older_ones():
    marks = set(marks_of(driver_support({11: 450, 12: 525, 13: 580}, {"a": "535.183.01", "b": "580.65.06"})))
    assert marks == {("o", 535, 0), ("o", 535, 1), ("X", 535, 2), ("o", 580, 0), ("o", 580, 1), ("o", 580, 2)}


def test_readers_refuse_newer_operator_sets():
    marks = set(marks_of(opset_support({"old": 20, "new": 26}, models={"m": 20, "n": 21})))
    assert marks == {("o", 20, 0), ("X", 21, 0), ("o", 20, 1), ("o", 21, 1)}


def test_pieces_are_drawn_to_scale_with_their_numbers(texts_of):
    figure = piece_counts({"a": 10, "b": 40})
    assert [bar.get_width() for bar in figure.axes[0].patches] == [10, 40]
    assert {"10", "40"} <= {text.get_text() for text, _ in texts_of(figure)}


def test_no_pieces_give_an_empty_chart():
    assert piece_counts({}).axes[0].patches[:] == []
