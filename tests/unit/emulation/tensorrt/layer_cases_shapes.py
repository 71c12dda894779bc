"""The layers that move, find, multiply, resample and quantize, with their oracles; more in `layer_cases`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.unit.emulation.tensorrt.layer_cases import C4, C7, VECTOR, Bench, Case, E, _floats, _with

GRID = np.random.default_rng(3).uniform(-1.2, 1.2, (2, 5, 4, 2)).astype(np.float32)
INDICES = np.array([[3, 0], [1, 1]], np.int32)
ROWS = np.array([[[0, 3], [1, -1]], [[2, 2], [0, 1]]])
POINTS = np.array([[0, 1, 2], [1, 3, 5]], np.int32)
SCALES = np.array([0.05, 0.1, 0.02, 0.2], np.float32)
PLACES = np.random.default_rng(4).integers(0, 4, (2, 2, 6, 8)).astype(np.int32)
UPDATES, CROSS, COLUMNS = _floats(2, 2, 6, 8), _floats(2, 8), _floats(7, 4)


def _shuffle(**settings: Any) -> Callable[[Bench], Any]:
    return lambda t: _with(t.net.add_shuffle(t.x), **settings)


def _slice(
    start: tuple[int, ...], shape: tuple[int, ...], stride: tuple[int, ...], mode: str = ""
) -> Callable[[Bench], Any]:
    def build(t: Bench) -> Any:
        layer = t.net.add_slice(t.x, start, shape, stride)
        return _with(layer, mode=getattr(t.trt.SampleMode, mode)) if mode else layer

    return build


def _numpy(function: Callable[[np.ndarray], np.ndarray], name: str = "x") -> Callable[[dict[str, Any]], Any]:
    return lambda i: function(i[name].numpy())


def _resize(mode: str, coordinates: str, **settings: Any) -> Callable[[Bench], Any]:
    def build(t: Bench) -> Any:
        layer = t.net.add_resize(t.x)
        layer.resize_mode = getattr(t.trt.InterpolationMode, mode)
        layer.coordinate_transformation = getattr(t.trt.ResizeCoordinateTransformation, coordinates)
        return _with(layer, **settings)

    return build


def _matmul(op0: str, op1: str, one: str, other: Any) -> Callable[[Bench], Any]:
    def build(t: Bench) -> Any:
        operations = t.trt.MatrixOperation
        second = t.tensors[other] if isinstance(other, str) else t.constant(other)
        return t.net.add_matrix_multiply(t.tensors[one], getattr(operations, op0), second, getattr(operations, op1))

    return build


def _into_and_back(t: Bench) -> Any:
    scale = t.constant(SCALES)
    quantized = _with(t.net.add_quantize(t.x, scale, t.trt.int8), axis=1)
    return _with(t.net.add_dequantize(quantized.get_output(0), scale, t.trt.float32), axis=1)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    scale = torch.from_numpy(SCALES).reshape(1, 4, 1, 1)
    return (x / scale).round().clamp(-128, 127) * scale


def _normalized(t: Bench, axes: int, *, groups: int = 1) -> Any:
    shape = (1, 4, 1, 1)
    layer = t.net.add_normalization_v2(t.x, t.constant(C4.reshape(shape)), t.constant(C4.reshape(shape) + 1), axes)
    return _with(layer, num_groups=groups)


CASES: dict[str, Case] = {
    "transpose": Case(_shuffle(first_transpose=(0, 3, 1, 2)), lambda i: i["x"].permute(0, 3, 1, 2)),
    "reshape": Case(_shuffle(reshape_dims=(0, -1, 16)), lambda i: i["x"].reshape(2, -1, 16)),
    "transpose, reshape, transpose": Case(
        _shuffle(first_transpose=(0, 2, 3, 1), reshape_dims=(0, 48, 4), second_transpose=(2, 0, 1)),
        lambda i: i["x"].permute(0, 2, 3, 1).reshape(2, 48, 4).permute(2, 0, 1),
    ),
    "reshape by a tensor": Case(lambda t: _dynamic_reshape(t), lambda i: i["x"].reshape(2, 24, 8)),
    "concat": Case(lambda t: t.net.add_concatenation([t.x, t.y]), lambda i: torch.cat([i["x"], i["y"]], 1)),
    "concat last": Case(
        lambda t: _with(t.net.add_concatenation([t.x, t.y, t.x]), axis=3),
        lambda i: torch.cat([i["x"], i["y"], i["x"]], 3),
    ),
    "slice": Case(_slice((0, 1, 2, 0), (2, 2, 3, 4), (1, 2, 1, 2)), lambda i: i["x"][:, 1::2, 2:5, ::2]),
    "slice backwards": Case(
        _slice((1, 0, 5, 7), (2, 4, 6, 4), (-1, 1, -1, -2)), lambda i: i["x"].flip(0, 2)[:, :, :, [7, 5, 3, 1]]
    ),
    "slice filling": Case(
        _slice((0, 0, -1, 0), (2, 4, 8, 9), (1, 1, 1, 1), "FILL"), lambda i: F.pad(i["x"], (0, 1, 1, 1))
    ),
    "slice clamping": Case(
        _slice((0, 0, -1, -2), (2, 4, 8, 12), (1, 1, 1, 1), "CLAMP"),
        lambda i: F.pad(i["x"], (2, 2, 1, 1), mode="replicate"),
    ),
    "slice reflecting": Case(
        _slice((0, 0, -2, -3), (2, 4, 10, 14), (1, 1, 1, 1), "REFLECT"),
        lambda i: F.pad(i["x"], (3, 3, 2, 2), mode="reflect"),
    ),
    "slice wrapping": Case(
        _slice((0, 0, -2, -3), (2, 4, 10, 14), (1, 1, 1, 1), "WRAP"),
        lambda i: F.pad(i["x"], (3, 3, 2, 2), mode="circular"),
    ),
    "slice by tensors": Case(lambda t: _dynamic_slice(t), lambda i: i["x"][:, 1:3, 2:5, 0:8:2]),
    "squeeze": Case(
        lambda t: t.net.add_squeeze(_mean(t), t.constant([2, -1], np.int64)), lambda i: i["x"].mean((2, 3))
    ),
    "unsqueeze": Case(lambda t: t.net.add_unsqueeze(t.a, t.constant([1], np.int64)), lambda i: i["a"].unsqueeze(1)),
    "shape": Case(lambda t: t.net.add_shape(t.x), lambda i: torch.tensor(i["x"].shape)),
    "padding": Case(lambda t: t.net.add_padding_nd(t.x, (1, 2), (0, 3)), lambda i: F.pad(i["x"], (2, 3, 1, 0))),
    "cropping": Case(lambda t: t.net.add_padding_nd(t.x, (-1, 0), (-2, -3)), lambda i: i["x"][:, :, 1:4, :5]),
    "constant": Case(
        lambda t: t.net.add_elementwise(t.x, t.constant(E[None]), t.trt.ElementWiseOperation.SUM),
        lambda i: i["x"] + torch.from_numpy(E),
    ),
    "matmul": Case(_matmul("NONE", "NONE", "a", "b"), lambda i: i["a"] @ i["b"]),
    "matmul transposed": Case(_matmul("TRANSPOSE", "TRANSPOSE", "b", "a"), lambda i: i["b"].mT @ i["a"].mT),
    "matmul vector": Case(
        _matmul("NONE", "VECTOR", "a", VECTOR), lambda i: (i["a"] @ torch.from_numpy(VECTOR)[..., None])[..., 0]
    ),
    "vector matmul": Case(
        lambda t: _vector_first(t),
        lambda i: (torch.from_numpy(VECTOR)[:, None] @ i["b"])[:, 0],
    ),
    "einsum": Case(
        lambda t: t.net.add_einsum([t.a, t.b], "bij,bjk->bki"), lambda i: torch.einsum("bij,bjk->bki", i["a"], i["b"])
    ),
    "linspace": Case(
        lambda t: _with(t.net.add_fill((5,), t.trt.FillOperation.LINSPACE), alpha=1.5, beta=0.25),
        lambda i: 1.5 + 0.25 * torch.arange(5),
    ),
    "linspace of three dimensions": Case(
        lambda t: _linspace(t, (2, 3, 4), 5.0, [100.0, 10.0, 1.0]),
        lambda i: torch.tensor([[[5.0 + 100 * a + 10 * b + c for c in range(4)] for b in range(3)] for a in range(2)]),
    ),
    "linspace of a shape tensor": Case(
        lambda t: _linspace(t, None, 0.5, [4.0, -1.0]),
        lambda i: torch.tensor([[0.5 + 4 * a - b for b in range(3)] for a in range(2)]),
    ),
    "gather": Case(
        lambda t: t.net.add_gather(t.x, t.constant(INDICES, np.int32), 1),
        lambda i: i["x"][:, torch.from_numpy(INDICES)],
    ),
    "gather with indices of each item": Case(
        lambda t: _with(t.net.add_gather_v2(t.x, t.v, t.trt.GatherMode.DEFAULT), axis=2, num_elementwise_dims=1),
        lambda i: torch.stack([item[:, places.long()] for item, places in zip(i["x"], i["v"], strict=True)]),
    ),
    "gather with rows of indices of each item": Case(
        lambda t: _with(
            t.net.add_gather_v2(t.x, t.constant(ROWS, np.int32), t.trt.GatherMode.DEFAULT),
            axis=1,
            num_elementwise_dims=1,
        ),
        lambda i: torch.stack([item[rows] for item, rows in zip(i["x"], torch.from_numpy(ROWS), strict=True)]),
    ),
    "gather elements": Case(
        lambda t: _with(t.net.add_gather_v2(t.x, t.constant(PLACES, np.int32), t.trt.GatherMode.ELEMENT), axis=1),
        lambda i: i["x"].gather(1, torch.from_numpy(PLACES).long()),
    ),
    "gather points": Case(
        lambda t: t.net.add_gather_v2(t.x, t.constant(POINTS, np.int32), t.trt.GatherMode.ND),
        lambda i: i["x"][tuple(torch.from_numpy(POINTS).long().T)],
    ),
    "scatter elements": Case(
        lambda t: _with(_scatter(t, PLACES[:, :1], UPDATES[:, :1], "ELEMENT"), axis=1),
        lambda i: i["x"].scatter(1, torch.from_numpy(PLACES[:, :1]).long(), torch.from_numpy(UPDATES[:, :1])),
    ),
    "scatter points": Case(
        lambda t: _scatter(t, POINTS, CROSS, "ND"),
        lambda i: i["x"].index_put(tuple(torch.from_numpy(POINTS).long().T), torch.from_numpy(CROSS)),
    ),
    "one hot": Case(
        lambda t: t.net.add_one_hot(t.v, t.constant([0.5, 2.0]), t.constant(4, np.int32), -1),
        lambda i: F.one_hot(i["v"].long(), 4) * 1.5 + 0.5,
    ),
    "reverse sequence": Case(
        lambda t: _with(t.net.add_reverse_sequence(t.a, t.constant([3, 5], np.int32)), batch_axis=0, sequence_axis=1),
        lambda i: torch.stack([torch.cat([i["a"][0, :3].flip(0), i["a"][0, 3:]]), i["a"][1].flip(0)]),
    ),
    "running sum": Case(
        lambda t: t.net.add_cumulative(t.x, t.constant(2, np.int32), t.trt.CumulativeOperation.SUM, False, False),
        lambda i: i["x"].cumsum(2),
    ),
    "running sum of what comes after": Case(
        lambda t: t.net.add_cumulative(t.x, t.constant(3, np.int32), t.trt.CumulativeOperation.SUM, True, True),
        lambda i: i["x"].flip(3).cumsum(3).flip(3) - i["x"],
    ),
    "resize nearest": Case(
        _resize("NEAREST", "ASYMMETRIC", scales=(1, 1, 2, 2)), lambda i: F.interpolate(i["x"], scale_factor=2)
    ),
    "resize to the same": Case(_resize("CUBIC", "ASYMMETRIC", cubic_coeff=0.5), lambda i: i["x"]),
    "resize nearest, all axes": Case(
        _resize("NEAREST", "ASYMMETRIC", shape=(3, 6, 12, 8)),
        lambda i: F.interpolate(i["x"][[0, 0, 1]][:, [0, 0, 1, 2, 2, 3]], (12, 8)),
    ),
    "resize nearest, all axes, corners": Case(
        lambda t: _with(
            _resize("NEAREST", "ALIGN_CORNERS", scales=(2, 1.5, 1, 1))(t),
            nearest_rounding=t.trt.ResizeRoundMode.CEIL,
        ),
        lambda i: i["x"][[0, 1, 1, 1]][:, [0, 1, 2, 2, 3, 3]],
    ),
    "resize linear": Case(
        _resize("LINEAR", "HALF_PIXEL", shape=(2, 4, 9, 20)),
        lambda i: F.interpolate(i["x"], (9, 20), mode="bilinear", align_corners=False),
    ),
    "resize linear, corners": Case(
        _resize("LINEAR", "ALIGN_CORNERS", shape=(2, 4, 9, 20)),
        lambda i: F.interpolate(i["x"], (9, 20), mode="bilinear", align_corners=True),
    ),
    "resize cubic": Case(
        _resize("CUBIC", "HALF_PIXEL", shape=(2, 4, 9, 20)), lambda i: F.interpolate(i["x"], (9, 20), mode="bicubic")
    ),
    "grid sample": Case(
        lambda t: t.net.add_grid_sample(t.x, t.constant(GRID)),
        lambda i: F.grid_sample(i["x"], torch.from_numpy(GRID), align_corners=False),
    ),
    "grid sample nearest, clamped": Case(
        lambda t: _with(
            t.net.add_grid_sample(t.x, t.constant(GRID)),
            align_corners=True,
            sample_mode=t.trt.SampleMode.CLAMP,
            interpolation_mode=t.trt.InterpolationMode.NEAREST,
        ),
        lambda i: F.grid_sample(
            i["x"], torch.from_numpy(GRID), align_corners=True, mode="nearest", padding_mode="border"
        ),
    ),
    "quantize and back": Case(_into_and_back, lambda i: _rounded(i["x"])),
    "scale uniform": Case(
        lambda t: t.net.add_scale(t.p, t.trt.ScaleMode.UNIFORM, np.float32([0.5]), np.float32([2]), np.float32([1.5])),
        lambda i: (i["p"] * 2 + 0.5) ** 1.5,
    ),
    "scale channels": Case(
        lambda t: t.net.add_scale(t.x, t.trt.ScaleMode.CHANNEL, C4, C4 + 2),
        lambda i: i["x"] * torch.from_numpy(C4 + 2).reshape(4, 1, 1) + torch.from_numpy(C4).reshape(4, 1, 1),
    ),
    "scale elements": Case(
        lambda t: t.net.add_scale(t.x, t.trt.ScaleMode.ELEMENTWISE, scale=E), lambda i: i["x"] * torch.from_numpy(E)
    ),
    "scale last axis": Case(
        lambda t: t.net.add_scale_nd(t.a, t.trt.ScaleMode.CHANNEL, C7, None, None, 2),
        lambda i: i["a"] + torch.from_numpy(C7),
    ),
    "layer normalization": Case(
        lambda t: t.net.add_normalization(t.a, t.constant(C7[None, None]), t.constant(C7[None, None] * 2), 0b100),
        lambda i: F.layer_norm(i["a"], (7,), torch.from_numpy(C7), torch.from_numpy(C7 * 2)),
    ),
    "instance normalization": Case(
        lambda t: _normalized(t, 0b1100),
        lambda i: F.instance_norm(i["x"], weight=torch.from_numpy(C4), bias=torch.from_numpy(C4 + 1)),
    ),
    "group normalization": Case(
        lambda t: _normalized(t, 0b1100, groups=2),
        lambda i: F.group_norm(i["x"], 2, torch.from_numpy(C4), torch.from_numpy(C4 + 1)),
    ),
}


def _mean(t: Bench) -> Any:
    return t.net.add_reduce(t.x, t.trt.ReduceOperation.AVG, 0b1100, True).get_output(0)


def _vector_first(t: Bench) -> Any:
    operations = t.trt.MatrixOperation
    return t.net.add_matrix_multiply(t.constant(VECTOR), operations.VECTOR, t.b, operations.NONE)


def _linspace(t: Bench, shape: tuple[int, ...] | None, start: float, steps: list[float]) -> Any:
    """Evenly spaced values by tensors; with the shape of v, also a tensor, if none is given."""
    layer = t.net.add_fill(shape or (), t.trt.FillOperation.LINSPACE)
    if shape is None:
        layer.set_input(0, t.net.add_shape(t.v).get_output(0))
    layer.set_input(1, t.constant(start))
    layer.set_input(2, t.constant(steps))
    return layer


def _scatter(t: Bench, indices: np.ndarray, updates: np.ndarray, mode: str) -> Any:
    return t.net.add_scatter(t.x, t.constant(indices, np.int32), t.constant(updates), getattr(t.trt.ScatterMode, mode))


def _dynamic_reshape(t: Bench) -> Any:
    """Reshape to (first, second * third, fourth), worked out from the shape of the input."""
    shape = t.net.add_shape(t.x).get_output(0)
    wide = t.net.add_slice(shape, (1,), (2,), (1,)).get_output(0)
    product = t.net.add_reduce(wide, t.trt.ReduceOperation.PROD, 1, True).get_output(0)
    first, last = (t.net.add_slice(shape, (place,), (1,), (1,)).get_output(0) for place in (0, 3))
    target = _with(t.net.add_concatenation([first, product, last]), axis=0).get_output(0)
    layer = t.net.add_shuffle(t.x)
    layer.set_input(1, target)
    return layer


def _dynamic_slice(t: Bench) -> Any:
    layer = t.net.add_slice(t.x, (0,) * 4, (1,) * 4, (1, 1, 1, 2))
    layer.set_input(1, t.constant([0, 1, 2, 0], np.int32))
    layer.set_input(2, t.constant([2, 2, 3, 4], np.int32))
    return layer
