import json

import cv2
import pytest

from yolotrt_lab.cli.main import main

QUICK = ("--rounds", "2", "--warmup", "1", "--threads", "1", "--device", "cpu")


def run(capsys, *arguments):
    code = main(["bench", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_two_frameworks_and_two_batches(fixed_detector, capsys):
    code, out, err = run(capsys, fixed_detector, f"{fixed_detector}@openvino", "--batch", "2,1", *QUICK, "--json")
    assert code == 0
    found = json.loads(out)
    assert [(t["model"], t["batch"]) for t in found["timings"]] == [
        ("fixed.onnx", 1),
        ("fixed.onnx (openvino)", 1),
        ("fixed.onnx", 2),
        ("fixed.onnx (openvino)", 2),
    ]
    for timing in found["timings"]:
        assert len(timing["latency_ms"]["samples"]) == 6
        assert timing["images_per_s"] == pytest.approx(1000 * timing["batch"] / timing["latency_ms"]["mean"])
        ratio = timing["time_ratio_to_first"]
        assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert found["timings"][0]["time_ratio_to_first"] == {"value": 1, "low": 1, "high": 1}
    assert found["threads"] == 1
    assert found["machine"]["processor"]
    assert "not GPU timings" not in err


def test_a_table_for_people(fixed_detector, capsys):
    code, out, err = run(capsys, fixed_detector, *QUICK)
    assert code == 0
    assert "Batch 1" in out
    assert "1 (first)" in out
    assert "fixed.onnx: ONNX Runtime" in err


def test_files(fixed_detector, tmp_path, capsys):
    code, _, _ = run(capsys, fixed_detector, "--batch", "1,2", *QUICK, "-o", tmp_path / "out")
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["bench.json", "comparison.png", "latency.png", "throughput.png"]
    assert json.loads((tmp_path / "out" / "bench.json").read_text())["timings"]
    assert cv2.imread(str(tmp_path / "out" / "latency.png")).shape[1] > 800


def test_an_engine_is_marked_as_emulated(fixed_detector, tmp_path, capsys, monkeypatch):
    from yolotrt_lab.engines.build import build_engine

    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    build_engine(fixed_detector, tmp_path / "fixed.engine")
    code, out, err = run(capsys, tmp_path / "fixed.engine", fixed_detector, *QUICK, "--json")
    assert code == 0
    assert "not GPU timings" in " ".join(err.split())
    first = json.loads(out)["timings"][0]
    assert (first["backend"], first["platform"], first["executed_precision"]) == ("tensorrt", "emulated", "fp32")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{model}", "--batch", "0"], "batch sizes are not readable"),
        (["{model}", "--batch", "1,x"], "batch sizes are not readable"),
        (["{model}", "--batch", ""], "batch sizes are not readable"),
        (["gone.onnx"], "No such file"),
        (["{model}@pytorch"], "cannot open"),
        (["{model}", "--rounds", "0"], "rounds"),
        ([], "Missing argument"),
    ],
)
def test_bad_calls(fixed_detector, capsys, arguments, words):
    code, _, err = run(capsys, *(text.format(model=fixed_detector) for text in arguments))
    assert code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err
