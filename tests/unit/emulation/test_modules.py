"""Switching the emulation on and off, and what it must leave alone."""

import importlib
import subprocess
import sys

import pytest

from yolotrt_lab.emulation import modules

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
