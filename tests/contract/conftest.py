"""NVIDIA's own bindings, described: fetched once as wheels, imported over an empty library, in their own interpreter.

The bindings are a pybind11 module that needs TensorRT's libraries only to be loaded, not to be looked at. Three shared
objects that define the nine symbols it links against are enough to import it anywhere.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))  # importlib mode puts no test folder there, and the tests here share modules

VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)


@pytest.fixture(scope="session", params=sorted(VERSIONS), ids=[f"api{major}" for major in sorted(VERSIONS)])
def major(request):
    return request.param


@pytest.fixture(scope="session")
def vendor(major, pytestconfig):
    """The description of NVIDIA's bindings, made from the wheel."""
    return ask(major, Path(pytestconfig.cache.mkdir("tensorrt-bindings")), "describe_bindings.py")


@pytest.fixture(scope="session")
def vendor_behaviour(major, pytestconfig):
    """What NVIDIA's bindings do, probe by probe."""
    return ask(major, Path(pytestconfig.cache.mkdir("tensorrt-bindings")), "behaviour_probes.py")


@pytest.fixture(scope="session")
def behaviours():
    """What the emulation of each version does, probe by probe; in an interpreter of its own, like NVIDIA's."""
    return run_program("behaviour_probes.py", *map(str, VERSIONS))


@pytest.fixture
def emulated_behaviour(behaviours, major):
    return behaviours[str(major)]


def pytest_terminal_summary(terminalreporter):
    """Show how much was compared, if this process did it."""
    coverage = sys.modules.get("contract_coverage")
    if coverage is not None and coverage.measure.cache_info().currsize == len(VERSIONS):
        terminalreporter.section("NVIDIA's bindings and the emulation")
        terminalreporter.write_line(coverage.table())


@functools.cache
def ask(major: int, cache: Path, program: str) -> dict:
    """Run one of the programs beside this file with NVIDIA's bindings and return what it prints."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the bindings' wheels used here are for Linux")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    folder = cache / f"{VERSIONS[major]}-{tag}"
    site = folder / "site"
    with one_at_a_time(cache / "lock"):
        wheel = fetch(major, folder)
        if not (site / "tensorrt").is_dir():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            write_frontend(site)
        libraries = build_libraries(major, folder / "lib")
    return run_program(program, environment={"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(site)})


@contextlib.contextmanager
def one_at_a_time(path: Path):
    """Keep pytest's other workers from unpacking the same files at the same time."""
    import fcntl  # there is none on Windows

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_program(program: str, *arguments: str, environment: dict[str, str] | None = None) -> dict:
    """Run one of the programs beside this file and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / program), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])  # the bindings print warnings before it


def write_frontend(site: Path) -> None:
    """Make the package `tensorrt`, which on the package index only passes on what the bindings offer."""
    package = site / "tensorrt"
    (package / "plugin").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")
    (package / "plugin" / "__init__.py").write_text("from tensorrt_bindings.plugin import *\n")


def fetch(major: int, folder: Path) -> Path:
    """Return the wheel: from the cache, from the folder YOLOTRT_TENSORRT_WHEELS names, or from the package index."""
    pattern = f"tensorrt_cu13_bindings-{VERSIONS[major]}-*.whl"
    local = os.environ.get("YOLOTRT_TENSORRT_WHEELS")
    for place in (folder, *([Path(local)] if local else [])):
        if found := sorted(place.rglob(pattern)):
            return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    command = downloader()
    if command is None:
        pytest.skip("neither pip nor uv is there to fetch NVIDIA's bindings")
    requirement = f"tensorrt-cu13-bindings=={VERSIONS[major]}"
    tried = subprocess.run(
        [*command, "download", "--no-deps", "--only-binary", ":all:", "-d", str(folder), requirement],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if tried.returncode != 0:
        reason = tried.stderr.strip().splitlines()[-1:] or ["no reason given"]
        pytest.skip(f"NVIDIA's bindings {VERSIONS[major]} cannot be fetched: {reason[0]}")
    return next(iter(folder.glob(pattern)))


def downloader() -> list[str] | None:
    """Return a command that runs pip for this Python: its own, or uv's."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    uv = shutil.which("uv")
    return None if uv is None else [uv, "tool", "run", "--python", sys.executable, "pip"]


def build_libraries(major: int, folder: Path) -> Path:
    """Make the empty libraries the bindings link against."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is there to make the libraries the bindings link against")
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "empty.c"
    source.write_text("".join(f"int {symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        library = f"lib{name}.so.{major}"
        if not (folder / library).exists():
            subprocess.run(
                [compiler, "-shared", "-fPIC", "-o", str(folder / library), str(source), f"-Wl,-soname,{library}"],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def stored(major):
    """The description the emulation is built from."""
    from yolotrt_lab.emulation.tensorrt.namespace import vendor_description

    return vendor_description(major)
