"""Uses the emulated API object by object: what is refused, and what comes back as another kind than documented?

It starts from a small network, its engine and what belongs to them; reads every property, assigns every settable one
its own value, calls every method there are arguments for, and goes on with the objects that come back.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from contract_comparison import MODULE, Comparison

from yolotrt_lab.emulation.tensorrt.namespace import Api
from yolotrt_lab.emulation.tensorrt.objects import Unemulated
from yolotrt_lab.emulation.tensorrt.signatures import parse_signature
from yolotrt_lab.errors import EmulationError

__all__ = ["Walker", "walk"]

SIZE = 8
# What ends an object's use, or would have to be given real device memory.
NOT_CALLED = {"reset", "clear", "close", "execute_v2", "execute_async_v3"}
PREFERRED = {"add_quantize": "INT8"}  # what makes an object that can be used further
ARGUMENTS: dict[str, Any] = {
    "name": "images", "tensor_name": "images", "layer_name": "conv", "index": 0, "profile_index": 0, "i": 0,
    "layer_index": 0, "op_name": "Conv", "path": "model.onnx", "input": "images", "stream_handle": 0, "num_bytes": 0,
}  # fmt: skip
OTHER_NAMES = {"IBuilder": "Builder"}  # C++'s, where the bindings' documents forget Python's
VALUES = {"Dims", "Permutation", "Weights"}
PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float,), "str": (str, type(None)), "bool": (bool,), "None": (type(None),),
    "tuple": (tuple,), "list": (list,), "memoryview": (memoryview,), "bytes": (bytes,), "numpy.ndarray": (np.ndarray,),
    "CapsuleType": (int, type(None)),
}  # fmt: skip


def walk(vendor: Mapping[str, Any], trt: Any, api: Api, result: Comparison) -> dict[str, int]:
    """Use everything reachable; note deviations in `result` and return how many kinds were seen."""
    walker = Walker(vendor, trt, api, result)
    quiet = (contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()))
    with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Path.cwd()
        os.chdir(folder)  # for what writes a file
        try:
            for thing in _first_objects(trt):
                walker.take(thing)
            walker.go()
        finally:
            os.chdir(before)
    return {"classes": len(walker.seen), "kinds": len(walker.kinds)}


class Walker:
    """Goes from object to object."""

    def __init__(self, vendor: Mapping[str, Any], trt: Any, api: Api, result: Comparison) -> None:
        self.vendor, self.trt, self.api, self.result = vendor, trt, api, result
        self.seen: dict[str, Any] = {}
        self.kinds: set[str] = set()
        self.waiting: list[Any] = []

    def take(self, thing: Any) -> None:
        """Remember an object, the first of its class."""
        name = getattr(type(thing), "_api_name", None)
        if name is not None and "_is_api_class" in vars(type(thing)) and name not in self.seen:
            self.seen[name] = thing
            self.waiting.append(thing)

    def go(self) -> None:
        """Use the objects, and those that come of using them; then make what nothing gave, and use that."""
        self._use_waiting()
        for name, entry in self.vendor["classes"].items():
            cls: Any = self.api.types[name]
            if name not in self.seen and entry["init"] and not cls._is_declared:
                for text in entry["init"]:
                    arguments = [self._argument(item) for item in parse_signature(text).parameters]
                    if not any(item is ... for item in arguments):
                        self.take(self._try(f"{MODULE}.{name}.__init__", lambda a=arguments, c=cls: c(*a))[1])
        self._use_waiting()

    def _use_waiting(self) -> None:
        while self.waiting:
            thing = self.waiting.pop(0)
            done: set[str] = set()
            for name in self._lineage(type(thing)._api_name):
                entry = self.vendor["classes"][name]
                for member in entry.get("properties", {}):
                    if member not in done:
                        self._property(name, member, thing, entry)
                for member, overloads in entry.get("methods", {}).items():
                    if member not in done and member not in NOT_CALLED and not member.startswith("__"):
                        self._method(name, member, thing, overloads)
                done |= {*entry.get("properties", {}), *entry.get("methods", {})}

    def _lineage(self, name: str) -> Iterator[str]:
        yield name
        for base in self.vendor["classes"][name]["bases"]:
            yield from self._lineage(base)

    def _is_lacking(self, thing: Any, member: str) -> bool:
        return isinstance(inspect.getattr_static(type(thing), member, None), Unemulated)

    def _property(self, name: str, member: str, thing: Any, entry: Mapping[str, Any]) -> None:
        full = f"{MODULE}.{name}.{member}"
        if self._is_lacking(thing, member):
            return
        own = f"{MODULE}.{type(thing)._api_name}.{member}"
        found, value = self._try(own, lambda: getattr(thing, member))
        if not found:
            return
        kind = entry.get("kinds", {}).get(member, "")
        self._see(full, value, kind)
        if entry["properties"][member] != "rw" or value is None:
            return
        self._try(full, lambda: setattr(thing, member, value))
        if kind in self.vendor["enums"]:
            for choice in self._members(kind):
                self._try(f"{full} = {choice}", lambda choice=choice: setattr(thing, member, choice))
            self._try(full, lambda: setattr(thing, member, value))

    def _method(self, name: str, member: str, thing: Any, overloads: list[str]) -> None:
        full = f"{MODULE}.{name}.{member}"
        if self._is_lacking(thing, member):
            return
        adds_layer = name == "INetworkDefinition" and member.startswith("add_")
        for text in overloads:
            parameters = [item for item in parse_signature(text).parameters if item.default is None]
            enums = [item.kind for item in parameters if item.kind in self.vendor["enums"]]
            for choice in self._members(enums[0], first=PREFERRED.get(member, "")) if enums else [None]:
                if adds_layer:  # a layer that was added and cannot be computed would spoil the network for the next
                    thing = self._fresh_network()
                arguments = [choice if item.kind in enums else self._argument(item) for item in parameters]
                if any(item is ... for item in arguments):
                    break
                own = f"{MODULE}.{type(thing)._api_name}.{member}"
                label = f"{full}({choice})" if enums else own
                found, value = self._try(label, lambda a=arguments, t=thing: getattr(t, member)(*a))
                if found:
                    self._see(full, value, text.rpartition(") -> ")[2] if ") -> " in text else "")

    def _fresh_network(self) -> Any:
        network = self.seen["Builder"].create_network()
        self.seen["ITensor"] = network.add_input("images", self.trt.float32, (1, 3, SIZE, SIZE))
        return network

    def _members(self, kind: str, *, first: str = "") -> list[Any]:
        members: Any = self.api.types[kind].__members__  # type: ignore[attr-defined]
        return sorted(members.values(), key=lambda member: member.name != first)

    def _argument(self, parameter: Any) -> Any:
        """Return a value to pass, `...` if there is none."""
        if parameter.name in ARGUMENTS and parameter.kind in ("str", "SupportsInt"):
            return ARGUMENTS[parameter.name]
        plain = {"SupportsInt": 0, "SupportsFloat": 1.0, "str": "images", "bool": False, "Dims": (1, 3, SIZE, SIZE)}
        if parameter.kind in plain:
            return plain[parameter.kind]
        if parameter.kind == "Buffer":
            return b""
        if parameter.kind == "numpy.ndarray":
            return np.ones(1, np.float32)
        if parameter.kind.startswith("Sequence["):
            item = self._argument(replace(parameter, kind=parameter.kind[len("Sequence[") : -1]))
            return ... if item is ... else [item]
        return self.seen.get(parameter.kind, ...)

    def _try(self, name: str, use: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            return True, use()
        except EmulationError as error:
            if not any(item.name == name for item in self.result.deviations):
                self.result.note(name, "refused", str(error).splitlines()[0])
        except (
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            KeyError,
            RuntimeError,
            NotImplementedError,
            OSError,
        ):
            pass  # the arguments made up here did not suit
        return False, None

    def _see(self, name: str, value: Any, kind: str) -> None:
        """Check the kind of a value, and go on with it if it is an object of the API."""
        for item in value if isinstance(value, (list, tuple)) else [value]:
            self.take(item)
        if not kind:
            return
        self.kinds.add(name)
        if not self.is_of_kind(value, kind):
            self.result.note(name, "different", f"gives {type(value).__name__} {value!r:.60}, not {kind}")

    def is_of_kind(self, value: Any, kind: str) -> bool:
        """Return whether a value is of a documented type."""
        if kind in ("object", "Buffer"):
            return True
        if kind in PLAIN:
            whole = not (isinstance(value, bool) and kind in ("int", "float"))
            return whole and isinstance(value, PLAIN[kind])
        if kind.startswith("list["):
            return isinstance(value, list) and all(self.is_of_kind(item, kind[5:-1]) for item in value)
        if kind.startswith("tuple["):
            return isinstance(value, tuple)
        if value is None:
            return kind in self.vendor["classes"] and kind not in VALUES  # a pointer to nothing
        expected = self.api.types.get(OTHER_NAMES.get(kind, kind))
        return expected is not None and isinstance(value, expected)


def _first_objects(trt: Any) -> Iterator[Any]:
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(_model().SerializeToString())
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 3, SIZE, SIZE), (1, 3, SIZE, SIZE), (2, 3, SIZE, SIZE))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    context.set_input_shape("images", (1, 3, SIZE, SIZE))
    broken = trt.OnnxParser(builder.create_network(), logger)
    broken.parse(b"no model")
    yield from (engine, context, engine.create_engine_inspector(), plan, runtime, network, profile, parser, broken)
    yield broken.get_error(0)
    yield from (network.get_layer(i) for i in range(network.num_layers))
    yield from (network.get_input(0), config, config.create_timing_cache(b""), builder, logger)
    yield from _values(trt)


def _values(trt: Any) -> Iterator[Any]:
    yield from (trt.Dims((1, 2)), trt.DimsHW(1, 2), trt.Permutation((1, 0)), trt.Weights(np.ones(3, np.float32)))
    field = trt.PluginField("scale", np.ones(1, np.float32), trt.PluginFieldType.FLOAT32)
    yield from (field, trt.PluginFieldCollection([field]), trt.get_plugin_registry(), trt.Profiler())


def _model() -> Any:
    """Return images (n, 3, 8, 8) -> convolution, ReLU, max pooling -> output0 as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.linspace(-1, 1, math.prod((4, 3, 3, 3)), dtype=np.float32).reshape(4, 3, 3, 3)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["output0"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "walk",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 4, SIZE // 2, SIZE // 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
