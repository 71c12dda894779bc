"""lab5.roofline: how fast a convolution can be at most, and what holds it back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect_close, points

_KEYS = ("flops", "bytes", "intensity", "attainable_gflops", "bound", "least_ms")

EXERCISE = Exercise(
    id="lab5.roofline",
    title="The roofline of a convolution",
    objective="Tell from a layer's shape whether arithmetic or memory holds it back, and how fast it can be at most.",
    answer="roofline",
    difficulty=3,
    minutes=25,
    cases=("3x3", "1x1", "stride 2", "depthwise", "a batch", "INT8"),
    hidden=("3x3", "stride 2", "depthwise", "a batch", "INT8"),
    seconds=5.0,
    reading="https://docs.nvidia.com/deeplearning/performance/dl-performance-gpu-background/index.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A convolution, and what the machine can do."""
    side = int(rng.integers(3, 12)) * 8
    layer = {
        "batch": int(rng.integers(3, 17)) if case == "a batch" else 1,
        "in_channels": int(rng.integers(2, 17)) * 8,
        "out_channels": int(rng.integers(2, 17)) * 8,
        "in_hw": (side, side + 8),
        "kernel": 1 if case == "1x1" else 3,
        "stride": 2 if case == "stride 2" else 1,
        "padding": 0 if case == "1x1" else 1,
        "groups": 1,
        "bytes_per_value": 1 if case == "INT8" else 4 if case in ("3x3", "depthwise") else 2,
    }
    if case == "stride 2":  # odd, so that a division without remainder gives it away
        layer["in_hw"] = (side + 1, side + 5)
    if case == "depthwise":
        layer["out_channels"] = layer["groups"] = layer["in_channels"]
    bandwidth = float(rng.integers(100, 1000))
    intensity = _reference(layer, 1.0, 1.0)["intensity"]
    memory_bound = case in ("1x1", "depthwise", "stride 2")
    ratio = rng.uniform(0.2, 0.7) if memory_bound else rng.uniform(1.5, 4.0)  # of intensity to the ridge
    return {
        "layer": layer,
        "peak_gflops": float(round(intensity * bandwidth / ratio)),
        "bandwidth_gb_s": bandwidth,
    }


def _out_hw(layer: Mapping) -> tuple[int, int]:
    height, width = ((s + 2 * layer["padding"] - layer["kernel"]) // layer["stride"] + 1 for s in layer["in_hw"])
    return height, width


def _counts(layer: Mapping) -> dict[str, float]:
    """Return the values of input, weights and output, and the multiplications."""
    height, width = _out_hw(layer)
    per_output = layer["in_channels"] // layer["groups"] * layer["kernel"] ** 2
    return {
        "input": layer["batch"] * layer["in_channels"] * layer["in_hw"][0] * layer["in_hw"][1],
        "weights": layer["out_channels"] * per_output,
        "output": layer["batch"] * layer["out_channels"] * height * width,
        "macs": layer["batch"] * layer["out_channels"] * height * width * per_output,
    }


def _reference(layer: Mapping, peak_gflops: float, bandwidth_gb_s: float) -> dict[str, float]:
    counts = _counts(layer)
    nbytes = float(layer["bytes_per_value"] * (counts["input"] + counts["weights"] + counts["output"]))
    return _derived(2.0 * counts["macs"], nbytes, peak_gflops, bandwidth_gb_s)


def _from_own_counts(answer) -> dict[str, float]:
    """Return what follows from the answer's own operations and bytes: a mistake there costs its points only once."""
    flops, nbytes = answer.item("flops").number(), answer.item("bytes").number()
    if min(flops, nbytes) <= 0:
        raise Mismatch(expected="more than 0 operations and bytes", seen=f"{flops:g} and {nbytes:g}")
    return _derived(flops, nbytes, answer.inputs["peak_gflops"], answer.inputs["bandwidth_gb_s"])


def _derived(flops: float, nbytes: float, peak_gflops: float, bandwidth_gb_s: float) -> dict[str, float]:
    intensity = flops / nbytes
    attainable = min(peak_gflops, intensity * bandwidth_gb_s)
    return {
        "flops": flops,
        "bytes": nbytes,
        "intensity": intensity,
        "attainable_gflops": attainable,
        "least_ms": flops / attainable / 1e6,
    }


def _first(ideas: Mapping[str, float], seen: float) -> str:
    return next((idea for idea, value in ideas.items() if np.isclose(seen, value, rtol=1e-9)), "")


def picture(answer):
    """Show the layer under the roofline: where it belongs, and where the answer puts it."""
    from yolotrt_lab.figures.verdicts import roofline_points

    layer, peak, bandwidth = (answer.inputs[name] for name in ("layer", "peak_gflops", "bandwidth_gb_s"))
    right = _reference(layer, peak, bandwidth)
    expected = right["intensity"], right["attainable_gflops"]
    seen = answer.item("intensity").number(), answer.item("attainable_gflops").number()
    if min(seen) <= 0 or max(seen) > 1e12 or np.allclose(seen, expected, rtol=1e-6):
        return None
    return Drawing(
        roofline_points(peak, bandwidth, expected=expected, seen=seen),
        caption=f"The layer of “{answer.case.name}” under the machine's roofline. Dotted: its ridge.",
        alt=f"The layer has {expected[0]:.4g} operations per byte and can reach {expected[1]:.4g} GFLOP/s. The answer "
        f"says {seen[0]:.4g} and {seen[1]:.4g}.",
    )


@points(1)
def test_operations(answer):
    """The operations are those of every output value, multiplications and additions."""
    answer.mapping(keys=_KEYS)
    layer, counts = answer.inputs["layer"], _counts(answer.inputs["layer"])
    seen, right = answer.item("flops").number(), 2 * counts["macs"]
    positions = layer["batch"] * layer["out_channels"] * layer["in_hw"][0] * layer["in_hw"][1]
    ideas = {
        "These are multiply-accumulates: each one is two operations, a multiplication and an addition.": right / 2,
        "This counts an output for every input position; a stride skips some.": right * positions / counts["output"],
        "In a grouped convolution an output sees only the input channels of its group.": right * layer["groups"],
        "This is for one image; the batch has more.": right / layer["batch"],
        "The kernel covers k times k positions, not k.": right / layer["kernel"],
    }
    expect_close(
        seen, right, what="floating-point operations", rtol=1e-9,
        misconception="" if np.isclose(seen, right, rtol=1e-9) else _first(ideas, seen),
    )  # fmt: skip


@points(1)
def test_bytes(answer):
    """The bytes are those of input, weights and output, each moved once."""
    answer.mapping(keys=_KEYS)
    layer, counts = answer.inputs["layer"], _counts(answer.inputs["layer"])
    size = layer["bytes_per_value"]
    seen, right = answer.item("bytes").number(), size * (counts["input"] + counts["weights"] + counts["output"])
    ideas = {
        "These are values; each takes several bytes.": right / size,
        "Every value is counted with four bytes; this layer computes in another type.": 4 * right / size,
        "The weights have to be read too.": right - size * counts["weights"],
        "The output has to be written too.": right - size * counts["output"],
        "The input has to be read too.": right - size * counts["input"],
        "All images of a batch use the same weights: they are read once.": right
        + size * (layer["batch"] - 1) * counts["weights"],
        "The weights of a group see only the input channels of that group.": right
        + size * (layer["groups"] - 1) * counts["weights"],
        "This is for one image; the batch has more.": size
        * ((counts["input"] + counts["output"]) / layer["batch"] + counts["weights"]),
    }
    expect_close(
        seen, right, what="bytes", rtol=1e-9,
        misconception="" if np.isclose(seen, right, rtol=1e-9) else _first(ideas, seen),
    )  # fmt: skip


@points(1)
def test_intensity_and_attainable_rate(answer):
    """The attainable rate is what memory can feed at this intensity, but not more than the peak."""
    answer.mapping(keys=_KEYS)
    right = _from_own_counts(answer)
    peak, bandwidth = answer.inputs["peak_gflops"], answer.inputs["bandwidth_gb_s"]
    intensity = answer.item("intensity").number()
    ideas = {
        "This is bytes per operation; intensity is operations per byte.": 1 / right["intensity"],
        "These are multiply-accumulates per byte.": right["intensity"] / 2,
        "This is the ridge point: the intensity of the machine, not of the layer.": peak / bandwidth,
    }
    expect_close(
        intensity, right["intensity"], what="the intensity in operations per byte", rtol=1e-9,
        misconception="" if np.isclose(intensity, right["intensity"], rtol=1e-9) else _first(ideas, intensity),
    )  # fmt: skip
    seen = answer.item("attainable_gflops").number()
    fed = right["intensity"] * bandwidth
    hint = ""
    if np.isclose(seen, peak):
        hint = "The peak is out of reach for this layer: memory cannot bring the operands that fast."
    elif np.isclose(seen, fed):
        hint = "Memory could feed more than the arithmetic can take: no layer is faster than the peak."
    elif np.isclose(seen, bandwidth / right["intensity"]):
        hint = "Check the units: operations per byte times bytes per second."
    expect_close(seen, right["attainable_gflops"], what="GFLOP/s", rtol=1e-9, misconception=hint)


@points(2)
def test_bound_and_least_time(answer):
    """The bound names what holds the layer back, and no run can be shorter than the least time."""
    answer.mapping(keys=_KEYS)
    right = _from_own_counts(answer)
    peak, bandwidth = answer.inputs["peak_gflops"], answer.inputs["bandwidth_gb_s"]
    memory_bound = right["intensity"] * bandwidth < peak
    seen = answer.item("bound").text().strip().lower()
    if seen not in ("memory", "compute"):
        raise Mismatch(expected='bound: "memory" or "compute"', seen=repr(seen))
    if (seen == "memory") != memory_bound:
        where = "left" if memory_bound else "right"
        raise Mismatch(
            expected=f"what holds back a layer of {right['intensity']:.1f} operations per byte on a machine whose "
            f"ridge is at {peak / bandwidth:.1f}",
            seen=f'"{seen}"',
            misconception=f"The layer lies {where} of the ridge. Which of the two lines is the lower one there?",
        )
    least, best = answer.item("least_ms").number(), right["least_ms"]
    transfer, compute = right["bytes"] / bandwidth / 1e6, right["flops"] / peak / 1e6
    ideas = {
        "These are seconds.": best / 1e3,
        "These are microseconds.": best * 1e3,
        "Reading and computing go on at once: the longer of the two counts, not their sum.": transfer + compute,
        "At its peak the machine would need that; it does not get the operands so fast.": compute,
        "Memory would allow that; the arithmetic takes longer.": transfer,
    }
    expect_close(
        least, best, what="the least time in milliseconds", rtol=1e-9,
        misconception="" if np.isclose(least, best, rtol=1e-9) else _first(ideas, least),
    )  # fmt: skip
