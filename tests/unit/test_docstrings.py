"""The examples in docstrings run and print what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import yolotrt_lab

PACKAGE = Path(yolotrt_lab.__file__).parent
MODULES = [
    ".".join(("yolotrt_lab", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_most_parts_have_examples() -> None:
    parts = {module.split(".")[1] for module in MODULES}
    assert {"data", "detection", "evaluation", "precision", "profiling", "report", "runtimes", "training"} <= parts
