"""Wrong and right answers to lab4.fp16_engines."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests_course_api import right, wrong

from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import EngineBuildError, InputError

trt = activate().trt


def half(tensor):
    values = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(values.astype(np.float16), tensor.name) if values.dtype == np.float32 else tensor


def float_tensors(graph, *, resize_too=False, constants=True):
    kept = () if resize_too else {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    yield from (tensor for tensor in graph.initializer if tensor.name not in kept)
    if constants:
        yield from (
            a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"
        )


def add_casts(graph):
    for value in graph.input:
        rename(graph, value.name, f"{value.name}_half", inputs_only=True)
        cast = helper.make_node("Cast", [value.name], [f"{value.name}_half"], to=TensorProto.FLOAT16, name="cast_in")
        graph.node.insert(0, cast)
    for value in graph.output:
        rename(graph, value.name, f"{value.name}_half")
        cast = helper.make_node("Cast", [f"{value.name}_half"], [value.name], to=TensorProto.FLOAT, name="cast_out")
        graph.node.append(cast)


def rename(graph, old, new, *, inputs_only=False):
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        if not inputs_only:
            node.output[:] = [new if name == old else name for name in node.output]


def converted(onnx_path, *, casts=True, **choices):
    model = onnx.load(onnx_path)
    for tensor in float_tensors(model.graph, **choices):
        tensor.CopyFrom(half(tensor))
    if casts:
        add_casts(model.graph)
    return model


def build(onnx_path, *, strong, flag):
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if strong else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(index)) for index in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if flag:
        if not hasattr(trt.BuilderFlag, "FP16"):
            raise InputError("TensorRT 11 has no FP16 flag.")
        config.set_flag(trt.BuilderFlag.FP16)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError(logger.errors())
    return bytes(plan)


@wrong(caught_by="test_the_typed_engine_runs_in_half_precision", says="only a suggestion")
def types_without_strong_typing(onnx_path, *, typed, fp16_path):
    """Converts the graph but forgets to ask for a strongly typed network."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    onnx.save(converted(onnx_path), fp16_path)
    return build(fp16_path, strong=False, flag=False)


@wrong(caught_by="test_the_typed_engine_runs_in_half_precision", says="flags are not allowed")
def flag_on_a_typed_network(onnx_path, *, typed, fp16_path):
    """Believes that more is better: types and flag."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    onnx.save(converted(onnx_path), fp16_path)
    return build(fp16_path, strong=True, flag=True)


@wrong(caught_by="test_the_graph_is_typed_in_fp16", says="not data")
def everything_becomes_half(onnx_path, *, typed, fp16_path):
    """Converts every float of the graph, the scales of Resize too."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    onnx.save(converted(onnx_path, resize_too=True), fp16_path)
    return build(fp16_path, strong=True, flag=False)


@wrong(caught_by="test_the_graph_is_typed_in_fp16", says="wants a Cast")
def initializers_only(onnx_path, *, typed, fp16_path):
    """Forgets the floats in Constant nodes."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    onnx.save(converted(onnx_path, constants=False), fp16_path)
    return build(fp16_path, strong=True, flag=False)


@wrong(caught_by="test_the_graph_is_typed_in_fp16", says="wants a Cast")
def weights_only(onnx_path, *, typed, fp16_path):
    """Converts the weights and believes that values follow."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    onnx.save(converted(onnx_path, casts=False), fp16_path)
    return build(fp16_path, strong=True, flag=False)


@wrong(caught_by="test_the_graph_is_typed_in_fp16", says="should not have to know")
def half_outside_too(onnx_path, *, typed, fp16_path):
    """Makes inputs and outputs float16."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    model = converted(onnx_path, casts=False)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, fp16_path)
    return build(fp16_path, strong=True, flag=False)


@wrong(caught_by="test_the_flag_lets_layers_run_in_half_precision", says="Nothing in the configuration")
def builder_knows_best(onnx_path, *, typed, fp16_path):
    """Believes that the builder takes the fastest precision by itself."""
    if not typed:
        return build(onnx_path, strong=False, flag=False)
    onnx.save(converted(onnx_path), fp16_path)
    return build(fp16_path, strong=True, flag=False)


@wrong(caught_by="test_the_graph_is_typed_in_fp16", says="the graph is the source")
def flag_for_both(onnx_path, *, typed, fp16_path):
    """Believes that strong typing is another way to set the flag."""
    return build(onnx_path, strong=False, flag=True)


@right
def by_onnxruntimes_converter(onnx_path, typed, fp16_path):
    """Lets ONNX Runtime's converter do the surgery."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    if not typed:
        return bytearray(build(onnx_path, strong=False, flag=True))
    model = convert_float_to_float16(onnx.load(onnx_path), keep_io_types=True)
    onnx.save_model(model, fp16_path)
    return bytearray(build(fp16_path, strong=True, flag=False))


@right
def casts_around_convolutions(onnx_path, *, typed, fp16_path):
    """Leaves the graph in FP32 except for the convolutions, each between casts of its own."""
    if not typed:
        return build(onnx_path, strong=False, flag=True)
    model = onnx.load(onnx_path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            nodes.append(node)
            continue
        for name in node.input[1:]:
            weights[name].CopyFrom(half(weights[name]))
        before = helper.make_node("Cast", [node.input[0]], [f"{node.name}_in"], to=TensorProto.FLOAT16)
        after = helper.make_node("Cast", [f"{node.name}_out"], [node.output[0]], to=TensorProto.FLOAT)
        before.name, after.name = f"{node.name}/before", f"{node.name}/after"
        node.input[0], node.output[0] = f"{node.name}_in", f"{node.name}_out"
        nodes += [before, node, after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    fp16_path.write_bytes(model.SerializeToString())
    return build(fp16_path, strong=True, flag=False)
