"""Builds the content of the emulated `tensorrt` module for one version.

NVIDIA's description decides what exists; the implementations decide what works. Every class a program sees is made
here: it inherits an implementation, checks arguments by NVIDIA's signatures, hides what the version lacks, and refuses,
with an explanation, what is not implemented.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from types import FunctionType, ModuleType
from typing import Any

from yolotrt_lab.emulation.tensorrt.deprecations import deprecated_member
from yolotrt_lab.emulation.tensorrt.enums import ApiEnum, make_enum
from yolotrt_lab.emulation.tensorrt.functions import leaked_names, module_functions
from yolotrt_lab.emulation.tensorrt.implementations import IMPLEMENTATIONS
from yolotrt_lab.emulation.tensorrt.objects import (
    ApiMeta,
    ApiObject,
    Declared,
    Hidden,
    Unemulated,
    missing_attribute,
)
from yolotrt_lab.emulation.tensorrt.signatures import checked, checked_setter
from yolotrt_lab.errors import EmulationError, InputError

__all__ = ["API_VERSIONS", "Api", "build", "fill_module", "fill_plugin_module", "requested_api", "vendor_description"]

API_VERSIONS = (10, 11)


def requested_api() -> int:
    """Return the TensorRT version to emulate: `YOLOTRT_TRT_API`, or 10.

    Raises:
        InputError: The variable names another version.
    """
    text = os.environ.get("YOLOTRT_TRT_API", "10")
    if text not in {str(version) for version in API_VERSIONS}:
        raise InputError("YOLOTRT_TRT_API names no TensorRT version that is emulated.", expected="10 or 11", got=text)
    return int(text)


@functools.cache
def vendor_description(major: int) -> Mapping[str, Any]:
    """Return the description of NVIDIA's bindings: version, enums, classes, functions, aliases."""
    source = resources.files("yolotrt_lab.emulation.tensorrt") / "vendor_api" / f"api_{major}.json"
    description: Mapping[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return description


class Api:
    """The classes, enums and functions of one TensorRT version, as attributes.

    Attributes:
        major: 10 or 11.
        version: The full version.
        types: Every class and enum by NVIDIA's name; nested ones as "ILogger.Severity".
        known: NVIDIA's names of all classes and enums.
        names: Everything the module offers, by name.
        singletons: Objects of which there is one for each version, made on demand.
    """

    def __init__(self, major: int) -> None:
        self.major = major
        self.vendor = vendor_description(major)
        self.version: str = self.vendor["version"]
        self.types: dict[str, type] = {}
        self.known = frozenset({*self.vendor["classes"], *self.vendor["enums"]})
        self.names: dict[str, Any] = {"__version__": self.version}
        self.singletons: dict[str, Any] = {}
        self._make_enums()
        for name in self.vendor["classes"]:
            self._class(name)
        self._finish_names()

    def __getattr__(self, name: str) -> Any:
        found = vars(self).get("types", {}).get(name)
        if found is None:
            raise AttributeError(name)
        return found

    def _make_enums(self) -> None:
        for name, numbers in self.vendor["enums"].items():
            document = f"TensorRT's {name}, with the numbers of version {self.version}."
            ordered = name in self.vendor["ordered_enums"]
            self.types[name] = make_enum(name, numbers, document=document, ordered=ordered)

    def _class(self, name: str) -> type:
        if name in self.types:
            return self.types[name]
        entry = self.vendor["classes"][name]
        implementation = IMPLEMENTATIONS.get(name, Declared)
        parents = [self._class(base) for base in entry["bases"]]
        constructible = bool(entry["init"])
        members: dict[str, Any] = {
            "__doc__": implementation.__doc__,
            "__module__": "tensorrt.tensorrt",
            "__qualname__": name,
            "_api": self,
            "_api_name": name,
            "_is_api_class": True,
            "_constructible": constructible,
            "_is_declared": implementation is Declared,
            "_has_del": "__del__" in entry.get("special", ()),
        }
        members.update(self._members(name, implementation))
        if constructible and implementation is not Declared:
            members["__init__"] = checked(
                implementation.__init__,
                name="__init__",
                class_name=name,
                overloads=entry["init"],
                types=self.types,
                known=self.known,
            )
        members.update(self._constants(name, entry))
        # An implementation may itself inherit from what a parent inherits: then the parent's is enough.
        own = [] if any(issubclass(parent, implementation) for parent in parents) else [implementation]
        made = ApiMeta(name, (*own, *parents), members)
        self.types[name] = made
        return made

    def _members(self, name: str, implementation: type[ApiObject]) -> dict[str, Any]:
        methods, properties = self._vendor_members(name)
        members: dict[str, Any] = {}
        for member, overloads in methods.items():
            found = inspect.getattr_static(implementation, member, None)
            if isinstance(found, FunctionType):
                members[member] = checked(
                    found, name=member, class_name=name, overloads=overloads, types=self.types, known=self.known
                )
            elif isinstance(found, staticmethod):
                function = checked(
                    found.__func__, name=member, class_name=name, overloads=overloads, types=self.types,
                    known=self.known, static=True,
                )  # fmt: skip
                members[member] = staticmethod(function)
            elif isinstance(found, classmethod):  # NVIDIA's are static: the class does not show
                function = checked(
                    found.__func__, name=member, class_name="", overloads=overloads, types=self.types, known=self.known
                )
                members[member] = classmethod(function)
            elif found is None:
                members[member] = Unemulated(name, member, "method")
        for member, access in properties.items():
            found = inspect.getattr_static(implementation, member, None)
            if found is None:
                members[member] = Unemulated(name, member, "property")
            elif isinstance(found, property) and found.fset is not None:
                members[member] = self._settable(found, self._setter_text(name, member) if access == "rw" else "")
        for member in dir(implementation):
            known = member in methods or member in properties
            if not member.startswith("_") and not known and not hasattr(object, member):
                members[member] = Hidden(name, member)
        lineage = [name, *self._ancestors(name)]
        for member in {*methods, *properties}:
            found = members.get(member, inspect.getattr_static(implementation, member, None))
            if not isinstance(found, (Unemulated, Hidden)):
                warned = deprecated_member(lineage, member, found, major=self.major)
                members.update({member: warned} if warned is not found else {})
        return members

    def _ancestors(self, name: str) -> Iterator[str]:
        for base in self.vendor["classes"][name]["bases"]:
            yield base
            yield from self._ancestors(base)

    def _settable(self, found: property, text: str) -> property:
        """Return a property whose setter checks; without a text it is settable in another version only."""
        if not text:
            return property(found.fget, doc=found.__doc__)
        assign = checked_setter(found.fset, text=text, types=self.types, known=self.known)  # type: ignore[arg-type]
        return property(found.fget, assign, doc=found.__doc__)

    def _setter_text(self, name: str, member: str) -> str:
        entry = self.vendor["classes"][name]
        own: str = entry.get("setters", {}).get(member, "")
        return own or next(filter(None, (self._setter_text(base, member) for base in entry["bases"])), "")

    def _vendor_members(self, name: str) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Return the methods and properties ("r" or "rw") NVIDIA's class has, inherited ones included."""
        entry = self.vendor["classes"][name]
        methods: dict[str, list[str]] = {}
        properties: dict[str, str] = {}
        for base in entry["bases"]:
            inherited_methods, inherited_properties = self._vendor_members(base)
            methods.update(inherited_methods)
            properties.update(inherited_properties)
        methods.update(entry.get("methods", {}))
        return methods, {**properties, **entry.get("properties", {})}

    def _constants(self, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for qualified, nested in self.types.items():
            owner, dot, short = qualified.rpartition(".")
            if dot and owner == name:
                constants[short] = nested
        for constant, text in entry.get("constants", {}).items():
            enum_name, _, member = text.partition(".")
            enum = self.types.get(f"{name}.{enum_name}") or self.types.get(f"ILogger.{enum_name}")
            constants[constant] = int(text) if enum is None else getattr(enum, member)
        return constants

    def _function(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        function.__module__, function.__qualname__ = "tensorrt", name
        overloads: list[str] = self.vendor["functions"][name]
        if ") -> " not in overloads[0]:
            return function  # written in Python at NVIDIA too: Python checks the arguments
        return checked(
            function, name=name, class_name="", overloads=overloads, types=self.types, known=self.known, static=True
        )

    def _finish_names(self) -> None:
        self.names.update({name: made for name, made in self.types.items() if "." not in name})
        for alias, text in self.vendor["aliases"].items():
            enum_name, _, member = text.partition(".")
            # As in NVIDIA's package, the alias is another object than the member, and equal to it.
            self.names[alias] = self.types[enum_name](int(getattr(self.types[enum_name], member)))
        for name, function in module_functions(self).items():
            self.names[name] = self._function(name, function)
        data_type: Any = self.types["DataType"]
        sizes = _item_sizes(self)
        data_type.itemsize = property(lambda this: sizes.get(this), doc="Size of one element in bytes.")
        logger: Any = self.types["Logger"]
        severities: Any = self.types["ILogger.Severity"]
        logger.Severity = severities
        self.names.update(leaked_names(severities.VERBOSE))


def _item_sizes(api: Api) -> dict[ApiEnum, float]:
    sizes = {
        "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "int32": 4, "int64": 8,
        "bool": 1, "uint8": 1, "fp8": 1, "int4": 0.5, "fp4": 0.5,
    }  # fmt: skip
    return {api.names[name]: size for name, size in sizes.items()}


@functools.cache
def build(major: int) -> Api:
    """Return the namespace of one TensorRT version; made once."""
    return Api(major)


def fill_module(module: ModuleType, api: Api) -> None:
    """Give a module the emulated content."""
    vars(module).update(api.names)

    def refuse(name: str) -> Any:
        if name == "tensorrt" and module.__name__ == name:
            return importlib.import_module("tensorrt.tensorrt")
        if name in api.vendor["functions"]:
            raise EmulationError(
                f"tensorrt.{name} is not emulated: TensorRT {api.version} has it, its emulation does not.",
                fix="Run this on a machine with an NVIDIA GPU and TensorRT, or do without it.",
            )
        raise missing_attribute(f"module '{module.__name__}'", name)

    module.__getattr__ = refuse  # type: ignore[method-assign]
    module.__doc__ = f"Emulation of TensorRT {api.version} on the CPU by OpenVINO. Not NVIDIA's software."


def fill_plugin_module(module: ModuleType, api: Api) -> None:
    """Give the module `tensorrt.plugin` its content: names that refuse to be used."""
    known = api.vendor["plugin_names"]

    def refuse(name: str) -> Any:
        if name in known:
            raise EmulationError(
                f"tensorrt.plugin.{name} is not emulated: it makes layers of CUDA kernels.",
                fix="Run this on a machine with an NVIDIA GPU and TensorRT, or express the layer in ONNX operators.",
            )
        raise missing_attribute(f"module '{module.__name__}'", name)

    module.__getattr__ = refuse  # type: ignore[method-assign]
    module.__dir__ = lambda: list(known)  # type: ignore[method-assign]
    module.__doc__ = "Names of TensorRT's plugin decorators; custom CUDA layers are not emulated."
