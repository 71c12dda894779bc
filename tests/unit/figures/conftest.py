"""What readers see of a figure: the texts that are really painted, and whether each can be read."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


@pytest.fixture
def texts_of(monkeypatch):
    """A function that draws a figure and returns its visible texts with the boxes they take, in pixels."""

    def texts(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        painted = []
        with monkeypatch.context() as patch:
            paint = Text.draw
            patch.setattr(Text, "draw", lambda text, renderer: (painted.append(text), paint(text, renderer))[1])
            canvas.draw()
        renderer = canvas.get_renderer()
        return [(text, text.get_window_extent(renderer)) for text in painted if text.get_visible() and text.get_text()]

    return texts


@pytest.fixture
def painted_words(texts_of):
    """A function that returns all that is written in a figure, in one string."""
    return lambda figure: " ".join(text.get_text() for text, _ in texts_of(figure))


@pytest.fixture
def check_legible(texts_of):
    """A function that fails if a text is cut off, too small, or lies over another one; returns the texts."""

    def check(figure, *, may_overlap=lambda text: False):
        texts = texts_of(figure)
        width, height = figure.get_size_inches() * figure.dpi
        for index, (text, box) in enumerate(texts):
            assert -1 <= box.x0 <= box.x1 <= width + 1, text
            assert -1 <= box.y0 <= box.y1 <= height + 1, text
            assert text.get_fontsize() >= 9
            for other, other_box in [] if may_overlap(text.get_text()) else texts[index + 1 :]:
                across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
                along = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
                assert across <= 1 or along <= 2 or may_overlap(other.get_text()), (text, other)
        return texts

    return check
