import pytest

from yolotrt_lab.grading.execution.job import CodeCell
from yolotrt_lab.grading.execution.preload import imported_modules, modules_of_run, preload_modules


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("", ()),
        ("import os.path as p, json\nfrom a.b import c\ndef f():\n    import late", ("os.path", "json", "a.b", "late")),
        ("from . import beside", ()),
        ("%matplotlib inline\n!ls\nimport os", ("os",)),
        ("def broken(", ()),
    ],
)
def test_what_cells_import(source, modules):
    assert imported_modules([CodeCell("a", source)]) == modules


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder for modules of the test's own."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_what_may_be_imported_before_a_fork(modules, monkeypatch):
    """Nothing that leaves threads at work, ends the process, fails, or stands for the device."""
    monkeypatch.setattr("yolotrt_lab.grading.execution.preload._ALWAYS", ("json.tool",))
    begin = "import threading, time\nthreading.Thread(target={}, daemon=True).start()\n"
    (modules / "waiting.py").write_text(begin.format("lambda: time.sleep(60)"))
    (modules / "working.py").write_text(begin.format("lambda: [None for _ in iter(int, 1)]"))
    (modules / "ending.py").write_text("raise SystemExit")
    (modules / "talking.py").write_text("print('+os')")
    (modules / "tensorrt.py").write_text("")
    (modules / "pycuda").mkdir()
    (modules / "pycuda" / "driver.py").write_text("")
    names = "json, working, waiting, ending, missing, talking, tensorrt, pycuda.driver, decimal"
    found = preload_modules([CodeCell("a", f"import {names}")], loaded=["_private", "deep.within", "fractions"])
    assert found == ("json.tool", "json", "waiting", "talking", "decimal", "fractions")


def test_what_a_run_has_loaded(job):
    found = modules_of_run(job("import fractions"), unsafe=True)
    assert {"fractions", "numpy", "yolotrt_lab.grading.suite"} <= set(found)
    assert len(found) > 200
    assert "tensorrt" not in found
