"""The same small programs on NVIDIA's bindings and on the emulation, with the same outcome word for word."""

import importlib
import importlib.util
from pathlib import Path

import pytest

from yolotrt_lab.emulation import modules

# importlib mode puts no test folder on the path.
_spec = importlib.util.spec_from_file_location("behaviour_probes", Path(__file__).with_name("behaviour_probes.py"))
behaviour_probes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(behaviour_probes)


@pytest.fixture
def emulated_behaviour(major):
    modules.activate(major)
    yield behaviour_probes.run(importlib.import_module("tensorrt"))
    modules.deactivate()


def test_the_emulation_behaves_like_the_bindings(vendor_behaviour, emulated_behaviour):
    assert list(vendor_behaviour) == list(emulated_behaviour)
    different = [
        f"{name}:\n  NVIDIA:    {theirs}\n  emulation: {emulated_behaviour[name]}"
        for name, theirs in vendor_behaviour.items()
        if emulated_behaviour[name] != theirs
    ]
    assert not different, "\n".join(different)
