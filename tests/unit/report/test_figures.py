import pytest
from matplotlib.figure import Figure

from yolotrt_lab.report import plots
from yolotrt_lab.report.figures import figures_from_results
from yolotrt_lab.report.schema import validate_results
from yolotrt_lab.report.sections import FIGURE_SECTIONS

SOURCES = {
    "training": ["training"],
    "stages": ["stages"],
    "timeline": ["timeline"],
    "throughput": ["throughput"],
    "layers": ["layers"],
    "structure": ["structure"],
    "frameworks": ["frameworks"],
    "samples": ["detections"],
    "engines": ["precision_speed", "pr_curves", "agreement", "latency"],
}


@pytest.fixture
def blank(monkeypatch):
    """Blank figures, for tests of which ones are made."""
    for name in vars(plots).get("__all__"):
        if name != "ExampleImage":
            monkeypatch.setattr(plots, name, lambda *_arguments, **_settings: Figure())


def only(results, *keys):
    return validate_results({key: results[key] for key in ("schema_version", "platform", *keys)})


def test_a_whole_run_has_every_figure(results, run_folder, blank):
    figures = figures_from_results(validate_results(results), folder=run_folder)
    assert set(figures) == set(FIGURE_SECTIONS)


@pytest.mark.parametrize("missing", SOURCES)
def test_what_was_not_measured_is_not_drawn(results, run_folder, blank, missing):
    del results[missing]
    figures = figures_from_results(validate_results(results), folder=run_folder)
    assert set(FIGURE_SECTIONS) - set(figures) == set(SOURCES[missing])


def test_without_a_folder_there_are_no_photographs(results, blank):
    assert "detections" not in figures_from_results(validate_results(results))


def test_a_free_training_section_may_hold_anything(results):
    for history in ("none", [], [1, 2], {"a": 1}):
        results["training"]["history"] = history
        assert figures_from_results(only(results, "training")) == {}


def test_a_remark_names_the_precision_that_ran_instead(results):
    figure = figures_from_results(only(results, "engines"))["precision_speed"]
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert any("FP16 (BF16 ran)" in label for label in labels)
    assert not any("FP32 (" in label for label in labels)


def test_photographs_show_the_first_and_the_last_engine(results, run_folder):
    boxes = results["samples"][0]["detections"]["fp32"]
    results["samples"][0]["detections"] = {name: boxes for name in ("fp32", "fp16", "int8")}
    figure = figures_from_results(only(results, "samples", "dataset"), folder=run_folder)["detections"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(":")[0] for title in titles] == ["FP32", "INT8"]


def test_a_missing_or_foreign_example_image_is_left_out(results, run_folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    outside.write_bytes((run_folder / "samples" / "a.png").read_bytes())
    climbing = f"../../{outside.parent.name}/secret.png"
    for image in ("samples/gone.png", str(outside), climbing):
        results["samples"][0]["image"] = image
        assert figures_from_results(only(results, "samples", "dataset"), folder=run_folder) == {}


@pytest.mark.parametrize(
    ("field", "missing"),
    [
        ("map50_95", {"precision_speed"}),
        ("latency_ms", {"precision_speed", "latency"}),
        ("curves", {"pr_curves"}),
        ("agreement_with_onnxruntime", {"agreement"}),
        ("map50_95_interval", set()),
        ("delta_to_fp32", set()),
    ],
)
def test_an_engine_without_one_measurement(results, field, missing):
    for engine in results["engines"].values():
        del engine[field]
    figures = figures_from_results(only(results, "engines"))
    assert set(SOURCES["engines"]) - set(figures) == missing
