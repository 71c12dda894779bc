"""lab3.dynamic_export: write a PyTorch module as an ONNX file with a free batch axis, agreed names and operator set."""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnx
from onnx import ModelProto

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling

networks = sibling(__file__, "networks")

EXERCISE = Exercise(
    id="lab3.dynamic_export",
    title="Export with a dynamic batch",
    objective="Export a module so that the file takes any batch size, with the names and the operator set agreed on.",
    answer="export_dynamic",
    difficulty=2,
    minutes=20,
    cases=("classifier", "detector", "classifier in training mode"),
    hidden=("classifier", "detector", "classifier in training mode"),
    seconds=30.0,
    reading="https://docs.pytorch.org/docs/stable/onnx_torchscript.html",
)

OPSET = 17
BATCHES = (1, 2, 5)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return the weights as arrays: the judge needs no PyTorch."""
    detector = case == "detector"
    size = int(rng.choice([8, 12, 16]))
    weights = networks.detector_weights(rng) if detector else networks.classifier_weights(rng)
    example = rng.random((1, 3, size, size), np.float32)
    return {"kind": "detector" if detector else "classifier", "training": "training" in case, "weights": weights,
            "example": example}  # fmt: skip


def run(answer, *, kind: str, training: bool, weights: dict[str, np.ndarray], example: np.ndarray) -> object:
    """Build the module, let the answer export it, and tell whether the module is as it was."""
    import torch

    module = _module(kind, weights).train(training)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    path = scratch() / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that there is a newer one
        answer(module, torch.from_numpy(example.copy()), path)
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    return {"file": path, "changed": changed, "training": module.training}


def _module(kind: str, weights: dict[str, np.ndarray]):
    """Return the PyTorch module with these weights."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            channels, classes = len(weights["gamma"]), len(weights["bias"])
            self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)
            self.drop = nn.Dropout(0.5)
            self.linear = nn.Linear(channels, classes)

        def forward(self, images):
            features = functional.silu(self.norm(self.conv(images)))
            return self.linear(self.drop(features.mean((2, 3))))

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, len(weights["conv"]), 3, padding=1)
            self.head = nn.Conv2d(len(weights["conv"]), len(weights["head"]), 1)

        def forward(self, images):
            raw = self.head(functional.silu(self.conv(images))).flatten(2)
            return torch.cat((raw[:, :4] * 8, raw[:, 4:].sigmoid()), dim=1)

    module = Classifier() if kind == "classifier" else Detector()
    names = {
        "classifier": {"conv": "conv.weight", "gamma": "norm.weight", "beta": "norm.bias", "mean": "norm.running_mean",
                       "variance": "norm.running_var", "linear": "linear.weight", "bias": "linear.bias"},
        "detector": {"conv": "conv.weight", "conv_bias": "conv.bias", "head": "head.weight", "head_bias": "head.bias"},
    }[kind]  # fmt: skip
    state = {names[name]: torch.from_numpy(value.copy()) for name, value in weights.items()}
    module.load_state_dict(state, strict=False)
    return module


def _exported(answer) -> ModelProto:
    """Return the student's model, or say that there is none."""
    path = answer.item("file").file(suffix=".onnx")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:
        raise Mismatch(expected="an ONNX file at `path`", seen=f"a file that does not parse ({error})") from None
    if not model.graph.node:
        raise Mismatch(expected="an ONNX file at `path`", seen=f"{path.stat().st_size} bytes without a graph")
    return model


def _graph_inputs(model: ModelProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _axes(value: onnx.ValueInfoProto) -> list[int | str]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


@points(2)
def test_the_file_is_valid(answer):
    """The file is a valid ONNX model with its weights inside."""
    model = _exported(answer)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        seen = " ".join(str(error).split())[:200]
        raise Mismatch(expected="a model that onnx.checker accepts", seen=seen) from None
    names = [value.name for value in _graph_inputs(model)]
    expect(
        len(names) == 1,
        expected="one input, the images",
        seen=f"{len(names)} inputs: {', '.join(names[:4])} …",
        misconception="The weights became inputs: left out of the file, somebody has to bring them along.",
    )
    kernel = answer.inputs["weights"]["conv"].size
    stored = max((math.prod(tensor.dims) for tensor in model.graph.initializer), default=0)
    expect(
        stored >= kernel,
        expected=f"weights in the file, the first convolution's {kernel} among them",
        seen=f"at most {stored} numbers in one tensor",
        misconception="Is this the module that was given?",
    )


@points(3)
def test_names_and_operator_set(answer):
    """Names and operator set are the agreed ones."""
    model = _exported(answer)
    names = ([value.name for value in _graph_inputs(model)], [value.name for value in model.graph.output])
    expect(
        names == (["images"], ["scores"]),
        expected="input images, output scores",
        seen=f"input {', '.join(names[0])}, output {', '.join(names[1])}",
        misconception="Left alone, the exporter invents names. Whoever feeds the engine addresses tensors by name, so "
        "the names are part of the contract.",
    )
    versions = {entry.domain: entry.version for entry in model.opset_import}
    seen = versions.get("", versions.get("ai.onnx"))
    expect(
        seen == OPSET,
        expected=f"operator set {OPSET}",
        seen=f"operator set {seen}",
        misconception="Without a number the exporter takes its own default, which changes with PyTorch's version.",
    )


@points(3)
def test_only_the_batch_is_free(answer):
    """The batch axis is free and everything else is fixed."""
    model = _exported(answer)
    given = _graph_inputs(model)[:1]
    expect(given, expected="an input", seen="none")
    axes, size = _axes(given[0]), answer.inputs["example"].shape
    expect(
        len(axes) == 4 and isinstance(axes[0], str),
        expected=f"input axes [a name, {size[1]}, {size[2]}, {size[3]}]",
        seen=axes,
        misconception="The batch is fixed: tracing takes the example's shape at its word unless told what may vary.",
    )
    expect(
        axes[1:] == list(size[1:]),
        expected=f"input axes [a name, {size[1]}, {size[2]}, {size[3]}]",
        seen=axes,
        misconception="More than the batch is free. Free height and width cost speed in every engine: only what has to "
        "vary should.",
    )
    made = _axes(model.graph.output[0])
    expect(
        made and made[0] == axes[0],
        expected=f"output axes starting with {axes[0]!r}, the name of the input's batch axis",
        seen=made,
        misconception="The output's batch axis has another name (or a number), so nobody can see from the file that it "
        "is as long as the input's.",
    )


@points(3)
def test_right_at_every_batch_size(answer):
    """ONNX Runtime computes what the module computes, at batch sizes 1, 2 and 5."""
    content = _exported(answer).SerializeToString()
    given = answer.inputs
    size = given["example"].shape[-1]
    build = networks.detector_model if given["kind"] == "detector" else networks.classifier_model
    reference = build(given["weights"], size=size)
    rng = np.random.default_rng(3)
    for batch in BATCHES:
        images = rng.random((batch, 3, size, size), np.float32)
        expected = networks.run_model(reference, images)
        actual = networks.run_answer(
            content, images, what=f"scores for {batch} images",
            misconception="The file takes one batch size only, that of the example.",
        )  # fmt: skip
        if actual.shape != expected.shape:
            raise Mismatch(expected=f"scores of shape {expected.shape}", seen=f"shape {actual.shape}")
        error = networks.relative_l2(actual, expected)
        expect(
            error < 1e-4,
            expected=f"the module's own scores in evaluation mode for {batch} images (relative L2 error below 1e-4)",
            seen=f"relative L2 error {error:.3g}",
            misconception="Batch norm and dropout behave differently in training mode: was the module traced, or even "
            "run, in that mode?",
        )


@points(1)
def test_the_module_is_as_it_was(answer):
    """The module is left as it was found."""
    _exported(answer)  # nobody who did nothing has earned it
    changed = answer.item("changed").list()
    expect(
        not changed,
        expected="the same parameters and buffers as before",
        seen=f"changed: {', '.join(map(str, changed[:4]))}",
        misconception="A forward pass in training mode updates the running statistics of batch norm.",
    )
    expect(
        answer.item("training").boolean() == answer.inputs["training"],
        expected=f"training is {answer.inputs['training']}, as before",
        seen=f"training is {not answer.inputs['training']}",
        misconception="Whoever goes on training after the export does so without dropout, with frozen statistics.",
    )
