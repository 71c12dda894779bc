"""Every figure: what it shows, that it is readable, and that it leaves Matplotlib as it found it."""

import functools
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layers import LayerTime, layer_matrix
from yolotrt_lab.profiling.stages import StageBreakdown
from yolotrt_lab.profiling.structure import StructureLayer, compare_structures
from yolotrt_lab.profiling.throughput import ThroughputPoint
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report import plots
from yolotrt_lab.report.plots.style import figure_to_png, figure_to_svg
from yolotrt_lab.report.plots.tradeoff import TradeoffPoint
from yolotrt_lab.report.schema import Agreement, Curve, PlatformInfo
from yolotrt_lab.types import Detections

EMULATED = PlatformInfo("emulated", "10.16", "AMD EPYC")
REAL = PlatformInfo("real", "10.16", "NVIDIA H200")
LONG = "yolov5n-parts-finetuned.int8.entropy.engine (tensorrt)"
NAMES = {
    "usual": ("fp32", "fp16", "int8"),
    "one": ("fp32",),
    "many": ("fp32", "fp16", "bf16", "int8", "PyTorch", "ONNX Runtime", "OpenVINO"),
    "long": ("fp32", LONG),
}


def latency(p50_ms, count=40):
    samples = p50_ms * (1 + np.abs(np.random.default_rng(0).normal(0, 0.05, count)))
    samples[::10] *= 1.4
    return LatencyStats.from_samples(samples)


def stages(p50_ms):
    return StageBreakdown(latency(2), latency(p50_ms), latency(0.5))


def layers(scale):
    return [
        LayerTime(
            f"l{n}", "Conv", "fp32", scale * (1 + n % 5), (f"/model.{n}/a/very/long/path/of/modules/in/here/conv/Conv",)
        )
        for n in range(40)
    ]


def structure(precision):
    origins = [(f"/model.{n}/conv/Conv", f"/model.{n}/act/Mul") for n in range(40)]
    return [StructureLayer(f"l{n}", "Conv", precision, names) for n, names in enumerate(origins)]


def timeline():
    return [TimelineEvent(s, s, f, 15e3 * f + 4e3 * i, 4e3) for f in range(5) for i, s in enumerate(("pre", "infer"))]


def curve(power):
    recall = np.linspace(0, 1, 101)
    return Curve(tuple(recall), tuple(1 - recall**power))


def by_name(names, make):
    return {name: make(10.0 + 3 * index) for index, name in enumerate(names)}


def example():
    boxes = np.array([[0, 0, 40, 30], [100, 50, 159, 119]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.5], np.float32), np.array([0, 7]))
    image = np.full((120, 160, 3), 90, np.uint8)
    return plots.ExampleImage("a_long_file_name_of_an_image_0001.jpg", image, [("fp32", found), ("int8", found)])


TIMED = {
    "precision_speed": lambda names, platform: plots.precision_speed(
        by_name(names, lambda ms: TradeoffPoint(0.6, latency(ms), (0.58, 0.62), "BF16 ran")), platform=platform
    ),
    "latency": lambda names, platform: plots.latency_distribution(by_name(names, latency), platform=platform),
    "throughput": lambda names, platform: plots.throughput_by_batch(
        by_name(names, lambda ms: [ThroughputPoint(b, latency(ms * b)) for b in (1, 2, 4)]), platform=platform
    ),
    "frameworks": lambda names, platform: plots.framework_bars(by_name(names, latency), platform=platform),
    "stages": lambda names, platform: plots.stage_bars(by_name(names, stages), platform=platform),
    "timeline": lambda names, platform: plots.pipeline_timeline(
        by_name(names[:2], lambda _: timeline()), platform=platform
    ),
    "layers": lambda names, platform: plots.layer_heatmap(
        layer_matrix(by_name(names[:4], lambda ms: layers(ms / 100))), platform=platform
    ),
    "structure": lambda names, platform: plots.structure_comparison(
        compare_structures({name: structure(p) for name, p in zip(names, ("fp32", "bf16", "int8", "x"), strict=False)}),
        platform=platform,
    ),
}
UNTIMED = {
    "pr_curves": lambda names, _: plots.pr_curves(
        by_name(names, lambda power: {f"class {n} $x$": curve(power + n) for n in range(4)})
    ),
    "agreement": lambda names, _: plots.agreement_table(
        by_name(names, lambda ms: Agreement("pass", (), {"relative_l2": ms / 1e5, "cosine": 0.99999}, {"missing": 3}))
    ),
    "examples": lambda _names, _: plots.example_grid([example(), example()], class_names=("bolt", "nut")),
}
ALL = {**TIMED, **UNTIMED}


@functools.cache
def drawn(kind, names):
    """Return a drawn figure and its visible texts with their boxes; shared by the tests, which only look."""
    figure = ALL[kind](NAMES[names], EMULATED)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    painted = []
    with pytest.MonkeyPatch.context() as patch:
        # A figure also holds ticks beyond its limits and parts that are switched off: only what is painted counts.
        paint = Text.draw
        patch.setattr(Text, "draw", lambda text, renderer: (painted.append(text), paint(text, renderer))[1])
        canvas.draw()
    renderer = canvas.get_renderer()
    texts = [(text, text.get_window_extent(renderer)) for text in painted if text.get_visible() and text.get_text()]
    return figure, texts


CASES = [(kind, names) for kind in ALL for names in NAMES if kind not in ("examples", "training") or names == "usual"]


@pytest.mark.parametrize(("kind", "names"), CASES)
def test_no_text_is_cut_off(kind, names):
    figure, texts = drawn(kind, names)
    width, height = figure.get_size_inches() * figure.dpi
    outside = [
        text.get_text()
        for text, box in texts
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    assert outside == []


@pytest.mark.parametrize(("kind", "names"), CASES)
def test_no_text_covers_another(kind, names):
    _, texts = drawn(kind, names)
    # The label on a box in a photograph stands where the box is.
    solid = [(text.get_text(), box) for text, box in texts if kind != "examples" or text.get_bbox_patch() is None]
    collisions = [
        (one, other)
        for index, (one, box) in enumerate(solid)
        for other, other_box in solid[index + 1 :]
        if min(box.x1, other_box.x1) - max(box.x0, other_box.x0) > 1
        and min(box.y1, other_box.y1) - max(box.y0, other_box.y0) > 2
    ]
    assert collisions == []


@pytest.mark.parametrize("kind", ALL)
def test_type_is_readable_at_900_pixels(kind):
    figure, texts = drawn(kind, "usual")
    assert figure.get_size_inches()[0] * 100 == pytest.approx(900)
    assert min(text.get_fontsize() for text, _ in texts) >= 9


@pytest.mark.parametrize("kind", TIMED)
@pytest.mark.parametrize("platform", [EMULATED, REAL])
def test_timings_say_where_they_come_from(kind, platform):
    figure = TIMED[kind](NAMES["usual"], platform)
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert ("mulated on CPU: OpenVINO, not GPU timings (AMD EPYC)" in words) is platform.is_emulated
    assert ("TensorRT 10.16 on NVIDIA H200" in words) is not platform.is_emulated


@pytest.mark.parametrize("kind", ["latency", "precision_speed", "throughput", "stages", "layers"])
def test_axes_have_units(kind):
    figure, _ = drawn(kind, "usual")
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "(ms)" in labels or "(%)" in labels


def test_matplotlib_is_left_as_it_was():
    import matplotlib.pyplot as plt

    settings, figures = dict(matplotlib.rcParams), plt.get_fignums()
    for kind, make in ALL.items():
        figure_to_svg(make(NAMES["usual"], EMULATED)) if kind == "stages" else make(NAMES["usual"], EMULATED)
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == figures


def test_global_settings_do_not_change_the_figures():
    before = figure_to_png(TIMED["stages"](NAMES["usual"], EMULATED))
    with matplotlib.rc_context({"xtick.labelsize": 4, "axes.labelsize": 30, "axes.titlesize": 40, "axes.grid": True}):
        assert figure_to_png(TIMED["stages"](NAMES["usual"], EMULATED)) == before


def test_svg_is_the_same_every_time():
    make = functools.partial(TIMED["frameworks"], NAMES["usual"], EMULATED)
    assert figure_to_svg(make()) == figure_to_svg(make())


def test_stage_bars_are_as_long_as_the_stages():
    figure = plots.stage_bars({"fp32": stages(10.0)})
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    expected = stages(10.0)
    assert widths == pytest.approx([expected.stage(name).p50_ms for name in ("preprocess", "inference", "postprocess")])


def test_framework_bars_compare_with_the_baseline():
    figure = plots.framework_bars({"slow": latency(40), "fast": latency(10)}, baseline="fast")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert [word.split("(")[1] for word in words] == ["0.25\u00d7)", "1.00\u00d7)"]


def test_latency_panels_share_their_axis_and_show_every_percentile():
    stats = latency(10)
    figure = plots.latency_distribution({"fp32": stats})
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    assert f"p99 {stats.p99_ms:.2f}" in right.texts[0].get_text()


def test_one_stray_call_does_not_squeeze_the_rest():
    samples = np.r_[np.random.default_rng(0).normal(10, 0.2, 999), 4000.0]
    figure = plots.latency_distribution({"fp32": LatencyStats.from_samples(samples)})
    assert figure.axes[0].get_xlim()[1] < 30


def test_the_heat_map_shows_every_millisecond():
    matrix = layer_matrix({"a": layers(1.0)})
    figure = plots.layer_heatmap(matrix, top=5)
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert len(cells) == 6
    assert sum(float(cell.split(" ms")[0]) for cell in cells) == pytest.approx(matrix.time_ms.sum(), abs=0.05)


def test_a_part_fused_away_says_so():
    other = [LayerTime("x", "Conv", "fp32", 1.0, ("/model.0/Conv",))]
    more = [*other, LayerTime("y", "Mul", "fp32", 1.0, ("/model.0/act/Mul",))]
    figure = plots.layer_heatmap(layer_matrix({"a": other, "b": more}))
    assert [text.get_text() for text in figure.axes[0].texts].count("fused") == 1


def test_class_names_with_dollars_are_no_mathematics():
    figure = plots.pr_curves({"fp32": {"$\\frac{": curve(3)}})
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("write", [figure_to_png, figure_to_svg])
def test_any_alphabet_draws_without_warnings(write):
    figure = plots.pr_curves({"fp32": {"\u87ba\u4e1d": curve(3), "M\u00fctter": curve(3), "\U0001f529": curve(2)}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(write(figure)) > 1000


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 12])
def test_pr_curves_have_one_panel_per_class_up_to_nine(count):
    figure = plots.pr_curves({"fp32": {f"class {n}": curve(3) for n in range(count)}})
    assert sum(axes.get_visible() for axes in figure.axes) == min(count, 9)


def test_a_failed_verdict_is_loud():
    figure = plots.agreement_table({"int8": Agreement("fail", ("x",), {"cosine": 0.5})})
    cells = figure.axes[0].tables[0].get_celld()
    assert cells[(1, 2)].get_text().get_text() == "FAIL"


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.precision_speed({}),
        lambda: plots.throughput_by_batch({}),
        lambda: plots.framework_bars({}),
        lambda: plots.latency_distribution({}),
        lambda: plots.stage_bars({}),
        lambda: plots.pipeline_timeline({}),
        lambda: plots.pr_curves({}),
        lambda: plots.agreement_table({}),
    ],
)
def test_nothing_to_draw_is_an_empty_figure(make):
    FigureCanvasAgg(make()).draw()


class TestExamples:
    def test_boxes_are_where_they_belong(self):
        figure = plots.example_grid([example()], class_names=("bolt",))
        boxes = [patch.get_bbox().extents.tolist() for patch in figure.axes[0].patches]
        assert boxes == [[0, 0, 40, 30], [100, 50, 159, 119]]
        assert [text.get_text() for text in figure.axes[0].texts] == ["bolt 0.90", "class 7 0.50"]

    def test_colors_are_rgb_not_bgr(self):
        image = np.zeros((10, 10, 3), np.uint8)
        image[:, :, 0] = 255  # blue, as OpenCV keeps it
        shown = (
            plots.example_grid([plots.ExampleImage("x", image, [("fp32", Detections.empty())])], class_names=())
            .axes[0]
            .images[0]
        )
        assert shown.get_array()[0, 0].tolist() == [0, 0, 255]

    def test_images_with_other_engines_do_not_fit(self):
        other = plots.ExampleImage("b", example().image_bgr, [("fp16", Detections.empty())])
        for examples in ([example(), other], []):
            with pytest.raises(InputError, match="do not fit one grid"):
                plots.example_grid(examples, class_names=())
