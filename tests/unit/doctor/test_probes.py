import subprocess
import sys

import pytest

from yolotrt_lab.doctor import gather_facts, probes
from yolotrt_lab.doctor.facts import version_tuple
from yolotrt_lab.doctor.probe_programs import PROGRAMS


@pytest.mark.parametrize(
    ("program", "values", "error"),
    [
        ('print(\'{"version": "1"}\')', {"version": "1"}, None),
        ("print('noise'); print('{}')", {}, None),
        ("import no_such_module_at_all", {}, "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise SystemExit('cudaGetDeviceCount: cudaErrorNoDevice')", {}, "cudaGetDeviceCount: cudaErrorNoDevice"),
        ("raise SystemExit(5)", {}, "exit code 5"),
        ("pass", {}, "gave no answer"),
        ("print('[1]')", {}, "gave no answer"),
        ("print('not json')", {}, "gave no answer"),
        ("import os; os.abort()", {}, "crashed (signal 6)"),
        ("import time; time.sleep(60)", {}, "did not answer within 0.5 s"),
        (
            "import sys; print('A module that was compiled using NumPy 1.x cannot be run', file=sys.stderr); 1/0",
            {},
            "A module that was compiled using NumPy 1.x cannot be run",
        ),
    ],
)
def test_ask(program, values, error):
    probe = probes.ask(program, seconds=0.5 if "sleep" in program else 30)
    assert (dict(probe.values), probe.error, probe.works) == (values, error, error is None)


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_programs_compile(name):
    compile(PROGRAMS[name], name, "exec")


def test_this_machine():
    calls = []
    facts = gather_facts(on_progress=lambda done, total: calls.append((done, total)))
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.cores >= 1
    assert facts.memory_gib > 1
    for module in ("numpy", "torch", "onnx", "onnxruntime", "openvino", "cv2", "ultralytics", "torchvision"):
        assert facts.works(module), facts.probes.get(module)
    assert "CPU" in facts.value("openvino", "devices")
    assert version_tuple(facts.value("numpy", "version")) >= (2, 0)
    assert facts.packages["numpy"] == facts.value("numpy", "version")
    assert calls == [(done, len(facts.probes)) for done in range(1, len(facts.probes) + 1)]


class TestNvidiaSmi:
    @pytest.fixture
    def smi(self, monkeypatch):
        def install(code: int, output: str) -> None:
            monkeypatch.setattr(probes.shutil, "which", lambda name: f"/usr/bin/{name}")
            monkeypatch.setattr(probes, "_output", lambda command, **_: (code, output))

        return install

    def test_none(self, monkeypatch):
        monkeypatch.setattr(probes.shutil, "which", lambda name: None)
        assert probes._nvidia() == (None, (), None)

    def test_gpus(self, smi):
        smi(0, "580.65.06, 143771, 9.0, NVIDIA H200\n580.65.06, 15360, 7.5, Tesla T4, 16GB")
        driver, gpus, error = probes._nvidia()
        assert (driver, error) == ("580.65.06", None)
        assert [(gpu.name, round(gpu.memory_gib), gpu.compute_capability) for gpu in gpus] == [
            ("NVIDIA H200", 140, (9, 0)),
            ("Tesla T4, 16GB", 15, (7, 5)),
        ]

    def test_memory_not_told(self, smi):
        smi(0, "580.65.06, [N/A], 12.1, NVIDIA GB10")
        assert probes._nvidia()[1][0].memory_gib == 0

    @pytest.mark.parametrize(
        ("code", "output", "expected"),
        [
            (9, "NVIDIA-SMI has failed.\nMake sure that ...", "NVIDIA-SMI has failed."),
            (0, "No devices were found", "No devices were found"),
            (0, "", "nvidia-smi listed no GPU"),
            (124, "nvidia-smi did not answer within 20 s", "nvidia-smi did not answer within 20 s"),
        ],
    )
    def test_failures(self, smi, code, output, expected):
        smi(code, output)
        assert probes._nvidia() == (None, (), expected)


def test_nvcc(monkeypatch):
    monkeypatch.setattr(probes.shutil, "which", lambda name: "/usr/bin/nvcc")
    monkeypatch.setattr(probes, "_output", lambda command: (0, "Cuda compilation tools, release 13.0, V13.0.48"))
    assert probes._nvcc() == "13.0"
    monkeypatch.setattr(probes.shutil, "which", lambda name: None)
    assert probes._nvcc() is None


def test_bubblewrap(monkeypatch):
    assert probes._bubblewrap_error(None) is None
    monkeypatch.setattr(probes, "_output", lambda command: (1, "bwrap: No permissions to create new namespace"))
    assert probes._bubblewrap_error("/usr/bin/bwrap") == "bwrap: No permissions to create new namespace"
    monkeypatch.setattr(probes, "_output", lambda command: (0, ""))
    assert probes._bubblewrap_error("/usr/bin/bwrap") is None


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (subprocess.TimeoutExpired("x", 1), (124, "x did not answer within 1 s")),
        (OSError("no such program"), (127, "no such program")),
    ],
)
def test_programs_that_fail_to_answer(monkeypatch, effect, expected):
    def run(*_, **__):
        raise effect

    monkeypatch.setattr(probes.subprocess, "run", run)
    assert probes._output(["x"], seconds=1) == expected


def test_a_container_limit_counts(monkeypatch, tmp_path):
    total = probes.psutil.virtual_memory().total
    for text, expected in (("1073741824", 2**30), ("max", total), (str(2**62), total)):
        monkeypatch.setattr(probes.Path, "read_text", lambda self, _text=text, **_: _text + "\n")
        assert probes._memory_bytes() == expected
