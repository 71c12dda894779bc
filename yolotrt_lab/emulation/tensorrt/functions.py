"""The module-level functions of the emulated `tensorrt`."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.plugin_registry import plugin_registry

__all__ = ["leaked_names", "module_functions"]


def leaked_names(last_severity: Any) -> dict[str, Any]:
    """Return what NVIDIA's package offers only because its own code uses it; `from tensorrt import *` brings it in."""
    return {
        "attr": "VERBOSE",
        "value": last_severity,
        "common_enter": ContextManaged.__enter__,
        "common_exit": ContextManaged.__exit__,
        "ctypes": ctypes,
        "os": os,
        "sys": sys,
        "warnings": warnings,
    }


def module_functions(api: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions of one TensorRT version by name."""
    numpy_types = {
        api.DataType.FLOAT: np.float32,
        api.DataType.HALF: np.float16,
        api.DataType.INT8: np.int8,
        api.DataType.INT32: np.int32,
        api.DataType.INT64: np.int64,
        api.DataType.BOOL: np.bool_,
        api.DataType.UINT8: np.uint8,
    }

    def nptype(trt_type: Any) -> type[np.generic]:
        """Return the NumPy type of a TensorRT data type; BF16, FP8 and the 4-bit types have none."""
        found = numpy_types.get(trt_type)
        if found is None:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return found

    def volume(iterable: Iterable[int]) -> int:
        """Return the product of the dimensions; negative if one is -1."""
        product = 1
        for item in iterable:
            product *= item
        return product

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        """Register TensorRT's plugins. There are none here; an ONNX node that needs one is refused by the parser."""
        return True

    def get_plugin_registry() -> Any:
        """Return the registry of plugins for running engines; it is empty."""
        return plugin_registry(api)

    def get_builder_plugin_registry(capability: Any) -> Any:
        """Return the registry of plugins for building engines; it is empty."""
        return plugin_registry(api)

    def get_nv_onnx_parser_version() -> int:
        """Return the ONNX parser's version as one number."""
        major, minor, patch, *_ = (int(part) for part in api.version.split("."))
        return major * 10000 + minor * 100 + patch

    return {
        "nptype": nptype,
        "volume": volume,
        "init_libnvinfer_plugins": init_libnvinfer_plugins,
        "get_builder_plugin_registry": get_builder_plugin_registry,
        "get_nv_onnx_parser_version": get_nv_onnx_parser_version,
        "get_plugin_registry": get_plugin_registry,
    }
