"""The emulated `cuda.bindings` and PyCUDA against the real packages.

NVIDIA's package imports without a GPU: it is described in an interpreter of its own, and names, parameters, numbers of
results, enumerations, fields, constants and error texts are compared. PyCUDA cannot be installed everywhere, so it is
compared with the description that was made of it on a machine with an H200; what both packages do there was recorded by
`cuda_probes.py` and is compared word for word.
"""

import functools
import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import cuda_probes
import numpy as np
import pytest
from contract_exceptions import Deviation, unexcepted, unneeded

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.cuda import described
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.distributions import CUDA_VERSION, PYCUDA_VERSION
from yolotrt_lab.errors import EmulationError

HERE = Path(__file__).parent
BINDINGS = ("runtime", "driver")
OBSERVED = json.loads((HERE / "cuda_observed.json").read_text())


@pytest.fixture
def emulated():
    """Return a function that imports an emulated module."""
    modules.deactivate()
    modules.activate(10)
    yield importlib.import_module
    modules.deactivate()
    device().reset()


@functools.cache
def real_description() -> dict:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-bindings is not installed")
    program = [sys.executable, str(HERE / "describe_cuda.py")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", ["version", "runtime", "driver", "nvrtc", "error_texts"])
def test_the_stored_description_is_the_packages(part):
    """To take over a new version: write what `describe_cuda.py` prints into `vendor_api`, and read the difference."""
    assert described.bindings()[part] == real_description()[part]


def test_the_versions_that_programs_see_are_those_described():
    assert described.bindings()["version"] == CUDA_VERSION
    assert described.pycuda()["version"] == PYCUDA_VERSION


def compare(name: str, module) -> list[Deviation]:
    """Return where an emulated module is not as the description says."""
    vendor, full = described.bindings()[name], f"cuda.bindings.{name}"
    found = []

    def note(member: str, status: str, detail: str = "") -> None:
        found.append(Deviation(f"{full}.{member}", status, vendor_version(), detail))

    for function, signature in vendor["functions"].items():
        parameters, _, results = signature.partition(" -> ")
        try:
            own = getattr(module, function)
        except EmulationError:
            note(function, "lacking")
            continue
        if ", ".join(inspect.signature(own).parameters) != parameters.strip():
            note(function, "different", f"takes {inspect.signature(own)}")
        if results != "?" and vars(own).get("results", 1) != int(results):
            note(function, "different", f"returns {vars(own).get('results', 1)} values instead of {results}")
    for enum, members in vendor["enums"].items():
        if {key: int(item) for key, item in getattr(module, enum).__members__.items()} != members:
            note(enum, "different", "has other members")
    for kind, described_as in vendor["types"].items():
        if describe_type(getattr(module, kind)) != described_as:
            note(kind, "different", describe_type(getattr(module, kind)))
    for constant, number in vendor["constants"].items():
        if getattr(module, constant) != number:
            note(constant, "different", f"is {getattr(module, constant)}")
    for extra in sorted({key for key in vars(module) if not key.startswith("_")} - described.names(name)):
        note(extra, "extra")
    return found


def vendor_version() -> str:
    return described.bindings()["version"]


def describe_type(kind: type) -> str:
    """Describe an emulated type as `describe_cuda.py` describes a real one."""
    base = kind.__mro__[1]
    fields = () if issubclass(kind, described.Handle) else kind._described
    shown = "" if base in (described.Handle, described.Structure) else base.__name__
    return f"{shown}: {', '.join(fields)}".strip()


@pytest.mark.parametrize("name", BINDINGS)
class TestNames:
    def test_every_deviation_is_excepted(self, emulated, name):
        missing = unexcepted(f"cuda.bindings.{name}", compare(name, emulated(f"cuda.bindings.{name}")))
        assert not missing, "\n".join(map(str, missing))

    def test_every_exception_is_needed(self, emulated, name):
        stale = unneeded(f"cuda.bindings.{name}", compare(name, emulated(f"cuda.bindings.{name}")))
        assert not stale, "\n".join(map(str, stale))

    def test_enough_is_emulated(self, emulated, name):
        functions = [item for item in vars(emulated(f"cuda.bindings.{name}")).values() if inspect.isfunction(item)]
        assert len(functions) >= 60

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            (lambda m, sample, constant: vars(m).update({sample: lambda other: None}), "different"),
            (lambda m, sample, constant: vars(vars(m)[sample]).update(results=9), "different"),
            (lambda m, sample, constant: vars(m).pop(sample), "lacking"),
            (lambda m, sample, constant: vars(m).update(cudaInvented=1), "extra"),
            (lambda m, sample, constant: vars(m).update({constant: -7}), "different"),
        ],
        ids=["parameters", "results", "absent", "extra", "constant"],
    )
    def test_drift_is_found(self, emulated, name, change, status):
        module, sample = emulated(f"cuda.bindings.{name}"), {"runtime": "cudaMalloc", "driver": "cuMemAlloc"}[name]
        before, kept = compare(name, module), vars(module)[sample].results
        try:
            change(module, sample, next(iter(described.bindings()[name]["constants"])))
            new = [item for item in compare(name, module) if item not in before]
        finally:
            original = importlib.import_module(f"yolotrt_lab.emulation.cuda.{name}")
            vars(getattr(original, sample)).update(results=kept)
        assert {item.status for item in new} == {status}


def test_error_texts_are_cudas(emulated):
    runtime, driver = emulated("cuda.bindings.runtime"), emulated("cuda.bindings.driver")
    texts = real_description()["error_texts"]
    assert len(texts) > 100
    for code in runtime.cudaError_t:
        assert runtime.cudaGetErrorString(code)[1].decode() == texts[str(int(code))]
        assert runtime.cudaGetErrorName(code)[1].decode() == code.name
    for number in (1, 2, 3, 201, 700, 709):
        assert driver.cuGetErrorString(driver.CUresult(number))[1].decode() == texts[str(number)]


def test_handles_of_the_runtime_are_the_drivers_too(emulated):
    runtime, driver = emulated("cuda.bindings.runtime"), emulated("cuda.bindings.driver")
    assert isinstance(runtime.cudaStreamCreate()[1], driver.CUstream)
    assert isinstance(runtime.cudaEventCreate()[1], driver.CUevent)
    assert runtime.cudaStream_t(8) == driver.CUstream(8) != driver.CUevent(8)


class TestPycuda:
    """Against the description of PyCUDA 2026.1."""

    def compare(self, emulated) -> list[Deviation]:
        found = []
        for part in ("driver", "tools", "gpuarray"):
            name, vendor = f"pycuda.{part}", described.pycuda()[part]
            module = emulated(name)
            for member, parameters in vendor["functions"].items():
                found += self.compare_function(module, name, member, parameters)
            for member, content in vendor["classes"].items():
                found += self.compare_class(module, name, member, content)
            known = {*vendor["functions"], *vendor["classes"], *vendor.get("enums", {}), "empty"}
            extra = {key for key in vars(module) if not key.startswith("_")} - known
            found += [Deviation(f"{name}.{key}", "extra", "2026.1") for key in sorted(extra)]
        return found

    @staticmethod
    def compare_function(module, name: str, member: str, parameters: str) -> list[Deviation]:
        try:
            own = getattr(module, member)
            shown = [key.split("=")[0] for key in inspect.signature(own).parameters]
        except EmulationError:
            return [Deviation(f"{name}.{member}", "lacking", "2026.1")]
        if shown == ["args", "kwargs"]:
            return [Deviation(f"{name}.{member}", "refused", "2026.1")]
        wanted = [key.strip().lstrip("*") for key in parameters.split(",") if key.strip()]
        named = not all(key.startswith("arg") for key in wanted) or not wanted
        same = shown == wanted if named else len(shown) == len(wanted)
        return [] if same else [Deviation(f"{name}.{member}", "different", "2026.1", f"takes {shown}, not {wanted}")]

    @staticmethod
    def compare_class(module, name: str, member: str, content: str) -> list[Deviation]:
        try:
            own = getattr(module, member)
        except EmulationError:
            return [Deviation(f"{name}.{member}", "lacking", "2026.1")]
        wanted = {key for key in content.partition(":")[2].strip().split(", ") if key}
        have = {key for key in dir(own) if not key.startswith("_")}
        have |= {key for key in ("active_blocks", "active_bytes", "managed_bytes") if key in wanted}  # of instances
        if issubclass(own, Exception):
            have, wanted = set(), set()
        lacking = [Deviation(f"{name}.{member}.{key}", "lacking", "2026.1") for key in sorted(wanted - have)]
        return lacking + [Deviation(f"{name}.{member}.{key}", "extra", "2026.1") for key in sorted(have - wanted)]

    def test_every_deviation_is_excepted(self, emulated):
        missing = unexcepted("pycuda", self.compare(emulated))
        assert not missing, "\n".join(map(str, missing))

    def test_every_exception_is_needed(self, emulated):
        stale = unneeded("pycuda", self.compare(emulated))
        assert not stale, "\n".join(map(str, stale))

    def test_enumerations_are_complete(self, emulated):
        driver = emulated("pycuda.driver")
        for name, members in described.pycuda()["driver"]["enums"].items():
            assert {key: int(item) for key, item in getattr(driver, name).__members__.items()} == members


class TestObserved:
    """What the packages do on an H200 (driver 580.159, cuda-bindings 13.5.0, PyCUDA 2026.1), step by step."""

    @staticmethod
    def differing(name: str) -> list[Deviation]:
        modules.deactivate()
        modules.activate(10)
        device().reset()
        try:
            with np.printoptions(formatter=None, linewidth=75):  # Ultralytics changes how NumPy prints
                own = cuda_probes.PROBES[name](cuda_probes.Modules())
        finally:
            modules.deactivate()
            device().reset()
        assert len(own) == len(OBSERVED[name]), name
        return [
            Deviation(f"{name}: {number}", "different", "H200", f"\n  there: {theirs}\n  here:  {ours}")
            for number, (theirs, ours) in enumerate(zip(OBSERVED[name], own, strict=True))
            if theirs != ours
        ]

    @pytest.mark.parametrize("name", cuda_probes.PROBES)
    def test_the_emulation_does_the_same(self, name):
        missing = unexcepted("cuda.observed", self.differing(name))
        assert not missing, "\n".join(map(str, missing))

    def test_every_exception_is_needed(self):
        stale = unneeded("cuda.observed", [item for name in OBSERVED for item in self.differing(name)])
        assert not stale, "\n".join(map(str, stale))

    def test_much_was_observed(self):
        assert set(OBSERVED) == set(cuda_probes.PROBES)
        assert sum(map(len, OBSERVED.values())) >= 600
        died = [name for name, steps in OBSERVED.items() if any(re.match(r"exit -?\d", step) for step in steps)]
        assert died == ["runtime dead stream"], "all others ran to their end"
