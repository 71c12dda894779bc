import numpy as np
import pytest

from yolotrt_lab.detection.letterbox import LetterboxTransform, letterbox
from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.letterboxing import input_planes, letterbox_panels, ways_back
from yolotrt_lab.report.plots.style import figure_to_png


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    ("image_hw", "free"), [((90, 160), ["23"]), ((160, 90), ["23"]), ((64, 64), [])], ids=["wide", "high", "square"]
)
def test_free_pixels_are_measured(image_hw, free):
    image = np.zeros((*image_hw, 3), np.uint8)
    canvas, transform = letterbox(image, input_hw=(104, 104) if image_hw != (64, 64) else (64, 64))
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    figure = letterbox_panels(image, canvas, content_xyxy=(left, top, left + width, top + height))
    assert [text for text in texts(figure) if text] == free
    assert f"{width} x {height} pixels" in figure._supxlabel.get_text()
    rectangle = figure.axes[1].patches[0]
    assert (rectangle.get_width(), rectangle.get_height()) == (width, height)
    assert figure_to_png(figure)


def test_both_pictures_are_named_by_their_sizes():
    transform = LetterboxTransform.fit((30, 40), input_hw=(64, 96))
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    figure = letterbox_panels(
        np.zeros((30, 40, 3), np.uint8),
        np.zeros((64, 96, 3), np.uint8),
        content_xyxy=(left, top, left + width, top + height),
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Image: 40 x 30", "Network input: 96 x 64"]


def test_the_right_box_stands_out():
    boxes = {"right": np.array([[1, 2, 11, 22]]), "wrong $1": [3, 4, 13, 24], "also wrong": (5, 6, 15, 26)}
    axes = ways_back(np.zeros((40, 60, 3), np.uint8), boxes).axes[0]
    assert [patch.get_xy() for patch in axes.patches] == [(1, 2), (3, 4), (5, 6)]
    assert [patch.get_linestyle() for patch in axes.patches] == ["-", "--", "--"]
    assert len({patch.get_edgecolor() for patch in axes.patches}) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["right", r"wrong \$1", "also wrong"]


def test_no_box_is_an_error():
    with pytest.raises(InputError):
        ways_back(np.zeros((4, 4, 3), np.uint8), {})


def test_planes_in_the_networks_order():
    batch = np.zeros((1, 3, 8, 12), np.float16)
    batch[0, 0] = 0.25
    batch[0, 2, 0, 0] = 1
    figure = input_planes(batch)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["red: 0.25 to 0.25", "green: 0.00 to 0.00", "blue: 0.00 to 1.00"]
    assert "float16, shape (1, 3, 8, 12)" in figure._supxlabel.get_text()


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8), (1, 8, 8, 3)])
def test_another_shape_is_an_error(shape):
    with pytest.raises(InputError):
        input_planes(np.zeros(shape, np.float32))
