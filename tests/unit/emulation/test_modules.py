"""Switching the emulation on and off, and what it must leave alone."""

import ctypes
import importlib
import importlib.abc
import importlib.metadata
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.cuda.ctypes_runtime import CtypesRuntime
from yolotrt_lab.errors import EmulationError

NAMES = ("tensorrt", "pycuda", "pycuda.driver", "pycuda.autoinit")


def test_imports_find_the_emulation_only_while_it_is_active():
    modules.activate(10)
    for name in NAMES[:3]:
        assert importlib.import_module(name).__spec__.origin == "yolotrt_lab.emulation"
    modules.deactivate()
    assert modules.active_api() is None
    assert not [name for name in sys.modules if name.split(".")[0] in ("tensorrt", "pycuda")]


def test_nothing_is_imported_before_it_is_asked_for():
    modules.activate(10)
    assert not [name for name in NAMES if name in sys.modules]


@pytest.mark.parametrize(("major", "version"), [(10, "10.16.1.11"), (11, "11.4.0.106")])
def test_versions(major, version):
    modules.activate(major)
    assert importlib.import_module("tensorrt").__version__ == version
    assert modules.active_api() == major


def test_activating_another_version_replaces_the_module():
    modules.activate(10)
    old = importlib.import_module("tensorrt")
    modules.activate(11)
    new = importlib.import_module("tensorrt")
    assert new is not old
    assert hasattr(old, "IInt8EntropyCalibrator2")
    assert not hasattr(new, "IInt8EntropyCalibrator2")


def test_activating_again_changes_nothing():
    modules.activate(10)
    trt = importlib.import_module("tensorrt")
    modules.activate(10)
    assert importlib.import_module("tensorrt") is trt
    assert len([finder for finder in sys.meta_path if type(finder).__module__ == modules.__name__]) == 1


def test_deactivating_twice_is_fine():
    modules.deactivate()
    modules.deactivate()


def test_a_module_that_was_there_before_comes_back(monkeypatch):
    theirs = type(sys)("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", theirs)
    modules.activate(10)
    assert importlib.import_module("tensorrt") is not theirs
    modules.deactivate()
    assert importlib.import_module("tensorrt") is theirs


def test_the_real_cuda_bindings_come_back():
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    modules.activate(10)
    from cuda.bindings import runtime

    assert runtime is not real
    modules.deactivate()
    from cuda.bindings import runtime

    assert runtime is real


def run(code: str) -> str:
    """Run code in an interpreter of its own, so that what it imports is imported for the first time."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torch_imports_and_computes_under_the_emulation():
    code = (
        "from yolotrt_lab.emulation import modules; modules.activate(10)\n"
        "from cuda.bindings import runtime; assert runtime.cudaGetDeviceCount()[1] == 1\n"
        "import torch; assert not torch.cuda.is_available(); print(float(torch.ones(3).sum()))"
    )
    assert run(code) == "3.0"


def test_it_works_where_no_cuda_bindings_are_installed():
    code = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] == 'cuda': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from yolotrt_lab.emulation import modules; modules.activate(10)\n"
        "from cuda.bindings import runtime, driver; from cuda import cudart\n"
        "print(runtime.cudaMalloc(16)[0].name, driver.cuInit(0)[0].name, cudart.cudaGetDeviceCount()[1])"
    )
    assert run(code) == "cudaSuccess CUDA_SUCCESS 1"


def test_importing_the_emulation_imports_no_framework():
    code = (
        "import sys, yolotrt_lab.emulation.modules\n"
        "print([n for n in ('torch', 'openvino', 'onnxruntime', 'tensorrt', 'onnx') if n in sys.modules])"
    )
    assert run(code) == "[]"


def test_a_later_activation_starts_without_contexts():
    modules.activate(10)
    driver = importlib.import_module("pycuda.driver")
    driver.init()
    driver.Device(0).retain_primary_context().push()
    modules.deactivate()
    modules.activate(10)
    driver = importlib.import_module("pycuda.driver")
    with pytest.raises(driver.LogicError, match="initialization error"):
        driver.mem_alloc(4)
    driver.init()
    assert driver.Context.get_current() is None


class TestDistributions:
    """Programs ask `importlib.metadata` for versions; the answers last as long as the emulation."""

    @pytest.mark.parametrize(("major", "version"), [(10, "10.16.1.11"), (11, "11.4.0.106")])
    @pytest.mark.parametrize("name", ["tensorrt", "TensorRT"])
    def test_version_of_the_module(self, major, version, name):
        modules.activate(major)
        assert importlib.metadata.version(name) == version
        assert "Emulated on the CPU by yolotrt_lab" in importlib.metadata.metadata(name)["Summary"]

    def test_gone_afterwards(self):
        modules.activate(10)
        assert "tensorrt" in {found.metadata["Name"] for found in importlib.metadata.distributions()}
        modules.deactivate()
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("tensorrt")

    def test_installed_packages_keep_their_versions(self):
        real = importlib.metadata.version("numpy"), importlib.metadata.version("cuda-bindings")
        modules.activate(10)
        assert (importlib.metadata.version("numpy"), importlib.metadata.version("cuda-bindings")) == real
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("tensorrt-llm")


class Eager(importlib.abc.MetaPathFinder):
    """A finder of somebody else, which wants to be first."""

    def __init__(self):
        self.asked = []

    def find_spec(self, name, path, target=None):
        self.asked.append(name)


def test_finders_of_others_are_asked_and_left():
    before, first = list(sys.meta_path), Eager()
    modules.activate(10)
    sys.meta_path.insert(0, first)
    try:
        importlib.import_module("pycuda.driver")
        modules.deactivate()
        assert "pycuda.driver" in first.asked
        assert sys.meta_path == [first, *before]
    finally:
        sys.meta_path.remove(first)


def test_a_finder_that_was_removed_by_others_is_no_obstacle():
    before = list(sys.meta_path)
    modules.activate(10)
    sys.meta_path[:] = before
    modules.deactivate()
    assert sys.meta_path == before


def test_threads_find_it():
    modules.activate(11)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(importlib.import_module("tensorrt").__version__)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["11.4.0.106"] * 8


@pytest.mark.parametrize("imported_first", [True, False])
def test_polygraphys_wrapper_of_cuda_is_emulated_and_given_back(monkeypatch, imported_first):
    for name in [name for name in sys.modules if name.split(".")[0] == "polygraphy"]:
        monkeypatch.delitem(sys.modules, name)
    if imported_first:
        importlib.import_module("polygraphy.cuda")
    modules.activate(10)
    cuda = importlib.import_module("polygraphy.cuda")
    assert Path(importlib.import_module("polygraphy.cuda.cuda").__file__).is_file()
    with cuda.Stream() as stream, cuda.DeviceArray(shape=(4,), dtype=np.float32) as memory:
        memory.copy_from(np.arange(4, dtype=np.float32), stream)
        stream.synchronize()
        assert list(memory.numpy()) == [0, 1, 2, 3]
    modules.deactivate()
    wrapper = importlib.import_module("polygraphy.cuda.cuda")
    assert wrapper.G_CUDA is None
    assert wrapper.Cuda.__init__.__module__ == "polygraphy.cuda.cuda"


class TestTheRuntimeAsACLibrary:
    library = CtypesRuntime()

    def test_results_go_where_pointers_point(self):
        free, total, version = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_int()
        assert self.library.cudaMemGetInfo(ctypes.byref(free), ctypes.pointer(total)) == 0
        assert 0 < free.value <= total.value
        assert self.library.cudaRuntimeGetVersion(ctypes.byref(version)) == 0
        assert version.value >= 13000

    def test_errors_are_numbers_and_leave_results_alone(self):
        pointer = ctypes.c_void_p(7)
        assert self.library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(1 << 60)) == 2
        assert pointer.value == 7
        assert self.library.cudaFree(ctypes.c_void_p(0x1234)) == 1
        assert self.library.cudaFree(ctypes.c_void_p(None)) == 0

    def test_arrays_are_host_memory(self):
        source, target, pointer = (ctypes.c_float * 3)(1, 2, 3), (ctypes.c_float * 3)(), ctypes.c_void_p()
        assert self.library.cudaMalloc(ctypes.byref(pointer), 12) == 0
        assert self.library.cudaMemcpy(pointer, source, 12, ctypes.c_int(1)) == 0
        assert self.library.cudaMemcpy(target, pointer, ctypes.c_size_t(12), 2) == 0
        assert list(target) == [1, 2, 3]
        assert self.library.cudaFree(pointer) == 0

    def test_what_it_cannot_do(self):
        with pytest.raises(EmulationError, match="cannot take this argument"):
            self.library.cudaFree("address")
        with pytest.raises(AttributeError):
            _ = self.library.cudaError_t
        with pytest.raises(AttributeError):
            _ = self.library.printf
