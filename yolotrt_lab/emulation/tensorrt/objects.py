"""What every emulated class shares: construction, attribute and error behaviour of pybind11 classes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import MethodType, TracebackType
from typing import Any, ClassVar, NoReturn, Self

from yolotrt_lab.errors import EmulationError

__all__ = [
    "ApiMeta",
    "ApiObject",
    "ContextManaged",
    "Declared",
    "Hidden",
    "Unemulated",
    "call_user",
    "not_overridden",
    "pure_virtual",
]

_MODULE = "tensorrt.tensorrt"

_SUCCESSORS: dict[str, str] = {
    "num_bindings": "num_io_tensors",
    "get_binding_name": "get_tensor_name",
    "get_binding_index": "get_tensor_name in a loop",
    "get_binding_shape": "get_tensor_shape",
    "get_binding_dtype": "get_tensor_dtype",
    "binding_is_input": "get_tensor_mode",
    "get_profile_shape": "get_tensor_profile_shape",
    "set_binding_shape": "set_input_shape",
    "execute": "execute_v2",
    "execute_async": "execute_async_v3 with set_tensor_address",
    "execute_async_v2": "execute_async_v3 with set_tensor_address",
    "max_workspace_size": "set_memory_pool_limit(MemoryPoolType.WORKSPACE, bytes)",
    "max_batch_size": "an optimization profile",
    "build_engine": "build_serialized_network",
    "build_cuda_engine": "build_serialized_network",
    "fp16_mode": "BuilderFlag.FP16, or an FP16 ONNX graph in a strongly typed network",
    "int8_mode": "BuilderFlag.INT8, or an ONNX graph with Q/DQ nodes in a strongly typed network",
    "strict_type_constraints": "a strongly typed network",
    "EXPLICIT_BATCH": "nothing: every network has an explicit batch",
    "FP16": "an FP16 ONNX graph: networks are strongly typed",
    "BF16": "a BF16 ONNX graph: networks are strongly typed",
    "INT8": "an ONNX graph with Q/DQ nodes: networks are strongly typed",
    "int8_calibrator": "an ONNX graph with Q/DQ nodes",
    "IInt8EntropyCalibrator2": "an ONNX graph with Q/DQ nodes",
    "IInt8MinMaxCalibrator": "an ONNX graph with Q/DQ nodes",
    "platform_has_fast_fp16": "nothing: every supported GPU has it",
    "platform_has_fast_int8": "nothing: every supported GPU has it",
    "device_memory_size": "device_memory_size_v2",
    "dynamic_range": "an ONNX graph with Q/DQ nodes",
}


def missing_attribute(owner: str, name: str) -> AttributeError:
    """Return Python's complaint about an attribute, with what replaced it if it once existed."""
    hint = f". TensorRT no longer has it; use {_SUCCESSORS[name]}" if name in _SUCCESSORS else ""
    return AttributeError(f"{owner} has no attribute '{name}'{hint}")


class ApiMeta(type):
    """Metaclass of the emulated classes; it watches construction as pybind11 does."""

    _api_name: str
    _constructible: bool
    _is_declared: bool
    _has_del: bool

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Construct, and insist that the base's `__init__` was called."""
        if not cls._constructible:
            name = f"{_MODULE}.{cls._api_name}" if "_is_api_class" in vars(cls) else cls.__name__
            raise TypeError(f"{name}: No constructor defined!")
        if cls._is_declared:
            raise EmulationError(
                f"tensorrt.{cls._api_name} is not emulated: TensorRT has this class, its emulation only its name.",
                fix="Run this on a machine with an NVIDIA GPU and TensorRT, or do without it.",
            )
        instance = super().__call__(*args, **kwargs)
        if "_initialised" not in vars(instance):
            raise TypeError(f"{_MODULE}.{cls._api_name}.__init__() must be called when overriding __init__")
        return instance

    def __getattr__(cls, name: str) -> Any:
        if name == "__del__" and cls._has_del:
            return _do_nothing
        raise missing_attribute(f"type object '{_MODULE}.{cls._api_name}'", name)

    def __dir__(cls) -> list[str]:
        """Return what NVIDIA's class shows too, for completion and help."""
        return [name for name in super().__dir__() if _is_shown(cls, name)]


class ApiObject(metaclass=ApiMeta):
    """Base of the emulated classes.

    Attributes:
        _api: The namespace of the TensorRT version the object belongs to: enums and sibling classes.
        _api_name: NVIDIA's name of the class.
        _is_api_class: True in the classes programs see, False in their subclasses.
        _constructible: Whether programs may construct it.
        _is_declared: Whether there is nothing behind the class's name.
        _has_del: Whether NVIDIA's class has `__del__`, which old programs call.
    """

    _api: ClassVar[Any] = None
    _api_name: ClassVar[str] = "object"
    _constructible: ClassVar[bool] = True
    _is_declared: ClassVar[bool] = False
    _has_del: ClassVar[bool] = False

    def __init__(self) -> None:
        self._initialised = True

    @classmethod
    def _create(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance from inside; `_setup` takes the arguments."""
        instance = cls.__new__(cls)
        instance._initialised = True
        instance._setup(*args, **kwargs)
        return instance

    def _setup(self, *args: Any, **kwargs: Any) -> None:
        """Give an instance made from inside its state."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Only a program's own subclasses may grow attributes; a misspelt setting must not pass silently.
        if "_is_api_class" in vars(type(self)) and not name.startswith("_") and not _has_attribute(type(self), name):
            raise missing_attribute(f"'{_MODULE}.{self._api_name}' object", name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "__del__" and self._has_del:
            return _do_nothing
        raise missing_attribute(f"'{_MODULE}.{self._api_name}' object", name)

    def __dir__(self) -> list[str]:
        own = type(self)
        hidden = vars(self) if "_is_api_class" in vars(own) else {"_initialised"}
        names = [name for name in super().__dir__() if _is_shown(own, name)]
        return [name for name in names if not (name.startswith("_") and name in hidden)]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        own = type(self)
        name = f"{_MODULE}.{self._api_name}" if "_is_api_class" in vars(own) else own.__name__
        raise TypeError(f"cannot pickle '{name}' object")

    def __repr__(self) -> str:
        own = type(self)
        name = f"{_MODULE}.{self._api_name}" if "_is_api_class" in vars(own) else f"{own.__module__}.{own.__qualname__}"
        return f"<{name} object at {id(self):#x}>"


class Declared(ApiObject):
    """A class that the emulation has by name only: programs can look it up and ask about it, but not make one."""

    _is_declared = True


class ContextManaged(ApiObject):
    """Base of the classes that may still be used in a `with` statement, to no effect."""

    def __enter__(self) -> Self:
        warnings.warn(
            "Context managers for TensorRT types are deprecated. "
            "Memory will be freed automatically when the reference count reaches 0.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


def _do_nothing(*_: Any) -> None:
    """Stand in for `__del__`, which frees nothing; as a real one it would be called for every object that goes."""
    warnings.warn("Use del obj instead.", DeprecationWarning, stacklevel=2)


def _has_attribute(cls: type, name: str) -> bool:
    return any(name in vars(base) for base in cls.__mro__)


def _is_shown(cls: type, name: str) -> bool:
    if name.startswith("_") and not name.startswith("__"):
        return not _has_attribute(cls, name)
    return not isinstance(next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None), Hidden)


class Hidden:
    """Stands where a class has a member that this TensorRT version lacks."""

    def __init__(self, class_name: str, name: str) -> None:
        self._class_name = class_name
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> NoReturn:
        subject = "type object" if instance is None else ""
        quoted = f"'{_MODULE}.{self._class_name}'"
        raise missing_attribute(f"{subject} {quoted}".strip() if subject else f"{quoted} object", self._name)

    def __set__(self, instance: Any, value: Any) -> NoReturn:
        raise missing_attribute(f"'{_MODULE}.{self._class_name}' object", self._name)


class Unemulated:
    """Stands where NVIDIA's class has a member that the emulation lacks."""

    def __init__(self, class_name: str, name: str, kind: str) -> None:
        self._text = f"tensorrt.{class_name}.{name}"
        self._kind = kind
        self.__name__ = name
        self.__doc__ = f"Not emulated: TensorRT has this {kind}."

    def _refuse(self) -> NoReturn:
        raise EmulationError(
            f"{self._text} is not emulated: TensorRT has this {self._kind}, its emulation does not.",
            fix="Run this on a machine with an NVIDIA GPU and TensorRT, or do without it.",
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._kind == "method":  # looking at it, as programs that list methods do, is no use of it
            return MethodType(self, instance)
        self._refuse()

    def __set__(self, instance: Any, value: Any) -> NoReturn:
        self._refuse()

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse a call."""
        self._refuse()


def pure_virtual(interface: str, method: str) -> None:
    """Print what the bindings print when a method that a program must implement is not implemented."""
    _report(method, f'Tried to call pure virtual function "{interface}::{method}"')


def not_overridden(method: str) -> None:
    """Print what newer bindings print when a method that a program must implement is not implemented."""
    text = f"Method: {method} was not overriden. Please provide an implementation for this method."
    print(text, file=sys.stderr)


def call_user(method: Callable[..., Any], *args: Any, default: Any = None) -> Any:
    """Call a method that a program implemented; like the bindings, print its exception and go on."""
    try:
        return method(*args)
    except Exception as error:
        _report(getattr(method, "__name__", "callback"), str(error))
        return default


def _report(method: str, message: str) -> None:
    print(f"[ERROR] Exception caught in {method}(): {message}", file=sys.stderr)
