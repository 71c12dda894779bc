"""Wrong and right answers to lab4.qdq_graph."""

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from tests_course_api import right, wrong

from yolotrt_lab.export.graph import replace_nodes
from yolotrt_lab.precision.structure import find_head


class Quantizer:
    """Right as it stands; the wrong ones change one method each."""

    axis = 0
    zero_point = 0
    dtype = np.int8

    def __init__(self, model, amax):
        self.model = self.copy(model)
        self.graph, self.amax, self.pairs = self.model.graph, amax, {}
        head = find_head(self.model)
        self.kept = head.final_convs | head.decode
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}

    def copy(self, model):
        copied = ModelProto()
        copied.CopyFrom(model)
        return copied

    def constant(self, name, value):
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def pair(self, tensor, scale):
        if tensor in self.pairs:
            return self.pairs[tensor]
        scale = np.asarray(scale, np.float32)
        extra = {"axis": self.axis} if scale.ndim else {}
        zero = np.full(scale.shape, self.zero_point, self.dtype)
        parameters = [self.constant(f"{tensor}_s", scale), self.constant(f"{tensor}_z", zero)]
        q, dq = f"{tensor}_q", f"{tensor}_dq"
        self.graph.node.append(helper.make_node("QuantizeLinear", [tensor, *parameters], [q], f"Q {tensor}", **extra))
        self.graph.node.append(helper.make_node("DequantizeLinear", [q, *parameters], [dq], f"DQ {tensor}", **extra))
        self.pairs[tensor] = dq
        return dq

    def activation_scale(self, tensor):
        return self.amax[tensor] / 127

    def weight_scale(self, weights):
        return np.abs(weights).max(axis=(1, 2, 3)) / 127

    def conv(self, node):
        node.input[0] = self.pair(node.input[0], self.activation_scale(node.input[0]))
        node.input[1] = self.pair(node.input[1], self.weight_scale(self.weights[node.input[1]]))

    def add(self, node):
        for slot in (0, 1):
            node.input[slot] = self.pair(node.input[slot], self.activation_scale(node.input[slot]))

    def other(self, node):
        pass

    def finish(self):
        replace_nodes(self.graph, self.graph.node)

    def run(self):
        for node in list(self.graph.node):
            if node.output[0] in self.kept:
                continue
            {"Conv": self.conv, "Add": self.add}.get(node.op_type, self.other)(node)
        self.finish()
        return self.model


@right
def shared_pairs(model, amax):
    """One pair per tensor, shared by all that read it."""
    return Quantizer(model, amax).run()


@right
def a_pair_for_every_reader(model, amax):
    """Rebuilds the list of nodes in order; scales in Constant nodes, a pair for each place that reads."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    head, nodes = find_head(model), []

    def quantized(name, slot, user):
        base = f"{user}/{slot}"
        if name in weights:
            magnitude = np.array([np.abs(channel).max() for channel in weights[name]])
        else:
            magnitude = np.array(amax[name])
        scale, zero = (magnitude / 127).astype(np.float32), np.zeros(magnitude.shape, np.int8)
        for kind, value in (("scale", scale), ("zero", zero)):
            tensor = numpy_helper.from_array(value, f"{base}/{kind}")
            nodes.append(helper.make_node("Constant", [], [f"{base}/{kind}"], value=tensor))
        names = [f"{base}/scale", f"{base}/zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *names], [f"{base}/q"], axis=0))
        nodes.append(helper.make_node("DequantizeLinear", [f"{base}/q", *names], [f"{base}/dq"], axis=0))
        return f"{base}/dq"

    for original in model.graph.node:
        node = helper.make_node(original.op_type, list(original.input), list(original.output), original.name)
        node.attribute.extend(original.attribute)
        inside = node.output[0] not in head.decode and node.output[0] not in head.final_convs
        if inside and node.op_type in ("Conv", "Add"):
            for slot in (0, 1):
                node.input[slot] = quantized(node.input[slot], slot, node.name)
        nodes.append(node)
    graph = helper.make_graph(nodes, "int8", model.graph.input, model.graph.output, model.graph.initializer)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


@wrong(caught_by="test_pairs_are_symmetric_int8", says="zero at integer 0")
def affine(model, amax):
    """Puts zero into the middle of the unsigned range, as ONNX Runtime's defaults do."""

    class Affine(Quantizer):
        zero_point = 3

    return Affine(model, amax).run()


@wrong(caught_by="test_pairs_are_symmetric_int8", says="uint8")
def unsigned(model, amax):
    """Quantizes to bytes from 0 to 255."""

    class Unsigned(Quantizer):
        zero_point, dtype = 128, np.uint8

    return Unsigned(model, amax).run()


@wrong(caught_by="test_weights_are_quantized_per_channel", says="step of its own")
def weights_per_tensor(model, amax):
    """One step for all weights of a layer."""

    class PerTensor(Quantizer):
        def weight_scale(self, weights):
            return np.abs(weights).max() / 127

    return PerTensor(model, amax).run()


@wrong(caught_by="test_weights_are_quantized_per_channel", says="along axis 1")
def default_axis(model, amax):
    """Leaves the axis at ONNX's default, which is 1: the input channels."""

    class DefaultAxis(Quantizer):
        axis = 1

        def weight_scale(self, weights):
            return np.abs(weights).max(axis=(0, 2, 3)) / 127

    return DefaultAxis(model, amax).run()


@wrong(caught_by="test_weights_are_quantized_per_channel", says="128 magnitudes")
def weights_to_128(model, amax):
    """Maps the largest weight to 128."""

    class To128(Quantizer):
        def weight_scale(self, weights):
            return np.abs(weights).max(axis=(1, 2, 3)) / 128

    return To128(model, amax).run()


@wrong(caught_by="test_weights_are_quantized_per_channel", says="bias is quantized")
def int32_bias(model, amax):
    """Quantizes the bias to INT32, as ONNX Runtime's quantizer does."""

    class WithBias(Quantizer):
        def conv(self, node):
            source, weights = self.activation_scale(node.input[0]), self.weight_scale(self.weights[node.input[1]])
            super().conv(node)
            name, step = node.input[2], np.float32(source * weights)
            integers = np.rint(self.weights[name] / step).astype(np.int32)
            zero = np.zeros(step.shape, np.int32)
            names = [self.constant(f"{name}_{k}", v) for k, v in (("i", integers), ("s", step), ("z", zero))]
            self.graph.node.append(helper.make_node("DequantizeLinear", names, [f"{name}_dq"], f"DQ {name}", axis=0))
            node.input[2] = f"{name}_dq"

    return WithBias(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="behind the convolution")
def outputs_of_convolutions(model, amax):
    """Quantizes what a convolution makes as well, in front of its SiLU."""

    class Outputs(Quantizer):
        def other(self, node):
            for slot, name in enumerate(node.input):
                if "/Conv_output" in name:
                    node.input[slot] = self.pair(name, self.activation_scale(name))

    return Outputs(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="step in scores")
def head_too(model, amax):
    """Quantizes every convolution."""

    class WithHead(Quantizer):
        def __init__(self, model, amax):
            super().__init__(model, amax)
            self.kept = find_head(self.model).decode

    return WithHead(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="residual addition in FP32")
def convolutions_only(model, amax):
    """Takes the additions for free."""

    class OnlyConvs(Quantizer):
        def add(self, node):
            pass

    return OnlyConvs(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="only if both inputs are")
def one_side_of_the_addition(model, amax):
    """Quantizes the block's output and leaves the shortcut alone."""

    class OneSide(Quantizer):
        def add(self, node):
            node.input[1] = self.pair(node.input[1], self.activation_scale(node.input[1]))

    return OneSide(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="moves pairs through")
def everything(model, amax):
    """The more, the better: pooling and concatenation read INT8 as well."""

    class Everything(Quantizer):
        def other(self, node):
            if node.op_type in ("Concat", "MaxPool"):
                for slot, name in enumerate(node.input):
                    node.input[slot] = self.pair(name, self.activation_scale(name))

    return Everything(model, amax).run()


@wrong(caught_by="test_pairs_are_where_tensorrt_wants_them", says="input and its weights are both")
def weights_only(model, amax):
    """Believes that INT8 weights are what makes a network INT8."""

    class WeightsOnly(Quantizer):
        def conv(self, node):
            node.input[1] = self.pair(node.input[1], self.weight_scale(self.weights[node.input[1]]))

        def add(self, node):
            pass

    return WeightsOnly(model, amax).run()


@wrong(caught_by="test_activation_scales", says="amax maps to 127")
def activations_to_255(model, amax):
    """Spreads amax over the 255 steps of a byte."""

    class To255(Quantizer):
        def activation_scale(self, tensor):
            return self.amax[tensor] / 255

    return To255(model, amax).run()


@wrong(caught_by="test_activation_scales", says="whole range in one step")
def range_for_scale(model, amax):
    """Takes the range for the scale."""

    class Range(Quantizer):
        def activation_scale(self, tensor):
            return self.amax[tensor]

    return Range(model, amax).run()


@wrong(caught_by="test_graph_is_valid", says="work on a copy")
def changes_the_given_model(model, amax):
    """Works on what it was given."""

    class InPlace(Quantizer):
        def copy(self, model):
            return model

    return InPlace(model, amax).run()


@wrong(caught_by="test_graph_is_valid", says="order in which they can run")
def appends_at_the_end(model, amax):
    """Leaves the new nodes behind all others."""

    class Unsorted(Quantizer):
        def finish(self):
            pass

    return Unsorted(model, amax).run()
