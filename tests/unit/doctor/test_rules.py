"""Rules against made-up machines: one change to a machine where all is well, and what must then be said."""

from dataclasses import replace

import pytest

from yolotrt_lab.doctor import Facts, Gpu, Probe, Status, diagnose


def with_probe(facts: Facts, module: str, probe: Probe | None) -> Facts:
    probes = dict(facts.probes)
    probes.pop(module, None)
    return replace(facts, probes=probes if probe is None else {**probes, module: probe})


def with_value(facts: Facts, module: str, **values: object) -> Facts:
    return with_probe(facts, module, Probe({**facts.probes[module].values, **values}))


def with_package(facts: Facts, **versions: str | None) -> Facts:
    changed = {**facts.packages, **{name.replace("_", "-"): version for name, version in versions.items()}}
    return replace(facts, packages={name: version for name, version in changed.items() if version is not None})


def finding(facts: Facts, name: str):
    found = [finding for finding in diagnose(facts).findings if finding.name == name]
    assert len(found) == 1, [finding.name for finding in diagnose(facts).findings]
    return found[0]


def complaints(facts: Facts) -> list[str]:
    return [finding.name for finding in diagnose(facts).findings if finding.status in (Status.WARN, Status.FAIL)]


def test_a_good_laptop(laptop):
    diagnosis = diagnose(laptop)
    assert complaints(laptop) == []
    assert diagnosis.exit_code == 0
    assert diagnosis.platform == "emulated"
    assert diagnosis.summary == (
        "Labs will use the TensorRT emulation on this CPU (8 cores): INT8 runs on VNNI, FP16 runs as BF16. "
        "Timings are CPU timings."
    )
    assert finding(laptop, "NVIDIA GPU").status is Status.ABSENT


def test_a_good_workstation(workstation):
    diagnosis = diagnose(workstation)
    assert complaints(workstation) == []
    assert diagnosis.exit_code == 0
    assert diagnosis.platform == "real"
    assert diagnosis.summary == "Labs will use TensorRT 10.16.1.11 on NVIDIA H200."


def test_cudnn_is_named_as_nvidia_does(workstation):
    found = next(finding for finding in diagnose(workstation).findings if finding.name == "PyTorch on the GPU")
    assert found.found == "CUDA 13.2, cuDNN 9.26.0"


def test_a_name_is_said_once(laptop, workstation):
    for facts in (laptop, workstation):
        names = [finding.name for finding in diagnose(facts).findings]
        assert len(names) == len(set(names))


REQUIRED = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "ultralytics": "Ultralytics",
    "onnx": "ONNX",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "cv2": "OpenCV",
}


@pytest.mark.parametrize(("module", "label"), REQUIRED.items())
def test_a_required_package_is_missing(laptop, module, label):
    facts = with_probe(laptop, module, None)
    found = finding(facts, label)
    assert (found.status, found.found, found.fix) == (Status.FAIL, "not installed", "make setup")
    assert diagnose(facts).exit_code == 3
    assert diagnose(facts).summary == f"The course does not run here yet; first mend: {label}."


@pytest.mark.parametrize(
    ("module", "error", "meaning", "fix"),
    [
        ("cv2", "ImportError: libGL.so.1: cannot open shared object file", "system libraries", "apt-get install"),
        (
            "onnx",
            "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.4.6 as it may crash.",
            "another NumPy",
            "pip install --force-reinstall --no-deps --upgrade onnx",
        ),
        (
            "torch",
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility",
            "another NumPy",
            "torch",
        ),
        ("openvino", "ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found", "C library", "newer system"),
        ("torch", "crashed (signal 4)", "instructions that this processor lacks", "another machine"),
        ("openvino", "did not answer within 90 s", "hangs", "--force-reinstall openvino"),
        ("ultralytics", "ModuleNotFoundError: No module named 'x'", "does not load", "--force-reinstall ultralytics"),
    ],
)
def test_a_required_package_does_not_load(laptop, module, error, meaning, fix):
    facts = with_probe(laptop, module, Probe(error=error))
    found = finding(facts, REQUIRED[module])
    assert found.status is Status.FAIL
    assert found.found == error
    assert meaning in found.meaning
    assert fix in found.fix
    assert diagnose(facts).exit_code == 3


@pytest.mark.parametrize(
    ("version", "status"),
    [("3.10.14", "fail"), ("3.11.0", "ok"), ("3.12.4", "ok"), ("3.13.1", "ok"), ("3.14.0", "fail"), ("3.9", "fail")],
)
def test_python(laptop, version, status):
    assert finding(replace(laptop, python=version), "Python").status == status


@pytest.mark.parametrize(
    ("name", "attribute", "value", "status"),
    [
        ("memory", "memory_gib", 2.9, "fail"),
        ("memory", "memory_gib", 3.0, "warn"),
        ("memory", "memory_gib", 6.9, "warn"),
        ("memory", "memory_gib", 7.0, "ok"),
        ("disk", "disk_free_gib", 0.4, "fail"),
        ("disk", "disk_free_gib", 0.5, "warn"),
        ("disk", "disk_free_gib", 4.0, "ok"),
    ],
)
def test_room(laptop, name, attribute, value, status):
    found = finding(replace(laptop, **{attribute: value}), name)
    assert found.status == status
    assert bool(found.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("machine", "flags", "status", "word"),
    [
        ("x86_64", {"avx2", "avx512_vnni", "avx512_bf16", "avx512_fp16"}, "ok", "VNNI, BF16, FP16"),
        ("x86_64", {"avx2", "avx_vnni"}, "ok", "VNNI"),
        ("x86_64", {"avx2"}, "warn", "no VNNI"),
        ("x86_64", {"sse4_2"}, "warn", "no VNNI"),
        ("aarch64", {"asimddp", "asimdhp", "bf16"}, "ok", "VNNI, BF16, FP16"),
    ],
)
def test_processor(laptop, machine, flags, status, word):
    facts = replace(laptop, machine=machine, cpu_flags=frozenset(flags))
    found = finding(facts, "processor")
    assert found.status == status
    assert word in found.found
    assert ("not faster than FP32" in diagnose(facts).summary) == (word == "no VNNI")


def test_half_precision_in_the_summary(laptop):
    for capabilities, expected in ((["FP32", "FP16", "BF16"], "FP16"), (["FP32", "BF16"], "BF16"), (["FP32"], "FP32")):
        facts = with_value(laptop, "openvino", capabilities=capabilities)
        assert f"FP16 runs as {expected}" in diagnose(facts).summary


def test_openvino_without_a_cpu(laptop):
    found = finding(with_value(laptop, "openvino", devices=[]), "OpenVINO")
    assert found.status is Status.FAIL
    assert "no CPU device" in found.meaning


def test_bubblewrap(laptop):
    assert finding(replace(laptop, programs={}), "bubblewrap").status is Status.ABSENT
    found = finding(replace(laptop, bubblewrap_error="No permissions to create new namespace"), "bubblewrap")
    assert found.status is Status.WARN
    assert "user namespaces" in found.meaning
    assert diagnose(replace(laptop, programs={}, bubblewrap_error="x")).exit_code == 0


@pytest.mark.parametrize("gpu", [False, True])
def test_both_onnxruntimes(laptop, workstation, gpu):
    facts = with_package(workstation if gpu else laptop, onnxruntime="1.31.1", onnxruntime_gpu="1.31.1")
    found = finding(facts, "two ONNX Runtimes")
    assert found.status is Status.WARN
    assert found.fix.endswith("pip install onnxruntime-gpu" if gpu else "pip install onnxruntime")


def test_several_opencvs(laptop):
    found = finding(with_package(laptop, opencv_python_headless="4.12.0"), "several OpenCVs")
    assert "pip uninstall -y opencv-python opencv-python-headless" in found.fix


@pytest.mark.parametrize(
    ("torch", "requirement", "complains"),
    [
        ("2.15.0+cu132", "torch (>=2.14.0)", False),
        ("2.11.0", "torch (>=2.14.0)", True),
        ("2.11.0+cu130", "torch==2.11.0", False),
        ("2.12.0", "torch==2.11.0", True),
        ("2.12.0", "torch==2.11.0 ; python_version < '3'", False),
        ("2.12.0", "torch==2.11.0 ; extra == 'old'", False),
        ("2.12.0", "torch is needed", False),
    ],
)
def test_torch_and_torchvision(laptop, torch, requirement, complains):
    facts = with_package(replace(laptop, requirements={"torchvision": (requirement,)}), torch=torch)
    assert ("torchvision and torch" in complaints(facts)) == complains


def test_no_notebooks(laptop):
    found = finding(with_package(laptop, jupyterlab=None), "JupyterLab")
    assert (found.status, found.fix) == (Status.ABSENT, "pip install -e '.[course]'")


class TestGpu:
    @pytest.mark.parametrize(
        ("driver", "status"), [("535.183.01", "warn"), ("579.99", "warn"), ("580.65.06", "ok"), ("590.10", "ok")]
    )
    def test_driver(self, workstation, driver, status):
        found = finding(replace(workstation, driver=driver), "NVIDIA driver")
        assert found.status == status
        if status == "warn":
            assert "Too old for CUDA 13, which needs 580" in found.meaning
            assert "nvidia-driver-580" in found.fix

    def test_a_driver_too_old_for_everything(self, workstation):
        """CUDA 13 packages on driver 535: PyTorch, TensorRT and cuda-python all fail, for one reason."""
        facts = replace(workstation, driver="535.183.01")
        facts = with_value(facts, "torch", available=False, reason="The NVIDIA driver on your system is too old")
        facts = with_probe(
            facts, "tensorrt", Probe(error="TypeError: pybind11::init(): factory function returned nullptr")
        )
        for name in ("PyTorch on the GPU", "TensorRT", "cuda-python"):
            found = finding(facts, name)
            assert found.status is Status.WARN
            assert "too old" in found.meaning
        diagnosis = diagnose(facts)
        assert (diagnosis.platform, diagnosis.exit_code) == ("emulated", 0)

    def test_an_old_gpu(self, workstation):
        found = finding(replace(workstation, gpus=(Gpu("Tesla P100", 16, (6, 0)),)), "GPU 0")
        assert found.status is Status.WARN
        assert "7.5 and newer" in found.meaning
        assert finding(replace(workstation, gpus=(Gpu("T4", 16, (7, 5)),)), "GPU 0").status is Status.OK

    def test_several_gpus(self, workstation):
        facts = replace(workstation, gpus=workstation.gpus * 2)
        assert finding(facts, "GPU 1").status is Status.OK

    def test_a_driver_that_fails(self, laptop):
        error = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
        found = finding(replace(laptop, driver_error=error), "NVIDIA driver")
        assert found.status is Status.WARN
        assert found.found == error
        assert "--gpus all" in found.fix

    def test_torch_without_cuda(self, workstation):
        found = finding(with_value(workstation, "torch", cuda=None, available=False), "PyTorch on the GPU")
        assert "without CUDA" in found.found
        assert "pip install --upgrade torch" in found.fix

    def test_torch_blind(self, workstation):
        found = finding(with_value(workstation, "torch", available=False), "PyTorch on the GPU")
        assert "CUDA_VISIBLE_DEVICES" in found.fix

    def test_no_tensorrt(self, workstation):
        facts = with_probe(workstation, "tensorrt", None)
        assert "environment.yml" in finding(facts, "TensorRT").fix
        assert diagnose(facts).platform == "emulated"

    def test_bindings_without_library(self, workstation):
        error = "ImportError: libnvinfer.so.10: cannot open shared object file: No such file or directory"
        found = finding(with_probe(workstation, "tensorrt", Probe(error=error)), "TensorRT")
        assert "the library is not" in found.meaning

    def test_parts_of_different_versions(self, workstation):
        found = finding(with_package(workstation, tensorrt_cu13_bindings="11.4.0.106"), "TensorRT's parts")
        assert found.found == "tensorrt-cu13-bindings 11.4.0.106, tensorrt-cu13-libs 10.16.1.11"

    def test_tensorrt_for_cuda_12(self, workstation):
        found = finding(with_package(workstation, tensorrt_cu12="10.13.0"), "TensorRT for another CUDA")
        assert "pip uninstall -y tensorrt-cu12" in found.fix

    def test_tensorrt_11_and_onnxruntime(self, workstation):
        facts = with_value(workstation, "tensorrt", version="11.4.0.106")
        found = finding(facts, "ONNX Runtime, TensorRT")
        assert found.status is Status.WARN
        assert "libnvinfer.so.10" in found.found
        assert "TensorRT 11 is installed" in found.found
        assert found.fix == "pip install 'tensorrt-cu13>=10,<11'"
        assert diagnose(facts).platform == "real"

    def test_onnxruntime_for_the_cpu(self, workstation):
        facts = with_value(workstation, "onnxruntime", providers=["CPUExecutionProvider"])
        assert "pip install onnxruntime-gpu" in finding(facts, "ONNX Runtime on the GPU").fix

    @pytest.mark.parametrize(
        ("key", "name"), [("cuda_error", "ONNX Runtime, CUDA"), ("tensorrt_error", "ONNX Runtime, TensorRT")]
    )
    def test_providers_that_do_not_load(self, workstation, key, name):
        error = "libcudnn.so.9: cannot open shared object file"
        found = finding(with_value(workstation, "onnxruntime", **{key: error}), name)
        assert (found.status, found.found) == (Status.WARN, error)

    def test_pycuda(self, workstation):
        assert "nvcc 13.0" in finding(workstation, "PyCUDA").found
        assert "own kernels do not" in finding(replace(workstation, nvcc=None), "PyCUDA").meaning
        broken = with_probe(workstation, "pycuda", Probe(error="ImportError: libcurand.so.10"))
        assert "--no-binary pycuda" in finding(broken, "PyCUDA").fix
        assert diagnose(broken).platform == "real"  # the package itself uses cuda-python
        assert finding(with_probe(workstation, "pycuda", None), "PyCUDA").status is Status.ABSENT

    def test_no_cuda_python(self, workstation):
        facts = with_probe(workstation, "cuda", None)
        assert finding(facts, "cuda-python").status is Status.WARN
        assert diagnose(facts).platform == "emulated"

    def test_cuda_python_for_a_newer_driver(self, workstation):
        facts = replace(with_value(workstation, "cuda", version="13.0.3"), driver="570.1")
        assert finding(facts, "cuda-python").fix == "pip install 'cuda-python<13'"


class TestOverride:
    def test_emulated_on_a_gpu(self, workstation):
        assert diagnose(replace(workstation, platform_override="emulated")).platform == "emulated"

    def test_emulated_on_a_gpu_without_tensorrt(self, workstation):
        facts = replace(with_probe(workstation, "tensorrt", None), platform_override="emulated-on-gpu")
        found = diagnose(facts)
        assert (found.platform, found.exit_code) == ("emulated", 0)
        assert "TensorRT emulation on NVIDIA H200" in found.summary
        assert diagnose(replace(workstation, platform_override="emulated-on-gpu")).platform == "emulated"
        assert "YOLOTRT_PLATFORM" not in complaints(facts)

    @pytest.mark.parametrize(
        ("change", "missing"),
        [
            ({"gpus": ()}, "an NVIDIA GPU"),
            ({"onnxruntime": Probe({"version": "1.31.1", "providers": ["CPUExecutionProvider"]})}, "onnxruntime-gpu"),
            ({"cuda": None, "pycuda": None}, "cuda-python or PyCUDA"),
        ],
    )
    def test_emulated_on_a_gpu_with_something_missing(self, workstation, change, missing):
        facts = replace(workstation, platform_override="emulated-on-gpu", gpus=change.pop("gpus", workstation.gpus))
        for module, probe in change.items():
            facts = with_probe(facts, module, probe)
        found = finding(facts, "YOLOTRT_PLATFORM")
        assert (found.status, missing in found.meaning) == (Status.FAIL, True)
        assert "YOLOTRT_PLATFORM" not in complaints(replace(facts, platform_override="emulated"))

    def test_one_of_the_cuda_modules_is_enough(self, workstation):
        facts = replace(with_probe(workstation, "pycuda", None), platform_override="emulated-on-gpu")
        assert "YOLOTRT_PLATFORM" not in complaints(facts)

    def test_another_word(self, laptop):
        found = finding(replace(laptop, platform_override="gpu"), "YOLOTRT_PLATFORM")
        assert (found.status, found.fix) == (Status.FAIL, "unset YOLOTRT_PLATFORM")

    def test_real_without_a_gpu_fails(self, laptop):
        facts = replace(laptop, platform_override="real")
        assert finding(facts, "NVIDIA GPU").status is Status.FAIL
        assert finding(facts, "NVIDIA GPU").fix == "unset YOLOTRT_PLATFORM"
        assert diagnose(facts).exit_code == 3

    def test_real_without_tensorrt_fails(self, workstation):
        facts = replace(with_probe(workstation, "tensorrt", None), platform_override="real")
        assert finding(facts, "TensorRT").status is Status.FAIL

    def test_real_with_a_side_issue_does_not_fail(self, workstation):
        facts = with_value(replace(workstation, platform_override="real"), "tensorrt", version="11.4.0.106")
        assert diagnose(facts).exit_code == 0


@pytest.mark.parametrize(
    ("change"),
    [
        {"driver": "535"},
        {"driver": None},
        {"gpus": (Gpu("K80", 12, (3, 7)),)},
        {"packages": {}},
        {"probes": {}},
        {"programs": {}, "memory_gib": 1.0, "disk_free_gib": 0.1, "python": "3.8"},
    ],
)
def test_every_complaint_says_what_it_means_and_what_to_type(workstation, change):
    for found in diagnose(replace(workstation, **change)).findings:
        if found.status in (Status.WARN, Status.FAIL):
            assert found.meaning, found
            assert found.fix, found


@pytest.mark.parametrize(("number", "text"), [(91900, "9.19.0"), (90100, "9.1.0"), (8907, "8.9.7"), (8902, "8.9.2")])
def test_cudnn_was_counted_otherwise_before_version_nine(workstation, number, text):
    facts = with_value(workstation, "torch", cudnn=number)
    assert finding(facts, "PyTorch on the GPU").found.endswith(f"cuDNN {text}")
