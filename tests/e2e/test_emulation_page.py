"""What the emulation's page tells people to type works, and what it names is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "yolotrt_lab" / "emulation" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")

SCRIPT = """
import sys
import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda
from cuda.bindings import runtime

memory = cuda.mem_alloc(16)
cuda.memcpy_htod(memory, np.arange(4, dtype=np.float32))
runtime.cudaMalloc(4096)
print("arguments", sys.argv[1:])
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    (root / "script.py").write_text(SCRIPT)
    ends = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4])] for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, root / "model.onnx")
    return root


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "YOLOTRT_PLATFORM": "emulated"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_there_are_commands():
    assert len(COMMANDS) >= 5
    assert all(line.startswith("python ") for line in COMMANDS)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(folder, line):
    done = run(folder, *shlex.split(line)[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is emulated" in done.stderr
    if "--trace" in line:
        assert (folder / "timeline.json").stat().st_size > 100
        assert "4096 bytes" in done.stderr
    if "--own" in line:
        assert "arguments ['--with', 'its', '--own', 'arguments']" in done.stdout


@pytest.mark.parametrize("block", blocks("python"))
def test_python(folder, block):
    done = run(folder, "-c", block)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "10.16.1.11"


def test_links_lead_somewhere():
    headings = {re.sub(r"[^a-z -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in TEXT.splitlines()}
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert link.startswith("http") or (PAGE.parent / link).exists(), link


def test_files_and_variables_are_there():
    external = ("deployment/", "inference/", "tensort/", "script.py", "to_tensorrt.py", "plan_text.py")
    for name in set(re.findall(r"[\w/]+\.py\b", TEXT)):
        places = (PAGE.parent, PAGE.parent / "cuda", PAGE.parent / "tensorrt", ROOT)
        assert name.startswith(external) or any((place / name).exists() for place in places), name
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "yolotrt_lab").rglob("*.py"))
    variables = set(re.findall(r"YOLOTRT_[A-Z_]+", TEXT))
    assert len(variables) >= 5
    assert [name for name in variables if f'"{name}"' not in code] == []


def test_the_readme_leads_here():
    assert "(yolotrt_lab/emulation/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
