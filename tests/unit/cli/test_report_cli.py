import json

import pytest

from yolotrt_lab.cli.main import main

SAMPLES = [10.0, 11.0, 10.5, 10.2]
RESULTS = {
    "schema_version": 1,
    "platform": {"kind": "emulated", "tensorrt_version": "10.16", "device": "CPU"},
    "engines": {
        name: {
            "requested_precision": name,
            "executed_precision": name,
            "map50_95": 0.6,
            "latency_ms": {"samples": SAMPLES},
        }
        for name in ("fp32", "int8")
    },
}


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "run" / "results.json"
    path.parent.mkdir()
    path.write_text(json.dumps(RESULTS))
    return path


def run(capsys, *arguments):
    code = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_beside_the_results(results, capsys):
    code, out, _ = run(capsys, results)
    assert code == 0
    assert "report.html" in out
    text = (results.parent / "report.html").read_text(encoding="utf-8")
    assert "mAP50-95 0.600" in text


def test_elsewhere_with_figures_and_a_title(results, tmp_path, capsys):
    target, figures = tmp_path / "a" / "b.html", tmp_path / "figures"
    code, out, _ = run(capsys, results, "-o", target, "--figures", figures, "--title", "My <run>", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["report"] == str(target)
    assert sorted(found["figures"]) == ["latency", "precision_speed"]
    assert sorted(path.name for path in figures.iterdir()) == ["latency.png", "precision_speed.png"]
    assert "My &lt;run&gt;" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "is empty"),
        ("{", "not valid JSON"),
        ("[]", "results is not what belongs there"),
        ('{"schema_version": 1}', "results.platform is missing"),
        (json.dumps({**RESULTS, "engines": {"fp32": {}}}), "results.engines.fp32.requested_precision is missing"),
    ],
)
def test_broken_results(results, capsys, content, words):
    results.unlink() if content is None else results.write_text(content)
    code, _, err = run(capsys, results)
    assert code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert not (results.parent / "report.html").exists()
