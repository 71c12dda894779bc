"""Layers that work on each element: activations, arithmetic, scaling, choosing, converting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    enum_setting,
    float_setting,
    integer_setting,
    weights_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import FLOAT_TYPES, GraphWriter

__all__ = [
    "BINARY_OPS",
    "EMITTERS",
    "UNARY_OPS",
    "IActivationLayer",
    "ICastLayer",
    "IElementWiseLayer",
    "IIdentityLayer",
    "ILRNLayer",
    "IParametricReLULayer",
    "IScaleLayer",
    "ISelectLayer",
    "IUnaryLayer",
    "type_word",
]

UNARY_OPS = {
    "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt", "RECIP": "Reciprocal", "ABS": "Abs", "NEG": "Neg", "SIN": "Sin",
    "COS": "Cos", "TAN": "Tan", "SINH": "Sinh", "COSH": "Cosh", "ASIN": "Asin", "ACOS": "Acos", "ATAN": "Atan",
    "ASINH": "Asinh", "ACOSH": "Acosh", "ATANH": "Atanh", "CEIL": "Ceil", "FLOOR": "Floor", "ERF": "Erf", "NOT": "Not",
    "SIGN": "Sign", "ROUND": "Round", "ISINF": "IsInf", "ISNAN": "IsNaN",
}  # fmt: skip
BINARY_OPS = {
    "SUM": "Add", "PROD": "Mul", "MAX": "Max", "MIN": "Min", "SUB": "Sub", "DIV": "Div", "POW": "Pow", "AND": "And",
    "OR": "Or", "XOR": "Xor", "EQUAL": "Equal", "GREATER": "Greater", "LESS": "Less",
}  # fmt: skip
_LOGICAL = ("AND", "OR", "XOR")


class IActivationLayer(ILayer):
    """An activation function."""

    type = enum_setting("type", "ActivationType", "The function.")
    alpha = float_setting("alpha", "Its first parameter.")
    beta = float_setting("beta", "Its second parameter.")


class IUnaryLayer(ILayer):
    """A function of each element."""

    op = enum_setting("op", "UnaryOperation", "The function.")


class IElementWiseLayer(ILayer):
    """A function of the elements of two tensors."""

    op = enum_setting("op", "ElementWiseOperation", "The function.")


class IScaleLayer(ILayer):
    """(input * scale + shift) ^ power."""

    mode = enum_setting("mode", "ScaleMode", "For what the weights are: all, each channel, or each element.")
    shift = weights_setting("shift", "What is added.")
    scale = weights_setting("scale", "What is multiplied with.")
    power = weights_setting("power", "What is raised to.")
    channel_axis = integer_setting("channel_axis", "The channel's axis.")


class ILRNLayer(ILayer):
    """Local response normalization over channels."""

    window_size = integer_setting("window_size", "How many channels are looked at.")
    alpha = float_setting("alpha", "The factor.")
    beta = float_setting("beta", "The exponent.")
    k = float_setting("k", "The offset.")


class IParametricReLULayer(ILayer):
    """Leaky ReLU whose slopes are a tensor."""


class ISelectLayer(ILayer):
    """Chooses elements of two tensors by a third."""


class IIdentityLayer(ILayer):
    """Hands its input on, in another type if one was asked for."""


class ICastLayer(ILayer):
    """Converts to another type."""

    to_type = enum_setting("to_type", "DataType", "The type.")


def type_word(dtype: str) -> str:
    """Return a data type as TensorRT's messages write it."""
    words = {"FLOAT": "Float", "HALF": "Half", "BF16": "BFloat16", "INT8": "Int8", "INT32": "Int32", "INT64": "Int64"}
    return words.get(dtype, dtype.capitalize())


def _activation(out: GraphWriter) -> str:
    kind, alpha, beta = (out.layer.get(key) for key in ("type", "alpha", "beta"))
    simple: dict[str, tuple[str, dict[str, float]]] = {
        "RELU": ("Relu", {}), "SIGMOID": ("Sigmoid", {}), "TANH": ("Tanh", {}), "SOFTSIGN": ("Softsign", {}),
        "LEAKY_RELU": ("LeakyRelu", {"alpha": alpha}), "ELU": ("Elu", {"alpha": alpha}),
        "SELU": ("Selu", {"alpha": alpha, "gamma": beta}), "THRESHOLDED_RELU": ("ThresholdedRelu", {"alpha": alpha}),
        "HARD_SIGMOID": ("HardSigmoid", {"alpha": alpha, "beta": beta}),
    }  # fmt: skip
    x, dtype = out.input(0), out.dtype(0)
    if dtype not in FLOAT_TYPES and kind != "RELU":
        raise out.problem(f"activation {kind} needs a floating point input, not {type_word(dtype)}")
    if kind in simple:
        op, attributes = simple[kind]
        return out.add(op, [x], main=True, **attributes)
    return _COMPOSED[kind](out, x, lambda value: out.constant(value, dtype), alpha, beta)


def _clip(out: GraphWriter, x: str, number: Callable[[float], str], alpha: float, beta: float) -> str:
    return out.add("Clip", [x, number(alpha), number(beta)], main=True)


def _softplus(out: GraphWriter, x: str, number: Callable[[float], str], alpha: float, beta: float) -> str:
    soft = out.add("Softplus", [out.add("Mul", [x, number(beta)])], main=True)
    return out.add("Mul", [soft, number(alpha)])


def _scaled_tanh(out: GraphWriter, x: str, number: Callable[[float], str], alpha: float, beta: float) -> str:
    return out.add("Mul", [out.add("Tanh", [out.add("Mul", [x, number(beta)])], main=True), number(alpha)])


def _gelu_erf(out: GraphWriter, x: str, number: Callable[[float], str], alpha: float, beta: float) -> str:
    erf = out.add("Erf", [out.add("Div", [x, number(float(np.sqrt(2.0)))])], main=True)
    return out.add("Mul", [out.add("Mul", [x, out.add("Add", [erf, number(1.0)])]), number(0.5)])


def _gelu_tanh(out: GraphWriter, x: str, number: Callable[[float], str], alpha: float, beta: float) -> str:
    cube = out.add("Mul", [out.add("Mul", [x, x]), x])
    inner = out.add("Add", [x, out.add("Mul", [cube, number(0.044715)])])
    tanh = out.add("Tanh", [out.add("Mul", [inner, number(float(np.sqrt(2.0 / np.pi)))])], main=True)
    return out.add("Mul", [out.add("Mul", [x, out.add("Add", [tanh, number(1.0)])]), number(0.5)])


_COMPOSED: dict[str, Callable[..., str]] = {
    "CLIP": _clip,
    "SOFTPLUS": _softplus,
    "SCALED_TANH": _scaled_tanh,
    "GELU_ERF": _gelu_erf,
    "GELU_TANH": _gelu_tanh,
}


def _unary(out: GraphWriter) -> str:
    op, dtype = out.layer.get("op"), out.dtype(0)
    if (op == "NOT") != (dtype == "BOOL"):
        raise out.problem(f"operation {op} has incompatible input type {type_word(dtype)}", kind="API Usage Error")
    if op not in ("ABS", "NEG", "SIGN", "NOT") and dtype not in FLOAT_TYPES:
        raise out.problem(f"operation {op} has incompatible input type {type_word(dtype)}", kind="API Usage Error")
    return out.add(UNARY_OPS[op], [out.input(0)], main=True)


def _elementwise(out: GraphWriter) -> str:
    op = out.layer.get("op")
    first, second = out.dtype(0), out.dtype(1)
    both = f"of types {type_word(first)} and {type_word(second)}"
    if first != second:
        if out.layer.network._strongly_typed:
            text = f"ElementWiseOperation {op} must have same input types. But they are {both}."
            raise out.problem(text, kind="API Usage Error")
        if not {first, second} <= set(FLOAT_TYPES):
            text = f"operation {op} has incompatible input types {type_word(first)} and {type_word(second)}"
            raise out.problem(text, kind="API Usage Error")
    if (op in _LOGICAL) != (first == "BOOL") and op != "EQUAL":
        raise out.problem(f"operation {op} has incompatible input types {both[9:]}", kind="API Usage Error")
    _check_broadcast(out)
    names = out.alike(0, 1)
    if op == "FLOOR_DIV":
        return _floor_division(out, names, whole=first in ("INT32", "INT64", "INT8"))
    return out.add(BINARY_OPS[op], names, main=True)


def _check_broadcast(out: GraphWriter) -> None:
    if out.layer.parsed:
        return
    one, other = out.shape(0), out.shape(1)
    fits = len(one) == len(other) and all(
        a == b or 1 in (a, b) or -1 in (a, b) for a, b in zip(one, other, strict=True)
    )
    if not fits:
        shown = " and ".join("[" + ",".join(map(str, shape)) + "]" for shape in (one, other))
        raise out.problem(
            f"elementwise inputs must have same dimensions or follow broadcast rules (input dimensions were {shown})."
        )


def _floor_division(out: GraphWriter, names: list[str], *, whole: bool) -> str:
    quotient = out.add("Div", names, main=True)
    if not whole:
        return out.add("Floor", [quotient])
    # ONNX divides integers towards zero, TensorRT's FLOOR_DIV downwards
    remainder = out.add("Sub", [names[0], out.add("Mul", [quotient, names[1]])])
    zero = out.constant(0, out.dtype(0))
    signs_differ = out.add("Xor", [out.add("Less", [remainder, zero]), out.add("Less", [names[1], zero])])
    inexact = out.add("Not", [out.add("Equal", [remainder, zero])])
    correction = out.cast(out.add("And", [signs_differ, inexact]), out.dtype(0))
    return out.add("Sub", [quotient, correction])


def _scale(out: GraphWriter) -> str:
    get = out.layer.get
    shape, axis, mode = out.shape(0), get("channel_axis"), get("mode")
    if not 0 <= axis < len(shape):
        raise out.problem(f"channel axis {axis} is not an axis of the input")
    result = out.input(0)
    for key, op, role in (("scale", "Mul", "SCALE"), ("shift", "Add", "SHIFT"), ("power", "Pow", "POWER")):
        weights = get(key)
        if weights is None:
            continue
        wanted = {"UNIFORM": (1,), "CHANNEL": (shape[axis],), "ELEMENTWISE": shape[axis:]}[mode]
        if weights.size != int(np.prod(wanted)):
            before = [
                f"{out.layer.name}: {key} weights has count {weights.size} but {int(np.prod(wanted))} was expected"
            ]
            raise out.problem(f"number of {key} weights does not match tensor dimensions", before=before)
        trailing = (1,) * (len(shape) - axis - 1) if mode == "CHANNEL" else ()
        if not (op == "Pow" and np.all(weights == 1)):
            constant = out.constant(np.reshape(weights, (*wanted, *trailing)), out.dtype(0), role=role)
            result = out.add(op, [result, constant], main=op == "Mul")
    return result


def _lrn(out: GraphWriter) -> str:
    get = out.layer.get
    # OpenVINO takes a k below 1 for 0: x / (k + a*s)**b is x / (1 + a/k*s)**b divided by k**b.
    k = get("k") if 0 < get("k") < 1 else 1.0
    shares = {"alpha": get("alpha") / k, "beta": get("beta"), "bias": get("k") / k}
    result = out.add("LRN", [out.input(0)], main=True, size=get("window_size"), **shares)
    return result if k == 1 else out.add("Mul", [result, out.constant(k ** -get("beta"), out.dtype(0))])


def _parametric_relu(out: GraphWriter) -> str:
    return out.add("PRelu", out.alike(0, 1))


def _select(out: GraphWriter) -> str:
    if out.dtype(0) != "BOOL":
        raise out.problem(f"condition must have type Bool, not {type_word(out.dtype(0))}", kind="API Usage Error")
    if len({len(out.shape(index)) for index in range(3)}) > 1 and not out.layer.parsed:
        raise out.problem("condition, then-input and else-input must have the same number of dimensions")
    return out.add("Where", [out.input(0), *out.alike(1, 2)])


def _identity(out: GraphWriter) -> str:
    return out.add("Identity", [out.input(0)])


def _cast(out: GraphWriter) -> str:
    wanted: Any = out.layer.get("to_type")
    if wanted in ("HALF", "BF16") and not out.layer.network._strongly_typed:
        # The values are rounded; what follows in a weakly typed network computes in FP32 unless flags say otherwise.
        return out.cast(out.cast(out.input(0), wanted), "FLOAT")
    return out.cast(out.input(0), wanted)


EMITTERS = {
    "ACTIVATION": _activation, "UNARY": _unary, "ELEMENTWISE": _elementwise, "SCALE": _scale, "LRN": _lrn,
    "PARAMETRIC_RELU": _parametric_relu, "SELECT": _select, "IDENTITY": _identity, "CAST": _cast,
}  # fmt: skip
