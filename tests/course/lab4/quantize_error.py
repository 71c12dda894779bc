"""Wrong and right answers to lab4.quantize_error."""

import numpy as np
from tests_course_api import right, wrong


def _shaped(scale, values, axis):
    return scale if axis is None else np.expand_dims(scale, tuple(i for i in range(values.ndim) if i != axis))


def _steps(values, axis, amax, *, levels=127.0):
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    amax = np.abs(values).max(axis=others) if amax is None else np.asarray(amax)
    return np.where(amax > 0, amax / levels, 1.0).astype(np.float32)


def _finish(values, scale, axis, quantized, *, saturated=None, snr=None):
    step = _shaped(scale, values, axis)
    restored = quantized.astype(np.float32) * step
    rounded = np.rint(values / step)
    noise = ((values.astype(np.float64) - restored) ** 2).sum()
    ratio = (values.astype(np.float64) ** 2).sum() / noise
    return {
        "scale": scale,
        "quantized": quantized,
        "dequantized": restored,
        "saturated": float(np.mean((rounded > 127) | (rounded < -128))) if saturated is None else saturated,
        "snr_db": float(10 * np.log10(ratio)) if snr is None else snr(ratio),
    }


def _rounded(values, scale, axis):
    return np.clip(np.rint(values / _shaped(scale, values, axis)), -128, 127).astype(np.int8)


@wrong(caught_by="test_scale", says="128 magnitudes fit only on the negative side")
def divides_by_128(values, *, axis=None, amax=None):
    """Counts the levels of a signed byte and forgets that they are not symmetric."""
    scale = _steps(values, axis, amax, levels=128.0)
    return _finish(values, scale, axis, _rounded(values, scale, axis))


@wrong(caught_by="test_scale", says="255 steps")
def spreads_amax_over_a_byte(values, *, axis=None, amax=None):
    """Takes the 256 values of a byte for levels of the positive side."""
    scale = _steps(values, axis, amax, levels=255.0)
    return _finish(values, scale, axis, _rounded(values, scale, axis))


@wrong(caught_by="test_scale", says="per-tensor")
def one_scale_for_all_channels(values, *, axis=None, amax=None):
    """Believes that the axis only matters for dequantizing."""
    scale = _steps(values, None, amax)
    return _finish(values, scale, None, _rounded(values, scale, None))


@wrong(caught_by="test_scale", says="given amax was ignored")
def ignores_the_threshold(values, *, axis=None, amax=None):
    """Believes that clipping never helps."""
    scale = _steps(values, axis, None)
    return _finish(values, scale, axis, _rounded(values, scale, axis))


@wrong(caught_by="test_scale", says="negative values count too")
def largest_value_instead_of_magnitude(values, *, axis=None, amax=None):
    """Forgets the absolute value, as one may after a ReLU."""
    amax = values.max() if amax is None and axis is None else amax
    scale = _steps(values, axis, amax)
    return _finish(values, scale, axis, _rounded(values, scale, axis))


@wrong(caught_by="test_scale", says="zero everywhere")
def divides_by_zero(values, *, axis=None, amax=None):
    """Does not think of a channel that pruning or training left without a weight."""
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    amax = np.abs(values).max(axis=others) if amax is None else np.float32(amax)
    scale = np.asarray(amax / 127, np.float32)
    with np.errstate(all="ignore"):
        quantized = np.clip(np.nan_to_num(np.rint(values / _shaped(scale, values, axis))), -128, 127).astype(np.int8)
        return _finish(values, scale, axis, quantized)


@wrong(caught_by="test_integers", says="cut off")
def casts_without_rounding(values, *, axis=None, amax=None):
    """Takes astype for rounding."""
    scale = _steps(values, axis, amax)
    return _finish(values, scale, axis, (values / _shaped(scale, values, axis)).clip(-128, 127).astype(np.int8))


@wrong(caught_by="test_integers", says="away from zero")
def rounds_as_at_school(values, *, axis=None, amax=None):
    """Rounds halves away from zero."""
    scale = _steps(values, axis, amax)
    steps = values / _shaped(scale, values, axis)
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    return _finish(values, scale, axis, rounded.clip(-128, 127).astype(np.int8))


@wrong(caught_by="test_integers", says="wrapped around")
def lets_it_overflow(values, *, axis=None, amax=None):
    """Believes that a cast saturates."""
    scale = _steps(values, axis, amax)
    wide = np.rint(values / _shaped(scale, values, axis)).astype(np.int32)
    return _finish(values, scale, axis, wide.astype(np.uint8).astype(np.int8))


@wrong(caught_by="test_integers", says="one more negative number")
def limits_to_127_on_both_sides(values, *, axis=None, amax=None):
    """Makes the range symmetric too, where only the scale is."""
    scale = _steps(values, axis, amax)
    quantized = np.clip(np.rint(values / _shaped(scale, values, axis)), -127, 127).astype(np.int8)
    return _finish(values, scale, axis, quantized)


@wrong(caught_by="test_dequantized", says="input itself")
def returns_what_it_got(values, *, axis=None, amax=None):
    """Believes that dequantizing brings everything back."""
    scale = _steps(values, axis, amax)
    result = _finish(values, scale, axis, _rounded(values, scale, axis))
    return result | {"dequantized": values.copy()}


@wrong(caught_by="test_what_was_lost", says="20 log10 is for amplitudes")
def decibels_of_amplitudes(values, *, axis=None, amax=None):
    """Remembers 20 log10 from acoustics, and applies it to powers."""
    scale = _steps(values, axis, amax)
    return _finish(values, scale, axis, _rounded(values, scale, axis), snr=lambda ratio: float(20 * np.log10(ratio)))


@wrong(caught_by="test_what_was_lost", says="in percent")
def share_in_percent(values, *, axis=None, amax=None):
    """Gives a percentage."""
    scale = _steps(values, axis, amax)
    result = _finish(values, scale, axis, _rounded(values, scale, axis))
    return result | {"saturated": 100 * result["saturated"]}


@right
def in_double_precision_with_lists(values, *, axis=None, amax=None):
    """Channel by channel in Python, scales as a list of numbers."""
    values = np.asarray(values, np.float64)
    parts = [values] if axis is None else [np.take(values, index, axis) for index in range(values.shape[axis])]
    limits = [np.abs(part).max() if amax is None else float(amax) for part in parts]
    scales = [limit / 127 if limit else 1.0 for limit in limits]
    integers = [np.array([round(v) for v in (part / step).ravel()]) for part, step in zip(parts, scales, strict=True)]
    outside = sum(int(((part > 127) | (part < -128)).sum()) for part in integers)
    shaped = [
        np.minimum(np.maximum(part, -128), 127).reshape(source.shape)
        for part, source in zip(integers, parts, strict=True)
    ]
    quantized = shaped[0] if axis is None else np.stack(shaped, axis)
    restored = [part * step for part, step in zip(shaped, scales, strict=True)]
    dequantized = restored[0] if axis is None else np.stack(restored, axis)
    noise = np.square(values - dequantized).sum()
    return {
        "scale": scales[0] if axis is None else scales,
        "quantized": quantized.astype(np.int8),
        "dequantized": dequantized,
        "saturated": outside / values.size,
        "snr_db": 10 * (np.log10(np.square(values).sum()) - np.log10(noise)),
    }


@right
def with_torch(values, *, axis=None, amax=None):
    """PyTorch's fake quantization does the rounding."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if amax is not None:
        limit = torch.tensor(amax)
    elif axis is None:
        limit = tensor.abs().max()
    else:
        limit = tensor.abs().amax(dim=[i for i in range(tensor.ndim) if i != axis])
    scale = torch.where(limit > 0, limit / 127, torch.ones_like(limit)).to(torch.float32)
    step = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(tensor.ndim)])
    rounded = torch.round(tensor / step)
    quantized = rounded.clamp(-128, 127)
    restored = quantized * step
    power, noise = (tensor.double() ** 2).sum(), ((tensor.double() - restored.double()) ** 2).sum()
    return {
        "scale": scale,
        "quantized": quantized.to(torch.int8),
        "dequantized": restored,
        "saturated": ((rounded > 127) | (rounded < -128)).double().mean().item(),
        "snr_db": (10 * torch.log10(power / noise)).item(),
    }
