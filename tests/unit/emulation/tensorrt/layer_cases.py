"""Every layer a program can add, with an independent oracle: PyTorch, or NumPy where PyTorch has no such thing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

_random = np.random.default_rng(7)


def _floats(*shape: int) -> np.ndarray:
    return _random.normal(0, 1, shape).astype(np.float32)


INPUTS: dict[str, np.ndarray] = {
    "x": _floats(2, 4, 6, 8),
    "y": _floats(2, 4, 6, 8),
    "p": _random.uniform(0.2, 2.0, (2, 4, 6, 8)).astype(np.float32),
    "u": _random.uniform(-0.9, 0.9, (2, 4, 6, 8)).astype(np.float32),
    "a": _floats(2, 5, 7),
    "b": _floats(2, 7, 3),
    "i": _random.integers(-9, 10, (3, 4)).astype(np.int32),
    "j": _random.choice(np.array([-4, -3, -1, 2, 3], np.int32), (3, 4)),
    "t": _random.random((2, 4, 6, 8)) < 0.5,
    "s": _random.random((2, 4, 6, 8)) < 0.5,
    "v": _random.integers(0, 4, (2, 3)).astype(np.int32),
}
K = {"conv": _floats(6, 4, 3, 3), "bias": _floats(6), "grouped": _floats(8, 2, 3, 2), "transposed": _floats(4, 3, 3, 3)}
C4, C7, E, VECTOR = _floats(4), _floats(7), _floats(4, 6, 8), _floats(2, 7)
X3D, K3D = _floats(1, 2, 4, 5, 6), _floats(3, 2, 2, 2, 2)


@dataclass(frozen=True)
class Case:
    """One layer: how it is added, and what it must give."""

    build: Callable[["Bench"], Any]
    expected: Callable[[dict[str, Any]], Any]


class Bench:
    """What a case needs to add its layer: module, network, inputs by name."""

    def __init__(self, trt: Any, network: Any) -> None:
        self.trt, self.net = trt, network
        self.tensors: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return self.tensors[name]

    def constant(self, values: Any, dtype: type = np.float32) -> Any:
        array = np.ascontiguousarray(values, dtype)
        return self.net.add_constant(array.shape, array).get_output(0)


def _with(layer: Any, **settings: Any) -> Any:
    for name, value in settings.items():
        setattr(layer, name, value)
    return layer


def _conv(**settings: Any) -> Callable[[Bench], Any]:
    return lambda t: _with(t.net.add_convolution_nd(t.x, 6, (3, 3), K["conv"], K["bias"]), **settings)


def _pool(kind: str, size: tuple[int, ...], **settings: Any) -> Callable[[Bench], Any]:
    return lambda t: _with(t.net.add_pooling_nd(t.x, getattr(t.trt.PoolingType, kind), size), **settings)


def _activation(kind: str, **settings: float) -> Callable[[Bench], Any]:
    return lambda t: _with(t.net.add_activation(t.x, getattr(t.trt.ActivationType, kind)), **settings)


def _tensor(name: str) -> torch.Tensor:
    return torch.from_numpy(K[name])


CASES: dict[str, Case] = {
    "conv": Case(_conv(), lambda i: F.conv2d(i["x"], _tensor("conv"), _tensor("bias"))),
    "conv stride, padding": Case(
        _conv(stride_nd=(2, 1), padding_nd=(1, 2)),
        lambda i: F.conv2d(i["x"], _tensor("conv"), _tensor("bias"), stride=(2, 1), padding=(1, 2)),
    ),
    "conv dilated": Case(
        _conv(dilation_nd=(2, 3)), lambda i: F.conv2d(i["x"], _tensor("conv"), _tensor("bias"), dilation=(2, 3))
    ),
    "conv uneven padding": Case(
        _conv(pre_padding=(1, 0), post_padding=(2, 3)),
        lambda i: F.conv2d(F.pad(i["x"], (0, 3, 1, 2)), _tensor("conv"), _tensor("bias")),
    ),
    "conv round up": Case(
        lambda t: _with(_conv(stride_nd=(2, 3))(t), padding_mode=t.trt.PaddingMode.EXPLICIT_ROUND_UP),
        lambda i: F.conv2d(F.pad(i["x"], (0, 1, 0, 1)), _tensor("conv"), _tensor("bias"), stride=(2, 3)),
    ),
    "conv dilated, round up": Case(
        lambda t: _with(
            _conv(stride_nd=(2, 3), dilation_nd=(2, 2))(t), padding_mode=t.trt.PaddingMode.EXPLICIT_ROUND_UP
        ),
        lambda i: F.conv2d(F.pad(i["x"], (0, 0, 0, 1)), _tensor("conv"), _tensor("bias"), stride=(2, 3), dilation=2),
    ),
    "conv same": Case(
        lambda t: _with(_conv(stride_nd=(2, 2))(t), padding_mode=t.trt.PaddingMode.SAME_UPPER),
        lambda i: F.conv2d(F.pad(i["x"], (0, 1, 0, 1)), _tensor("conv"), _tensor("bias"), stride=2),
    ),
    "conv groups": Case(
        lambda t: _with(t.net.add_convolution_nd(t.x, 8, (3, 2), K["grouped"]), num_groups=2),
        lambda i: F.conv2d(i["x"], _tensor("grouped"), groups=2),
    ),
    "conv 3d": Case(
        lambda t: t.net.add_convolution_nd(t.constant(X3D), 3, (2, 2, 2), K3D),
        lambda i: F.conv3d(torch.from_numpy(X3D), torch.from_numpy(K3D)),
    ),
    "deconv": Case(
        lambda t: _with(
            t.net.add_deconvolution_nd(t.x, 3, (3, 3), K["transposed"]), stride_nd=(2, 2), padding_nd=(1, 0)
        ),
        lambda i: F.conv_transpose2d(i["x"], _tensor("transposed"), stride=2, padding=(1, 0)),
    ),
    "max pool": Case(_pool("MAX", (2, 2), stride_nd=(2, 2)), lambda i: F.max_pool2d(i["x"], 2)),
    "max pool stride of one": Case(_pool("MAX", (3, 2)), lambda i: F.max_pool2d(i["x"], (3, 2), stride=1)),
    "max pool round up": Case(
        lambda t: _with(_pool("MAX", (4, 3), stride_nd=(3, 3))(t), padding_mode=t.trt.PaddingMode.EXPLICIT_ROUND_UP),
        lambda i: F.max_pool2d(i["x"], (4, 3), stride=3, ceil_mode=True),
    ),
    "average pool": Case(
        _pool("AVERAGE", (3, 3), stride_nd=(2, 2), padding_nd=(1, 1)),
        lambda i: F.avg_pool2d(i["x"], 3, stride=2, padding=1, count_include_pad=False),
    ),
    "average pool with padding": Case(
        _pool("AVERAGE", (3, 3), padding_nd=(1, 1), average_count_excludes_padding=False),
        lambda i: F.avg_pool2d(i["x"], 3, stride=1, padding=1),
    ),
    "blended pool": Case(
        _pool("MAX_AVERAGE_BLEND", (2, 2), blend_factor=0.25),
        lambda i: 0.75 * F.max_pool2d(i["x"], 2, 1) + 0.25 * F.avg_pool2d(i["x"], 2, 1),
    ),
    "relu": Case(_activation("RELU"), lambda i: i["x"].relu()),
    "sigmoid": Case(_activation("SIGMOID"), lambda i: i["x"].sigmoid()),
    "tanh": Case(_activation("TANH"), lambda i: i["x"].tanh()),
    "leaky": Case(_activation("LEAKY_RELU", alpha=0.1), lambda i: F.leaky_relu(i["x"], 0.1)),
    "elu": Case(_activation("ELU", alpha=0.7), lambda i: F.elu(i["x"], 0.7)),
    "selu": Case(
        _activation("SELU", alpha=1.5, beta=1.1),
        lambda i: 1.1 * torch.where(i["x"] > 0, i["x"], 1.5 * (i["x"].exp() - 1)),
    ),
    "softsign": Case(_activation("SOFTSIGN"), lambda i: F.softsign(i["x"])),
    "softplus": Case(_activation("SOFTPLUS", alpha=2.0, beta=0.5), lambda i: 2 * torch.log1p(torch.exp(0.5 * i["x"]))),
    "clip": Case(_activation("CLIP", alpha=-0.5, beta=0.75), lambda i: i["x"].clamp(-0.5, 0.75)),
    "hard sigmoid": Case(_activation("HARD_SIGMOID", alpha=0.3, beta=0.4), lambda i: (0.3 * i["x"] + 0.4).clamp(0, 1)),
    "scaled tanh": Case(_activation("SCALED_TANH", alpha=1.7, beta=0.6), lambda i: 1.7 * torch.tanh(0.6 * i["x"])),
    "thresholded": Case(
        _activation("THRESHOLDED_RELU", alpha=0.5), lambda i: torch.where(i["x"] > 0.5, i["x"], torch.zeros(()))
    ),
    "gelu erf": Case(_activation("GELU_ERF"), lambda i: F.gelu(i["x"])),
    "gelu tanh": Case(_activation("GELU_TANH"), lambda i: F.gelu(i["x"], approximate="tanh")),
    "softmax": Case(lambda t: t.net.add_softmax(t.x), lambda i: i["x"].softmax(1)),
    "softmax last": Case(lambda t: _with(t.net.add_softmax(t.x), axes=1 << 3), lambda i: i["x"].softmax(3)),
    "softmax of three": Case(lambda t: t.net.add_softmax(t.a), lambda i: i["a"].softmax(0)),
    "prelu": Case(
        lambda t: t.net.add_parametric_relu(t.x, t.constant(C4.reshape(1, 4, 1, 1))),
        lambda i: F.prelu(i["x"], torch.from_numpy(C4)),
    ),
    "lrn": Case(
        lambda t: t.net.add_lrn(t.x, 3, 0.3, 0.75, 2.0), lambda i: F.local_response_norm(i["x"], 3, 0.3, 0.75, 2.0)
    ),
    "lrn small k": Case(
        lambda t: t.net.add_lrn(t.x, 3, 0.3, 0.75, 0.01), lambda i: F.local_response_norm(i["x"], 3, 0.3, 0.75, 0.01)
    ),
    "select": Case(lambda t: t.net.add_select(t.t, t.x, t.y), lambda i: torch.where(i["t"], i["x"], i["y"])),
    "identity": Case(lambda t: t.net.add_identity(t.x), lambda i: i["x"]),
    "cast": Case(lambda t: t.net.add_cast(t.x, t.trt.int32), lambda i: i["x"].int()),
    "cast bool": Case(lambda t: t.net.add_cast(t.t, t.trt.float32), lambda i: i["t"].float()),
}

_UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "EXP": ("x", torch.exp), "LOG": ("p", torch.log), "SQRT": ("p", torch.sqrt), "RECIP": ("p", torch.reciprocal),
    "ABS": ("x", torch.abs), "NEG": ("x", torch.neg), "SIN": ("x", torch.sin), "COS": ("x", torch.cos),
    "TAN": ("u", torch.tan), "SINH": ("x", torch.sinh), "COSH": ("x", torch.cosh), "ASIN": ("u", torch.asin),
    "ACOS": ("u", torch.acos), "ATAN": ("x", torch.atan), "ASINH": ("x", torch.asinh), "ATANH": ("u", torch.atanh),
    "CEIL": ("x", torch.ceil), "FLOOR": ("x", torch.floor), "ERF": ("x", torch.erf), "NOT": ("t", torch.logical_not),
    "SIGN": ("x", torch.sign), "ROUND": ("x", torch.round), "ISINF": ("x", torch.isinf), "ISNAN": ("x", torch.isnan),
}  # fmt: skip
_BINARY: dict[str, tuple[str, str, Callable[[Any, Any], Any]]] = {
    "SUM": ("x", "y", torch.add), "PROD": ("x", "y", torch.mul), "MAX": ("x", "y", torch.maximum),
    "MIN": ("x", "y", torch.minimum), "SUB": ("x", "y", torch.sub), "DIV": ("x", "p", torch.div),
    "POW": ("p", "y", torch.pow), "FLOOR_DIV": ("x", "p", lambda a, b: torch.floor(a / b)),
    "AND": ("t", "s", torch.logical_and), "OR": ("t", "s", torch.logical_or), "XOR": ("t", "s", torch.logical_xor),
    "EQUAL": ("i", "j", torch.eq), "GREATER": ("x", "y", torch.gt), "LESS": ("x", "y", torch.lt),
}  # fmt: skip
_REDUCE: dict[str, Callable[[Any], Any]] = {
    "SUM": lambda x: x.sum((1, 3)), "AVG": lambda x: x.mean((1, 3)), "MAX": lambda x: x.amax((1, 3)),
    "MIN": lambda x: x.amin((1, 3)), "PROD": lambda x: x.prod(3).prod(1),
}  # fmt: skip


def _unary_case(name: str) -> Case:
    source, function = _UNARY[name]
    return Case(
        lambda t: t.net.add_unary(t.tensors[source], getattr(t.trt.UnaryOperation, name)), lambda i: function(i[source])
    )


def _binary_case(name: str, one: str, other: str, function: Callable[[Any, Any], Any]) -> Case:
    return Case(
        lambda t: t.net.add_elementwise(t.tensors[one], t.tensors[other], getattr(t.trt.ElementWiseOperation, name)),
        lambda i: function(i[one], i[other]),
    )


def _reduce_case(name: str) -> Case:
    return Case(
        lambda t: t.net.add_reduce(t.x, getattr(t.trt.ReduceOperation, name), 0b1010, False),
        lambda i: _REDUCE[name](i["x"]),
    )


def _one_more(t: Bench) -> Any:
    return t.net.add_elementwise(t.p, t.constant(np.ones((1, 1, 1, 1))), t.trt.ElementWiseOperation.SUM).get_output(0)


CASES |= {f"unary {name}": _unary_case(name) for name in _UNARY}
CASES |= {f"elementwise {name}": _binary_case(name, *rest) for name, rest in _BINARY.items()}
CASES |= {f"reduce {name}": _reduce_case(name) for name in _REDUCE}
CASES |= {
    "unary ACOSH": Case(
        lambda t: t.net.add_unary(_one_more(t), t.trt.UnaryOperation.ACOSH), lambda i: torch.acosh(i["p"] + 1)
    ),
    "elementwise integers": _binary_case("SUM", "i", "j", torch.add),
    "elementwise FLOOR_DIV of integers": _binary_case(
        "FLOOR_DIV", "i", "j", lambda a, b: torch.div(a, b, rounding_mode="floor")
    ),
    "elementwise DIV of integers": _binary_case("DIV", "i", "j", lambda a, b: torch.div(a, b, rounding_mode="trunc")),
    "broadcast": Case(
        lambda t: t.net.add_elementwise(t.x, t.constant(C4.reshape(1, 4, 1, 1)), t.trt.ElementWiseOperation.PROD),
        lambda i: i["x"] * torch.from_numpy(C4).reshape(1, 4, 1, 1),
    ),
    "reduce and keep": Case(
        lambda t: t.net.add_reduce(t.x, t.trt.ReduceOperation.AVG, 0b1100, True), lambda i: i["x"].mean((2, 3), True)
    ),
}
