"""The emulation against NVIDIA's own bindings.

The unit tests hold the emulated module against `vendor_api/api_*.json`; here those files are held against the wheels
they describe, so the two together say that the emulation has NVIDIA's names, numbers and signatures.

To take over a new version: put it into `VERSIONS`, run with `YOLOTRT_UPDATE_VENDOR_API=1`, and read the difference.
"""

import importlib
import json
import os
from importlib import resources

import pytest

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.tensorrt.namespace import build


@pytest.fixture(scope="module")
def vendor_and_stored(vendor, stored, major):
    if os.environ.get("YOLOTRT_UPDATE_VENDOR_API"):
        target = resources.files("yolotrt_lab.emulation.tensorrt") / "vendor_api" / f"api_{major}.json"
        target.write_text(json.dumps(vendor, indent=1) + "\n")
        return vendor, vendor
    return vendor, stored


def test_version(vendor_and_stored):
    vendor, stored = vendor_and_stored
    assert stored["version"] == vendor["version"]


@pytest.mark.parametrize("part", ["aliases", "functions", "enums"])
def test_names_and_numbers(vendor_and_stored, part):
    vendor, stored = vendor_and_stored
    assert stored[part] == vendor[part]


def test_classes(vendor_and_stored):
    vendor, stored = vendor_and_stored
    assert set(stored["classes"]) == set(vendor["classes"])
    for name, entry in vendor["classes"].items():
        assert stored["classes"][name] == entry, name


def test_every_emulated_enum_has_the_vendors_numbers(vendor, major):
    api = build(major)
    assert vendor["enums"]
    for name, numbers in vendor["enums"].items():
        assert {key: int(member) for key, member in api.types[name].__members__.items()} == numbers, name


def test_every_emulated_name_is_the_vendors(vendor, major):
    modules.activate(major)
    try:
        trt = importlib.import_module("tensorrt")
        offered = {name for name in vars(trt) if not name.startswith("_")}
    finally:
        modules.deactivate()
    known = {*vendor["classes"], *vendor["functions"], *vendor["aliases"], *vendor["enums"]}
    assert offered <= known
    assert {"Builder", "OnnxParser", "Runtime", "float32", "volume"} <= offered


def test_every_emulated_member_is_the_vendors(vendor, major):
    """Whatever a program can reach on an emulated class, it can reach on NVIDIA's."""
    api = build(major)
    for name, emulated in api.types.items():
        if name in vendor["enums"]:
            continue
        members = vendor_members(vendor, name)
        for member in dir(emulated):
            if member.startswith("_") or (name == "IHostMemory" and hasattr(bytes, member)):
                continue
            if name == "Logger" and member == "Severity":
                continue  # set by the package's __init__, an alias of ILogger.Severity
            if reachable(emulated, member):
                assert member in members, f"{name}.{member}"


def reachable(emulated: type, member: str) -> bool:
    try:
        getattr(emulated, member)
    except AttributeError:
        return False
    return True


def vendor_members(vendor: dict, name: str) -> set[str]:
    entry = vendor["classes"][name]
    own = {*entry.get("methods", {}), *entry.get("properties", {}), *entry.get("constants", {})}
    own |= {enum.rpartition(".")[2] for enum in vendor["enums"] if enum.startswith(f"{name}.")}
    return own.union(*(vendor_members(vendor, base) for base in entry["bases"]))
