import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["counters", "tensorrt.enums", "tensorrt.signatures"])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"yolotrt_lab.emulation.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
