"""Asking the machine. Whatever might crash or hang is asked in a process of its own, with a time limit."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from yolotrt_lab.doctor.facts import Facts, Gpu, Probe
from yolotrt_lab.doctor.probe_programs import PROGRAMS
from yolotrt_lab.system import usable_cores
from yolotrt_lab.training.environment import offline_settings
from yolotrt_lab.types import ProgressCallback

__all__ = ["ask", "gather_facts"]

_PACKAGES = re.compile(r"torch(vision)?|numpy|ultralytics|onnx(runtime(-gpu)?)?|openvino|opencv-.*|tensorrt(-cu.*)?|"
                       r"pycuda|cuda-python|cuda-bindings|jupyterlab|nbgrader")  # fmt: skip
_PAIRS = {"torchvision": ("torch",), "ultralytics": ("torch", "torchvision", "numpy", "opencv-python")}
_SECONDS = 90.0


def ask(program: str, *, seconds: float = _SECONDS) -> Probe:
    """Run a Python program that prints one JSON object as its last line.

    Args:
        program: Its text.
        seconds: How long it may take.

    Returns:
        The object, or why there is none: the last line of the traceback, the signal it died of, or the time limit.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=offline_settings() | os.environ | {"YOLO_VERBOSE": "False"},
        )
    except subprocess.TimeoutExpired:
        return Probe(error=f"did not answer within {seconds:g} s")
    except OSError as error:
        return Probe(error=str(error))
    if done.returncode:
        return Probe(error=_reason(done.returncode, done.stderr))
    try:
        values = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return Probe(error="gave no answer")
    return Probe(values=values) if isinstance(values, dict) else Probe(error="gave no answer")


def _reason(code: int, stderr: str) -> str:
    if code < 0:
        return f"crashed (signal {-code})"
    numpy_abi = re.search(r"A module that was compiled using NumPy 1\.x.*", stderr)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return numpy_abi.group() if numpy_abi else (lines[-1] if lines else f"exit code {code}")[:300]


def gather_facts(*, on_progress: ProgressCallback | None = None) -> Facts:
    """Look at this machine.

    Args:
        on_progress: Called with (probes done, probes in all).
    """
    installed = _installed()
    wanted = {name: text for name, text in PROGRAMS.items() if importlib.util.find_spec(name) is not None}
    probes: dict[str, Probe] = {}
    # Two at a time: most of a probe is reading libraries from disk, and memory is short on small machines.
    with ThreadPoolExecutor(max_workers=2) as pool:
        pending = {name: pool.submit(ask, text) for name, text in wanted.items()}
        for done, (name, future) in enumerate(pending.items(), start=1):
            probes[name] = future.result()
            if on_progress:
                on_progress(done, len(pending))
    driver, gpus, driver_error = _nvidia()
    programs = _programs()
    return Facts(
        python=platform.python_version(),
        system=_system(),
        machine=platform.machine(),
        cpu=_cpu_model(),
        cores=usable_cores(),
        cpu_flags=_cpu_flags(),
        memory_gib=_memory_bytes() / 2**30,
        disk_free_gib=shutil.disk_usage(Path.cwd()).free / 2**30,
        gpus=gpus,
        driver=driver,
        driver_error=driver_error,
        nvcc=_nvcc(),
        packages=installed,
        requirements=_requirements(),
        probes=probes,
        programs=programs,
        bubblewrap_error=_bubblewrap_error(programs.get("bwrap")),
        platform_override=os.environ.get("YOLOTRT_PLATFORM") or None,
    )


def _installed() -> dict[str, str]:
    names = ((dist.metadata["Name"] or "").lower().replace("_", "-") for dist in importlib.metadata.distributions())
    return {name: importlib.metadata.version(name) for name in set(names) if _PACKAGES.fullmatch(name)}


def _requirements() -> dict[str, tuple[str, ...]]:
    found = {}
    for owner, others in _PAIRS.items():
        try:
            lines = importlib.metadata.requires(owner) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found[owner] = tuple(line for line in lines if re.match(r"[\w.-]+", line)[0] in others)  # type: ignore[index]
    return found


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _cpuinfo(*keys: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf"^(?:{'|'.join(keys)})\s*:\s*(.*)$", text, re.MULTILINE)
    return match.group(1) if match else ""


def _cpu_model() -> str:
    return _cpuinfo("model name", "Model") or platform.processor()


def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpuinfo("flags", "Features").split())


def _memory_bytes() -> int:
    """Return the machine's memory, or the container's limit where that is less."""
    total = psutil.virtual_memory().total
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _output(command: list[str], *, seconds: float = 20.0) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} did not answer within {seconds:g} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip()


def _nvidia() -> tuple[str | None, tuple[Gpu, ...], str | None]:
    """Return (driver version, GPUs, error)."""
    if shutil.which("nvidia-smi") is None:
        return None, (), None
    query = "--query-gpu=driver_version,memory.total,compute_cap,name"
    code, text = _output(["nvidia-smi", query, "--format=csv,noheader,nounits"])
    gpus = []
    driver = None
    for line in text.splitlines() if code == 0 else ():
        fields = [field.strip() for field in line.split(",", 3)]
        if len(fields) == 4 and (capability := re.fullmatch(r"(\d+)\.(\d+)", fields[2])):
            driver = fields[0]
            memory = float(fields[1]) / 1024 if re.fullmatch(r"[\d.]+", fields[1]) else 0.0
            gpus.append(Gpu(fields[3], memory, (int(capability[1]), int(capability[2]))))
    if not gpus:
        return None, (), (text.splitlines() or ["nvidia-smi listed no GPU"])[0]
    return driver, tuple(gpus), None


def _nvcc() -> str | None:
    if shutil.which("nvcc") is None:
        return None
    _, text = _output(["nvcc", "--version"])
    match = re.search(r"release ([\d.]+)", text)
    return match.group(1) if match else None


def _programs() -> Mapping[str, str]:
    names = {"bwrap": ("bwrap",), "chromium": ("chromium", "chromium-browser", "google-chrome")}
    found = {name: next(filter(None, map(shutil.which, tries)), None) for name, tries in names.items()}
    return {name: path for name, path in found.items() if path}


def _bubblewrap_error(path: str | None) -> str | None:
    if path is None:
        return None
    code, text = _output([path, "--unshare-all", "--ro-bind", "/", "/", "true"])
    return None if code == 0 else (text.splitlines() or [f"exit code {code}"])[-1]
