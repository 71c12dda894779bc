"""One way to break each rule in a clean INT8 graph of the tiny detector, and what the linter must then say.

A mutation is a function that changes the model in place. `rules` are the rules it breaks; `refused`: TensorRT's parser
or builder stops; `fixable`: the repair brings the graph back.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Mutation:
    change: object
    rules: frozenset
    severity: str
    fixable: bool


MUTATIONS = {}


def breaks(*rules, severity, fixable=True):
    def register(function):
        MUTATIONS[function.__name__] = Mutation(function, frozenset(rules), severity, fixable)
        return function

    return register


def node(model, name):
    return next(node for node in model.graph.node if node.name == name)


def constant(model, name, value):
    """Set an initializer, a new one if there is none of that name."""
    tensor = numpy_helper.from_array(np.asarray(value), name)
    for old in model.graph.initializer:
        if old.name == name:
            old.CopyFrom(tensor)
            return name
    model.graph.initializer.append(tensor)
    return name


def value(model, name):
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def insert(model, *nodes, behind):
    """Put nodes behind the one that makes a tensor, or first if none does."""
    position = max((i for i, each in enumerate(model.graph.node) if behind in each.output), default=-1) + 1
    for offset, each in enumerate(nodes):
        model.graph.node.insert(position + offset, each)


def pair(model, tensor, *, scale, stem="new", zero_point=0, dtype=np.int8, at=None):
    """Quantize a tensor for all its readers, or for the nodes named in `at`."""
    names = [constant(model, f"{stem}_s", np.float32(scale)), constant(model, f"{stem}_z", dtype(zero_point))]
    readers = [each for each in model.graph.node if tensor in each.input and (at is None or each.name in at)]
    for reader in readers:
        for slot, name in enumerate(reader.input):
            if name == tensor:
                reader.input[slot] = f"{stem}_dq"
    insert(
        model,
        helper.make_node("QuantizeLinear", [tensor, *names], [f"{stem}_q"], f"{stem}_Q"),
        helper.make_node("DequantizeLinear", [f"{stem}_q", *names], [f"{stem}_dq"], f"{stem}_DQ"),
        behind=tensor,
    )


def drop_pair(model, reader, slot):
    """Let a node read what it would read without its pair."""
    makers = {name: each for each in model.graph.node for name in each.output}
    target = node(model, reader)
    target.input[slot] = makers[makers[target.input[slot]].input[0]].input[0]


@breaks("zero-point", severity="refused")
def zero_point_five(model):
    constant(model, "images_zero_point", np.int8(5))


@breaks("zero-point", "uint8", severity="refused")
def asymmetric_bytes(model):
    constant(model, "images_zero_point", np.uint8(3))


@breaks("uint8", severity="inaccurate")
def bytes_from_zero(model):
    constant(model, "images_zero_point", np.uint8(0))


@breaks("uint8", severity="refused")
def weights_stored_as_bytes(model):
    scale = value(model, "p3.weight_scale")
    weights = value(model, "p3.weight") / scale.reshape(-1, 1, 1, 1)
    constant(model, "stored", np.clip(np.rint(np.abs(weights)), 0, 255).astype(np.uint8))
    constant(model, "stored_z", np.zeros(len(scale), np.uint8))
    dequantize = node(model, "p3.weight_DequantizeLinear")
    dequantize.input[0], dequantize.input[2] = "stored", "stored_z"
    model.graph.node.remove(node(model, "p3.weight_QuantizeLinear"))


@breaks("no-zero-point", severity="inaccurate")
def no_zero_point(model):
    for kind in ("Quantize", "Dequantize"):
        del node(model, f"images_{kind}Linear").input[2:]


@breaks("int32", "bias", severity="refused")
def int32_bias(model):
    bias = value(model, "p3.bias")
    step = float(np.abs(bias).max() / 2**20)
    names = [constant(model, "b_q", np.rint(bias / step).astype(np.int32)), constant(model, "b_s", np.float32(step))]
    insert(model, helper.make_node("DequantizeLinear", names, ["b_dq"], "p3.bias_DQ"), behind="")
    node(model, "/p3/Conv").input[2] = "b_dq"


@breaks("bias", severity="inaccurate")
def int8_bias(model):
    pair(model, "p3.bias", scale=np.abs(value(model, "p3.bias")).max() / 127)


@breaks("other-type", severity="refused")
def int16(model):
    model.opset_import[0].version, model.ir_version = 21, 10
    constant(model, "images_zero_point", np.int16(0))


@breaks("other-type", severity="slow")
def fp8(model):
    model.opset_import[0].version, model.ir_version = 19, 9
    zero = helper.make_tensor("images_zero_point", TensorProto.FLOAT8E4M3FN, [], [0.0])
    next(t for t in model.graph.initializer if t.name == zero.name).CopyFrom(zero)


@breaks("runtime-scale", severity="refused")
def scale_at_run_time(model):
    first = helper.make_node("ReduceMax", ["images"], ["highest"], "highest", keepdims=0)
    insert(model, first, helper.make_node("Mul", ["highest", "half"], ["run_s"], "run_s"), behind="")
    for kind in ("Quantize", "Dequantize"):
        node(model, f"images_{kind}Linear").input[1] = "run_s"


@breaks("scale", severity="refused")
def negative_scale(model):
    constant(model, "images_scale", -value(model, "images_scale"))


@breaks("scale", severity="refused")
def no_scale(model):
    constant(model, "p3.weight_scale", np.zeros_like(value(model, "p3.weight_scale")))


@breaks("parameter-shape", severity="refused")
def one_zero_point_for_all_channels(model):
    constant(model, "p3.weight_zero_point", np.int8(0))


@breaks("scale-opset", severity="slow")
def fp16_scale(model):
    constant(model, "images_scale", value(model, "images_scale").astype(np.float16))


@breaks("opset", severity="inaccurate")
def old_opset(model):
    model.opset_import[0].version = 12


@breaks("both-inputs", severity="slow")
def float_weights(model):
    drop_pair(model, "/p3/Conv", 1)
    for kind in ("Dequantize", "Quantize"):
        model.graph.node.remove(node(model, f"p3.weight_{kind}Linear"))


@breaks("before-activation", severity="slow")
def output_before_activation(model):
    pair(model, "/p3/Conv_output", scale=0.05)


@breaks("residual-add", severity="slow")
def one_branch(model):
    drop_pair(model, "/residual/Add", 1)
    for kind in ("Dequantize", "Quantize"):
        model.graph.node.remove(node(model, f"/branch/Mul_output_{kind}Linear"))


@breaks("concat-scales", severity="slow")
def concat_of_two_scales(model):
    pair(model, "/up/Resize_output", scale=0.03, stem="up", at=["/neck/Concat"])
    pair(model, "/p3/Mul_output", scale=0.05, stem="skip", at=["/neck/Concat"])


@breaks("mover-pair", severity="slow")
def pool_with_a_pair(model):
    pair(model, "/p4/Mul_output", scale=0.04, at=["/up/Resize"])
    pair(model, "/p3/Mul_output", scale=0.04, stem="skip", at=["/neck/Concat"])


@breaks("activation-per-channel", severity="slow")
def activation_per_channel(model):
    scale = float(value(model, "images_scale"))
    constant(model, "images_scale", np.float32([scale, scale, scale / 2]))
    constant(model, "images_zero_point", np.zeros(3, np.int8))
    for kind in ("Quantize", "Dequantize"):
        node(model, f"images_{kind}Linear").attribute.append(helper.make_attribute("axis", 1))


@breaks("weight-scales", severity="inaccurate")
def weights_per_tensor(model):
    constant(model, "p3.weight_scale", value(model, "p3.weight_scale").max())
    constant(model, "p3.weight_zero_point", np.int8(0))


@breaks("weight-scales", severity="slow")
def weights_along_inputs(model):
    weights = value(model, "p3.weight")
    constant(model, "p3.weight_scale", np.abs(weights).max(axis=(0, 2, 3)) / np.float32(127))
    constant(model, "p3.weight_zero_point", np.zeros(weights.shape[1], np.int8))
    for kind in ("Quantize", "Dequantize"):
        node(model, f"p3.weight_{kind}Linear").attribute[0].i = 1


@breaks("final-conv", severity="inaccurate")
def box_convolution(model):
    pair(model, "/box/Mul_output", scale=0.03)
    weights = value(model, "box_last.weight")
    constant(model, "w_s", np.abs(weights).max(axis=(1, 2, 3)) / np.float32(127))
    constant(model, "w_z", np.zeros(len(weights), np.int8))
    names = ["w_s", "w_z"]
    insert(
        model,
        helper.make_node("QuantizeLinear", ["box_last.weight", *names], ["w_q"], "w_Q", axis=0),
        helper.make_node("DequantizeLinear", ["w_q", *names], ["w_dq"], "w_DQ", axis=0),
        behind="",
    )
    node(model, "/box_last/Conv").input[1] = "w_dq"


@breaks("logits", severity="inaccurate")
def logits(model):
    pair(model, "/box_last/Conv_output", scale=0.1)


@breaks("decode", severity="inaccurate")
def decode(model):
    pair(model, "/decode/Sigmoid_output", scale=1 / 127)


@breaks("pair-mismatch", severity="inaccurate")
def other_scale_behind(model):
    constant(model, "other", value(model, "images_scale") * np.float32(1.02))
    node(model, "images_DequantizeLinear").input[1] = "other"


@breaks("double", severity="inaccurate")
def twice(model):
    pair(model, "images_dequantized", scale=value(model, "images_scale") * np.float32(1.3))


@breaks("dangling", severity="slow")
def dangling(model):
    names = ["images_scale", "images_zero_point"]
    insert(model, helper.make_node("DequantizeLinear", ["images_quantized", *names], ["lost"], "lost"),
           behind="images_quantized")  # fmt: skip


@breaks("integer-reader", severity="inaccurate", fixable=False)
def bare_integers(model):
    model.graph.node.append(helper.make_node("Cast", ["images_quantized"], ["odd"], "odd", to=TensorProto.FLOAT))


@breaks("integer-source", severity="slow", fixable=False)
def integers_from_elsewhere(model):
    insert(
        model,
        helper.make_node("Relu", ["/decode/Mul_1_output"], ["positive"], "positive"),
        helper.make_node("Cast", ["positive"], ["whole"], "whole", to=TensorProto.INT8),
        helper.make_node("DequantizeLinear", ["whole", "images_scale", "images_zero_point"], ["back"], "back_DQ"),
        helper.make_node("Relu", ["back"], ["end"], "end"),
        behind="/decode/Mul_1_output",
    )


@breaks("qoperator", severity="refused", fixable=False)
def qoperator(model):
    names = ["images_scale", "images_zero_point"]
    integers = helper.make_node(
        "QLinearConv", ["images_quantized", *names, "q_w", *names, *names], ["q_conv"], "q_conv", kernel_shape=[1, 1]
    )
    constant(model, "q_w", np.zeros((1, 3, 1, 1), np.int8))
    model.graph.node.append(integers)


@breaks("foreign-pair", severity="refused")
def vendors_domain(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for kind in ("Quantize", "Dequantize"):
        node(model, f"images_{kind}Linear").domain = "com.microsoft"
