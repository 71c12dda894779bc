import importlib
import importlib.util
import sys

import pytest

from yolotrt_lab.emulation import modules
from yolotrt_lab.engines import platform
from yolotrt_lab.engines.platform import activate, deactivate, plan_kind
from yolotrt_lab.errors import InputError, MissingDependencyError


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that a GPU and TensorRT are there, or that they are not."""

    def pretend(*, there: bool):
        def find():
            if not there:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return "NVIDIA Test GPU", 80 << 30

        monkeypatch.setattr(platform, "_gpu", find)
        if there:
            theirs = type(sys)("tensorrt")
            theirs.__version__ = "10.16.1.11"
            monkeypatch.setitem(sys.modules, "tensorrt", theirs)

    return pretend


@pytest.mark.parametrize(("api", "version"), [("10", "10.16.1.11"), ("11", "11.4.0.106")])
def test_the_emulation(monkeypatch, api, version):
    monkeypatch.setenv("YOLOTRT_TRT_API", api)
    found = activate()
    assert (found.kind, found.api_major, found.tensorrt_version) == ("emulated", int(api), version)
    assert "Emulated" in found.device_name
    assert found.memory > 1 << 20
    assert found.trt is importlib.import_module("tensorrt")


def test_again_gives_the_same(monkeypatch):
    assert activate() is activate()


def test_changing_the_version_changes_the_platform(monkeypatch):
    first = activate()
    monkeypatch.setenv("YOLOTRT_TRT_API", "11")
    assert activate().api_major == 11
    monkeypatch.setenv("YOLOTRT_TRT_API", "10")
    assert activate().api_major == first.api_major


def test_undoing(monkeypatch):
    activate()
    deactivate()
    assert "tensorrt" not in sys.modules
    with pytest.raises(ImportError):
        importlib.import_module("tensorrt")


def test_without_a_gpu_the_emulation_is_chosen(monkeypatch, gpu):
    monkeypatch.delenv("YOLOTRT_PLATFORM")
    gpu(there=False)
    assert activate().kind == "emulated"


def test_with_a_gpu_the_real_thing_is_chosen(monkeypatch, gpu):
    pytest.importorskip("cuda.bindings.runtime", reason="the real platform needs cuda-bindings")
    monkeypatch.delenv("YOLOTRT_PLATFORM")
    gpu(there=True)
    found = activate()
    assert (found.kind, found.device_name, found.api_major) == ("real", "NVIDIA Test GPU", 10)
    assert importlib.import_module("tensorrt").__spec__ is None


def test_with_a_gpu_the_emulation_can_be_demanded(monkeypatch, gpu):
    gpu(there=True)
    assert activate().kind == "emulated"
    assert importlib.import_module("tensorrt").__spec__.origin == "yolotrt_lab.emulation"


def test_the_real_thing_demanded_in_vain(monkeypatch, gpu):
    monkeypatch.setenv("YOLOTRT_PLATFORM", "real")
    gpu(there=False)
    with pytest.raises(MissingDependencyError) as caught:
        activate()
    text = str(caught.value)
    assert "YOLOTRT_PLATFORM=real" in text
    assert "libcuda.so.1" in text
    assert "pip install 'yolotrt-lab[gpu]'" in text


class TestOnAGpu:
    """TensorRT emulated on a GPU's own memory; `tests/unit/emulation/gpu` runs engines that way."""

    @pytest.fixture
    def everything(self, monkeypatch, gpu):
        """A machine with a GPU, ONNX Runtime for it, and CUDA's Python modules; functions take parts away."""
        monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated-on-gpu")
        monkeypatch.setattr(platform, "_announced", False)
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # in notebooks, stdout says it
        gpu(there=True)
        monkeypatch.delitem(sys.modules, "tensorrt")
        onnxruntime = importlib.import_module("onnxruntime")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
        monkeypatch.setattr(platform, "_is_installed", lambda module: module == "pycuda.driver")
        monkeypatch.setattr(modules, "CudaMemory", lambda: None)
        return gpu, onnxruntime

    @pytest.mark.parametrize("api", [10, 11])
    def test_tensorrt_alone_is_emulated(self, monkeypatch, everything, api, capsys):
        monkeypatch.setenv("YOLOTRT_TRT_API", str(api))
        found = activate()
        assert (found.kind, found.api_major, found.memory) == ("emulated", api, 80 << 30)
        assert found.device_name == "NVIDIA Test GPU, emulated TensorRT by ONNX Runtime CUDA"
        assert found.trt is importlib.import_module("tensorrt")
        names = ("tensorrt", "pycuda.driver", "cuda.bindings.runtime")
        specs = [importlib.util.find_spec(name) if _is_there(name) else None for name in names]
        assert [spec is not None and spec.origin == _ORIGIN for spec in specs] == [True, False, False]
        assert activate() is found
        said = capsys.readouterr().err
        assert "emulated TensorRT by ONNX Runtime CUDA" in said
        assert "but not TensorRT's" in said

    def test_to_and_fro(self, monkeypatch, everything):
        on_gpu = activate()
        monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
        assert "OpenVINO" in activate().device_name
        assert importlib.import_module("pycuda.driver").__spec__.origin == _ORIGIN
        monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated-on-gpu")
        assert activate().device_name == on_gpu.device_name
        assert "pycuda.driver" not in sys.modules

    @pytest.mark.parametrize("lacking", ["a GPU", "ONNX Runtime for CUDA", "CUDA's modules"])
    def test_something_is_missing(self, monkeypatch, everything, lacking):
        gpu, onnxruntime = everything
        if lacking == "a GPU":
            gpu(there=False)
        elif lacking == "ONNX Runtime for CUDA":
            monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        else:
            monkeypatch.setattr(platform, "_is_installed", lambda module: False)
        with pytest.raises(MissingDependencyError, match="emulated-on-gpu"):
            activate()
        assert modules.active_api() is None

    def test_the_emulation_on_the_processor_mentions_it(self, monkeypatch, everything, capsys):
        monkeypatch.delenv("YOLOTRT_PLATFORM")
        real = importlib.import_module
        monkeypatch.setattr(platform.importlib, "import_module", lambda name: _without_cuda_python(real, name))
        assert activate().kind == "emulated"
        assert "YOLOTRT_PLATFORM=emulated-on-gpu emulates it on NVIDIA Test GPU." in capsys.readouterr().err


_ORIGIN = "yolotrt_lab.emulation"


def _is_there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def _without_cuda_python(import_module, name):
    if name == "cuda.bindings.runtime":
        raise ImportError(name)
    return import_module(name)


def test_a_driver_that_fails_is_no_gpu(monkeypatch):
    class Broken:
        def cuInit(self, flags):
            return 999

    monkeypatch.setattr(platform.ctypes, "CDLL", lambda name: Broken())
    monkeypatch.delenv("YOLOTRT_PLATFORM")
    assert activate().kind == "emulated"


@pytest.mark.parametrize(("name", "value"), [("YOLOTRT_PLATFORM", "gpu"), ("YOLOTRT_TRT_API", "9")])
def test_wrong_settings(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=rf"{name}[\s\S]*{value}"):
        activate()


def test_it_says_once_that_it_is_an_emulation(monkeypatch, capsys):
    monkeypatch.setattr(platform, "_announced", False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    activate()
    deactivate()
    activate()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "is emulated" in captured.err
    assert "timings are CPU timings" in captured.err


def test_in_a_notebook_it_says_so_on_stdout(monkeypatch, capsys):
    monkeypatch.setattr(platform, "_announced", False)
    monkeypatch.setitem(sys.modules, "ipykernel", type(sys)("ipykernel"))
    activate()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "is emulated" in captured.out


@pytest.mark.parametrize(
    ("data", "kind"), [(b"ftrt....", "real"), (b"YOLOTRT-EMULATED....", "emulated"), (b"garbage", None), (b"", None)]
)
def test_plan_kind(data, kind):
    assert plan_kind(data) == kind


def test_an_emulation_that_was_switched_off_is_switched_on_again(monkeypatch):
    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    activate()
    modules.deactivate()
    assert activate().kind == "emulated"
    assert modules.active_api() is not None
