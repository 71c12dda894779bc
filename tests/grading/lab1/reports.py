"""Made-up compatibility reports for lab1.compatibility_report: each could stand on somebody's screen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}
COMPUTE_FOR_CUDA = {11: (3, 5), 12: (5, 0), 13: (7, 5)}

_DRIVERS = {450: "450.248.02", 470: "470.256.02", 535: "535.183.01", 560: "560.35.05", 570: "570.133.20",
            580: "580.65.06", 590: "590.48.01"}  # fmt: skip
# Compute capability -> name, oldest and newest driver branch.
_CARDS = {
    "3.7": ("Tesla K80", 450, 470),
    "5.2": ("GeForce GTX 970", 450, 580),
    "6.1": ("GeForce GTX 1080 Ti", 450, 580),
    "7.0": ("Tesla V100", 450, 580),
    "7.5": ("Tesla T4", 450, 999),
    "8.6": ("GeForce RTX 3090", 470, 999),
    "8.9": ("NVIDIA L4", 535, 999),
    "9.0": ("NVIDIA H200", 560, 999),
    "10.0": ("NVIDIA B200", 570, 999),
    "12.0": ("GeForce RTX 5090", 570, 999),
}
# CUDA of a PyTorch build -> PyTorch, newest card it has kernels for.
_TORCH = {"11.8": ("2.6.0", (9, 0)), "12.1": ("2.3.1", (9, 0)), "12.6": ("2.8.0", (9, 0)),
          "12.8": ("2.9.0", (12, 0)), "13.0": ("2.9.1", (12, 0))}  # fmt: skip
# ONNX Runtime -> newest operator set, TensorRT its provider is linked to.
_RUNTIMES = {"1.16.3": (19, 8), "1.17.3": (20, 8), "1.18.1": (21, 10), "1.20.1": (21, 10), "1.31.1": (26, 10)}
_TENSORRT = {8: ("8.6.1",), 10: ("10.3.0", "10.9.0.34", "10.13.3.9", "10.16.1.11"), 11: ("11.0.0.114", "11.4.0.106")}
_GPU_PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

Report = dict[str, Any]


def numbers_in(text: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def pick(rng: np.random.Generator, values: Iterable[Any]) -> Any:
    """Return one of the values."""
    choices = list(values)
    return choices[int(rng.integers(len(choices)))]


def make_report(case: str, rng: np.random.Generator) -> Report:
    """Return the report of one case."""
    report = healthy_report(rng)
    for change in _CHANGES.get(case, ()):
        change(report, rng)
    if case == "several at once":
        chosen = rng.permutation(len(_MANY))[: int(rng.integers(3, 5))]
        for index in sorted(int(number) for number in chosen):
            _MANY[index](report, rng)
    return report


def healthy_report(rng: np.random.Generator) -> Report:
    """Return a machine on which all fits, though hardly two numbers on it are equal."""
    runtime = pick(rng, _RUNTIMES)
    max_opset, linked = _RUNTIMES[runtime]
    cuda = pick(rng, _TORCH)
    tensorrt_cuda = pick(rng, ("12.9", "13.0")) if linked == 10 else "12.1"
    majors = [numbers_in(text)[0] for text in (cuda, tensorrt_cuda)]
    newest = min(_TORCH[cuda][1], (9, 0) if linked == 8 else (12, 0))
    card = pick(rng, [text for text in _CARDS if (7, 5) <= numbers_in(text) <= newest])
    oldest = max(_CARDS[card][1], 535, *(DRIVER_FOR_CUDA[major] for major in majors))
    parts = pick(rng, _TENSORRT[linked])
    built, found = _cudnn_pair(rng, before_9=cuda == "12.1")
    return {
        "driver": _DRIVERS[pick(rng, [branch for branch in _DRIVERS if branch >= oldest])],
        "gpu": {"name": _CARDS[card][0], "compute_capability": card},
        "torch": {"version": _TORCH[cuda][0], "cuda": cuda, "cudnn_built": built, "cudnn_found": found},
        "tensorrt": {"bindings": parts, "libraries": parts, "cuda": tensorrt_cuda},
        "onnxruntime": {
            "version": runtime,
            "packages": ["onnxruntime-gpu"],
            "providers": list(_GPU_PROVIDERS),
            "max_opset": max_opset,
            "tensorrt_major": linked,
        },
        "onnx": {"opset": int(rng.integers(13, max_opset + 1))},
    }


def cudnn_number(major: int, minor: int, patch: int) -> int:
    """Return a cuDNN version as the library says it: the digits were given more room with version 9."""
    return major * 10_000 + minor * 100 + patch if major >= 9 else major * 1000 + minor * 100 + patch


def _cudnn_pair(rng: np.random.Generator, *, before_9: bool) -> tuple[int, int]:
    """Return two that fit: the one found is of the same minor version, or newer; its patch does not matter."""
    if before_9:
        return cudnn_number(8, 7, 2), cudnn_number(8, int(rng.integers(7, 10)), int(rng.integers(0, 3)))
    minor = int(rng.integers(1, 10))
    if rng.random() < 0.5:
        return cudnn_number(9, minor, 2), cudnn_number(9, minor, int(rng.integers(0, 2)))
    return cudnn_number(9, minor, 2), cudnn_number(9, int(rng.integers(10, 20)), 0)


def _set_tensorrt(report: Report, rng: np.random.Generator, *, major: int = 10) -> None:
    """Install a TensorRT for CUDA 13, with a driver and a card that suit it."""
    version = pick(rng, _TENSORRT[major][-2:])
    report["tensorrt"] = {"bindings": version, "libraries": version, "cuda": "13.0"}
    report["onnxruntime"]["tensorrt_major"] = 10
    report["driver"] = _DRIVERS[pick(rng, (580, 590))]


def _old_driver(report: Report, rng: np.random.Generator) -> None:
    cuda = pick(rng, ("12.8", "13.0"))
    report["torch"] |= {"version": _TORCH[cuda][0], "cuda": cuda}
    report["tensorrt"]["cuda"] = pick(rng, ("12.9", "13.0"))
    branches = (450, 470) if cuda == "12.8" else (535, 560, 570)
    report["driver"] = _DRIVERS[pick(rng, branches)]
    report["gpu"] = {"name": _CARDS["7.5"][0], "compute_capability": "7.5"}


def _driver_for_one(report: Report, rng: np.random.Generator) -> None:
    """Choose a driver that suits PyTorch and not TensorRT."""
    report["torch"] |= {"version": _TORCH["12.6"][0], "cuda": "12.6"}
    _set_tensorrt(report, rng)
    report["driver"] = _DRIVERS[pick(rng, (535, 560, 570))]
    report["gpu"] = {"name": _CARDS["8.6"][0], "compute_capability": "8.6"}


def _old_card(report: Report, rng: np.random.Generator) -> None:
    card = pick(rng, ("3.7", "5.2", "6.1", "7.0"))
    cuda = "12.8" if card == "3.7" else "13.0"
    report["gpu"] = {"name": _CARDS[card][0], "compute_capability": card}
    report["driver"] = _DRIVERS[min(580, _CARDS[card][2])]
    report["torch"] |= {"version": _TORCH[cuda][0], "cuda": cuda}
    report["tensorrt"]["cuda"] = cuda if card == "3.7" else "13.0"


def _new_card(report: Report, rng: np.random.Generator) -> None:
    """Put in a card whose compute capability has two digits before the dot; all still fits."""
    card = pick(rng, ("10.0", "12.0"))
    report["gpu"] = {"name": _CARDS[card][0], "compute_capability": card}
    report["torch"] |= {"version": _TORCH["13.0"][0], "cuda": "13.0"}
    report["torch"] |= {"cudnn_built": cudnn_number(9, 9, 2), "cudnn_found": cudnn_number(9, 13, 0)}
    _set_tensorrt(report, rng)


def _newer_cudnn(report: Report, rng: np.random.Generator) -> None:
    """Put in a cuDNN that is newer by a major version, and by a minor one too."""
    report["torch"] |= {"version": _TORCH["12.1"][0], "cuda": "12.1"}
    found = cudnn_number(9, int(rng.integers(7, 10)), int(rng.integers(0, 3)))
    report["torch"] |= {"cudnn_built": cudnn_number(8, 7, 0), "cudnn_found": found}


def _cudnn(report: Report, rng: np.random.Generator) -> None:
    kind = pick(rng, ("older minor", "older major", "newer major"))
    cuda = "12.1" if kind == "newer major" else "12.8"
    report["torch"] |= {"version": _TORCH[cuda][0], "cuda": cuda}
    minor, patch = int(rng.integers(10, 20)), int(rng.integers(0, 3))
    pairs = {
        "older minor": (cudnn_number(9, minor, patch), cudnn_number(9, int(rng.integers(1, 10)), 1)),
        "older major": (cudnn_number(9, minor, patch), cudnn_number(8, 9, 7)),
        "newer major": (cudnn_number(8, 7, 0), cudnn_number(9, int(rng.integers(1, 10)), patch)),
    }
    report["torch"]["cudnn_built"], report["torch"]["cudnn_found"] = pairs[kind]


def _parts(report: Report, rng: np.random.Generator) -> None:
    _set_tensorrt(report, rng)
    pairs = (("10.16.1.11", "10.9.0.34"), ("10.9.0.34", "10.13.3.9"), ("10.13.2.6", "10.13.3.9"))
    bindings, libraries = pick(rng, pairs)
    report["tensorrt"] |= {"bindings": bindings, "libraries": libraries}


def _cpu_torch(report: Report, rng: np.random.Generator) -> None:
    report["torch"] |= {"version": pick(rng, ("2.6.0", "2.9.1")), "cuda": None}
    report["torch"] |= {"cudnn_built": None, "cudnn_found": None}


def _cpu_runtime(report: Report, rng: np.random.Generator) -> None:
    more = pick(rng, ([], ["AzureExecutionProvider"]))
    report["onnxruntime"] |= {
        "packages": ["onnxruntime"],
        "providers": [*more, "CPUExecutionProvider"],
        "tensorrt_major": None,
    }


def _two_runtimes(report: Report, rng: np.random.Generator) -> None:
    packages = ["onnxruntime", "onnxruntime-gpu"]
    report["onnxruntime"]["packages"] = packages if rng.random() < 0.5 else packages[::-1]


def _other_tensorrt(report: Report, rng: np.random.Generator) -> None:
    _set_tensorrt(report, rng, major=pick(rng, (10, 11)))
    if report["tensorrt"]["libraries"].startswith("10"):
        report["onnxruntime"]["tensorrt_major"] = 8


def _opset(report: Report, rng: np.random.Generator) -> None:
    report["onnx"]["opset"] = report["onnxruntime"]["max_opset"] + int(rng.integers(1, 3))


def _no_gpu(report: Report, rng: np.random.Generator) -> None:
    report["driver"] = report["gpu"] = report["tensorrt"] = None
    _cpu_runtime(report, rng)
    _opset(report, rng)


_CHANGES = {
    "a new card": (_new_card,),
    "an old driver": (_old_driver,),
    "a driver for one of two": (_driver_for_one,),
    "an old card": (_old_card,),
    "libraries": (_parts, _cudnn),
    "another cuDNN": (_newer_cudnn,),
    "builds without CUDA": (_cpu_torch, _cpu_runtime),
    "ONNX Runtime": (_other_tensorrt, _two_runtimes, _opset),
    "no GPU": (_no_gpu,),
}
# What changes the driver comes last, so that its conflict is still there at the end.
_MANY = (_two_runtimes, _opset, _cudnn, _parts, _cpu_runtime, _old_driver)
