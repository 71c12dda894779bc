"""lab3.repair_exports: find out what is wrong with a broken export, and repair the graph itself."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling

networks = sibling(__file__, "networks")

BAKED = ("baked batch", "baked batch, one length inferred")
MIXED = ("baked batch and missing sigmoid", "swapped channels and missing sigmoid")

EXERCISE = Exercise(
    id="lab3.repair_exports",
    title="Repair three broken exports",
    objective="Diagnose a broken export from what it computes, and repair it by surgery on the graph.",
    answer="repair_export",
    tier="stretch",
    difficulty=5,
    minutes=60,
    cases=(*BAKED, "swapped channels", "missing sigmoid", "nothing broken", *MIXED),
    hidden=(*BAKED, "swapped channels", "missing sigmoid", "nothing broken", *MIXED),
    reading="https://onnx.ai/onnx/api/helper.html",
)

_SAMPLES = 2
_BATCHES = (1, 3, 4)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return the broken model, two images, and what PyTorch computes for them."""
    weights, size = _weights(rng), int(rng.choice([8, 12]))
    sound = _sound(weights, size)
    images = rng.random((_SAMPLES, 3, size, size), np.float32)
    broken = ModelProto()
    broken.CopyFrom(sound)
    if "swapped channels" in case:
        _swap_channels(broken)
    if "missing sigmoid" in case:
        _drop_sigmoid(broken)
    if "baked batch" in case:
        _bake_batch(broken, inferred="inferred" in case, size=size)
    return {"model": broken, "images": images, "expected": networks.run_model(sound, images)}


def run(answer, *, model: ModelProto, images: np.ndarray, expected: np.ndarray) -> object:
    """Return the repaired model as a file."""
    repaired = answer(model, images, expected)
    if not isinstance(repaired, ModelProto):
        return repaired
    path = scratch() / "repaired.onnx"
    path.write_bytes(repaired.SerializeToString())
    return path


def _weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    weights = networks.detector_weights(rng)
    weights["gain"] = rng.uniform(0.5, 2, len(weights["conv"])).astype(np.float32)
    return weights


def _sound(weights: dict[str, np.ndarray], size: int) -> ModelProto:
    """Return a detector in whose graph a constant is reshaped too, as exporters leave them behind."""
    rows = len(weights["head_bias"])
    constants = dict(weights)
    constants |= {
        "flat": np.array([-1, rows, size * size], np.int64),
        "as_gain": np.array([1, len(weights["gain"]), 1, 1], np.int64),
        "split": np.array([4, rows - 4], np.int64),
        "stride": np.array(8, np.float32),
    }
    nodes = [
        networks.node("Conv", "images conv conv_bias", "c", pads=[1, 1, 1, 1]),
        networks.node("Sigmoid", "c", "s"),
        networks.node("Mul", "c s", "a"),
        networks.node("Reshape", "gain as_gain", "g"),
        networks.node("Mul", "a g", "scaled"),
        networks.node("Conv", "scaled head head_bias", "h"),
        networks.node("Reshape", "h flat", "f"),
        networks.node("Split", "f split", "b logits", axis=1),
        networks.node("Mul", "b stride", "boxes"),
        networks.node("Sigmoid", "logits", "scores"),
        networks.node("Concat", "boxes scores", "output", axis=1),
    ]
    return networks.model_of(
        nodes,
        inputs={"images": ("batch", 3, size, size)},
        outputs={"output": ("batch", rows, size * size)},
        constants=constants,
    )


def _initializer(model: ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _swap_channels(model: ModelProto) -> None:
    """Let the first convolution take blue first."""
    tensor = _initializer(model, "conv")
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(tensor)[:, ::-1]), "conv"))


def _drop_sigmoid(model: ModelProto) -> None:
    """Leave the scores as they come out of the last convolution."""
    node = next(node for node in model.graph.node if node.output[0] == "scores")
    model.graph.node.remove(node)
    last = model.graph.node[-1]
    last.input[1] = "logits"


def _bake_batch(model: ModelProto, *, inferred: bool, size: int) -> None:
    """Write the batch size into the shapes, as an export with an example of one image and no free axes does."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    tensor = _initializer(model, "flat")
    rows = int(numpy_helper.to_array(tensor)[1])
    shape = numpy_helper.from_array(np.array([1, rows, -1 if inferred else size * size], np.int64), "flat")
    if inferred:
        tensor.CopyFrom(shape)
    else:
        model.graph.initializer.remove(tensor)
        model.graph.node.insert(0, networks.node("Constant", "", "flat", value=shape))
    inferred_model = onnx.shape_inference.infer_shapes(model)
    model.graph.value_info.extend(inferred_model.graph.value_info)


def _repaired(answer) -> bytes:
    """Return the student's model as bytes, or say what came instead."""
    path = answer.file(suffix=".onnx")
    content = path.read_bytes()
    try:
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    except Exception as error:
        seen = " ".join(str(error).split())[:220]
        raise Mismatch(
            expected="a valid model",
            seen=seen,
            misconception="After surgery the recorded shapes have to be true again, a shape may hold one -1 "
            "only, and nodes stand after those they read from.",
        ) from None
    return content


def _sound_of(answer) -> tuple[ModelProto, int]:
    """Return the sound model of a case, from the same random numbers as the broken one."""
    images = answer.inputs["images"]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in answer.inputs["model"].graph.initializer}
    names = ("conv", "conv_bias", "head", "head_bias", "gain")
    sound = {name: weights[name] for name in names}
    if "swapped channels" in answer.case.name:
        sound["conv"] = np.ascontiguousarray(sound["conv"][:, ::-1])
    return _sound(sound, images.shape[-1]), images.shape[-1]


def _check_outputs(answer) -> None:
    content = _repaired(answer)
    sound, size = _sound_of(answer)
    rng = np.random.default_rng(7)
    for batch in _BATCHES:
        images = rng.random((batch, 3, size, size), np.float32)
        right = networks.run_model(sound, images)
        seen = networks.run_answer(
            content, images, what=f"predictions for {batch} images",
            misconception="A batch size is still written somewhere (a declared axis, a shape that a Reshape reads), "
            "or a shape was changed that has nothing to do with the batch.",
        )  # fmt: skip
        if seen.shape != right.shape:
            raise Mismatch(expected=f"predictions of shape {right.shape}", seen=f"shape {seen.shape}",
                           misconception=_shape_idea(seen.shape, right.shape))  # fmt: skip
        error = networks.relative_l2(seen, right)
        if error >= 1e-4:
            raise Mismatch(
                expected=f"PyTorch's predictions for {batch} new images (relative L2 error below 1e-4)",
                seen=f"relative L2 error {error:.3g}",
                misconception=_idea(seen, right, sound, images),
            )


def _shape_idea(seen: tuple[int, ...], right: tuple[int, ...]) -> str:
    if len(seen) == 3 and seen[0] != right[0]:
        return "The images of a batch ended up in another axis: only the batch may take up what is left over."
    return ""


def _idea(seen: np.ndarray, right: np.ndarray, sound: ModelProto, images: np.ndarray) -> str:
    """Return what is still wrong, or newly so."""

    def near(one: np.ndarray, other: np.ndarray) -> bool:
        return networks.relative_l2(one, other) < 1e-3

    with np.errstate(over="ignore"):
        squashed, twice = 1 / (1 + np.exp(-right)), 1 / (1 + np.exp(-right[:, 4:]))
        now = 1 / (1 + np.exp(-seen[:, 4:]))
    swapped = networks.run_model(sound, np.ascontiguousarray(images[:, ::-1]))
    if near(seen[:, :4], squashed[:, :4]):
        return "Box coordinates are pixels: the sigmoid belongs to the scores alone."
    if near(seen[:, :4], right[:, :4]) and near(seen[:, 4:], twice):
        return "The scores went through the sigmoid twice."
    if near(seen[:, :4], right[:, :4]) and near(now, right[:, 4:]):
        return "The scores are still logits, from below 0 to above 1."
    if near(seen[:, :4], swapped[:, :4]):
        return "The channels are still (or now) in the wrong order: the images are RGB."
    return "Run the model on the given images, and try on paper which single change gives the expected output."


@points(4, cases=BAKED)
def test_baked_batch(answer):
    """A baked batch is freed."""
    _check_outputs(answer)
    model = onnx.load_from_string(_repaired(answer))
    dims = [value.type.tensor_type.shape.dim for value in (model.graph.input[0], model.graph.output[0])]
    expect(
        all(len(axes) and not axes[0].HasField("dim_value") for axes in dims),
        expected="no number in the first axis of input and output",
        seen=", ".join(str(axes[0].dim_value) for axes in dims if len(axes)),
        misconception="What the file declares is what an engine is built for.",
    )


@points(3, cases=("swapped channels",))
def test_swapped_channels(answer):
    """Swapped channels are put right."""
    _check_outputs(answer)


@points(4, cases=("missing sigmoid",))
def test_missing_sigmoid(answer):
    """The missing sigmoid is put back where it belongs."""
    _check_outputs(answer)


@points(2, cases=("nothing broken", "swapped channels"))
def test_nothing_else_is_touched(answers):
    """A sound export stays as it is, while a broken one does not."""
    for answer in answers:
        _check_outputs(answer)


@points(3, cases=MIXED)
def test_two_faults(answer):
    """Two faults in one export are both repaired."""
    _check_outputs(answer)
