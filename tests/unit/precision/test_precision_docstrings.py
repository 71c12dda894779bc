import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["histogram"])
def test_the_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"yolotrt_lab.precision.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
