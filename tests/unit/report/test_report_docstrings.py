"""The examples in the docstrings run and print what they show."""

import doctest
import importlib
import pkgutil

import pytest

import yolotrt_lab.report

MODULES = [
    info.name
    for info in pkgutil.walk_packages(yolotrt_lab.report.__path__, prefix="yolotrt_lab.report.")
    if not info.ispkg
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    tests = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(tests) >= 4
