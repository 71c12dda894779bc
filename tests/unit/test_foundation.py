"""The files around the package agree with each other, and the set-up script keeps its promises."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def locked() -> dict[str, list[Requirement]]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()]
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        if not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            found.setdefault(requirement.name.lower().replace("_", "-"), []).append(requirement)
    return found


class TestLock:
    def test_every_line_is_an_exact_pin(self):
        for requirements in locked().values():
            for requirement in requirements:
                assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
                assert requirement.url is None

    def test_it_names_no_place_to_download_from(self):
        assert not re.search(r"://|--(extra-)?index|--find-links|-i ", (ROOT / "requirements.lock").read_text())

    @pytest.mark.parametrize("line", [*PROJECT["dependencies"], *EXTRAS["cpu"], *EXTRAS["course"], *EXTRAS["dev"]])
    def test_it_satisfies_the_project(self, line):
        requirement = Requirement(line)
        pins = locked().get(requirement.name.lower().replace("_", "-"))
        assert pins, f"{requirement.name} is not locked"
        for pin in pins:
            assert next(iter(pin.specifier)).version in requirement.specifier

    def test_it_is_for_machines_without_a_gpu(self):
        both = {"onnxruntime-gpu", "tensorrt-cu13", "pycuda"} & locked().keys()
        assert not both, "these need a GPU, or clash with onnxruntime"


class TestConda:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    dependencies = environment["dependencies"]

    def version(self, name: str) -> str:
        return next(
            line.split("=", 1)[1].lstrip("=")
            for line in self.dependencies
            if isinstance(line, str) and re.match(rf"{name}\b[=<>]", line)
        )

    def test_python_suits_the_project(self):
        assert Version(self.version("python") + ".0") in SpecifierSet(PROJECT["requires-python"])

    def test_pip_installs_the_project_for_a_gpu(self):
        pip = next(entry["pip"] for entry in self.dependencies if isinstance(entry, dict))
        assert len(pip) == 1, "what the project needs stands in pyproject.toml alone"
        extras = re.fullmatch(r"-e \.\[([\w,]+)\]", pip[0])[1].split(",")
        assert set(extras) == EXTRAS.keys() - {"cpu"}

    def test_cuda_is_the_one_of_the_gpu_extra(self):
        major = int(self.version("cuda-version").split(".")[0])
        gpu = {requirement.name: requirement for requirement in map(Requirement, EXTRAS["gpu"])}
        assert f"tensorrt-cu{major}" in gpu
        assert f"{major}.1" in gpu["cuda-python"].specifier
        assert f"{major + 1}.0" not in gpu["cuda-python"].specifier
        assert f"driver 580 or newer, for CUDA {major}" in (ROOT / "environment.yml").read_text()

    def test_pycuda_is_new_enough(self):
        conda = next(line for line in self.dependencies if isinstance(line, str) and line.startswith("pycuda"))
        assert conda in EXTRAS["gpu"]

    def test_one_onnxruntime(self):
        names = [Requirement(line).name for line in EXTRAS["gpu"] + PROJECT["dependencies"]]
        assert "onnxruntime" not in names
        assert "onnxruntime-gpu" in names

    def test_channels(self):
        assert self.environment["channels"] == ["conda-forge", "nodefaults"]


class TestMakefile:
    text = (ROOT / "Makefile").read_text()

    def run(self, *arguments: str) -> str:
        # Under `make test`, the outer make's variables would make this one announce the folder it enters.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def test_help_is_the_default_and_lists_every_target(self):
        phony = re.search(r"^\.PHONY: (.*)$", self.text, re.MULTILINE)[1].split()
        printed = self.run()
        assert printed == self.run("help")
        assert [line.split()[0] for line in printed.splitlines()[1:]] == phony
        assert {"help", "setup", "demo", "test", "lab", "notebooks", "lint", "bench", "clean"} <= set(phony)

    @pytest.mark.parametrize("dataset", ["parts", "bccd"])
    def test_demo_passes_the_dataset_on(self, dataset):
        commands = self.run("--dry-run", "demo", f"DATASET={dataset}")
        assert f'demo --dataset "{dataset}"' in commands
        assert "setup.sh" in commands

    def test_demo_draws_parts_unless_asked(self):
        assert 'demo --dataset "parts"' in self.run("--dry-run", "demo")

    @pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "lab"])
    def test_targets_set_up_first_and_name_files_that_exist(self, target):
        commands = self.run("--dry-run", target)
        assert commands.index("scripts/setup.sh") < commands.index(".venv/bin/python")
        for name in re.findall(r"scripts/[\w.]+", commands):
            assert (ROOT / name).is_file()

    def test_clean_keeps_what_took_time(self):
        commands = self.run("--dry-run", "clean")
        removed = re.search(r"rm -rf (build.*)", commands)[1].split()
        assert not {".venv", "datasets", "runs"} & set(removed)
        assert "-path ./.venv -prune" in commands


def test_the_licence_is_the_whole_agpl():
    text = (ROOT / "LICENSE").read_bytes()
    # As published at gnu.org; many distributions know it by this checksum.
    assert hashlib.md5(text, usedforsecurity=False).hexdigest() == "eb1e647870add0502f8f010b19de32af"
    assert PROJECT["license"] == "AGPL-3.0-only"


@pytest.mark.parametrize("script", ["scripts/setup.sh", ".ci/run"])
def test_shell_scripts_parse_and_may_be_run(script):
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    assert os.access(ROOT / script, os.X_OK)


def test_ci_uses_the_makefile():
    text = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\w+)$", text, re.MULTILINE) == ["setup", "lint", "test"]


class TestNotebookCheck:
    def check(self, *notebooks: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / "check_notebooks.py"), *map(str, notebooks)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    @pytest.mark.parametrize(
        ("cells", "code"),
        [
            ("[]", 0),
            ('[{"cell_type": "code", "outputs": [], "execution_count": null}, {"cell_type": "markdown"}]', 0),
            ('[{"cell_type": "code", "outputs": [{"output_type": "stream"}], "execution_count": null}]', 1),
            ('[{"cell_type": "code", "outputs": [], "execution_count": 3}]', 1),
        ],
    )
    def test_outputs_are_found(self, tmp_path, cells, code):
        path = tmp_path / "a b.ipynb"
        path.write_text(f'{{"cells": {cells}}}')
        done = self.check(path)
        assert done.returncode == code
        assert ("cell 1 holds outputs" in done.stderr) == bool(code)

    def test_something_else(self, tmp_path):
        path = tmp_path / "broken.ipynb"
        path.write_text("[]")
        assert self.check(path).returncode == 1
        assert self.check(tmp_path / "missing.ipynb").returncode == 1

    def test_this_repository(self):
        assert self.check().returncode == 0


PYTHON_STUB = """#!/bin/bash
# A Python {version} that knows just what the set-up script asks of it.
echo "{name} $*" >> "$CALLS"
case "$*" in
  --version) echo "Python {version}" ;;
  *"raise SystemExit(not (3, 11)"*) exit {unsuitable} ;;
  *"print(sys.executable)"*) echo "$0" ;;
  "-c import ensurepip, venv") exit {no_venv} ;;
  *python%d.%d-venv*) echo python{version}-venv ;;
  "-c import cv2") [ -f "$STATE/libgl" ] || {{ echo "ImportError: libGL.so.1: cannot open" >&2; exit 1; }} ;;
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/pyvenv.cfg ;;
  "-m pip install "*uv) cp "$STATE/uv" .venv/bin/uv ;;
  "- requirements.lock"*) cat requirements.lock pyproject.toml ;;
esac
"""
UV_STUB = """#!/bin/bash
echo "uv $*" >> "$CALLS"
[ -f "$STATE/no-network" ] && [ "$1" = pip ] && exit 1
exit 0
"""


@pytest.fixture
def bare(tmp_path):
    """A fresh clone in a folder with a space, on a machine of stubs."""
    return BareMachine(tmp_path)


class BareMachine:
    def __init__(self, folder: Path) -> None:
        self.clone = folder / "my clone"
        self.state = folder / "state"
        self.bin = folder / "bin"
        for path in (self.clone / "scripts", self.state, self.bin):
            path.mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "setup.sh", self.clone / "scripts")
        (self.clone / "requirements.lock").write_text("numpy==2.0\n")
        (self.clone / "pyproject.toml").write_text("[project]\n")
        self.program(self.state / "uv", UV_STUB)
        for name in ("awk", "bash", "cat", "cp", "df", "dirname", "head", "ls", "mkdir", "mv", "rm", "tail", "touch"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.program(self.bin / "timeout", '#!/bin/bash\nshift\nexec "$@"\n')
        self.program(self.bin / "id", "#!/bin/bash\necho 1000\n")
        self.have_python("python3.12", "3.12")
        (self.state / "libgl").touch()

    def program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def have_python(self, name: str, version: str, *, suitable: bool = True, venv: bool = True) -> None:
        text = PYTHON_STUB.format(name=name, version=version, unsuitable=int(not suitable), no_venv=int(not venv))
        self.program(self.bin / name, text)

    def setup(self, **extra: str) -> tuple[int, str, list[str]]:
        calls = self.state / "calls"
        calls.write_text("")
        environment = {"PATH": str(self.bin), "CALLS": str(calls), "STATE": str(self.state), **extra}
        done = subprocess.run(
            [str(self.bin / "bash"), "scripts/setup.sh"],
            cwd=self.clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    @property
    def stamp(self) -> Path:
        return self.clone / ".venv" / ".yolotrt-setup"


def installs(calls: list[str]) -> list[str]:
    return [call for call in calls if call.startswith("uv pip install")]


class TestSetup:
    def test_a_bare_machine(self, bare):
        code, output, calls = bare.setup()
        assert code == 0, output
        assert [call.split("--python .venv/bin/python ")[1] for call in installs(calls)] == [
            "-r requirements.lock",
            "--no-deps --no-build-isolation -e .",
        ]
        assert bare.stamp.is_file()
        assert "apt-get install -y --no-install-recommends bubblewrap chromium" in output

    def test_again_does_nothing_and_needs_no_network(self, bare):
        bare.setup()
        (bare.state / "no-network").touch()
        code, output, calls = bare.setup()
        assert (code, output, installs(calls)) == (0, "", [])

    @pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
    def test_a_changed_lock_installs_again(self, bare, name):
        bare.setup()
        (bare.clone / name).write_text("changed\n")
        assert len(installs(bare.setup()[2])) == 2

    def test_after_an_interrupt_it_goes_on(self, bare):
        (bare.state / "no-network").touch()
        code, output, _ = bare.setup()
        assert code == 1
        assert "locked packages could not be installed" in output
        assert not bare.stamp.exists()
        (bare.state / "no-network").unlink()
        assert bare.setup()[0] == 0
        assert bare.stamp.is_file()

    def test_half_an_environment_is_made_anew(self, bare):
        (bare.clone / ".venv" / "bin").mkdir(parents=True)
        (bare.clone / ".venv" / "pyvenv.cfg").touch()
        (bare.clone / ".venv" / "half").touch()
        assert bare.setup()[0] == 0
        assert not (bare.clone / ".venv" / "half").exists()

    def test_a_moved_clone_is_set_up_anew(self, bare):
        bare.setup()
        bare.clone.rename(bare.clone.with_name("moved"))
        bare.clone = bare.clone.with_name("moved")
        (bare.clone / ".venv" / "names the old folder").touch()
        assert bare.setup()[0] == 0
        assert not (bare.clone / ".venv" / "names the old folder").exists()

    def test_a_folder_that_is_no_environment_is_left_alone(self, bare):
        (bare.clone / ".venv").mkdir()
        (bare.clone / ".venv" / "thesis").write_text("mine")
        code, output, _ = bare.setup()
        assert code == 1
        assert "is not a Python environment" in output
        assert (bare.clone / ".venv" / "thesis").read_text() == "mine"

    def test_no_suitable_python(self, bare):
        (bare.bin / "python3.12").unlink()
        bare.have_python("python3", "3.9.2", suitable=False)
        code, output, _ = bare.setup()
        assert code == 1
        assert "Python 3.11, 3.12 or 3.13 is needed" in output
        assert "found: Python 3.9.2" in output
        assert "apt-get install -y python3 python3-venv" in output

    def test_the_python_named_by_the_user_comes_first(self, bare):
        bare.have_python("mine", "3.13")
        _, output, _ = bare.setup(PYTHON="mine")
        assert "Making .venv with Python 3.13" in output

    def test_python_without_venv(self, bare):
        bare.have_python("python3.12", "3.12", venv=False)
        code, output, _ = bare.setup()
        assert code == 1
        assert "sudo apt-get install -y --no-install-recommends python3.12-venv" in output
        assert not (bare.clone / ".venv").exists()

    def test_libgl_is_required(self, bare):
        (bare.state / "libgl").unlink()
        code, output, _ = bare.setup()
        assert code == 1
        assert "libGL.so.1" in output
        assert "sudo apt-get install -y --no-install-recommends libgl1 libglib2.0-0" in output.replace(
            "sudo apt-get update && ", ""
        )
        assert not bare.stamp.exists()

    def test_root_installs_what_is_missing(self, bare):
        (bare.state / "libgl").unlink()
        bare.program(bare.bin / "id", "#!/bin/bash\necho 0\n")
        apt = '#!/bin/bash\necho "apt-get $*" >> "$CALLS"\ncase "$*" in *libgl1*) touch "$STATE/libgl" ;; esac\n'
        bare.program(bare.bin / "apt-get", apt)
        code, output, calls = bare.setup()
        assert code == 0, output
        asked = [call for call in calls if call.startswith("apt-get install")]
        assert [call.split("recommends ")[1] for call in asked] == ["libgl1 libglib2.0-0", "bubblewrap chromium"]

    def test_without_chromium_there_is_bubblewrap_all_the_same(self, bare):
        bare.program(bare.bin / "id", "#!/bin/bash\necho 0\n")
        apt = '#!/bin/bash\necho "apt-get $*" >> "$CALLS"\ncase "$*" in *chromium*) exit 100 ;; esac\n'
        bare.program(bare.bin / "apt-get", apt)
        code, output, calls = bare.setup()
        assert code == 0, output
        asked = [call.split("recommends ")[1] for call in calls if call.startswith("apt-get install")]
        assert asked == ["bubblewrap chromium", "bubblewrap"]

    def test_a_gpu_gets_its_way_in(self, bare):
        assert "NVIDIA" not in bare.setup()[1]
        bare.program(bare.bin / "nvidia-smi", "#!/bin/bash\necho 'NVIDIA H200'\n")
        bare.stamp.unlink()
        output = bare.setup()[1]
        assert "NVIDIA H200" in output
        assert "conda env create -f environment.yml" in output
