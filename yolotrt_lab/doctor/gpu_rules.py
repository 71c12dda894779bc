"""Rules about NVIDIA's stack: driver, CUDA, PyTorch's CUDA build, TensorRT, PyCUDA, ONNX Runtime's providers.

None of these is required, because the emulation stands in for a GPU, unless `YOLOTRT_PLATFORM=real` asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from yolotrt_lab.doctor.facts import Facts, version_tuple
from yolotrt_lab.doctor.findings import Finding, Status, absent, fail, good, warn
from yolotrt_lab.doctor.package_rules import broken_fix

__all__ = ["gpu_findings", "real_tensorrt_works"]

_GPU_EXTRA = "conda env create -f environment.yml && conda activate yolotrt-lab"
_CUDA_MAJOR = 13  # of the project's `gpu` extra
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes: the first driver of each CUDA major version
_DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}
_OLDEST_COMPUTE = (7, 5)  # CUDA 13 dropped what came before Turing


def real_tensorrt_works(facts: Facts) -> bool:
    """Return whether labs can build and run engines on a GPU here."""
    return bool(facts.gpus) and facts.works("tensorrt") and facts.works("cuda")


def gpu_findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say about the GPU and what drives it."""
    required = facts.platform_override == "real" and not real_tensorrt_works(facts)
    for finding in _all(facts):
        if required and finding.status in (Status.WARN, Status.ABSENT):
            yield replace(finding, status=Status.FAIL)
        else:
            yield finding


def _all(facts: Facts) -> Iterator[Finding]:
    if facts.platform_override not in (None, "real", "emulated", "emulated-on-gpu"):
        yield fail(
            "YOLOTRT_PLATFORM",
            facts.platform_override or "",
            'It must be "real", "emulated" or "emulated-on-gpu".',
            "unset YOLOTRT_PLATFORM",
        )
    if facts.platform_override == "emulated-on-gpu" and (missing := _missing_on_gpu(facts)):
        yield fail(
            "YOLOTRT_PLATFORM",
            "emulated-on-gpu",
            f"The emulation on a GPU lacks {' and '.join(missing)}.",
            "unset YOLOTRT_PLATFORM, or pip install onnxruntime-gpu cuda-python",
        )
    if not facts.gpus:
        yield _no_gpu(facts)
        return
    yield _driver(facts)
    yield from _gpus(facts)
    yield _torch(facts)
    yield _tensorrt(facts)
    yield from _tensorrt_parts(facts)
    yield _pycuda(facts)
    yield _cuda_python(facts)
    yield from _onnxruntime(facts)


def _missing_on_gpu(facts: Facts) -> list[str]:
    """Return what the emulation on a GPU needs and does not find."""
    providers = facts.value("onnxruntime", "providers") or ()
    there = {
        "an NVIDIA GPU": bool(facts.gpus),
        "onnxruntime-gpu": "CUDAExecutionProvider" in providers,
        "cuda-python or PyCUDA": facts.works("cuda") or facts.works("pycuda"),
    }
    return [name for name, found in there.items() if not found]


def _no_gpu(facts: Facts) -> Finding:
    if facts.driver_error:
        return warn(
            "NVIDIA driver",
            facts.driver_error,
            "A driver is installed but does not reach a GPU: a kernel update or a missing container runtime.",
            "sudo nvidia-smi; reinstall the driver and restart, or start the container with --gpus all",
        )
    if facts.platform_override == "real":
        return absent("NVIDIA GPU", "YOLOTRT_PLATFORM=real asks for one.", "unset YOLOTRT_PLATFORM")
    return absent("NVIDIA GPU", "Labs use the TensorRT emulation; timings are CPU timings.")


def _driver(facts: Facts) -> Finding:
    found = facts.driver or "unknown"
    needed = _DRIVER_FOR_CUDA[_CUDA_MAJOR]
    if version_tuple(facts.driver) < (needed,):
        return warn(
            "NVIDIA driver",
            found,
            f"Too old for CUDA {_CUDA_MAJOR}, which needs {needed} or newer: nothing of the gpu extra will run.",
            f"sudo apt-get install -y nvidia-driver-{needed} && sudo reboot",
        )
    return good("NVIDIA driver", found, f"enough for CUDA {_CUDA_MAJOR}")


def _gpus(facts: Facts) -> Iterator[Finding]:
    for index, gpu in enumerate(facts.gpus):
        major, minor = gpu.compute_capability
        found = f"{gpu.name}, {gpu.memory_gib:.0f} GiB, compute capability {major}.{minor}"
        if gpu.compute_capability < _OLDEST_COMPUTE:
            yield warn(
                f"GPU {index}",
                found,
                f"CUDA {_CUDA_MAJOR} and its TensorRT support 7.5 and newer.",
                "YOLOTRT_PLATFORM=emulated yolotrt demo",
            )
        else:
            yield good(f"GPU {index}", found)


def _driver_too_old_for(cuda: object, facts: Facts) -> bool:
    needed = _DRIVER_FOR_CUDA.get((version_tuple(cuda) or (0,))[0])
    return needed is not None and version_tuple(facts.driver) < (needed,)


def _cudnn_text(number: object) -> str:
    """Return 91900 as "9.19.0" and 8907 as "8.9.7", the way NVIDIA writes them."""
    if not isinstance(number, int):
        return "absent"
    major = number // (10_000 if number >= 90_000 else 1_000)
    rest = number % (10_000 if number >= 90_000 else 1_000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _torch(facts: Facts) -> Finding:
    name = "PyTorch on the GPU"
    if not facts.works("torch"):
        return absent(name, "PyTorch does not load.", "make setup")
    cuda = facts.value("torch", "cuda")
    version = facts.value("torch", "version")
    if cuda is None:
        return warn(
            name, f"{version} without CUDA", "Training runs on the CPU.", "pip install --upgrade torch torchvision"
        )
    if facts.value("torch", "available"):
        return good(name, f"CUDA {cuda}, cuDNN {_cudnn_text(facts.value('torch', 'cudnn'))}")
    found = f"built for CUDA {cuda}, sees no GPU"
    if _driver_too_old_for(cuda, facts):
        needed = _DRIVER_FOR_CUDA[version_tuple(cuda)[0]]
        return warn(
            name,
            found,
            f"Driver {facts.driver} is too old for CUDA {cuda}; training runs on the CPU.",
            f"sudo apt-get install -y nvidia-driver-{needed} && sudo reboot",
        )
    reason = facts.value("torch", "reason") or "CUDA_VISIBLE_DEVICES may hide it"
    return warn(name, found, f"Training runs on the CPU: {reason}", "unset CUDA_VISIBLE_DEVICES; nvidia-smi")


def _tensorrt(facts: Facts) -> Finding:
    probe = facts.probes.get("tensorrt")
    if probe is None:
        return warn("TensorRT", "not installed", "This GPU stays unused: labs use the emulation.", _GPU_EXTRA)
    if probe.works:
        return good("TensorRT", f"{probe.values.get('version')}, builds engines")
    error = probe.error or ""
    if "libnvinfer" in error:
        return warn(
            "TensorRT",
            error,
            "The Python bindings are here, the library is not: its download was interrupted or its index unreachable.",
            "pip install --force-reinstall --no-cache-dir tensorrt-cu13==10.16.1.11",
        )
    if "factory function returned nullptr" in error:
        old = version_tuple(facts.driver) < (_DRIVER_FOR_CUDA[_CUDA_MAJOR],)
        return warn(
            "TensorRT",
            "installed, but creates no builder",
            f"Driver {facts.driver} is too old for it." if old else "It finds no usable GPU.",
            "nvidia-smi; sudo apt-get install -y nvidia-driver-580 && sudo reboot",
        )
    meaning, fix = broken_fix(error, module="tensorrt")
    return warn("TensorRT", error, meaning, fix)


def _tensorrt_parts(facts: Facts) -> Iterator[Finding]:
    """Bindings and library come as two distributions, which pip may leave at different versions."""
    parts = {name: version for name, version in facts.packages.items() if name.startswith("tensorrt-cu")}
    for name, version in parts.items():
        if name.endswith("-bindings"):
            library = name.replace("-bindings", "-libs")
            if library in parts and parts[library] != version:
                yield warn(
                    "TensorRT's parts",
                    f"{name} {version}, {library} {parts[library]}",
                    "Bindings and library must be of the same version.",
                    f"pip install --force-reinstall tensorrt-cu13=={parts[library]}",
                )
    majors = {name.split("-")[1] for name in parts}
    if majors - {f"cu{_CUDA_MAJOR}"}:
        yield warn(
            "TensorRT for another CUDA",
            ", ".join(f"{name} {version}" for name, version in sorted(parts.items())),
            f"The course is made for CUDA {_CUDA_MAJOR}; two TensorRTs shadow each other.",
            f"pip uninstall -y {' '.join(sorted(parts))} && pip install -e '.[gpu]'",
        )


def _pycuda(facts: Facts) -> Finding:
    probe = facts.probes.get("pycuda")
    if probe is None:
        return absent("PyCUDA", "Only the labs that teach it need it.", "pip install 'pycuda>=2025.1' (needs nvcc)")
    if not probe.works:
        meaning, _ = broken_fix(probe.error or "", module="pycuda")
        return warn("PyCUDA", probe.error or "", meaning, "pip install --force-reinstall --no-binary pycuda pycuda")
    if facts.nvcc is None:
        return good("PyCUDA", str(probe.values.get("version")), "no nvcc: memory and streams work, own kernels do not")
    return good("PyCUDA", f"{probe.values.get('version')}, nvcc {facts.nvcc}")


def _cuda_python(facts: Facts) -> Finding:
    probe = facts.probes.get("cuda")
    if probe is None:
        return warn(
            "cuda-python",
            "not installed",
            "Engines run through it: labs use the emulation.",
            "pip install 'cuda-python>=13,<14'",
        )
    if not probe.works:
        meaning, fix = broken_fix(probe.error or "", module="cuda")
        return warn("cuda-python", probe.error or "", meaning, fix)
    version = str(probe.values.get("version"))
    major = version_tuple(version)[0] if version_tuple(version) else 0
    if _driver_too_old_for(version, facts):
        return warn(
            "cuda-python",
            version,
            f"Driver {facts.driver} is too old for CUDA {major}.",
            f"pip install 'cuda-python<{major}'",
        )
    return good("cuda-python", version)


def _onnxruntime(facts: Facts) -> Iterator[Finding]:
    if not facts.works("onnxruntime"):
        return
    providers = facts.value("onnxruntime", "providers") or ()
    if "CUDAExecutionProvider" not in providers:
        yield warn(
            "ONNX Runtime on the GPU",
            "the CPU build is installed",
            "References run on the CPU, and the TensorRT provider cannot be compared.",
            "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
        )
        return
    cuda_error = facts.value("onnxruntime", "cuda_error")
    if cuda_error:
        yield warn("ONNX Runtime, CUDA", cuda_error, "Its CUDA libraries are missing.", "pip install -e '.[gpu]'")
    else:
        yield good("ONNX Runtime, CUDA", "loads")
    wanted = facts.value("onnxruntime", "nvinfer_major")
    there = (version_tuple(facts.value("tensorrt", "version")) or (None,))[0]
    if wanted and there and wanted != there:
        yield warn(
            "ONNX Runtime, TensorRT",
            f"its provider is linked to TensorRT {wanted} (libnvinfer.so.{wanted}); TensorRT {there} is installed",
            "The provider does not load; engines built with TensorRT itself are not affected.",
            f"pip install 'tensorrt-cu13>={wanted},<{wanted + 1}'",
        )
    elif facts.value("onnxruntime", "tensorrt_error"):
        error = facts.value("onnxruntime", "tensorrt_error")
        yield warn("ONNX Runtime, TensorRT", error, "Its TensorRT provider does not load.", _GPU_EXTRA)
    elif wanted:
        yield good("ONNX Runtime, TensorRT", "loads")
