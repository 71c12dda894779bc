"""Machines that are not here."""

from dataclasses import replace

import pytest

from yolotrt_lab.doctor import Facts, Gpu, Probe

_PACKAGES = {
    "numpy": "2.4.6",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "ultralytics": "8.4.190",
    "onnx": "1.23.2",
    "onnxruntime": "1.31.1",
    "openvino": "2026.4.1",
    "opencv-python": "5.0.0.93",
    "jupyterlab": "4.6.6",
    "nbgrader": "0.9.6",
}


@pytest.fixture
def laptop() -> Facts:
    """A good laptop without a GPU."""
    return Facts(
        python="3.12.4",
        cpu="Core Ultra",
        cores=8,
        cpu_flags=frozenset({"avx2", "avx512_vnni", "avx512_bf16"}),
        memory_gib=16.0,
        disk_free_gib=100.0,
        packages=_PACKAGES,
        requirements={"torchvision": ("torch (>=2.14.0)",)},
        probes={
            "numpy": Probe({"version": "2.4.6"}),
            "torch": Probe({"version": "2.15.0+cu132", "cuda": "13.2", "available": False, "devices": 0}),
            "torchvision": Probe({"version": "0.29.2"}),
            "ultralytics": Probe({"version": "8.4.190"}),
            "onnx": Probe({"version": "1.23.2"}),
            "onnxruntime": Probe({"version": "1.31.1", "providers": ["CPUExecutionProvider"]}),
            "openvino": Probe({"version": "2026.4.1", "devices": ["CPU"], "capabilities": ["FP32", "BF16", "INT8"]}),
            "cv2": Probe({"version": "5.0.0"}),
        },
        programs={"bwrap": "/usr/bin/bwrap", "chromium": "/usr/bin/chromium"},
    )


@pytest.fixture
def workstation(laptop) -> Facts:
    """The same with an H200 and all of the gpu extra."""
    packages = {name: version for name, version in _PACKAGES.items() if name != "onnxruntime"}
    providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    return replace(
        laptop,
        gpus=(Gpu("NVIDIA H200", 139.8, (9, 0)),),
        driver="580.65.06",
        nvcc="13.0",
        packages={
            **packages,
            "onnxruntime-gpu": "1.31.1",
            "tensorrt-cu13": "10.16.1.11",
            "tensorrt-cu13-bindings": "10.16.1.11",
            "tensorrt-cu13-libs": "10.16.1.11",
            "pycuda": "2026.1",
            "cuda-python": "13.0.3",
        },
        probes={
            **laptop.probes,
            "torch": Probe(
                {"version": "2.15.0+cu132", "cuda": "13.2", "available": True, "devices": 1, "cudnn": 92600}
            ),
            "onnxruntime": Probe({"version": "1.31.1", "providers": providers, "nvinfer_major": 10}),
            "tensorrt": Probe({"version": "10.16.1.11"}),
            "pycuda": Probe({"version": "2026.1", "devices": 1}),
            "cuda": Probe({"version": "13.0.3", "devices": 1}),
        },
    )
