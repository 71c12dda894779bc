from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module", ["matching", "average_precision", "confusion", "diagnosis", "tensor_agreement", "tolerance"]
)
def test_the_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"yolotrt_lab.evaluation.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
