"""Convolutions, deconvolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from yolotrt_lab.emulation.tensorrt.network_layers.layer import ILayer
from yolotrt_lab.emulation.tensorrt.network_layers.settings import (
    dims_setting,
    enum_setting,
    flag_setting,
    float_setting,
    integer_setting,
    weights_setting,
)
from yolotrt_lab.emulation.tensorrt.network_layers.writer import GraphWriter

__all__ = ["EMITTERS", "IConvolutionLayer", "IDeconvolutionLayer", "IPoolingLayer", "window_settings"]

_AUTO_PAD = {"SAME_UPPER": "SAME_UPPER", "SAME_LOWER": "SAME_LOWER"}


def window_settings(dimensions: int) -> dict[str, Any]:
    """Return the settings all layers with a sliding window share, at their defaults."""
    zeros = (0,) * dimensions
    return {
        "stride": (1,) * dimensions, "pre_padding": zeros, "post_padding": zeros, "padding_mode": "EXPLICIT_ROUND_DOWN",
    }  # fmt: skip


class _Window(ILayer):
    """A layer whose window slides over the spatial dimensions."""

    stride_nd = dims_setting("stride", "The steps of the window.")
    pre_padding = dims_setting("pre_padding", "The padding at the start of each spatial dimension.")
    post_padding = dims_setting("post_padding", "The padding at the end of each spatial dimension.")
    padding_mode = enum_setting("padding_mode", "PaddingMode", "How the padding and the output size are found.")

    @property
    def padding_nd(self) -> Any:
        """The padding at both ends of each spatial dimension; at the start, if the ends differ."""
        return self._api.Dims(self._state.get("pre_padding"))

    @padding_nd.setter
    def padding_nd(self, value: Any) -> None:
        self.pre_padding = value
        self.post_padding = value


class _Convolving(_Window):
    """What convolutions and deconvolutions share."""

    num_output_maps = integer_setting("num_output_maps", "The number of output channels.")
    kernel_size_nd = dims_setting("kernel_size", "The kernel's spatial size.")
    kernel = weights_setting("kernel", "The kernel's weights.")
    bias = weights_setting("bias", "The bias, empty if there is none.")
    num_groups = integer_setting("num_groups", "The number of groups of channels.")
    dilation_nd = dims_setting("dilation", "The distance between the kernel's elements.")


class IConvolutionLayer(_Convolving):
    """A convolution."""


class IDeconvolutionLayer(_Convolving):
    """A transposed convolution."""


class IPoolingLayer(_Window):
    """Pooling."""

    type = enum_setting("type", "PoolingType", "The kind of pooling.")
    window_size_nd = dims_setting("window_size", "The window's size.")
    average_count_excludes_padding = flag_setting("excludes_padding", "Whether averages leave the padding out.")
    blend_factor = float_setting("blend_factor", "The average's share in MAX_AVERAGE_BLEND.")


def _padding(out: GraphWriter, reach: Sequence[int]) -> dict[str, Any]:
    """Return the ONNX padding of a window that covers `reach` elements, with what rounding up adds."""
    get = out.layer.get
    mode = get("padding_mode")
    if mode in _AUTO_PAD:
        return {"auto_pad": _AUTO_PAD[mode]}
    pre, post = get("pre_padding"), list(get("post_padding"))
    if len(pre) != len(reach) or len(post) != len(reach) or len(get("stride")) != len(reach):
        raise out.problem(f"padding and stride must have {len(reach)} dimensions, as the window has")
    if mode == "EXPLICIT_ROUND_UP":
        for axis, size in enumerate(out.shape(0)[2:]):
            if size < 0:
                raise out.problem("[emulation] rounding up needs known spatial dimensions")
            left = (size + pre[axis] + post[axis] - reach[axis]) % get("stride")[axis]
            post[axis] += get("stride")[axis] - left if left else 0
    return {"pads": [*pre, *post]}


def _check_rank(out: GraphWriter, spatial: int) -> None:
    if len(out.shape(0)) != spatial + 2:
        raise out.problem(f"at least {spatial + 2} dimensions are required for input.")


def _weights(out: GraphWriter, *, transposed: bool) -> list[str]:
    """Return the names of kernel and bias."""
    get = out.layer.get
    size, maps, groups = get("kernel_size"), get("num_output_maps"), get("num_groups")
    channels = out.shape(0)[1]
    kernel, bias = get("kernel"), get("bias")
    if channels < 0 and kernel is not None:
        channels = kernel.size * groups // (maps * math.prod(size))
    if channels % groups or maps % groups:
        raise out.problem("number of input and output channels must be divisible by the number of groups")
    if out.given(1):
        names = [out.input(1)]
    else:
        _check_kernel(out, 0 if kernel is None else kernel.size, channels)
        shape = (channels, maps // groups, *size) if transposed else (maps, channels // groups, *size)
        names = [out.constant(kernel.reshape(shape), _weights_type(out, kernel), role="KERNEL")]
    if out.given(2):
        names.append(out.input(2))
    elif bias is not None:
        if bias.size != maps:
            text = f"bias weights has count {bias.size} but {maps} was expected"
            raise out.problem("number of bias weights does not match tensor dimensions", before=[_named(out, text)])
        names.append(out.constant(bias.reshape(-1), _weights_type(out, bias), role="BIAS"))
    return names


def _weights_type(out: GraphWriter, weights: Any) -> str:
    """Return the type weights are written in; a strongly typed network converts none."""
    wanted = out.dtype(0)
    given = {"float32": "FLOAT", "float16": "HALF"}.get(weights.dtype.name, wanted)
    if out.layer.network._strongly_typed and given != wanted and wanted in ("FLOAT", "HALF"):
        words = {"FLOAT": "Float", "HALF": "Half"}
        raise out.problem(f"input and kernel weights must have the same type, got {words[wanted]} and {words[given]}")
    return wanted


def _check_kernel(out: GraphWriter, count: int, channels: int) -> None:
    get = out.layer.get
    size, maps, groups = get("kernel_size"), get("num_output_maps"), get("num_groups")
    expected = channels * math.prod(size) * maps // groups
    if count == expected:
        return
    shape = ",".join(map(str, size))
    product = "*".join(map(str, size))
    before = [
        f"{out.layer.name}:kernel weights has count {count} but {expected} was expected",
        f"{out.layer.name}: count of {count} weights in kernel, but kernel dimensions ({shape}) with {channels} input "
        f"channels, {maps} output channels and {groups} groups were specified. Expected Weights count is "
        f"{channels} * {product} * {maps} / {groups} = {expected}",
    ]
    raise out.problem("number of kernel weights does not match tensor dimensions", before=before)


def _named(out: GraphWriter, text: str) -> str:
    return f"{out.layer.name}: {text}"


def _convolution(out: GraphWriter) -> str:
    get = out.layer.get
    size, dilation = get("kernel_size"), get("dilation")
    _check_rank(out, len(size))
    weights = _weights(out, transposed=False)
    reach = [step * (length - 1) + 1 for length, step in zip(size, dilation, strict=True)]
    padding = _padding(out, reach)
    return out.add(
        "Conv", [out.input(0), *weights], main=True, kernel_shape=list(size), strides=list(get("stride")),
        dilations=list(dilation), group=get("num_groups"), **padding,
    )  # fmt: skip


def _deconvolution(out: GraphWriter) -> str:
    get = out.layer.get
    size = get("kernel_size")
    _check_rank(out, len(size))
    weights = _weights(out, transposed=True)
    mode = get("padding_mode")
    pads = {"auto_pad": mode} if mode in _AUTO_PAD else {"pads": [*get("pre_padding"), *get("post_padding")]}
    return out.add(
        "ConvTranspose", [out.input(0), *weights], main=True, kernel_shape=list(size), strides=list(get("stride")),
        dilations=list(get("dilation")), group=get("num_groups"), **pads,
    )  # fmt: skip


def _pooling(out: GraphWriter) -> str:
    get = out.layer.get
    size, kind = get("window_size"), get("type")
    _check_rank(out, len(size))
    padding = _padding(out, size) if get("padding_mode") != "EXPLICIT_ROUND_UP" else _explicit(out)
    window: dict[str, Any] = {"kernel_shape": list(size), "strides": list(get("stride")), **padding}
    if get("padding_mode") == "EXPLICIT_ROUND_UP":
        window["ceil_mode"] = 1
    average = {**window, "count_include_pad": int(not get("excludes_padding"))}
    if kind == "MAX":
        return out.add("MaxPool", [out.input(0)], main=True, **window)
    if kind == "AVERAGE":
        return out.add("AveragePool", [out.input(0)], main=True, **average)
    share = get("blend_factor")
    highest = out.add("MaxPool", [out.input(0)], main=True, **window)
    mean = out.add("AveragePool", [out.input(0)], **average)
    dtype = out.dtype(0)
    return out.add("Add", [
        out.add("Mul", [highest, out.constant(1 - share, dtype)]), out.add("Mul", [mean, out.constant(share, dtype)]),
    ])  # fmt: skip


def _explicit(out: GraphWriter) -> dict[str, Any]:
    return {"pads": [*out.layer.get("pre_padding"), *out.layer.get("post_padding")]}


EMITTERS = {"CONVOLUTION": _convolution, "DECONVOLUTION": _deconvolution, "POOLING": _pooling}
