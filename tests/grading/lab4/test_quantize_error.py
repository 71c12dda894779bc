"""lab4.quantize_error: quantize, dequantize, and say what was lost."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points

EXERCISE = Exercise(
    id="lab4.quantize_error",
    title="Quantize, dequantize, measure the loss",
    objective="Quantize by hand, per tensor and per channel, and measure what rounding and clipping cost.",
    answer="quantize_symmetric",
    difficulty=2,
    minutes=20,
    cases=("per tensor", "ties", "clipped", "per channel", "dead channel"),
    hidden=("per tensor", "clipped", "per channel"),
    seconds=10.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html",
)


def inputs(case, rng):
    """Values, the axis of the channels, and the magnitude to clip at."""
    if case == "ties":  # every quotient ends in .5, and the step is a power of two, so nothing is lost before rounding
        values = (rng.integers(-126, 126, (6, 20)) + 0.5).astype(np.float32)
        return {"values": values * np.float32(2.0**-5), "axis": None, "amax": float(127 * 2.0**-5)}
    shape = (int(rng.integers(5, 9)), int(rng.integers(3, 5)), 3, 3)
    values = rng.normal(0, 1, shape) * rng.uniform(0.5, 4)
    if case == "per tensor":
        values *= -np.sign(values.flat[np.abs(values).argmax()])  # the largest magnitude is negative
        return {"values": values.astype(np.float32), "axis": None, "amax": None}
    if case == "clipped":
        values *= np.where(rng.random(shape) < 0.1, 4.0, 1.0)
        # Both signs must reach the limits, or nobody would notice which ones they are.
        values.flat[:2] = np.array([1.0, -1.0]) * 1.2 * np.abs(values).max()
        return {"values": values.astype(np.float32), "axis": None, "amax": float(np.abs(values).max() * 0.4)}
    # Channels lie along axis 1 here: a habit of axis 0 shows.
    values *= (10.0 ** rng.uniform(-1.5, 0.5, shape[1])).reshape(1, -1, 1, 1)
    if case == "dead channel":
        values[:, int(rng.integers(shape[1]))] = 0.0
    return {"values": values.astype(np.float32), "axis": 1, "amax": None}


def right_scale(values, axis, amax):
    """Return the steps, float64."""
    if amax is None:
        others = None if axis is None else tuple(index for index in range(values.ndim) if index != axis)
        amax = np.abs(values.astype(np.float64)).max(axis=others)
    scale = np.asarray(amax, np.float64) / 127
    return np.where(scale > 0, scale, 1.0)


def along_channels(scale, values, axis):
    """Give a scale the shape in which it multiplies `values`."""
    if axis is None or np.ndim(scale) == 0:
        return np.asarray(scale)
    return np.asarray(scale).reshape([-1 if index == axis else 1 for index in range(values.ndim)])


def onnx_quantized(values, scale, axis):
    """Return what ONNX Runtime's QuantizeLinear makes of the values with these scales."""
    scale = np.asarray(scale, np.float32)
    attributes = {} if scale.ndim == 0 else {"axis": axis}
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"], **attributes)
    zero = helper.make_tensor("zero", TensorProto.INT8, scale.shape, np.zeros(scale.size, np.int8))
    step = helper.make_tensor("scale", TensorProto.FLOAT, scale.shape, scale.ravel())
    graph = helper.make_graph(
        [node],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, values.shape)],
        [step, zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0]


def own_scale(answer):
    """Return the student's scale if one can go on with it, so that one mistake costs one test."""
    values, axis = answer.inputs["values"], answer.inputs["axis"]
    scale = answer.item("scale").array().astype(np.float64)
    fits = scale.size == 1 if axis is None else scale.size in (1, values.shape[axis])
    expect(
        fits and np.isfinite(scale).all() and (scale > 0).all(),
        expected="scales that can divide: finite, positive, one for the tensor or one for each channel",
        seen=f"shape {scale.shape}, values from {np.min(scale, initial=np.inf):.4g} to {np.max(scale, initial=0):.4g}",
        misconception="A channel of zeros has amax 0, and 0 / 0 is no number. The docstring says which step it gets.",
    )
    return scale.reshape(()) if scale.size == 1 else scale.reshape(-1)


@points(2)
def test_scale(answer):
    """The step maps amax to 127."""
    values, axis, amax = (answer.inputs[name] for name in ("values", "axis", "amax"))
    expected = right_scale(values, axis, amax)
    seen = answer.item("scale").array()
    if seen.size == 1 != expected.size:
        raise Mismatch(
            expected=f"one step for each of the {expected.size} channels along axis {axis}",
            seen=f"one step, {float(seen.reshape(())):.4g}",
            misconception="That is per-tensor quantization: the loudest channel sets the step of the quietest.",
        )
    if axis is None and seen.size == 1:
        seen = seen.reshape(())
    expect(
        seen.shape == expected.shape,
        expected=f"steps of shape {expected.shape}",
        seen=f"shape {seen.shape}",
        misconception=f"There is one step for every entry of axis {axis}; the maximum goes over all other axes.",
    )
    dead = ~np.any(values, axis=tuple(index for index in range(values.ndim) if index != axis))
    bad = ~np.isfinite(seen) | (seen <= 0)
    expect(
        not bad.any(),
        expected="finite, positive steps",
        seen=f"{seen[bad].ravel()[0] if bad.any() else seen}",
        misconception="A channel that is zero everywhere has no amax to divide by." if np.any(dead) else "",
    )
    expect_close(seen, expected, rtol=1e-5, what="the step", misconception=_scale_idea(seen, expected, values, amax))


def _scale_idea(seen, expected, values, amax):
    magnitude = expected * 127
    ideas = (
        (magnitude / 128, "128 magnitudes fit only on the negative side; with this step the largest value clips."),
        (magnitude / 255, "That spreads amax over 255 steps; symmetric INT8 spends 127 of them on each sign."),
        (2 * magnitude / 255, "That is the step of 255 levels from -amax to amax; zero would not lie on a level."),
        (127 / magnitude, "That is levels per unit. The scale is units per level."),
        (magnitude, "That is amax itself: the whole range would be one step."),
        (np.float64(values.max() - values.min()) / 255, "That is the affine step, from the minimum to the maximum."),
        (np.abs(values).max() / 127 if amax is not None else np.nan, "The given amax was ignored."),
        (values.max() / 127, "The largest value is not the largest magnitude: negative values count too."),
    )
    for value, text in ideas:
        if np.allclose(seen, value, rtol=1e-4):
            return text
    return ""


@points(2)
def test_integers(answer):
    """The integers are those of ONNX's QuantizeLinear."""
    values, axis = answer.inputs["values"], answer.inputs["axis"]
    scale = own_scale(answer)
    seen = answer.item("quantized").array(shape=values.shape, dtype="int8")
    expected = onnx_quantized(values, scale, axis)
    quotients = values / along_channels(scale, values, axis)
    # One rounding more or less in the division may tip a value that lies between two integers; true ties it may not.
    borderline = (np.abs(np.abs(quotients - np.trunc(quotients)) - 0.5) < 1e-4) & (answer.case.name != "ties")
    wrong = (seen != expected) & ~(borderline & (np.abs(seen.astype(int) - expected) <= 1))
    if not wrong.any():
        return
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    raise Mismatch(
        expected=f"{expected[place]} for {quotients[place]:.4g} steps",
        seen=f"{seen[place]}; {int(wrong.sum())} of {wrong.size} integers differ",
        misconception=_rounding_idea(seen, quotients, wrong),
    )


def _rounding_idea(seen, quotients, wrong):
    limited = quotients.clip(-128, 127)
    with np.errstate(invalid="ignore"):
        wrapped = np.rint(quotients).astype(np.int64).astype(np.uint8).astype(np.int8)
    ideas = (
        (wrapped, "Values beyond the range wrapped around: a cast does not saturate, large values come back negative."),
        (np.trunc(limited), "The fraction was cut off: a cast to an integer rounds towards zero, up to a step off."),
        (np.sign(limited) * np.floor(np.abs(limited) + 0.5), "Halves went away from zero. ONNX and TensorRT round them "
         "to the even neighbour, so that errors do not add up in one direction."),
        (np.floor(limited + 0.5), "Halves went up. ONNX and TensorRT round them to the even neighbour."),
        (np.floor(limited), "Everything was rounded down."),
        (np.rint(quotients.clip(-127, 127)), "The lower limit is one too high: an INT8 has one more negative number."),
    )  # fmt: skip
    for guess, text in ideas:
        guess = np.asarray(guess)
        if np.array_equal(seen[wrong], guess[wrong].clip(-128, 127)):
            return text
    return ""


@points(1)
def test_dequantized(answer):
    """Dequantizing multiplies by the step again."""
    values, axis = answer.inputs["values"], answer.inputs["axis"]
    scale = own_scale(answer)
    integers = answer.item("quantized").array(shape=values.shape)
    seen = answer.item("dequantized").array(shape=values.shape)
    expect(
        seen.dtype.kind == "f",
        expected="real values again, float32",
        seen=f"dtype {seen.dtype}",
        misconception="Dequantized values are in the units of the input; a cast to an integer type loses them.",
    )
    expected = integers.astype(np.float64) * along_channels(scale, values, axis)
    idea = "That is the input itself: nothing was lost on the way." if np.array_equal(seen, values) else ""
    expect_close(seen, expected, rtol=1e-5, atol=1e-9, what="integer times step", misconception=idea)


@points(1)
def test_what_was_lost(answer):
    """Saturated share and signal-to-noise ratio."""
    values, axis = answer.inputs["values"].astype(np.float64), answer.inputs["axis"]
    scale = along_channels(own_scale(answer), values, axis)
    rounded = np.rint(values / scale)
    restored = np.clip(rounded, -128, 127) * scale
    share = float(np.mean((rounded > 127) | (rounded < -128)))
    seen = answer.item("saturated").number()
    idea = "It is a share from 0 to 1: divide the number of limited values by the number of values."
    if share and np.isclose(seen, 100 * share, rtol=1e-3):
        idea = "That is in percent."
    # A value between 127 and 127.5 may count or not, depending on one rounding.
    expect_close(seen, share, rtol=0, atol=1.01 / values.size, what="the saturated share", misconception=idea)
    signal, noise = np.sum(values**2), np.sum((values - restored) ** 2)
    decibel = 10 * np.log10(signal / noise)
    seen = answer.item("snr_db").number()
    expect_close(
        seen, decibel, rtol=0, atol=0.02, what="the SNR in dB", misconception=_snr_idea(seen, decibel, values, noise)
    )


def _snr_idea(seen, decibel, values, noise):
    ideas = (
        (2 * decibel, "Powers, sums of squares, take 10 log10; 20 log10 is for amplitudes."),
        (decibel / 10 * np.log(10), "That is the natural logarithm; decibels are 10 log10."),
        (10 ** (decibel / 10), "That is the ratio itself, not in decibels."),
        (-decibel, "The ratio is upside down: signal over noise."),
        (10 * np.log10(values.size * np.abs(values).max() ** 2 / noise), "That is the peak ratio, PSNR."),
    )
    for value, text in ideas:
        if np.isclose(seen, value, rtol=2e-3, atol=0.02):
            return text
    return "The signal is the sum of the squared values, the noise that of the squared differences."
