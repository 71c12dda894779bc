"""Compares the emulated `tensorrt` with the description of NVIDIA's, name by name.

Compared are: what the module offers, classes and their bases and constructors, methods and their parameters (names,
order, defaults), properties and whether they can be set, constants, special methods, enumerations, numbers and order.
What becomes of a name when it is used is in `contract_walk.py`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract_exceptions import OF_LACKING_CLASS, Deviation
from describe_bindings import INDEXING, SPECIAL, signatures

from yolotrt_lab.emulation.tensorrt.namespace import Api
from yolotrt_lab.emulation.tensorrt.objects import Hidden, Unemulated
from yolotrt_lab.emulation.tensorrt.signatures import Signature, default_values, parse_signature

__all__ = ["Comparison", "compare"]

MODULE = "tensorrt"
# Python gives these to every class.
PYTHONS = {name for name in SPECIAL if hasattr(object, name)}


@dataclass
class Comparison:
    """What was compared and what deviates."""

    version: str
    names: set[str] = field(default_factory=set)
    deviations: list[Deviation] = field(default_factory=list)

    def count(self, name: str) -> None:
        """Note that a name is being compared."""
        self.names.add(name)

    def note(self, name: str, status: str, detail: str = "") -> None:
        """Note a deviation, once."""
        if not any((item.name, item.status) == (name, status) for item in self.deviations):
            self.deviations.append(Deviation(name, status, self.version, detail))


def compare(vendor: Mapping[str, Any], module: Any, api: Api) -> Comparison:
    """Compare an emulated module, and the namespace it was filled from, with NVIDIA's description."""
    result = Comparison(str(api.major))
    _compare_module(vendor, module, result)
    for name, numbers in vendor["enums"].items():
        _compare_enum(name, numbers, vendor, api, result)
    for name in vendor["classes"]:
        _compare_class(name, vendor, api, result)
    return result


def _compare_module(vendor: Mapping[str, Any], module: Any, result: Comparison) -> None:
    submodules = ("plugin", "tensorrt")
    top = {name for kind in ("classes", "enums") for name in vendor[kind] if "." not in name}
    expected = {*vendor["functions"], *vendor["aliases"], *vendor["leaked"], *submodules, "__version__"}
    for name in sorted(expected):
        result.count(f"{MODULE}.{name}")
        if name == "plugin":
            importlib.import_module(f"{MODULE}.plugin")
        if not hasattr(module, name):
            result.note(f"{MODULE}.{name}", "lacking")
    for name in sorted(set(vars(module)) - expected - top):
        if not name.startswith("_"):
            result.note(f"{MODULE}.{name}", "extra")
    if module.__version__ != vendor["version"]:
        result.note(f"{MODULE}.__version__", "different", module.__version__)
    for name, text in vendor["aliases"].items():
        if str(getattr(module, name, None)) != text:
            result.note(f"{MODULE}.{name}", "different", f"{getattr(module, name, None)}, not {text}")
    for name, overloads in vendor["functions"].items():
        _compare_function(f"{MODULE}.{name}", overloads, getattr(module, name, None), result)
    plugin = importlib.import_module(f"{MODULE}.plugin")
    for name in vendor["plugin_names"]:
        result.count(f"{MODULE}.plugin.{name}")
        try:
            getattr(plugin, name)
        except Exception as error:
            result.note(f"{MODULE}.plugin.{name}", "lacking", type(error).__name__)


def _compare_function(name: str, overloads: list[str], function: Any, result: Comparison) -> None:
    if function is None:
        return  # noted as lacking
    wanted = [parameter.name for parameter in parse_signature(overloads[0]).parameters]
    own = list(inspect.signature(function).parameters)
    if len(own) != len(wanted) or (own != wanted and not wanted[0].startswith("arg")):
        result.note(name, "different", f"takes {own}, not {wanted}")


def _compare_enum(
    name: str, numbers: Mapping[str, int], vendor: Mapping[str, Any], api: Api, result: Comparison
) -> None:
    full = f"{MODULE}.{name}"
    result.count(full)
    enum: Any = api.types.get(name)
    if enum is None:
        result.note(full, "lacking")
        return
    members = enum.__members__
    if list(members) != list(numbers):
        result.note(full, "different", f"members {list(members)}, not {list(numbers)}")
    for member, number in numbers.items():
        result.count(f"{full}.{member}")
        if int(members.get(member, -1)) != number:
            result.note(f"{full}.{member}", "different", f"{members.get(member)!r}, not {number}")
    result.count(f"{full}.__lt__")
    if ("__lt__" in vars(enum)) != (name in vendor["ordered_enums"]):
        result.note(f"{full}.__lt__", "different", "order of members")


def _compare_class(name: str, vendor: Mapping[str, Any], api: Api, result: Comparison) -> None:
    full = f"{MODULE}.{name}"
    entry = vendor["classes"][name]
    cls: Any = api.types.get(name)
    members = [*entry.get("methods", {}), *entry.get("properties", {}), *entry.get("constants", {})]
    for member in ("__init__", *members, *entry.get("special", ())):
        result.count(f"{full}.{member}")
    result.count(full)
    if cls is None or cls._is_declared:
        result.note(full, "lacking")
        for member in members:
            result.note(f"{full}.{member}", "lacking", OF_LACKING_CLASS)
        return
    bases = {base.__name__ for base in cls.__mro__[1:] if "_is_api_class" in vars(base)}
    if bases != set(_ancestors(name, vendor)):
        result.note(full, "different", f"bases {bases}")
    if cls._constructible != bool(entry["init"]):
        result.note(f"{full}.__init__", "different", "can be constructed" if cls._constructible else "cannot be")
    elif entry["init"]:
        _compare_method(f"{full}.__init__", vars(cls).get("__init__"), entry["init"], api, result)
    for member, overloads in entry.get("methods", {}).items():
        _compare_method(f"{full}.{member}", inspect.getattr_static(cls, member, None), overloads, api, result)
    for member, access in entry.get("properties", {}).items():
        _compare_property(f"{full}.{member}", inspect.getattr_static(cls, member, None), access, result)
    for member, text in entry.get("constants", {}).items():
        if str(getattr(cls, member, None)) != text:
            result.note(f"{full}.{member}", "different", f"{getattr(cls, member, None)}, not {text}")
    _compare_special(name, cls, vendor, result)
    known = _known_members(name, vendor)
    for member in sorted(set(dir(cls)) - known):
        if not member.startswith("_") and not isinstance(inspect.getattr_static(cls, member), Hidden):
            result.note(f"{full}.{member}", "extra")


def _compare_method(name: str, found: Any, overloads: list[str], api: Api, result: Comparison) -> None:
    if found is None or isinstance(found, Unemulated):
        result.note(name, "lacking")
        return
    static = isinstance(found, (staticmethod, classmethod))
    function = found.__func__ if static else found
    if not inspect.isfunction(function):
        result.note(name, "different", f"is a {type(found).__name__}, not a method")
        return
    implementation = inspect.signature(inspect.unwrap(function))
    if isinstance(found, classmethod):
        implementation = implementation.replace(parameters=list(implementation.parameters.values())[1:])
    shown = inspect.signature(function)
    if signatures(found, function.__name__) != overloads:
        result.note(name, "different", f"documented as {signatures(found, function.__name__)}, not {overloads}")
        return
    for text in overloads:
        signature = parse_signature(text)
        problem = _does_not_take(implementation, signature, static=static, operator_like=function.__name__ in INDEXING)
        if not problem and len(overloads) == 1:
            problem = _defaults_differ(shown, signature, api)
        if problem:
            result.note(name, "different", f"{text}: {problem}")


def _does_not_take(
    implementation: inspect.Signature, signature: Signature, *, static: bool, operator_like: bool
) -> str:
    """Return why the implementation does not take an overload's parameters by position, or by name."""
    own = () if static else ("self",)
    names = [parameter.name for parameter in signature.parameters]
    by_position = operator_like or any(name.startswith("arg") for name in names)
    try:
        bound = implementation.bind(*own, *names)
        if not by_position:
            implementation.bind(*own, **{name: name for name in names})
    except TypeError as error:
        return str(error)
    if by_position:
        return ""
    taken = {name: value for name, value in bound.arguments.items() if isinstance(value, str) and value != "self"}
    crossed = [f"{name} gets {value}" for name, value in taken.items() if name in names and value != name]
    return ", ".join(crossed)


def _defaults_differ(shown: inspect.Signature, signature: Signature, api: Api) -> str:
    values = default_values(signature, api.types)
    if any(item.default is None for item in signature.parameters[-len(values) :]):
        return ""  # a parameter without default behind one with: NVIDIA can, Python cannot
    for name, value in values.items():
        if shown.parameters[name].default != value:
            return f"default of {name} is {shown.parameters[name].default!r}, not {value!r}"
    return ""


def _compare_property(name: str, found: Any, access: str, result: Comparison) -> None:
    if found is None or isinstance(found, Unemulated):
        result.note(name, "lacking")
    elif inspect.isfunction(found):
        result.note(name, "different", "is a method, not a property")
    elif (getattr(found, "fset", None) is not None) != (access == "rw"):
        result.note(name, "different", "can be set" if access == "r" else "cannot be set")


def _compare_special(name: str, cls: Any, vendor: Mapping[str, Any], result: Comparison) -> None:
    expected = {member for each in (name, *_ancestors(name, vendor)) for member in _specials(vendor["classes"][each])}
    for member in (*SPECIAL, *INDEXING):
        found = getattr(cls, member, None)
        own = found is not None and (member not in PYTHONS or found is not getattr(object, member))
        if member == "__hash__" and found is None and "__eq__" in expected:
            own = False
        if own != (member in expected) and member != "__ne__":  # Python makes != of ==
            result.note(f"{MODULE}.{name}.{member}", "different", "is there" if own else "is not there")


def _specials(entry: Mapping[str, Any]) -> set[str]:
    return {*entry.get("special", ()), *(name for name in entry.get("methods", {}) if name in INDEXING)}


def _ancestors(name: str, vendor: Mapping[str, Any]) -> Iterator[str]:
    for base in vendor["classes"][name]["bases"]:
        yield base
        yield from _ancestors(base, vendor)


def _known_members(name: str, vendor: Mapping[str, Any]) -> set[str]:
    known: set[str] = set()
    for each in (name, *_ancestors(name, vendor)):
        entry = vendor["classes"][each]
        known |= {*entry.get("methods", {}), *entry.get("properties", {}), *entry.get("constants", {})}
        known |= {enum.rpartition(".")[2] for enum in vendor["enums"] if enum.startswith(f"{each}.")}
    return known | ({"Severity"} if name == "Logger" else set())  # NVIDIA's package adds the alias
