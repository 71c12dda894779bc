"""The same small programs on NVIDIA's bindings and on the emulation, with the same outcome word for word."""

from dataclasses import replace

import pytest
from behaviour_probes import INTERFACES, PROBES, tidy
from contract_exceptions import Deviation, load


def is_of_a_lacking_class(name: str, outcome: str) -> bool:
    """Return whether a class is there by name only, which `exceptions.toml` has to know."""
    deviation = Deviation(f"tensorrt.{name.partition('(')[0]}", "lacking", "")
    listed = any(
        entry.covers(replace(deviation, version=version)) for entry in load("tensorrt") for version in ("10", "11")
    )
    return outcome.startswith("EmulationError: tensorrt.") and "only its name" in outcome and listed


def test_the_emulation_behaves_like_the_bindings(vendor_behaviour, emulated_behaviour):
    assert list(vendor_behaviour) == list(emulated_behaviour)
    different = [
        f"{name}:\n  NVIDIA:    {theirs}\n  emulation: {emulated_behaviour[name]}"
        for name, theirs in vendor_behaviour.items()
        if emulated_behaviour[name] != theirs and not is_of_a_lacking_class(name, emulated_behaviour[name])
    ]
    assert not different, "\n".join(different)


def test_the_probes_are_many_and_not_all_alike(vendor_behaviour):
    assert len(vendor_behaviour) > 1000
    assert len(set(vendor_behaviour.values())) > 200
    assert set(PROBES) <= set(vendor_behaviour)
    assert sum(name.split(".")[0] in INTERFACES for name in vendor_behaviour) > 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<tensorrt_bindings.tensorrt.Dims object at 0x7f0012345678>", "<tensorrt.tensorrt.Dims object at 0x>"),
        ("'tensorrt_bindings.tensorrt.Dims' object", "'Dims' object"),
        ("[11/20/2026-10:11:12] [TRT] [E] x", "[time] [TRT] [E] x"),
        ("0xabababababab", "0x"),
        ("value 0xab and IndexError", "value 0xab and IndexError"),
        ("no attribute 'x'. TensorRT no longer has it; use y", "no attribute 'x'"),
    ],
)
def test_only_what_has_no_meaning_is_removed(text, expected):
    assert tidy(text) == expected
