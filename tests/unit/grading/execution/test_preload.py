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


def test_what_is_imported_before_a_fork(monkeypatch):
    """What every kernel needs, then the cells', then the run's; each once, and nothing that stands for the device."""
    monkeypatch.setattr("yolotrt_lab.grading.execution.preload._ALWAYS", ("json.tool",))
    cells = [CodeCell("a", "import json, tensorrt, pycuda.driver, decimal, json")]
    found = preload_modules(cells, loaded=["_private", "deep.within", "fractions", "cuda.bindings", "decimal"])
    assert found == ("json.tool", "json", "decimal", "fractions")


def test_what_a_run_has_loaded(job):
    found = modules_of_run(job("import fractions"), unsafe=True)
    assert {"fractions", "numpy", "yolotrt_lab.grading.suite"} <= set(found)
    assert len(found) > 200
    assert "tensorrt" not in found
