"""Small networks for the exercises on quantization, written node by node so that they build in no time."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.export.divergence import make_session, run_all

SIZE = 32


class GraphWriter:
    """Collects nodes and weights; methods return the name of the tensor they make."""

    def __init__(self, rng, *, prefix):
        self.rng = rng
        self.prefix = prefix
        self.nodes = []
        self.constants = []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op_type, inputs, name, **attributes):
        label = f"/{self.prefix}/{name}/{op_type}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{label}_output_0"], name=label, **attributes))
        return f"{label}_output_0"

    def conv(self, source, name, channels, *, kernel=3, stride=1, activation="SiLU", gain=1.0):
        """Add a convolution with bias, with weights whose channels differ in size, as trained ones do."""
        inputs, outputs = channels
        weights = self.rng.normal(0, gain * np.sqrt(2 / (inputs * kernel * kernel)), (outputs, inputs, kernel, kernel))
        weights *= self.rng.uniform(0.3, 1.5, (outputs, 1, 1, 1))
        names = [
            source,
            self.constant(f"{self.prefix}.{name}.weight", weights.astype(np.float32)),
            self.constant(f"{self.prefix}.{name}.bias", self.rng.normal(0, 0.2, outputs).astype(np.float32)),
        ]
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        output = self.node("Conv", names, name, **shape)
        if activation == "SiLU":
            return self.node("Mul", [output, self.node("Sigmoid", [output], name)], name)
        return self.node(activation, [output], name) if activation else output

    def model(self, output_shape):
        """Return the finished model; the last node's output becomes `output0`."""
        self.nodes[-1].output[0] = "output0"
        values = [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, [output_shape[0], 3, SIZE, SIZE]),
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, output_shape),
        ]
        graph = helper.make_graph(self.nodes, "lesson", values[:1], values[1:], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def detector(rng, *, residuals=1, pooling=True, batch=1):
    """Return an FP32 detector: images (batch, 3, 32, 32) -> output0 (batch, 4 + classes, 64), one level of stride 4.

    Names, widths and number of classes depend on `rng`, so that nobody can rely on them.

    Args:
        rng: Source of everything random.
        residuals: Number of blocks with a residual Add.
        pooling: Whether there is a Concat of the features with their MaxPool.
        batch: A number, or a name for a dynamic batch.
    """
    w = GraphWriter(rng, prefix=f"model.{int(rng.integers(1, 90))}")
    width, classes = int(rng.integers(2, 4)) * 8, int(rng.integers(2, 5))
    x = w.conv("images", "stem", (3, 16), stride=2)
    x = w.conv(x, "down", (16, width), stride=2)
    for number in range(residuals):
        inner = w.conv(x, f"block{number}.cv1", (width, width // 2), kernel=1)
        inner = w.conv(inner, f"block{number}.cv2", (width // 2, width))
        x = w.node("Add", [x, inner], f"block{number}")
    if pooling:
        pooled = w.node("MaxPool", [x], "pool", kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
        x = w.conv(w.node("Concat", [x, pooled], "pool", axis=1), "pool.cv", (2 * width, width), kernel=1)
    box = w.conv(w.conv(x, "box.0", (width, 16)), "box.1", (16, 4), kernel=1, activation="")
    score = w.conv(w.conv(x, "cls.0", (width, 16)), "cls.1", (16, classes), kernel=1, activation="", gain=2.0)
    _decode(w, box, score, classes)
    return w.model([batch, 4 + classes, 64])


def _decode(w, box, score, classes):
    """Add a decode as in a detector: distances to boxes in pixels, logits to scores."""
    flat = w.node("Reshape", [box, w.constant("shape_box", np.int64([-1, 4, 64]))], "decode.box")
    sides = w.node("Add", [w.node("Sigmoid", [flat], "decode.box"), w.constant("least", np.float32([0.5]))], "decode")
    grid = (np.stack(np.meshgrid(np.arange(8), np.arange(8))).reshape(1, 2, 64) + 0.5).astype(np.float32)
    centers = w.constant("anchors", np.concatenate([grid, np.ones_like(grid)], axis=1))
    pixels = w.node("Mul", [w.node("Mul", [sides, centers], "decode"), w.constant("stride", np.float32([4]))], "pixels")
    logits = w.node("Reshape", [score, w.constant("shape_cls", np.int64([-1, classes, 64]))], "decode.cls")
    w.node("Concat", [pixels, w.node("Sigmoid", [logits], "decode.cls")], "decode", axis=1)


def smooth_images(rng, count):
    """Return (count, 3, 32, 32) float32 images in [0, 1], blotches instead of noise."""
    coarse = rng.random((count, 3, SIZE // 4, SIZE // 4)).astype(np.float32)
    return np.ascontiguousarray(np.kron(coarse, np.ones((1, 1, 4, 4), np.float32)))


def observed_amax(model, images):
    """Return the largest magnitude that every float tensor of a network reaches on some images."""
    reached = {"images": float(np.abs(images).max())}
    for image in images:
        for name, values in run_all(model, {"images": image[None]}).items():
            reached[name] = max(reached.get(name, 0.0), float(np.abs(values).max()))
    return reached


def infer(model, images):
    """Return the network's output for each image, stacked, by ONNX Runtime on one thread."""
    session = make_session(model, threads=1)
    return np.concatenate([session.run(None, {"images": image[None]})[0] for image in images])


def unbalanced_chain(rng):
    """Return a chain of eight convolutions with ReLU, some of whose channels dwarf the others, and the layers' cost.

    One output channel of a convolution is made larger and the next convolution's weights for it smaller by the same
    factor. In FP32 that changes nothing; with one scale for all weights or activations, the other channels go under.
    Trained networks have such channels too: Nagel et al., "Data-free quantization" (2019), show them in MobileNet.

    Returns:
        The model, images (1, 3, 32, 32) -> output0 (1, width, 8, 8), and multiply-accumulates by layer name.
    """
    widths = [3, *(int(rng.choice([8, 12, 16, 24])) for _ in range(8))]
    strides, sizes = [1, 2, 1, 1, 2, 1, 1, 1], [32, 16, 16, 16, 8, 8, 8, 8]
    first, second = int(rng.integers(0, 3)), int(rng.integers(4, 7))
    gains = {first: rng.uniform(25, 60), second: rng.uniform(8, 16)}
    w = GraphWriter(rng, prefix="net")
    x, costs = "images", {}
    for number in range(8):
        x = w.conv(x, f"conv{number}", (widths[number], widths[number + 1]), stride=strides[number], activation="Relu")
        costs[f"/net/conv{number}/Conv"] = sizes[number] ** 2 * widths[number] * widths[number + 1] * 9
    model = w.model([1, widths[-1], 8, 8])
    for number, gain in gains.items():
        channel = int(rng.integers(widths[number + 1]))
        for name, position in ((f"{number}.weight", 0), (f"{number}.bias", 0), (f"{number + 1}.weight", 1)):
            _scale_channel(model, f"net.conv{name}", position, channel, gain if position == 0 else 1 / gain)
    return model, costs


def _scale_channel(model, name, axis, channel, factor):
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values[(slice(None),) * axis + (channel,)] *= np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def with_fake_quantization(model, amax, layers):
    """Return a copy in which the named convolutions read INT8, one scale for the input and one for the weights."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph, nodes = changed.graph, []
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in list(graph.node):
        if node.name in layers:
            for slot in (0, 1):
                name = node.input[slot]
                reach = amax[name] if slot == 0 else float(np.abs(constants[name]).max())
                parameters = [f"{node.name}_{slot}_scale", f"{node.name}_{slot}_zero"]
                graph.initializer.append(numpy_helper.from_array(np.float32(reach / 127), parameters[0]))
                graph.initializer.append(numpy_helper.from_array(np.int8(0), parameters[1]))
                q, dq = f"{node.name}_{slot}_q", f"{node.name}_{slot}_dq"
                nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [q]))
                nodes.append(helper.make_node("DequantizeLinear", [q, *parameters], [dq]))
                node.input[slot] = dq
        nodes.append(node)
    ordered = onnx.GraphProto()
    ordered.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(ordered.node)
    return changed
