"""Wrong and right answers to lab3.repair_exports."""

import itertools

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from tests_course_api import right, wrong


def outputs_of(model, images):
    """Run a model, one image at a time where it takes no more."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = onnxruntime.RunOptions()
    run.log_severity_level = 4
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]}, run)[0] for image in images])


def sigmoid(values):
    """Return the logistic function."""
    return 1 / (1 + np.exp(-values))


def diagnosis(model, images, expected):
    """Return (channels swapped, sigmoid missing)."""
    for swapped, missing in itertools.product((False, True), repeat=2):
        output = outputs_of(model, np.ascontiguousarray(images[:, ::-1]) if swapped else images)
        if missing:
            output = np.concatenate((output[:, :4], sigmoid(output[:, 4:])), axis=1)
        if np.allclose(output, expected, rtol=1e-3, atol=1e-4):
            return swapped, missing
    return False, False


def constants_of(model):
    """Return the constants' tensors by name, from both places."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    return found | {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}


def free_axes(model):
    """Declare the batch free."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]


def free_reshapes(model, *, only_initializers=False, batch=-1, all_of_them=False):
    """Free the batch in the shapes that Reshape reads."""
    constants = constants_of(model)
    lengths = {v.name: v.type.tensor_type.shape.dim for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    stored = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or (node.input[0] in constants and not all_of_them):
            continue
        if only_initializers and node.input[1] not in stored:
            continue
        tensor = constants[node.input[1]]
        shape = numpy_helper.to_array(tensor).copy()
        dims = lengths[node.output[0]]
        shape = np.array([d if d > 0 else dims[place].dim_value for place, d in enumerate(shape)])
        shape[0] = batch
        tensor.CopyFrom(numpy_helper.from_array(shape.astype(np.int64), tensor.name))


def swap_weights(model):
    """Turn the first convolution's input channels round."""
    tensor = constants_of(model)["conv"]
    turned = np.ascontiguousarray(np.flip(numpy_helper.to_array(tensor), axis=1))
    tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))


def squash_scores(model):
    """Put a sigmoid after the logits."""
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Concat")
    model.graph.node.insert(place, helper.make_node("Sigmoid", ["logits"], ["new_scores"]))
    model.graph.node[place + 1].input[1] = "new_scores"


def copy_of(model):
    """Return a copy."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


@wrong(caught_by="test_baked_batch", says="still written somewhere")
def declarations_only(model, images, expected):
    """Frees the declared axes: believes that the batch is written nowhere else."""
    repaired = copy_of(model)
    free_axes(repaired)
    return repaired


@wrong(caught_by="test_baked_batch", says="still written somewhere")
def initializers_only(model, images, expected):
    """Looks for the shapes among the initializers alone."""
    repaired = copy_of(model)
    free_reshapes(repaired, only_initializers=True)
    free_axes(repaired)
    return repaired


@wrong(caught_by="test_baked_batch", says="valid model")
def two_unknowns(model, images, expected):
    """Writes -1 for the batch beside a -1 that was there already."""
    repaired = copy_of(model)
    for tensor in constants_of(repaired).values():
        shape = numpy_helper.to_array(tensor).copy()
        if shape.dtype == np.int64 and shape.size == 3:
            shape[0] = -1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    free_axes(repaired)
    return repaired


@wrong(caught_by="test_baked_batch", says="nothing to do with the batch")
def copies_every_first_axis(model, images, expected):
    """Writes 0, "as in the input", into every reshape, those of constants too."""
    repaired = copy_of(model)
    free_reshapes(repaired, batch=0, all_of_them=True)
    free_axes(repaired)
    return repaired


@wrong(caught_by="test_missing_sigmoid", says="scores alone")
def sigmoid_over_everything(model, images, expected):
    """Puts the sigmoid after the output: forgets that boxes are in it."""
    repaired = copy_of(model)
    if diagnosis(repaired, images, expected)[1]:
        repaired.graph.node[-1].output[0] = "raw"
        repaired.graph.node.append(helper.make_node("Sigmoid", ["raw"], ["output"]))
    return repaired


@wrong(caught_by="test_missing_sigmoid", says="still logits")
def looks_for_a_sigmoid(model, images, expected):
    """Takes any Sigmoid in the graph for the one at its end; SiLU has some too."""
    repaired = copy_of(model)
    if all(node.op_type != "Sigmoid" for node in repaired.graph.node):
        squash_scores(repaired)
    return repaired


@wrong(caught_by="test_nothing_else_is_touched", says="wrong order")
def always_swaps(model, images, expected):
    """Swaps channels in any case."""
    repaired = copy_of(model)
    swap_weights(repaired)
    return repaired


@wrong(caught_by="test_nothing_else_is_touched", says="through the sigmoid twice")
def always_squashes(model, images, expected):
    """Adds a sigmoid whatever comes."""
    repaired = copy_of(model)
    if diagnosis(repaired, images, expected)[0]:
        swap_weights(repaired)
    at = len(repaired.graph.node) - 1
    last = repaired.graph.node[at]
    repaired.graph.node.insert(at, helper.make_node("Sigmoid", [last.input[1]], ["again"]))
    repaired.graph.node[at + 1].input[1] = "again"
    return repaired


@wrong(caught_by="test_two_faults", says="logits")
def one_fault_per_export(model, images, expected):
    """Stops after the first fault: believes that exports break one way at a time."""
    repaired = copy_of(model)
    swapped, missing = diagnosis(repaired, images, expected)
    if model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        free_reshapes(repaired)
        free_axes(repaired)
    elif swapped:
        swap_weights(repaired)
    elif missing:
        squash_scores(repaired)
    return repaired


@wrong(caught_by="test_swapped_channels", says="which single change")
def swaps_outputs(model, images, expected):
    """Turns the first convolution's output channels round: the wrong axis of the weight."""
    repaired = copy_of(model)
    if diagnosis(repaired, images, expected)[0]:
        tensor = constants_of(repaired)["conv"]
        turned = numpy_helper.to_array(tensor)[::-1]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), tensor.name))
    return repaired


@right
def nodes_around_the_model(model, images, expected):
    """Repairs from outside: a Gather before the graph, Slice, Sigmoid and Concat after it."""
    repaired = copy_of(model)
    swapped, missing = diagnosis(repaired, images, expected)
    free_reshapes(repaired)
    free_axes(repaired)
    graph = repaired.graph
    if swapped:
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "bgr"))
        for node in graph.node:
            for slot, name in enumerate(node.input):
                node.input[slot] = "turned" if name == "images" else name
        graph.node.insert(0, helper.make_node("Gather", ["images", "bgr"], ["turned"], axis=1))
    if missing:
        rows = expected.shape[1]
        graph.initializer.append(numpy_helper.from_array(np.array([4, rows - 4]), "rows"))
        graph.node[-1].output[0] = "raw"
        graph.node.append(helper.make_node("Split", ["raw", "rows"], ["raw_boxes", "raw_logits"], axis=1))
        graph.node.append(helper.make_node("Sigmoid", ["raw_logits"], ["raw_scores"]))
        graph.node.append(helper.make_node("Concat", ["raw_boxes", "raw_scores"], ["output"], axis=1))
    return repaired


@right
def in_place_with_copied_lengths(model, images, expected):
    """Changes the given model itself; the batch is copied (0) where an activation is reshaped."""
    swapped, missing = diagnosis(model, images, expected)
    free_reshapes(model, batch=0)
    free_axes(model)
    if swapped:
        swap_weights(model)
    if missing:
        squash_scores(model)
    return model
