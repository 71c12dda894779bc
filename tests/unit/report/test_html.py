import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from yolotrt_lab.errors import InputError, OutputError
from yolotrt_lab.report import html
from yolotrt_lab.report.html import render_report, write_report
from yolotrt_lab.report.schema import validate_results

ATTACK = '<script>alert("x")</script>'
VOID = {"meta", "img", "link", "br", "hr", "input"}
MINIMAL = {"schema_version": 1, "platform": {"kind": "real", "tensorrt_version": "10.16", "device": "H200"}}


class Page(HTMLParser):
    """Collects what the tests ask for, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def whole(_results, tmp_path_factory):
    """The report of a whole run, drawn once: eleven figures take a second or two."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "samples").mkdir()
    cv2.imwrite(str(folder / "samples" / "a.png"), np.full((90, 140, 3), 128, np.uint8))
    return render_report(_results, folder=folder)


@pytest.fixture
def page(whole):
    return Page(whole)


@pytest.fixture
def quick(monkeypatch):
    """No figures, for tests of everything else; `test_figures` has those."""
    monkeypatch.setattr(html, "figures_from_results", lambda results, folder: {})


def test_every_section_is_there_in_order_and_linked(page):
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == [
        "summary", "dataset", "training", "onnx", "engines", "accuracy", "agreement", "speed", "stages", "timeline",
        "layers", "frameworks", "environment", "reading",
    ]  # fmt: skip
    assert [a["href"] for a in page.all("a") if a["href"] != "#main"] == [f"#{key}" for key in ids]


def test_it_loads_nothing_from_elsewhere(whole, page):
    assert all(a["src"].startswith("data:image/") for a in page.all("img"))
    assert not page.all("link")
    assert not page.all("script")
    assert not page.all("iframe")
    assert not re.search(r"url\(|@import|https?://", re.sub(r'src="data:[^"]*"', "", whole))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_figure_has_alternative_text_with_numbers_and_a_size(page):
    images = page.all("img")
    assert len(images) == 11
    for image in images:
        assert len(image["alt"]) > 30
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
    tradeoff = next(image["alt"] for image in images if image["alt"].startswith("Scatter plot"))
    assert "FP32: 18." in tradeoff
    assert "mAP50-95 0.613" in tradeoff
    photographs = next(image for image in images if image["alt"].startswith("Photographs"))
    assert photographs["src"].startswith("data:image/png")


def test_tables_have_captions_and_header_cells(page):
    assert len(page.all("caption")) >= 8
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))


def test_the_page_speaks_and_adapts(whole):
    assert '<html lang="en">' in whole
    assert "prefers-color-scheme: dark" in whole
    assert "@media print" in whole
    assert 'name="viewport"' in whole


def test_the_numbers_are_there(page):
    for words in ("0.613", "0.609", "-0.0040", "FP16", "BF16", "FAIL", "1.0e-04", "boxes relative L2 error", "parts"):
        assert words in page.text


@pytest.mark.parametrize(("kind", "shown"), [("emulated", True), ("real", False)])
def test_the_emulation_is_named_on_top(results, quick, kind, shown):
    results["platform"]["kind"] = kind
    text = render_report(results)
    assert ('class="banner"' in text) is shown
    assert ("Emulated TensorRT" in text) is shown


def test_everything_from_data_is_escaped(results, run_folder, quick):
    results["dataset"].update(name=ATTACK, classes=[ATTACK, "nut"], digest=ATTACK)
    results["platform"].update(device=ATTACK, note=ATTACK, tensorrt_version=ATTACK)
    results["weights"]["name"] = ATTACK
    results["training"][ATTACK] = {ATTACK: [ATTACK, {ATTACK: 1}]}
    results["onnx_report"][ATTACK] = [{ATTACK: ATTACK}]
    results["environment"][ATTACK] = ATTACK
    results["frameworks"][ATTACK] = results["frameworks"]["PyTorch"]
    results["timeline"][ATTACK] = results["timeline"]["Pipelined"]
    engine = results["engines"].pop("int8")
    engine["per_class_map50_95"][ATTACK] = 0.5
    engine["curves"][ATTACK] = engine["curves"]["nut"]
    engine["agreement_with_onnxruntime"]["reasons"] = [ATTACK]
    engine["agreement_with_onnxruntime"]["tensor"][ATTACK] = ATTACK
    results["engines"][ATTACK] = engine
    results["layers"][ATTACK] = results["layers"].pop("int8")
    results["layers"][ATTACK][3]["name"] = ATTACK
    results["layers"][ATTACK][3]["origins"] = [ATTACK]
    text = render_report(results, folder=run_folder, title=ATTACK, figures={ATTACK: Figure()})
    assert "<script" not in text.lower()
    page = Page(text)
    assert page.text.count(ATTACK) > 15
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


@pytest.mark.parametrize(
    "missing",
    [
        ["engines"], ["frameworks"], ["stages"], ["throughput"], ["layers"], ["structure"], ["timeline"], ["samples"],
        ["training"], ["onnx_report"], ["environment"], ["dataset"], ["weights"], ["started", "finished", "seconds"],
        ["engines", "stages", "throughput", "layers", "structure", "timeline", "samples"],
    ],
    ids="-".join,
)  # fmt: skip
def test_a_partial_run_still_gives_a_report(results, run_folder, quick, missing):
    for key in missing:
        del results[key]
    Page(render_report(results, folder=run_folder))


@pytest.mark.parametrize(
    "field",
    [
        "map50", "map50_95", "map50_95_interval", "delta_to_fp32", "per_class_map50_95", "curves", "latency_ms",
        "size_mb", "build_s", "layer_count", "memory_mb", "agreement_with_onnxruntime", "precision_share",
    ],
)  # fmt: skip
def test_an_engine_without_one_measurement(results, quick, field):
    for engine in results["engines"].values():
        del engine[field]
    Page(render_report(results))


def test_a_run_that_measured_nothing(tmp_path):
    page = Page(render_report(MINIMAL))
    assert [a["id"] for a in page.all("section")] == ["summary", "environment", "reading"]
    assert "built no engine" in page.text


def test_own_figures_replace_and_add(results, quick):
    own = Figure()
    own.add_subplot().set_title("mine")
    page = Page(render_report(results, figures={"latency": own, "heat_of_day": Figure()}))
    assert "further" in [a["id"] for a in page.all("section")]
    assert "Heat of day." in page.text


def test_what_is_no_figure_is_refused(results):
    with pytest.raises(InputError, match="is no figure") as caught:
        render_report(results, figures={"latency": "latency.png"})
    assert caught.value.got == "str"


def test_the_same_results_give_the_same_page(results):
    results = {key: results[key] for key in ("schema_version", "platform", "stages", "timeline")}
    assert render_report(results) == render_report(results)


def test_checked_results_are_taken_too(results, quick):
    assert render_report(validate_results(results)) == render_report(results)


class TestWriting:
    def test_examples_are_found_beside_the_report(self, results, run_folder):
        results = {key: results[key] for key in ("schema_version", "platform", "dataset", "samples")}
        path = write_report(run_folder / "report.html", results, {})
        assert "Photographs with boxes" in path.read_text(encoding="utf-8")

    def test_broken_results_leave_the_old_report(self, results, run_folder):
        path = run_folder / "report.html"
        path.write_text("old")
        results["platform"]["kind"] = "imaginary"
        with pytest.raises(InputError):
            write_report(path, results)
        assert path.read_text() == "old"
        assert sorted(p.name for p in run_folder.iterdir()) == ["report.html", "samples"]

    def test_a_file_where_the_folder_should_be(self, results, run_folder):
        (run_folder / "file").write_text("x")
        with pytest.raises(OutputError):
            write_report(run_folder / "file" / "sub" / "report.html", MINIMAL)
