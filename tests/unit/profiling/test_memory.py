import json
import time

import pytest

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.profiling.memory import MemoryUse, measure_runtime_memory, sample_memory
from yolotrt_lab.profiling.memory_probe import main

MIB = 2**20


def test_a_block_that_is_freed_again_still_counts():
    with sample_memory(interval_s=0.001) as use:
        block = bytearray(60 * MIB)
        for start in range(0, len(block), 4096):
            block[start] = 1
        deadline = time.monotonic() + 10
        while use.delta_mib < 50 and time.monotonic() < deadline:  # a busy machine lets the sampling thread wait
            time.sleep(0.005)
        del block
    assert use.delta_mib > 50
    assert use.peak_mib >= use.before_mib


def test_an_error_in_the_block_ends_the_sampling():
    with pytest.raises(ZeroDivisionError), sample_memory():
        _ = 1 / 0


def test_delta_is_never_negative():
    assert MemoryUse(before_mib=10, peak_mib=5).delta_mib == 0


def test_a_model_in_a_process_of_its_own(small_onnx):
    use = measure_runtime_memory(small_onnx, batch=1, runs=1)
    assert use.framework_mib > 20
    assert use.peak_mib >= use.loaded_mib > 0
    assert use.device_mib is None


def test_a_model_that_does_not_open(tmp_path):
    with pytest.raises(LabError, match="failed") as caught:
        measure_runtime_memory(tmp_path / "gone.onnx")
    assert "No such file" in caught.value.got


def test_a_process_that_takes_too_long(small_onnx):
    with pytest.raises(InputError, match="took too long"):
        measure_runtime_memory(small_onnx, timeout_s=0.01)


def test_the_probe_prints_one_line_of_json(small_onnx, capsys):
    assert main([str(small_onnx), "1", "1", "openvino"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(found) == {"framework_mib", "loaded_mib", "peak_mib", "device_mib"}
    assert found["peak_mib"] >= 0


def test_the_probe_gives_the_message_and_the_exit_code(tmp_path, capsys):
    assert main([str(tmp_path / "gone.onnx"), "1", "1"]) == 2
    assert "No such file" in capsys.readouterr().err
