"""What NVIDIA's bindings call deprecated, in their words, as a `DeprecationWarning` where it is used.

Read off the bindings' public sources and the strings in the wheels of 10.16 and 11.4; a version that lacks a member has
nothing to warn about.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["deprecated_member"]

_IMPLICIT_BATCH = "Implicit batch dimensions support has been removed"
_QUANTIZATION = "Deprecated in TensorRT 10.1. Superseded by explicit quantization."
_TYPING = "Deprecated in TensorRT 10.12. Superseded by strong typing."
_EDITING = "Deprecated in TensorRT 10.8. Please use editable mode in ITimingCache instead."
_SUCCESSOR = "Deprecated in TensorRT 10.1. Superseded by {}"

# (class, member): what to use, for reading or calling, and for assigning; None where there is no warning.
_DEPRECATIONS: Mapping[tuple[str, str], tuple[str | None, str | None]] = {
    ("IBuilderConfig", "algorithm_selector"): (_EDITING, _EDITING),
    ("IBuilderConfig", "get_calibration_profile"): (_QUANTIZATION, None),
    ("IBuilderConfig", "int8_calibrator"): (_QUANTIZATION, _QUANTIZATION),
    ("IBuilderConfig", "set_calibration_profile"): (_QUANTIZATION, None),
    ("ICudaEngine", "device_memory_size"): (_SUCCESSOR.format("get_device_memory_size_v2"), None),
    ("ICudaEngine", "get_device_memory_size_for_profile"): (
        _SUCCESSOR.format("get_device_memory_size_for_profile_v2"),
        None,
    ),
    ("ICudaEngine", "has_implicit_batch_dimension"): (_IMPLICIT_BATCH, None),
    ("IInt8Calibrator", "get_batch_size"): (_IMPLICIT_BATCH, None),
    ("ILayer", "output_type_is_set"): (_TYPING, None),
    ("ILayer", "precision"): (None, _TYPING),
    ("ILayer", "precision_is_set"): (_TYPING, None),
    ("ILayer", "reset_output_type"): (_TYPING, None),
    ("ILayer", "reset_precision"): (_TYPING, None),
    ("ILayer", "set_output_type"): (_TYPING, None),
    ("INetworkDefinition", "has_implicit_batch_dimension"): (_IMPLICIT_BATCH, None),
    ("ITensor", "broadcast_across_batch"): (_IMPLICIT_BATCH, _IMPLICIT_BATCH),
    ("ITensor", "dtype"): (None, _TYPING),
    ("ITensor", "dynamic_range"): (_QUANTIZATION, _QUANTIZATION),
    ("ITensor", "reset_dynamic_range"): (_QUANTIZATION, None),
    ("ITensor", "set_dynamic_range"): (_QUANTIZATION, None),
}


def deprecated_member(lineage: Sequence[str], name: str, member: Any, *, major: int) -> Any:
    """Return a method or property that warns where it is deprecated; itself where it is not.

    Args:
        lineage: NVIDIA's name of the class, and of those it inherits from.
        name: The member's name.
        member: The member.
        major: 10 or 11.
    """
    found = (_DEPRECATIONS[one, name] for one in lineage if (one, name) in _DEPRECATIONS)
    reading, assigning = next(found, (None, None))
    if major > 10:  # what was superseded in 10 and is still there has no warning any more
        reading, assigning = (text if text == _IMPLICIT_BATCH else None for text in (reading, assigning))
    if not reading and not assigning:
        return member
    if isinstance(member, property):
        # Assigning goes through the object's own __setattr__: one frame more to the program's line.
        assign = _warning(member.fset, assigning, stacklevel=3)
        return property(_warning(member.fget, reading), assign, doc=member.__doc__)
    return _warning(member, reading) if callable(member) else member


def _warning(function: Callable[..., Any] | None, successor: str | None, *, stacklevel: int = 2) -> Any:
    if function is None or successor is None:
        return function

    @functools.wraps(function)
    def warn_and_call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"Use {successor} instead.", DeprecationWarning, stacklevel=stacklevel)
        return function(*args, **kwargs)

    return warn_and_call
