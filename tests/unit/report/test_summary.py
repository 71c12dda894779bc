import pytest

from yolotrt_lab.report.schema import validate_results
from yolotrt_lab.report.summary import summarize


def words(results):
    return "\n".join(summarize(validate_results(results)))


def set_latency(results, name, p50_ms, spread=0.0):
    step = spread / 50
    samples = [p50_ms - spread / 2 + step * index for index in range(51)]
    results["engines"][name]["latency_ms"] = {"samples": samples}


def test_a_whole_run(results):
    text = words(results)
    assert "emulated on the CPU" in text
    assert "FP32 engine reaches mAP50-95 0.613, takes 18.5 ms per image and is 9.0 MB large." in text
    assert "FP16 engine reaches mAP50-95 0.609 (-0.004 against FP32)" in text
    assert "asked for FP16, but most of it runs in BF16" in text
    assert "within its tolerance: FP32, FP16." in text
    assert "INT8 engine does NOT agree with ONNX Runtime: boxes relative L2" in text
    assert "Of the engines that agree, FP16 is the fastest on this CPU." in text


def test_an_engine_that_does_not_agree_is_never_recommended(results):
    set_latency(results, "int8", 1.0)
    assert "INT8 is the fastest" not in words(results)


def test_without_verdicts_nothing_is_recommended(results):
    for engine in results["engines"].values():
        del engine["agreement_with_onnxruntime"]
    assert "fastest" not in words(results)


@pytest.mark.parametrize(
    ("fp16_ms", "spread", "expected"),
    [
        (10.0, 1.0, "2.00 times as fast as FP32"),
        (40.0, 1.0, "2.00 times as slow as FP32"),
        (19.5, 20.0, "no clear difference to FP32"),
        (20.0, 0.0, "no clear difference to FP32"),
    ],
)
def test_a_difference_is_only_called_one_when_it_is_more_than_noise(results, fp16_ms, spread, expected):
    set_latency(results, "fp32", 20.0, spread)
    set_latency(results, "fp16", fp16_ms, spread)
    line = next(line for line in words(results).splitlines() if line.startswith("The FP16 engine reaches"))
    assert expected in line


def test_a_real_gpu_is_named(results):
    results["platform"].update(kind="real", device="NVIDIA H200")
    text = words(results)
    assert "emulated" not in text
    assert "fastest on this NVIDIA H200" in text


def test_an_engine_that_was_not_measured(results):
    results["engines"] = {"fp32": {"requested_precision": "fp32", "executed_precision": "fp32"}}
    assert "was built, but not measured" in words(results)


def test_no_engine(results):
    results["engines"] = {}
    assert "built no engine" in words(results)
