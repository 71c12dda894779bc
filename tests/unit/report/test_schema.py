import json

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.schema import PlatformInfo, read_results, validate_results, write_results


def test_a_whole_run(results):
    checked = validate_results(results)
    assert list(checked.engines) == ["fp32", "fp16", "int8"]
    assert checked.engines["fp16"].executed_precision == "bf16"
    assert checked.engines["int8"].agreement_with_onnxruntime.verdict == "fail"
    assert checked.stages["fp32"].inference.p50_ms > checked.stages["fp32"].preprocess.p50_ms
    assert checked.layers["fp32"][1].origins[0] == "/model.0/cv1/conv/Conv"
    assert checked.throughput["fp32"][2].batch == 4


def test_the_least():
    platform = {"kind": "real", "tensorrt_version": "10.16", "device": "H200"}
    checked = validate_results({"schema_version": 1, "platform": platform})
    assert checked.engines == {}
    assert checked.dataset is None


def test_file_round_trip(results, tmp_path):
    written = write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == written


def remove(*path):
    def change(results):
        place = results
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def put(value, *path):
    def change(results):
        place = results
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("platform"), "results.platform is missing"),
        (remove("schema_version"), "results.schema_version is missing"),
        (put(2, "schema_version"), "results.schema_version"),
        (put("virtual", "platform", "kind"), "results.platform.kind"),
        (put("fp8", "engines", "int8", "executed_precision"), "results.engines.int8.executed_precision"),
        (remove("engines", "fp16", "requested_precision"), "results.engines.fp16.requested_precision is missing"),
        (put(61.3, "engines", "fp32", "map50_95"), "results.engines.fp32.map50_95 is out of range"),
        (put(-0.1, "engines", "fp32", "map50"), "results.engines.fp32.map50 is out of range"),
        (put([], "engines", "fp32", "latency_ms", "samples"), "results.engines.fp32.latency_ms"),
        (remove("engines", "fp32", "latency_ms", "samples"), "results.engines.fp32.latency_ms: Latency has no samples"),
        (put([0.5], "engines", "fp32", "curves", "nut", "recall"), "curves.nut has lists of different lengths"),
        (put([1], "samples", 0, "detections", "int8", "class_ids"), "samples[0].detections.int8 has lists"),
        (put("ok", "engines", "fp32", "agreement_with_onnxruntime", "verdict"), "agreement_with_onnxruntime.verdict"),
        (put({"x": float("nan")}, "environment"), "results.environment.x"),
    ],
)
def test_what_is_against_the_schema_is_named(results, change, message, tmp_path):
    change(results)
    with pytest.raises(InputError) as caught:
        validate_results(results)
    assert message in caught.value.what
    with pytest.raises(InputError):
        write_results(tmp_path / "results.json", results)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("value", [None, [], 3, "results"])
def test_not_an_object(value):
    with pytest.raises(InputError, match="results is not what belongs there"):
        validate_results(value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"schema_version": 1}'])
def test_a_broken_file(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError):
        read_results(tmp_path / "results.json")


def test_the_numbers_cannot_contradict_the_samples(results):
    results["engines"]["fp32"]["latency_ms"]["p50"] = 0.001
    assert validate_results(results).engines["fp32"].latency_ms.p50_ms > 10


def test_the_fixture_is_json(results):
    assert json.loads(json.dumps(results)) == results


@pytest.mark.parametrize(
    ("kind", "words"),
    [("emulated", "emulated on CPU: OpenVINO, not GPU timings (EPYC)"), ("real", "TensorRT 10.16 on EPYC")],
)
def test_the_timing_label(kind, words):
    assert PlatformInfo(kind, "10.16", "EPYC").timing_label == words


def test_the_processor_behind_an_emulated_device():
    info = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on AMD EPYC (Turin))")
    assert info.timing_label == "emulated on CPU: OpenVINO, not GPU timings (AMD EPYC (Turin))"
