"""The main job, small: one command from nothing to results and report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from yolotrt_lab.report.schema import read_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run."""
    from yolotrt_lab.cli.main import main

    root = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--quick", "-o", str(root / "run"), "--data-root", str(root / "datasets")]) == 0
    return root / "run"


def test_results_hold_what_was_promised(run: Path) -> None:
    content = json.loads((run / "results.json").read_text())
    assert content["dataset"]["name"] == "parts"
    assert content["platform"]["kind"] in ("real", "emulated")
    assert list(content["engines"]) == ["fp32", "fp16", "int8"]
    for engine in content["engines"].values():
        assert 0 <= engine["map50_95"] <= engine["map50"] <= 1
        assert engine["delta_to_fp32"] == pytest.approx(
            engine["map50_95"] - content["engines"]["fp32"]["map50_95"], abs=1e-12
        )
        assert engine["latency_ms"]["p50"] <= engine["latency_ms"]["p90"] <= engine["latency_ms"]["p99"]
        assert engine["size_mb"] > 1
        assert engine["build_s"] > 0
        assert engine["agreement_with_onnxruntime"]["verdict"] in ("pass", "fail")


def test_engines_run_in_the_precision_they_claim(run: Path) -> None:
    engines = read_results(run / "results.json").engines
    assert engines["fp32"].executed_precision == "fp32"
    assert engines["fp16"].executed_precision in ("fp16", "bf16", "fp32")
    assert engines["int8"].executed_precision == "int8"
    assert engines["int8"].precision_share["int8"] > 0.8
    assert engines["int8"].size_mb < 0.6 * engines["fp32"].size_mb


def test_fp32_follows_onnx_runtime(run: Path) -> None:
    agreement = read_results(run / "results.json").engines["fp32"].agreement_with_onnxruntime
    assert agreement is not None
    assert agreement.verdict == "pass", agreement.reasons
    assert agreement.tensor["boxes relative_l2"] < 1e-4


def test_the_report_is_one_file_that_loads_nothing(run: Path) -> None:
    html = (run / "report.html").read_text()
    assert html.count("<img") >= 8
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert "<script" not in html
    if read_results(run / "results.json").platform.is_emulated:
        assert "Emulated TensorRT" in html


def test_figures_and_samples_lie_beside(run: Path) -> None:
    names = {path.stem for path in (run / "figures").glob("*.png")}
    assert {"precision_speed", "latency", "throughput", "stages", "timeline", "layers", "structure"} <= names
    assert len(list((run / "samples").iterdir())) == 3


def test_the_report_can_be_made_again(run: Path, tmp_path: Path, cli: Callable) -> None:
    outcome = cli("report", run / "results.json", "-o", tmp_path / "again.html")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "again.html").stat().st_size > 100_000


def test_models_of_the_run_are_usable(run: Path, cli: Callable) -> None:
    outcome = cli("inspect", run / "model.int8.engine", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["executed_precision"] == "int8"


def test_an_unknown_data_set_is_refused(cli: Callable, tmp_path: Path) -> None:
    outcome = cli("demo", "--dataset", "cats", "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "parts, bccd" in outcome.words
    assert not (tmp_path / "run").exists()
