"""`python -m yolotrt_lab.emulation` runs programs as Python runs them, Python itself being the oracle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yolotrt_lab.emulation import __main__ as runner
from yolotrt_lab.engines import platform

LOOK_AROUND = """
import atexit, sys, threading
from sibling import GREETING
print(__name__, __file__, __spec__ and __spec__.name, __package__, sorted(name for name in globals()))
print(sys.argv, sys.path[0], sys.modules["__main__"].GREETING is GREETING, type(__builtins__).__name__)
atexit.register(lambda: print("at exit", GREETING))
threading.Timer(0.05, lambda: print("thread", GREETING)).start()
"""
FAILS = """
def deep(n):
    if n:
        deep(n - 1)
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("bad") from error
deep(2)
"""
OWN_HOOK = """
import sys
sys.excepthook = lambda kind, error, trace: print("own hook", kind.__name__, trace.tb_frame.f_code.co_name)
raise RuntimeError
"""
FILES = {
    "look.py": LOOK_AROUND,
    "sibling.py": "GREETING = 'hello'\n",
    "fails.py": FAILS,
    "hook.py": OWN_HOOK,
    "leaves.py": "import sys\nprint('out')\nsys.exit('with a message')\n",
    "syntax.py": "x = = 1\n",
    "interrupted.py": "raise KeyboardInterrupt\n",
    "pkg/__init__.py": "",
    "pkg/part.py": "NAME = __name__\n",
    "pkg/__main__.py": "import sys\nfrom . import part\nprint(__name__, __package__, __spec__.name, sys.argv)\n",
    "pkg/fails.py": "from . import part\nprint(part.NAME)\n1 / 0\n",
    "folder/__main__.py": "import sys, near\nprint(__name__, near.__name__, sys.argv, sys.path[0])\n",
    "folder/near.py": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("programs")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def python(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "YOLOTRT_PLATFORM": "emulated"},  # also where real TensorRT works
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def emulated(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess:
    return python(folder, "-m", "yolotrt_lab.emulation", *arguments, stdin=stdin)


@pytest.mark.parametrize(
    "arguments",
    [
        ("../programs_link/look.py", "--api", "7", "-m"),
        ("fails.py",),
        ("hook.py",),
        ("leaves.py",),
        ("syntax.py",),
        ("interrupted.py",),
        ("-m", "pkg", "a"),
        ("-m", "pkg.fails"),
        ("-c", "import sys, sibling; print(sys.argv, repr(sys.path[0])); 1 / 0", "x"),
        ("folder", "-x"),
    ],
    ids=lambda arguments: " ".join(arguments)[:24],
)
def test_as_python_does(folder, arguments):
    link = folder.parent / "programs_link"
    if not link.exists():
        link.symlink_to(folder)
    expected, found = python(folder, *arguments), emulated(folder, *arguments)
    said, _, rest = found.stderr.partition("\n")
    assert "is emulated" in said
    shown = "".join(line for line in expected.stderr.splitlines(keepends=True) if "<frozen runpy>" not in line)
    assert (found.returncode, found.stdout, rest) == (expected.returncode, expected.stdout, shown)


def test_standard_input(folder):
    text = "import sys, sibling\nprint(sys.argv, __name__, sibling.GREETING)\n"
    assert emulated(folder, "-", "x", stdin=text).stdout == python(folder, "-", "x", stdin=text).stdout


def test_the_program_finds_the_version_asked_for(folder):
    code = "import tensorrt, pycuda.driver; from cuda import cudart; print(tensorrt.__version__)"
    done = emulated(folder, "--api", "11", "-c", code)
    assert done.stdout == "11.4.0.106\n"
    assert "TensorRT 11.4.0.106 is emulated: Emulated GPU" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_it_tells_about_the_program(tmp_path):
    code = "from cuda.bindings import runtime; runtime.cudaMalloc(4096); raise SystemExit(3)"
    done = emulated(tmp_path, "--trace", "trace.json", "--report-leaks", "-c", code)
    assert done.returncode == 3
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert "4096" in done.stderr
    (tmp_path / "file").touch()
    done = emulated(tmp_path, "--trace", "file/trace.json", "-c", code.replace("raise", "#"))
    assert done.returncode == 2
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr


SPAWNS = """
import multiprocessing, tensorrt
import pickle

class Kept:
    pass

def child(kept):
    return tensorrt.__version__, type(kept).__module__, multiprocessing.current_process().name

if __name__ == "__main__":
    assert isinstance(pickle.loads(pickle.dumps(Kept())), Kept)
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, *pool.apply(child, (Kept(),)))
"""


def test_processes_that_it_starts_are_emulated_too(tmp_path):
    (tmp_path / "spawns.py").write_text(SPAWNS)
    done = emulated(tmp_path, "--api=11", "spawns.py")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("spawn 11.4.0.106 __mp_main__ SpawnPoolWorker-")
    assert second.startswith("fork 11.4.0.106 __main__ ForkPoolWorker-")
    assert done.stderr.count("is emulated") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a script"),
        (("-m",), "-m needs something to run"),
        (("-c",), "-c needs something to run"),
        (("--api", "9", "x.py"), "invalid choice: '9'"),
        (("--apis", "10", "x.py"), "unrecognized arguments: --apis"),
        (("nothing.py",), "There is nothing to run called nothing.py"),
        (("nothing/here.py",), "There is nothing to run called nothing/here.py"),
        (("-m", "no_such_module"), "There is no module no_such_module to run"),
        (("-m", "xml"), "There is no module xml.__main__ to run"),
        (("-m", "no_such.module"), "No module named 'no_such'"),
        (("-m", "script.py"), "script"),
    ],
)
def test_bad_usage_is_explained(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOTRT_TRT_API", "10")
    with pytest.raises(SystemExit) as left:
        runner.main(arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert said in " ".join(error.split())
    assert "Traceback" not in error


def test_real_tensorrt_is_used_where_it_works(monkeypatch, capsys):
    real = platform.Platform("real", sys, 10, "10.16.1.11", "NVIDIA H200", 1)
    monkeypatch.setattr(platform, "activate", lambda: real)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    with pytest.raises(SystemExit) as left:
        runner.main(["-c", "import sys; print('tensorrt' in sys.modules, sys.argv)", "x"])
    captured = capsys.readouterr()
    assert (left.value.code, captured.out) == (0, "False ['-c', 'x']\n")
    assert captured.err == "Nothing is emulated: TensorRT 10.16.1.11 works on NVIDIA H200.\n"


@pytest.mark.parametrize("option", [("--trace", "timeline.json"), ("--report-leaks",)])
@pytest.mark.parametrize("kind", ["real", "emulated"])
def test_a_real_device_is_not_observed(monkeypatch, capsys, tmp_path, option, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOTRT_REPORT_LEAKS", "")  # so that it is put back
    found = platform.Platform(kind, sys, 10, "10.16.1.11", "NVIDIA H200", 1)
    monkeypatch.setattr(platform, "activate", lambda: found)
    monkeypatch.setattr(runner.modules, "is_on_gpu", lambda: kind == "emulated")
    with pytest.raises(SystemExit) as left:
        runner.main([*option, "-c", "pass"])
    assert left.value.code == 2
    assert "observe the emulated device only" in capsys.readouterr().err
    assert not Path("timeline.json").exists()


def test_demanding_the_real_thing_where_it_is_not(monkeypatch, capsys):
    def no_gpu():
        raise OSError("no driver")

    monkeypatch.setattr(platform, "_gpu", no_gpu)
    monkeypatch.setenv("YOLOTRT_PLATFORM", "real")
    with pytest.raises(SystemExit) as left:
        runner.main(["-c", "pass"])
    assert left.value.code == 2
    assert "Real TensorRT is demanded" in capsys.readouterr().err
