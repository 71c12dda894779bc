"""The network behind lab5.detector: the course's own YOLOv5n for 256 x 320 pixels, small enough to lie beside the test.

`yolov5n-parts.onnx` holds the weights of the base checkpoint in eight bits, one scale per output channel, and computes
in FP32 like any other ONNX model. It is made anew, after the base checkpoint was trained anew, by

    python -c "from yolotrt_lab.grading.suite import suite_root; from yolotrt_lab.grading import sibling; \\
        sibling(str(suite_root() / 'lab5' / 'x'), 'detector_network').write_network()"
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from yolotrt_lab.files import write_bytes
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import Array, TensorSpec

NETWORK = Path(__file__).with_name("yolov5n-parts.onnx")
INPUT_HW = (256, 320)
_SMALLEST = 512  # numbers; there is nothing to gain in smaller weights


def write_network(path: Path = NETWORK) -> None:
    """Export the base checkpoint and store its convolutions' weights in eight bits."""
    from yolotrt_lab.export.onnx_export import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        exported = export_onnx("base", Path(folder) / "model.onnx", image_size=INPUT_HW, dynamic_batch=False)
        model = onnx.load(exported.path)
    weights = {item.name: item for item in model.graph.initializer}
    added = []
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        name = node.input[1]
        values = numpy_helper.to_array(weights[name]) if name in weights else np.zeros(0)
        if values.size < _SMALLEST:
            continue
        scale = np.maximum(np.abs(values).max(axis=(1, 2, 3)) / 127, 1e-12).astype(np.float32)
        whole = np.rint(values / scale[:, None, None, None]).astype(np.int8)
        del weights[name]
        weights[f"{name}.q"] = numpy_helper.from_array(whole, f"{name}.q")
        weights[f"{name}.s"] = numpy_helper.from_array(scale, f"{name}.s")
        added.append(
            helper.make_node("DequantizeLinear", [f"{name}.q", f"{name}.s"], [name], name=f"{name}.dq", axis=0)
        )
    nodes = [*added, *model.graph.node]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights.values())
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))


@cache
def network() -> Runtime:
    """Return the network on ONNX Runtime, FP32, on one thread of the processor: the same numbers everywhere."""
    from yolotrt_lab.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime(NETWORK, device="cpu", threads=1)


class Engine(Runtime):
    """The network as a backend that counts its calls; on demand with other names and in half precision, like an engine.

    Attributes:
        batches: The batch size of every call.
    """

    def __init__(self, *, half: bool = False) -> None:
        inner = network()
        taken, given = inner.inputs[0], inner.outputs[0]
        dtype, names = ("float16", ("pixels", "predictions")) if half else ("float32", (taken.name, given.name))
        super().__init__(
            name="The engine of this check",
            backend="onnxruntime",
            platform="cpu",
            inputs=(TensorSpec(names[0], dtype, taken.shape),),
            outputs=(TensorSpec(names[1], dtype, given.shape),),
            class_names=inner.class_names,
            max_batch=1,
        )
        self.batches: list[int] = []

    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        inner = network()
        image = feeds[self.inputs[0].name]
        self.batches.append(len(image))
        found = inner.infer({inner.inputs[0].name: np.ascontiguousarray(image, np.float32)})[inner.outputs[0].name]
        return {self.outputs[0].name: found.astype(self.outputs[0].dtype)}

    def _close(self) -> None:
        pass
