import numpy as np
import pytest

from yolotrt_lab.precision.histogram import StreamingHistogram
from yolotrt_lab.precision.image_profile import ImageProfile
from yolotrt_lab.precision.representativeness import judge_representativeness
from yolotrt_lab.report.plots.calibration import calibration_report
from yolotrt_lab.report.plots.style import figure_to_png

NAMES = tuple(f"class{index}" for index in range(20))


def profile(images, *, labeled=True, missing=()):
    rng = np.random.default_rng(images)
    counts = np.arange(20, 40) if labeled else np.zeros(0, int)
    counts[list(missing)] = 0
    objects = int(counts.sum())
    return ImageProfile(
        images, counts, np.minimum(counts, images), rng.uniform(0.2, 0.8, images), np.full(images, 1.5),
        rng.lognormal(4, 1, objects), rng.lognormal(0, 0.3, objects),
    )  # fmt: skip


@pytest.fixture
def draw():
    histogram = StreamingHistogram()
    histogram.update(np.random.default_rng(0).normal(size=5000))

    def make(*, labeled=True, saturation=None):
        report = judge_representativeness(
            profile(30, labeled=labeled, missing=(3,) if labeled else ()),
            profile(60, labeled=labeled),
            class_names=NAMES if labeled else (),
            method="entropy",
            saturation={"/a/act/Mul_output_0": 0.02, "b": 0.01, "c": 0.0} if saturation is None else saturation,
            threshold_shifts={},
        )
        return calibration_report(
            report, tensor="/a/act/Mul_output_0", histogram=histogram, thresholds={"minmax": 3.5, "mse": 2.5, "new": 2}
        )

    return make


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_what_the_panels_show(draw):
    figure = draw()
    shown = panels(figure)
    assert list(shown) == ["Classes", "Object size", "Brightness", "Clipped by entropy", "Thresholds for a"]
    assert all(axes.get_xlabel() for axes in shown.values())
    clipped = shown["Clipped by entropy"]
    assert [round(bar.get_width(), 6) for bar in clipped.patches] == [2.0, 1.0]
    assert [label.get_text() for label in clipped.get_yticklabels()] == ["a", "b"]
    lines = {line.get_label(): line.get_xdata()[0] for line in shown["Thresholds for a"].lines}
    assert lines == {"min-max: 3.5": 3.5, "MSE: 2.5": 2.5, "new: 2": 2}
    assert [text.get_text() for text in figure.legends[0].texts] == ["calibration (30 images)", "reference (60 images)"]
    assert figure_to_png(figure).startswith(b"\x89PNG")


def test_a_missing_class_comes_first_when_not_all_fit(draw):
    classes = panels(draw())["Classes"]
    labels = [label.get_text() for label in classes.get_yticklabels()]
    assert (labels[0], len(labels)) == ("class3", 12)
    assert "8 more classes" in classes.get_xlabel()
    assert any("missing" in text.get_text() for text in classes.texts)


def test_histograms_are_shares(draw):
    brightness = panels(draw())["Brightness"]
    heights = [patch.get_xy()[:, 1].max() for patch in brightness.patches]
    assert all(0 < height <= 100 for height in heights)
    assert len(brightness.patches) == 2


def test_without_labels_and_without_clipping(draw):
    shown = panels(draw(labeled=False, saturation={"a": 0.0}))
    assert next(iter(shown)) == "Image format (no labels)"
    assert "No labels" in shown["Object size"].texts[0].get_text()
    assert "No tensor is clipped" in shown["Clipped by entropy"].texts[0].get_text()
