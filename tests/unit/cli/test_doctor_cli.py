import json

import pytest
import typer
from typer.testing import CliRunner

from yolotrt_lab import doctor
from yolotrt_lab.cli.doctor import register
from yolotrt_lab.doctor import Facts, Probe

MODULES = ("numpy", "torch", "torchvision", "ultralytics", "onnx", "onnxruntime", "openvino", "cv2")


@pytest.fixture
def machine(monkeypatch):
    """Let the doctor see a made-up machine; a change of its facts makes another."""

    def see(**changes: object) -> None:
        probes = {module: Probe({"version": "1.0", "devices": ["CPU"]}) for module in MODULES}
        facts = {"python": "3.12.1", "cpu": "CPU [x]", "memory_gib": 16.0, "disk_free_gib": 50.0, "probes": probes}
        facts["cpu_flags"] = frozenset({"avx2", "avx_vnni"})

        def gather_facts(*, on_progress):
            on_progress(1, 1)
            return Facts(**{**facts, **changes})

        monkeypatch.setattr(doctor, "gather_facts", gather_facts)

    return see


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what went to stdout."""
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout


def test_a_good_machine(machine):
    machine()
    code, out = run()
    out = " ".join(out.split())
    assert code == 0
    assert "Labs will use the TensorRT emulation on this CPU" in out
    assert "CPU [x]" in out
    assert "bubblewrap: sudo apt-get install" in out


def test_something_required_is_missing(machine):
    machine(probes={})
    code, out = run()
    out = " ".join(out.split())
    assert code == 3
    assert "first mend: NumPy, PyTorch" in out
    assert "NumPy: make setup" in out


def test_json(machine):
    machine(python="3.8.1")
    code, out = run("--json")
    assert code == 3
    result = json.loads(out)
    assert result["platform"] == "emulated"
    python = next(finding for finding in result["findings"] if finding["name"] == "Python")
    assert python == {
        "name": "Python",
        "status": "fail",
        "found": "3.8.1",
        "meaning": "The course needs Python 3.11, 3.12 or 3.13.",
        "fix": "PYTHON=python3.12 make setup",
    }
