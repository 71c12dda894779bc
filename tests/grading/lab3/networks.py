"""Small ONNX graphs for the exercises of lab 3, written node by node, and ONNX Runtime to run them.

Nothing here is exported, so that the judge's graphs do not depend on PyTorch or its exporter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.grading import Mismatch

Weights = dict[str, np.ndarray]
Axes = Sequence[int | str | None]

OPSET = 17
IR_VERSION = 8


def model_of(
    nodes: Sequence[NodeProto],
    *,
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    constants: Mapping[str, np.ndarray],
    opset: int = OPSET,
    more_opsets: Mapping[str, int] | None = None,
    element_type: int = TensorProto.FLOAT,
) -> ModelProto:
    """Return a model; text and None in shapes are dynamic axes."""
    graph = helper.make_graph(
        list(nodes),
        "lab3",
        [helper.make_tensor_value_info(name, element_type, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element_type, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, version) for domain, version in (more_opsets or {}).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="lab3")


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """Return a node; tensor names are separated by blanks, and the node is named after its first output."""
    made = outputs.split()
    return helper.make_node(op_type, inputs.split(), made, name=f"{op_type}_{made[0]}", **attributes)


def session_of(model: ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Return a session on one CPU thread that logs nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_model(model: ModelProto | bytes, images: np.ndarray) -> np.ndarray:
    """Return the only output of a sound model for its only input."""
    session = session_of(model)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def run_answer(content: bytes, images: np.ndarray, *, what: str, misconception: str = "") -> np.ndarray:
    """Return what a student's model computes, or raise `Mismatch` with ONNX Runtime's words if it does not run."""
    try:
        session = session_of(content)
        inputs = session.get_inputs()
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        outputs = session.run(None, {inputs[0].name: images}, options) if len(inputs) == 1 else []
    except Exception as error:  # ONNX Runtime raises classes of its own
        words = " ".join(str(error).split())[:220]
        raise Mismatch(expected=what, seen=f"ONNX Runtime refuses: {words}", misconception=misconception) from None
    if len(outputs) != 1 or not isinstance(outputs[0], np.ndarray) or outputs[0].dtype.kind != "f":
        seen = f"{len(inputs)} inputs and {len(outputs)} outputs" if len(outputs) != 1 else str(type(outputs[0]))
        raise Mismatch(expected=f"{what}, from one input to one float output", seen=seen)
    return outputs[0]


def relative_l2(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the relative L2 error; infinite where shapes differ or a value is not finite."""
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    difference = np.linalg.norm(actual.astype(np.float64).ravel() - expected.astype(np.float64).ravel())
    return float(difference / max(float(np.linalg.norm(expected.astype(np.float64).ravel())), 1e-30))


def _kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return convolution weights that keep the size of the values."""
    return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)


def classifier_weights(rng: np.random.Generator) -> Weights:
    """Return weights of convolution, batch norm, SiLU, average, linear."""
    channels, classes = int(rng.integers(6, 12)), int(rng.integers(3, 7))
    return {
        "conv": _kernel(rng, channels, 3, 3, 3),
        "gamma": rng.uniform(0.5, 2, channels).astype(np.float32),
        "beta": rng.normal(0, 0.5, channels).astype(np.float32),
        "mean": rng.normal(0, 0.5, channels).astype(np.float32),
        "variance": rng.uniform(0.2, 2, channels).astype(np.float32),
        "linear": _kernel(rng, classes, channels) * 4,
        "bias": rng.normal(0, 0.5, classes).astype(np.float32),
    }


def classifier_model(weights: Weights, *, size: int, epsilon: float = 1e-5) -> ModelProto:
    """Return the classifier as a graph, `images` (batch, 3, size, size) to `scores` (batch, classes)."""
    nodes = [
        node("Conv", "images conv", "c", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c gamma beta mean variance", "n", epsilon=epsilon),
        node("Sigmoid", "n", "s"),
        node("Mul", "n s", "a"),
        node("ReduceMean", "a", "m", axes=[2, 3], keepdims=0),
        node("Gemm", "m linear bias", "scores", transB=1),
    ]
    return model_of(
        nodes,
        inputs={"images": ("batch", 3, size, size)},
        outputs={"scores": ("batch", len(weights["bias"]))},
        constants=weights,
    )


def detector_weights(rng: np.random.Generator, *, classes: int | None = None) -> Weights:
    """Return weights of two convolutions and the head of a detector: 4 box values and the classes' logits."""
    channels, classes = int(rng.integers(6, 12)), classes or int(rng.integers(2, 6))
    return {
        "conv": _kernel(rng, channels, 3, 3, 3) * 2,
        "conv_bias": rng.normal(0, 0.3, channels).astype(np.float32),
        "head": _kernel(rng, 4 + classes, channels, 1, 1) * 4,
        "head_bias": rng.normal(0, 0.5, 4 + classes).astype(np.float32),
    }


def detector_model(weights: Weights, *, size: int) -> ModelProto:
    """Return the detector as a graph, `images` (batch, 3, size, size) to `scores` (batch, 4 + classes, size²)."""
    rows = len(weights["head_bias"])
    constants = dict(weights)
    constants |= {"flat": np.array([0, rows, size * size], np.int64), "split": np.array([4, rows - 4], np.int64)}
    constants["scale"] = np.array(8, np.float32)
    nodes = [
        node("Conv", "images conv conv_bias", "c", pads=[1, 1, 1, 1]),
        node("Sigmoid", "c", "s"),
        node("Mul", "c s", "a"),
        node("Conv", "a head head_bias", "h"),
        node("Reshape", "h flat", "f"),
        node("Split", "f split", "b l", axis=1),
        node("Mul", "b scale", "boxes"),
        node("Sigmoid", "l", "p"),
        node("Concat", "boxes p", "scores", axis=1),
    ]
    return model_of(
        nodes,
        inputs={"images": ("batch", 3, size, size)},
        outputs={"scores": ("batch", rows, size * size)},
        constants=constants,
    )
