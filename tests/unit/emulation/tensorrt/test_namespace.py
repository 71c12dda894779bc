"""The emulated module against the description of NVIDIA's: nothing invented, nothing silently missing."""

import inspect

import pytest

from yolotrt_lab.emulation.tensorrt.implementations import IMPLEMENTATIONS
from yolotrt_lab.emulation.tensorrt.namespace import API_VERSIONS, build, requested_api, vendor_description
from yolotrt_lab.emulation.tensorrt.objects import Hidden, Unemulated
from yolotrt_lab.emulation.tensorrt.signatures import parse_signature
from yolotrt_lab.errors import InputError

# Attributes that Python itself, or a built-in base, puts on every class.
PYTHONS_OWN = set(dir(object)) | set(dir(bytes))


@pytest.fixture(params=API_VERSIONS)
def api(request):
    return build(request.param)


def vendor_members(api, name):
    """Return everything NVIDIA's class offers, inherited members included."""
    entry = api.vendor["classes"][name]
    found = {}
    for base in entry["bases"]:
        found |= vendor_members(api, base)
    for kind in ("methods", "properties", "constants"):
        found |= entry.get(kind, {})
    nested = {full.rpartition(".")[2]: full for full in api.vendor["enums"] if full.startswith(f"{name}.")}
    return found | nested


def test_every_implementation_exists_at_nvidia_in_some_version():
    known = {name for major in API_VERSIONS for name in vendor_description(major)["classes"]}
    assert set(IMPLEMENTATIONS) <= known


def test_the_module_offers_no_invented_name(api):
    known = {*api.vendor["classes"], *api.vendor["functions"], *api.vendor["aliases"], *api.vendor["leaked"]}
    known |= {name for name in api.vendor["enums"] if "." not in name}
    assert set(api.names) - {"__version__"} <= known


def test_every_enum_has_nvidias_numbers(api):
    for name, numbers in api.vendor["enums"].items():
        assert {key: int(value) for key, value in api.types[name].__members__.items()} == numbers


def test_classes_have_nvidias_bases(api):
    for name in IMPLEMENTATIONS:
        if name in api.types:
            for base in api.vendor["classes"][name]["bases"]:
                assert base not in api.types or issubclass(api.types[name], api.types[base])


def test_every_class_shows_exactly_nvidias_members(api):
    for name in set(IMPLEMENTATIONS) & set(api.types):
        expected = {member for member in vendor_members(api, name) if not member.startswith("_")}
        shown = {
            member
            for member in dir(api.types[name])
            if not member.startswith("_")
            and member not in PYTHONS_OWN
            and not isinstance(inspect.getattr_static(api.types[name], member), Hidden)
        }
        extra = {"Severity"} if name == "Logger" else set()
        assert shown == expected | extra, name


def test_methods_take_nvidias_parameters(api):
    """Each overload of NVIDIA's can be passed on to the implementation, by position and by name."""
    checked = 0
    for name in set(IMPLEMENTATIONS) & set(api.types):
        for method, overloads in api.vendor["classes"][name].get("methods", {}).items():
            found = inspect.getattr_static(IMPLEMENTATIONS[name], method, None)
            if found is None or isinstance(found, Unemulated):
                continue
            found = getattr(found, "__func__", found)  # of a class method
            own = list(inspect.signature(found).parameters.values())[1:]
            names = [parameter.name for parameter in own]
            for text in overloads:
                parameters = parse_signature(text).parameters
                if any(getattr(api.types.get(p.kind), "_is_declared", False) for p in parameters):
                    continue  # takes an object of a class that is not emulated
                wanted = [parameter.name for parameter in parameters]
                if method.startswith("__") or any(name.startswith("arg") for name in wanted):
                    assert len(wanted) <= len(own), f"{name}.{method}"
                else:
                    assert set(wanted) <= set(names), f"{name}.{method}{text} against {names}"
                checked += 1
    assert checked > 100


def test_properties_are_properties(api):
    for name in set(IMPLEMENTATIONS) & set(api.types):
        for member, access in api.vendor["classes"][name].get("properties", {}).items():
            found = inspect.getattr_static(api.types[name], member)
            if not isinstance(found, Unemulated):
                assert isinstance(found, property) or not inspect.isfunction(found), f"{name}.{member}"
            if isinstance(found, property):
                assert (found.fset is not None) == (access == "rw"), f"{name}.{member} is {access}"


@pytest.mark.parametrize("text", ["10", "11"])
def test_the_version_comes_from_the_environment(monkeypatch, text):
    monkeypatch.setenv("YOLOTRT_TRT_API", text)
    assert requested_api() == int(text)


def test_version_10_is_the_default(monkeypatch):
    monkeypatch.delenv("YOLOTRT_TRT_API", raising=False)
    assert requested_api() == 10


def test_other_versions_are_refused(monkeypatch):
    monkeypatch.setenv("YOLOTRT_TRT_API", "8")
    with pytest.raises(InputError, match=r"10 or 11[\s\S]*8"):
        requested_api()


@pytest.mark.parametrize(
    ("text", "names", "defaults"),
    [
        ("()", [], []),
        ("() -> None", [], []),
        ("(a: int, b: str = None) -> bool", ["a", "b"], [None, "None"]),
        ("(a: tuple[int, list[str]], b: X = <X.Y: 2>) -> dict[str, int]", ["a", "b"], [None, "<X.Y: 2>"]),
    ],
)
def test_signatures_are_parsed(text, names, defaults):
    parameters = parse_signature(text).parameters
    assert [parameter.name for parameter in parameters] == names
    assert [parameter.default for parameter in parameters] == defaults
