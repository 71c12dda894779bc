"""lab3.fuse_conv_bn: fold batch normalization into the convolution before it."""

from __future__ import annotations

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points, sibling

networks = sibling(__file__, "networks")

EXERCISE = Exercise(
    id="lab3.fuse_conv_bn",
    title="Fuse convolution and batch norm",
    objective="Derive the fused weights, and know why the fused layer computes the same.",
    answer="fuse_conv_bn",
    difficulty=3,
    minutes=20,
    cases=("no bias", "with bias", "depthwise", "dead channel", "large epsilon"),
    hidden=("no bias", "with bias", "depthwise", "dead channel", "large epsilon"),
    forbidden=("torch.nn.utils.fusion.fuse_conv_bn_weights", "torch.nn.utils.fusion.fuse_conv_bn_eval",
               "ultralytics.utils.torch_utils.fuse_conv_and_bn"),
    reading="https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html",
)  # fmt: skip


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return the parameters of a convolution and of the batch norm after it, float32."""
    outputs, channels = int(rng.integers(6, 10)), int(rng.integers(3, 6))
    if case == "depthwise":
        channels = 1
    weight = rng.normal(0, 0.4, (outputs, channels, 3, 3))
    gamma, beta = rng.uniform(-2, 2, outputs), rng.normal(0, 1, outputs)
    mean, variance = rng.normal(0, 1, outputs), rng.uniform(0.1, 3, outputs)
    if case == "dead channel":
        variance[int(rng.integers(outputs))] = 0.0
        gamma[int(rng.integers(outputs))] = 0.0
    arrays = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    bias = None if case == "no bias" else rng.normal(0, 1, outputs).astype(np.float32)
    return {
        "weight": weight.astype(np.float32),
        "bias": bias,
        **{name: value.astype(np.float32) for name, value in arrays.items()},
        "epsilon": 1e-5 if case == "no bias" else 1e-3 if case != "large epsilon" else 0.1,
    }


def run(answer, **given) -> object:
    """Call the answer."""
    fused = answer(**given)
    return list(fused) if isinstance(fused, tuple) else fused


def _reference(given: dict) -> tuple[np.ndarray, np.ndarray]:
    weight = given["weight"].astype(np.float64)
    bias = np.zeros(len(weight)) if given["bias"] is None else given["bias"].astype(np.float64)
    gain = given["gamma"].astype(np.float64) / np.sqrt(given["variance"].astype(np.float64) + given["epsilon"])
    return weight * gain.reshape(-1, 1, 1, 1), given["beta"] + gain * (bias - given["mean"])


def _fused(answer) -> tuple[np.ndarray, np.ndarray]:
    expect(len(answer.list()) == 2, expected="a pair: weight and bias", seen=f"{len(answer.list())} values")
    shape = answer.inputs["weight"].shape
    return answer.item(0).array(shape=shape), answer.item(1).array(shape=shape[:1])


@points(2)
def test_form(answer):
    """Weight and bias come as float32 arrays of the convolution's shapes."""
    fused = _fused(answer)
    for name, value in zip(("weight", "bias"), fused, strict=True):
        expect(
            value.dtype == np.float32,
            expected=f"{name} as float32, as the graph stores it",
            seen=f"{value.dtype}",
            misconception="Arithmetic in float64 is fine, but the result goes back into a float32 graph.",
        )
        expect(np.isfinite(value).all(), expected="finite values", seen=f"NaN or infinity in {name}",
               misconception="A channel's variance may be zero: that is what epsilon is for.")  # fmt: skip


@points(3)
def test_weight(answer):
    """The weight is scaled per output channel."""
    fused, given = _fused(answer)[0].astype(np.float64), answer.inputs
    right = _reference(given)[0]
    if np.allclose(fused, right, rtol=1e-4, atol=1e-5):
        return
    for factor, words in _factors(given):
        with np.errstate(invalid="ignore"):
            value = given["weight"].astype(np.float64) * factor.reshape(-1, 1, 1, 1)
        if np.allclose(fused, value, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise Mismatch(
                expected="the fused weight", seen="one that is off by a factor per channel", misconception=words
            )
    words = "Each output channel has one factor; the output channels are the first axis of the weight."
    expect_close(fused, right, what="the fused weight", rtol=1e-4, atol=1e-5, misconception=words)


def _factors(given: dict) -> list[tuple[np.ndarray, str]]:
    """Return the factors that known mistakes give, and their names."""
    gamma, variance = given["gamma"].astype(np.float64), given["variance"].astype(np.float64)
    epsilon = given["epsilon"]
    other_epsilon = "Epsilon is missing, or not the one that was given: YOLO uses another one than PyTorch's default."
    with np.errstate(divide="ignore", invalid="ignore"):
        return [
            (gamma / (variance + epsilon), "Divide by the standard deviation, not by the variance."),
            (gamma / np.sqrt(variance), other_epsilon),
            (gamma / np.sqrt(variance + 1e-5), other_epsilon),
            (gamma / (np.sqrt(variance) + epsilon), "Epsilon belongs under the root."),
            (1 / np.sqrt(variance + epsilon), "Gamma is missing."),
            (gamma, "The variance is missing."),
        ]


@points(3)
def test_bias(answer):
    """The bias takes up mean, beta and the convolution's own bias."""
    seen, given = _fused(answer)[1].astype(np.float64), answer.inputs
    right = _reference(given)[1]
    if np.allclose(seen, right, rtol=1e-4, atol=1e-5):
        return
    gain = given["gamma"] / np.sqrt(given["variance"].astype(np.float64) + given["epsilon"])
    old = 0.0 if given["bias"] is None else given["bias"].astype(np.float64)
    ideas = (
        (given["beta"] - gain * given["mean"], "The convolution had a bias already, and it passes through the norm."),
        (
            given["beta"] - gain * given["mean"] + old,
            "The old bias passes through the norm too: it is scaled like the rest.",
        ),
        (given["beta"] - given["mean"] + old, "Mean and old bias have to be scaled like the weight."),
        (given["beta"] + gain * (given["mean"] + old), "The mean is subtracted."),
        (gain * (old - given["mean"]), "Beta is missing."),
        (np.broadcast_to(given["beta"], right.shape), "The mean is missing."),
    )
    words = "The norm is applied to the convolution's whole output, its bias included."
    for value, idea in ideas:
        if np.allclose(seen, value, rtol=1e-4, atol=1e-5):
            words = idea
            break
    expect_close(seen, right, what="the fused bias", rtol=1e-4, atol=1e-5, misconception=words)


@points(2)
def test_same_outputs(answer):
    """ONNX Runtime computes the same with the fused layer as with the two layers."""
    weight, bias = _fused(answer)
    given = answer.inputs
    group = given["weight"].shape[0] if answer.case.name == "depthwise" else 1
    channels = given["weight"].shape[1] * group
    images = np.random.default_rng(5).normal(0, 1, (2, channels, 9, 9)).astype(np.float32)
    expected = networks.run_model(_layers(given, channels, group), images)
    constants = {"w": weight.astype(np.float32), "b": bias.astype(np.float32)}
    fused = [networks.node("Conv", "x w b", "y", pads=[1, 1, 1, 1], group=group)]
    actual = networks.run_model(_model(fused, channels, len(weight), constants), images)
    error = networks.relative_l2(actual, expected)
    expect(
        error < 1e-5,
        expected="the outputs of convolution and batch norm (relative L2 error below 1e-5)",
        seen=f"relative L2 error {error:.3g}",
        misconception="Write the norm's formula with the convolution put in for x, and collect what multiplies x.",
    )


def _layers(given: dict, channels: int, group: int):
    constants = {name: given[name] for name in ("weight", "gamma", "beta", "mean", "variance")}
    if given["bias"] is not None:
        constants["bias"] = given["bias"]
    conv = "x weight bias" if given["bias"] is not None else "x weight"
    nodes = [
        networks.node("Conv", conv, "c", pads=[1, 1, 1, 1], group=group),
        networks.node("BatchNormalization", "c gamma beta mean variance", "y", epsilon=given["epsilon"]),
    ]
    return _model(nodes, channels, len(given["weight"]), constants)


def _model(nodes, channels: int, outputs: int, constants: dict[str, np.ndarray]):
    return networks.model_of(
        nodes, inputs={"x": ("n", channels, 9, 9)}, outputs={"y": ("n", outputs, 9, 9)}, constants=constants
    )


@points(1)
def test_inputs_stay_as_they_are(answer):
    """The given arrays are not changed in place."""
    _fused(answer)
    expect(
        not answer.changed_inputs,
        expected="the arrays as they were",
        seen=f"changed: {', '.join(answer.changed_inputs)}",
        misconception="`*=` on an array changes the caller's: the unfused layer would be damaged.",
    )
