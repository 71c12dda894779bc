"""Without a GPU: the kernels' tests in Triton's interpreter, in a process where it interprets from the start."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_kernels runs on the GPU itself")
def test_the_kernels_in_the_interpreter():
    program = (sys.executable, "-m", "pytest", "-q", "-n0", "--no-cov", "-p", "no:cacheprovider")
    done = subprocess.run(
        (*program, str(Path(__file__).with_name("test_kernels.py"))),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
