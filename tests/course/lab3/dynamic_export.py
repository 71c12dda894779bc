"""Wrong and right answers to lab3.dynamic_export."""

import io

import onnx
import torch
from tests_course_api import right, wrong

NAMES = {"input_names": ["images"], "output_names": ["scores"], "opset_version": 17, "dynamo": False}


@wrong(caught_by="test_only_the_batch_is_free", says="the batch is fixed")
def one_image_for_ever(module, example, path):
    """Exports with the example's shape: believes that names alone make a contract."""
    torch.onnx.export(module, (example,), path, **NAMES)
    return path


@wrong(caught_by="test_right_at_every_batch_size", says="one batch size only")
def a_larger_example(module, example, path):
    """Traces with eight images: believes that the file then takes up to eight."""
    torch.onnx.export(module, (example.repeat(8, 1, 1, 1),), path, **NAMES)
    return path


@wrong(caught_by="test_only_the_batch_is_free", says="more than the batch is free")
def everything_free(module, example, path):
    """Frees height and width too: believes that more freedom costs nothing."""
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "scores": {0: "batch"}}
    torch.onnx.export(module, (example,), path, dynamic_axes=axes, **NAMES)
    return path


@wrong(caught_by="test_only_the_batch_is_free", says="another name")
def output_forgotten(module, example, path):
    """Frees the input only: believes that the exporter concludes the rest."""
    torch.onnx.export(module, (example,), path, dynamic_axes={"images": {0: "batch"}}, **NAMES)
    return path


@wrong(caught_by="test_names_and_operator_set", says="operator set")
def default_operator_set(module, example, path):
    """Leaves the operator set to the exporter: believes that newer is better."""
    names = {**NAMES, "opset_version": None}
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(module, (example,), path, dynamic_axes=axes, **names)
    return path


@wrong(caught_by="test_names_and_operator_set", says="invents names")
def names_left_alone(module, example, path):
    """Gives no names: believes that tensors are told apart by their order."""
    torch.onnx.export(module, (example,), path, opset_version=17, dynamo=False)
    return path


@wrong(caught_by="test_right_at_every_batch_size", says="training mode")
def mode_preserved(module, example, path):
    """Exports in the mode the module is in: believes that batch norm is batch norm."""
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    mode = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(module, (example,), path, dynamic_axes=axes, training=mode, do_constant_folding=False, **NAMES)
    return path


@wrong(caught_by="test_the_module_is_as_it_was", says="running statistics")
def looks_at_the_output_first(module, example, path):
    """Runs the module once to see its output's shape: forgets that this trains batch norm."""
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    print(module(example).shape)
    torch.onnx.export(module, (example,), path, dynamic_axes=axes, **NAMES)
    return path


@wrong(caught_by="test_the_module_is_as_it_was", says="goes on training")
def left_in_evaluation_mode(module, example, path):
    """Switches to evaluation mode and never back."""
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(module.eval(), (example,), path, dynamic_axes=axes, **NAMES)
    return path


@wrong(caught_by="test_the_file_is_valid", says="weights became inputs")
def without_weights(module, example, path):
    """Leaves the weights out of the file: believes that they are loaded from the checkpoint."""
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(module, (example,), path, dynamic_axes=axes, export_params=False, **NAMES)
    return path


@right
def through_a_trace(module, example, path):
    """Traces first and exports the trace, from memory; axes as lists with names set afterwards."""
    training = module.training
    with torch.no_grad():
        traced = torch.jit.trace(module.eval(), example.repeat(3, 1, 1, 1))
    content = io.BytesIO()
    torch.onnx.export(traced, (example,), content, dynamic_axes={"images": [0], "scores": [0]}, **NAMES)
    model = onnx.load_from_string(content.getvalue())
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    path.write_bytes(model.SerializeToString())
    module.train(training)


@right
def axes_freed_afterwards(module, example, path):
    """Exports with numbers, then frees the axes in the file: this exporter keeps the reshapes computed."""
    torch.onnx.export(module, (example,), str(path), **NAMES)
    model = onnx.load(path)
    axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = axes[value.name][0]
    onnx.save(model, path)
    return str(path)
