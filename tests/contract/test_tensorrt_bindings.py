"""The emulation against NVIDIA's own bindings, name by name.

Two steps: the stored description `vendor_api/api_*.json` is what the wheels say (needs the package index, once), and
the emulation offers what the description says, with the exceptions of `exceptions.toml`, no more and no fewer.

To take over a new version: put it into `VERSIONS`, run with `YOLOTRT_UPDATE_VENDOR_API=1`, and read the difference.
"""

import copy
import importlib
import json
import os
from importlib import resources

import contract_coverage
import contract_walk
import pytest
from contract_comparison import Comparison, compare
from contract_coverage import SECTION, measure
from contract_exceptions import Deviation, Entry, load, unexcepted, unneeded

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.tensorrt.namespace import API_VERSIONS, build, vendor_description
from yolotrt_lab.errors import EmulationError


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    yield
    modules.deactivate()


@pytest.fixture(scope="module")
def vendor_and_stored(vendor, stored, major):
    if os.environ.get("YOLOTRT_UPDATE_VENDOR_API"):
        target = resources.files("yolotrt_lab.emulation.tensorrt") / "vendor_api" / f"api_{major}.json"
        target.write_text(json.dumps(vendor, indent=1) + "\n")
        return vendor, vendor
    return vendor, stored


class TestDescription:
    """What the emulation is built from is what the wheels say."""

    def test_has_the_same_parts(self, vendor_and_stored):
        vendor, stored = vendor_and_stored
        assert {key: value for key, value in stored.items() if key != "classes"} == {
            key: value for key, value in vendor.items() if key != "classes"
        }

    def test_has_the_same_classes(self, vendor_and_stored):
        vendor, stored = vendor_and_stored
        assert set(stored["classes"]) == set(vendor["classes"])
        for name, entry in vendor["classes"].items():
            assert stored["classes"][name] == entry, name

    def test_is_of_the_whole_bindings(self, vendor):
        assert len(vendor["classes"]) > 130
        assert len(vendor["enums"]) > 60
        assert vendor["classes"]["Builder"]["methods"]["create_network"] == [
            "(flags: SupportsInt = 0) -> INetworkDefinition"
        ]
        assert vendor["classes"]["Builder"]["setters"]["max_threads"] == "(arg0: Builder, arg1: SupportsInt) -> bool"


class TestEmulation:
    def test_every_deviation_is_excepted(self, major):
        missing = unexcepted(SECTION, measure(major).comparison.deviations)
        assert not missing, "not in exceptions.toml:\n" + "\n".join(map(str, missing))

    def test_every_exception_is_needed(self):
        deviations = [item for major in API_VERSIONS for item in measure(major).comparison.deviations]
        stale = unneeded(SECTION, deviations)
        assert not stale, "no longer needed in exceptions.toml:\n" + "\n".join(map(str, stale))

    def test_enough_was_compared_and_used(self, major):
        """A walk that stopped early, or a description cut short, would pass everything."""
        measured = measure(major)
        assert len(measured.comparison.names) > 1500
        assert len(measured.excepted) < 0.3 * len(measured.comparison.names)
        assert measured.classes > 60
        assert measured.kinds > 330


class TestComparison:
    """Each kind of deviation is found."""

    @pytest.mark.parametrize(
        ("change", "name", "status"),
        [
            (lambda v: v["functions"].update(new=["(a)"]), "tensorrt.new", "lacking"),
            (lambda v: v["functions"].update(volume=["(shape)"]), "tensorrt.volume", "different"),
            (lambda v: v["functions"].pop("volume"), "tensorrt.volume", "extra"),
            (lambda v: v["aliases"].update(float32="DataType.HALF"), "tensorrt.float32", "different"),
            (lambda v: v.update(version="12.0"), "tensorrt.__version__", "different"),
            (lambda v: v["enums"]["DataType"].update(FLOAT=9), "tensorrt.DataType.FLOAT", "different"),
            (lambda v: v["enums"]["DataType"].update(NEW=99), "tensorrt.DataType", "different"),
            (lambda v: v["ordered_enums"].remove("BuilderFlag"), "tensorrt.BuilderFlag.__lt__", "different"),
            (lambda v: v["classes"].update(New={"bases": [], "init": []}), "tensorrt.New", "lacking"),
            (lambda v: v["classes"]["Logger"].update(bases=[]), "tensorrt.Logger", "different"),
            (lambda v: v["classes"]["Dims"].update(init=[]), "tensorrt.Dims.__init__", "different"),
            (lambda v: v["classes"]["Dims"]["constants"].update(MAX_DIMS="9"), "tensorrt.Dims.MAX_DIMS", "different"),
            (lambda v: v["classes"]["Dims"]["special"].remove("__eq__"), "tensorrt.Dims.__eq__", "different"),
            (lambda v: v["classes"]["Builder"]["methods"].update(new=["()"]), "tensorrt.Builder.new", "lacking"),
            (lambda v: v["classes"]["Builder"]["methods"].pop("reset"), "tensorrt.Builder.reset", "extra"),
            (
                lambda v: v["classes"]["Builder"]["methods"].update(create_network=["(flag: SupportsInt = 0)"]),
                "tensorrt.Builder.create_network",
                "different",
            ),
            (
                lambda v: v["classes"]["Builder"]["methods"].update(create_network=["(flags: SupportsInt = 1)"]),
                "tensorrt.Builder.create_network",
                "different",
            ),
            (
                lambda v: v["classes"]["IOptimizationProfile"]["methods"].update(
                    set_shape=["(input: str, max: Dims, opt: Dims, min: Dims) -> None"]
                ),
                "tensorrt.IOptimizationProfile.set_shape",
                "different",
            ),
            (
                lambda v: v["classes"]["Builder"]["properties"].update(max_threads="r"),
                "tensorrt.Builder.max_threads",
                "different",
            ),
            (
                lambda v: v["classes"]["Builder"]["properties"].update(new="r"),
                "tensorrt.Builder.new",
                "lacking",
            ),
        ],
    )
    def test_finds(self, change, name, status):
        changed = copy.deepcopy(vendor_description(11))
        before = self.compared(vendor_description(11))
        change(changed)
        found = {(item.name, item.status) for item in self.compared(changed)} - {(i.name, i.status) for i in before}
        assert (name, status) in found

    @staticmethod
    def compared(description):
        modules.activate(11)
        return compare(description, importlib.import_module("tensorrt"), build(11)).deviations

    @pytest.mark.parametrize(
        ("kind", "value", "right"),
        [
            ("int", 1, True), ("int", True, False), ("int", 1.0, False), ("float", 1, False), ("bool", 1, False),
            ("str", None, True), ("list[int]", [1], True), ("list[int]", ["a"], False), ("None", 0, False),
            ("Dims", (1,), False), ("ITensor", None, True), ("DataType", None, False), ("DataType", 1, False),
        ],
    )  # fmt: skip
    def test_knows_kinds(self, kind, value, right):
        api = build(11)
        walker = contract_walk.Walker(vendor_description(11), None, api, Comparison("11"))
        assert walker.is_of_kind(value, kind) == right
        assert walker.is_of_kind(api.DataType.INT8, "DataType")

    def test_the_walk_notes_refusals_and_wrong_kinds(self, monkeypatch):
        def refuse(*_):
            raise EmulationError("not here")

        modules.activate(11)
        builder = build(11).types["Builder"]
        monkeypatch.setattr(builder, "max_threads", property(lambda self: "eight"))
        monkeypatch.setattr(builder, "is_network_supported", lambda *_: 1)
        monkeypatch.setattr(builder, "num_DLA_cores", property(refuse))
        monkeypatch.setattr(builder, "get_plugin_registry", refuse)
        result = Comparison("11")
        contract_walk.walk(vendor_description(11), importlib.import_module("tensorrt"), build(11), result)
        found = {(item.name.removeprefix("tensorrt.Builder."), item.status) for item in result.deviations}
        assert {
            ("max_threads", "different"),
            ("is_network_supported", "different"),
            ("num_DLA_cores", "refused"),
            ("get_plugin_registry", "refused"),
        } <= found


class TestExceptions:
    @pytest.mark.parametrize(
        ("pattern", "status", "versions", "covered"),
        [
            ("tensorrt.A.b", "lacking", (), True),
            ("tensorrt.A.*", "lacking", ("10",), True),
            ("tensorrt.A.*", "lacking", ("11",), False),
            ("tensorrt.A.*", "different", (), False),
            ("tensorrt.A", "lacking", (), False),
        ],
    )
    def test_cover(self, pattern, status, versions, covered):
        deviation = Deviation("tensorrt.A.b", "lacking", "10")
        assert Entry(pattern, status, "because", versions).covers(deviation) == covered

    def test_of_a_class_cover_its_members_only_if_it_is_there_by_name_only(self):
        entry = Entry("tensorrt.A", "lacking", "because")
        assert entry.covers(Deviation("tensorrt.A.b", "lacking", "10", "of a class that is there by name only"))
        assert not entry.covers(Deviation("tensorrt.A.b", "lacking", "10"))

    def test_are_all_read(self):
        assert len(load(SECTION)) > 10
        assert all(len(entry.reason) > 20 for entry in load(SECTION))


def test_the_page_shows_the_numbers_of_today():
    fix = "run python tests/contract/contract_coverage.py --write"
    assert contract_coverage.pasted() == contract_coverage.table(), fix
