"""Layers that bring in or multiply matrices: constants, fills, matrix products, Einstein sums."""

from __future__ import annotations

import contextlib
import math
import operator
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.pointwise import type_word
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    dims_setting,
    enum_setting,
    text_setting,
    weights_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import FLOAT_TYPES, NUMPY_TYPES, ONNX_TYPES, GraphWriter

__all__ = ["EMITTERS", "IConstantLayer", "IEinsumLayer", "IFillLayer", "IMatrixMultiplyLayer"]


class IConstantLayer(ILayer):
    """A constant tensor."""

    weights = weights_setting("weights", "The values.")
    shape = dims_setting("shape", "The dimensions.")


class IMatrixMultiplyLayer(ILayer):
    """A product of matrices or of stacks of matrices."""

    op0 = enum_setting("op0", "MatrixOperation", "How the first input is read.")
    op1 = enum_setting("op1", "MatrixOperation", "How the second input is read.")


class IEinsumLayer(ILayer):
    """An Einstein sum."""

    equation = text_setting("equation", "The equation.")


class IFillLayer(ILayer):
    """Makes a tensor: evenly spaced or random values."""

    shape = dims_setting("shape", "The dimensions.")
    operation = enum_setting("operation", "FillOperation", "How the values are made.")
    to_type = enum_setting("to_type", "DataType", "The type of the values.")

    @property
    def alpha(self) -> Any:
        """The start, the least value, or the mean."""
        return self._state.get("alpha")

    @alpha.setter
    def alpha(self, value: Any) -> None:
        self._take("alpha", value)

    @property
    def beta(self) -> Any:
        """The step, the greatest value, or the standard deviation."""
        return self._state.get("beta")

    @beta.setter
    def beta(self, value: Any) -> None:
        self._take("beta", value)

    def _take(self, key: str, value: Any) -> None:
        # The bindings try a whole number and a fraction, and leave things as they are if it is neither.
        for kind in (operator.index, float):
            with contextlib.suppress(TypeError, ValueError):
                if not isinstance(value, (str, bytes)):
                    return self._state.change(key, kind(value))
        return None

    def is_alpha_beta_int64(self) -> bool:
        """Return whether both parameters are whole numbers."""
        return all(isinstance(self._state.get(key), int) for key in ("alpha", "beta"))


def _constant(out: GraphWriter) -> str:
    weights, shape = out.layer.get("weights"), out.layer.get("shape")
    count = 0 if weights is None else weights.size
    if count != math.prod(shape):
        raise out.problem(f"constant weights has count {count} but {math.prod(shape)} was expected")
    array = np.zeros(shape, np.float32) if weights is None else np.reshape(weights, shape)
    if array.dtype == np.float16 and not out.layer.network._strongly_typed:
        array = array.astype(np.float32)  # as TensorRT reports it: a weakly typed network chooses the types itself
    name = out.constant(array, role="CONSTANT")
    return out.add("Identity", [name])


def _matrix_multiply(out: GraphWriter) -> str:
    types = [out.dtype(0), out.dtype(1)]
    if len(set(types)) > 1 and (out.layer.network._strongly_typed or not set(types) <= set(FLOAT_TYPES)):
        raise out.problem(
            f"IMatrixMultiplyLayer must have same input types. `A` is of type {type_word(types[0])} and `B` is of type "
            f"{type_word(types[1])}.",
            kind="API Usage Error",
        )
    operations = [out.layer.get("op0"), out.layer.get("op1")]
    names = out.alike(0, 1)
    ranks = [len(out.shape(index)) + (operations[index] == "VECTOR") for index in (0, 1)]
    sizes = []
    for index, operation in enumerate(operations):
        sizes.append(_inner(out, index, operation))
        if operation == "VECTOR":
            names[index] = out.add("Unsqueeze", [names[index], out.integers([-2 if index == 0 else -1])])
        elif operation == "TRANSPOSE":
            rank = ranks[index]
            names[index] = out.add("Transpose", [names[index]], perm=[*range(rank - 2), rank - 1, rank - 2])
    if ranks[0] != ranks[1] and not out.layer.parsed:
        raise out.problem(f"matrix inputs must have the same number of dimensions, not {ranks[0]} and {ranks[1]}")
    if sizes[0] != sizes[1] and -1 not in sizes:
        raise out.problem(f"dimensions not compatible for matrix multiplication: {sizes[0]} and {sizes[1]}")
    result = out.add("MatMul", names, main=True)
    flat = [axis for axis, operation in zip((-2, -1), operations, strict=True) if operation == "VECTOR"]
    return out.add("Squeeze", [result, out.integers(flat)]) if flat else result


def _inner(out: GraphWriter, index: int, operation: str) -> int:
    """Return the size that is summed over."""
    shape = out.shape(index)
    if len(shape) < (1 if operation == "VECTOR" else 2):
        raise out.problem("matrix inputs must have at least two dimensions, vectors one")
    if operation == "VECTOR":
        return shape[-1]
    return shape[-1] if (index == 0) != (operation == "TRANSPOSE") else shape[-2]


def _einsum(out: GraphWriter) -> str:
    names = out.alike(*range(len(out.layer.inputs)))
    return out.add("Einsum", names, equation=out.layer.get("equation").replace(" ", ""))


def _fill(out: GraphWriter) -> str:
    get = out.layer.get
    if any(out.given(index) for index in (0, 1, 2)):
        return _dynamic_fill(out)
    shape, dtype = get("shape"), get("to_type")
    if dtype not in NUMPY_TYPES or any(size < 0 for size in shape):
        raise out.problem(f"cannot fill {list(shape)} with {type_word(dtype)}")
    if get("operation") == "LINSPACE":
        if len(shape) != 1:
            raise out.problem("LINSPACE with scalar parameters needs one dimension")
        values = get("alpha") + get("beta") * np.arange(shape[0])
        return out.add("Identity", [out.constant(values, dtype)])
    return _random(out, shape, dtype)


def _random(out: GraphWriter, shape: tuple[int, ...], dtype: str) -> str:
    get = out.layer.get
    alpha, beta = float(get("alpha")), float(get("beta"))
    common: dict[str, Any] = {"shape": list(shape), "dtype": ONNX_TYPES[dtype]}
    if get("operation") == "RANDOM_UNIFORM":
        return out.add("RandomUniform", [], low=alpha, high=beta, **common)
    return out.add("RandomNormal", [], mean=alpha, scale=beta, **common)


def _dynamic_fill(out: GraphWriter) -> str:
    """Fill by tensors: the shape, the start and the steps, or the limits or mean and deviation of random values."""
    from onnx import numpy_helper

    get = out.layer.get
    rank = out.shape(0)[0] if out.given(0) else len(get("shape"))
    shape = out.int64_input(0) if out.given(0) else out.integers(get("shape"))
    dtype = next((out.dtype(index) for index in (1, 2) if out.given(index)), get("to_type"))
    alpha, beta = (
        out.add("Reshape", [out.input(index), out.integers([-1])])
        if out.given(index)
        else out.constant([get(key)], dtype)
        for index, key in ((1, "alpha"), (2, "beta"))
    )
    if get("operation") != "LINSPACE":
        return _random_between(out, shape, alpha, beta, dtype)
    if rank != 1 and not out.given(2):
        raise out.problem("LINSPACE with scalar parameters needs one dimension")
    ones = out.add("ConstantOfShape", [shape], value=numpy_helper.from_array(np.array([1], np.int64)))
    result = alpha
    for axis in range(rank):
        place = out.constant(np.array(axis, np.int64))
        steps = out.cast(out.add("CumSum", [ones, place], main=True, exclusive=1), dtype)
        steps = out.add("Mul", [steps, out.add("Gather", [beta, place], axis=0)])
        result = out.add("Add", [result, steps])
    return result


def _random_between(out: GraphWriter, shape: str, alpha: str, beta: str, dtype: str) -> str:
    """Random values by tensors: standard ones, stretched and moved."""
    zeros = out.add("ConstantOfShape", [shape])
    kind = {"dtype": ONNX_TYPES[dtype]}
    if out.layer.get("operation") == "RANDOM_NORMAL":
        values = out.add("RandomNormalLike", [zeros], main=True, mean=0.0, scale=1.0, **kind)
        return out.add("Add", [out.add("Mul", [values, beta]), alpha])
    values = out.add("RandomUniformLike", [zeros], main=True, low=0.0, high=1.0, **kind)
    return out.add("Add", [out.add("Mul", [values, out.add("Sub", [beta, alpha])]), alpha])


EMITTERS = {"CONSTANT": _constant, "MATRIX_MULTIPLY": _matrix_multiply, "EINSUM": _einsum, "FILL": _fill}
