import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError


@pytest.fixture
def network(lab, model):
    return lab.network(model())


def test_inputs_and_outputs(trt, network):
    assert (network.num_inputs, network.num_outputs, network.name) == (1, 1, "tiny")
    images, output = network.get_input(0), network.get_output(0)
    assert (images.name, images.shape, images.dtype) == ("images", (1, 3, 16, 16), trt.float32)
    assert (output.name, output.shape, output.dtype) == ("output0", (1, 4, 8, 8), trt.float32)
    assert images.is_network_input
    assert not images.is_network_output
    assert output.is_network_output
    assert not images.is_shape_tensor
    assert images.location == trt.TensorLocation.DEVICE
    assert network.get_input(1) is None
    assert network.get_output(-1) is None


def test_layers(trt, network):
    assert network.num_layers == len(network) == 7
    names = [network.get_layer(index).name for index in range(len(network))]
    assert names[:3] == ["/model.0/conv/Conv", "/model.0/act/Sigmoid", "/model.0/act/Mul"]
    conv, sigmoid, multiply = (network[index] for index in range(3))
    assert (conv.type, sigmoid.type, multiply.type) == (
        trt.LayerType.CONVOLUTION, trt.LayerType.ACTIVATION, trt.LayerType.ELEMENTWISE,
    )  # fmt: skip
    assert conv.metadata == "[ONNX Layer: /model.0/conv/Conv]"
    assert (conv.num_inputs, conv.num_outputs) == (1, 1)
    assert multiply.num_inputs == 2
    assert conv.get_input(0) is network.get_input(0)
    assert multiply.get_input(0) is conv.get_output(0)
    assert conv.get_output(0).shape == (1, 8, 8, 8)
    assert conv.get_input(5) is None
    assert network.get_layer(99) is None
    with pytest.raises(IndexError):
        network[99]


def test_parser_finds_tensors_by_node(lab, network):
    tensor = lab.parser.get_layer_output_tensor("/model.0/act/Mul", 0)
    assert tensor is network[2].get_output(0)
    assert lab.parser.get_layer_output_tensor("/nowhere", 0) is None


def test_dynamic_dimensions_and_their_names(lab, model):
    images = lab.network(model(batch="batch")).get_input(0)
    assert images.shape == (-1, 3, 16, 16)
    assert images.get_dimension_name(0) == "batch"
    assert images.get_dimension_name(1) is None
    images.set_dimension_name(1, "channels")
    assert images.get_dimension_name(1) == "channels"


def test_setting_an_input_shape_changes_what_follows(lab, model):
    network = lab.network(model(batch="n"))
    network.get_input(0).shape = (2, 3, 16, 16)
    assert network.get_output(0).shape == (2, 4, 8, 8)
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    assert engine.get_tensor_shape("output0") == (2, 4, 8, 8)


def test_only_inputs_have_settable_shapes(lab, network):
    network.get_output(0).shape = (1, 1)
    assert network.get_output(0).shape == (1, 4, 8, 8)
    assert "output0 is not a network input" in lab.log.errors


def test_a_shape_of_another_rank_is_refused(lab, model):
    network = lab.network(model(batch="n"))
    network.get_input(0).shape = (2, 3, 16)
    assert "has 4 dimensions, not 3" in lab.log.errors
    assert network.get_input(0).shape == (-1, 3, 16, 16)


def test_marking_an_intermediate_tensor(lab, model, infer, images, reference):
    path = model()
    network = lab.network(path)
    network.mark_output(network[2].get_output(0))
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    assert [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)] == ["images", "output0", "m"]
    assert engine.get_tensor_shape("m") == (1, 8, 8, 8)


def test_unmarking_the_only_output_leaves_nothing_to_build(lab, network):
    network.unmark_output(network.get_output(0))
    assert network.num_outputs == 0
    assert lab.builder.build_serialized_network(network, lab.config) is None
    assert "Network must have at least one output" in lab.log.errors


def test_marking_twice_is_an_error(lab, network):
    network.mark_output(network.get_output(0))
    assert network.num_outputs == 1
    assert "already an output" in lab.log.errors


def test_renamed_tensors_keep_their_new_names(lab, network):
    network.get_input(0).name = "picture"
    network.get_output(0).name = "boxes"
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    assert [engine.get_tensor_name(index) for index in range(2)] == ["picture", "boxes"]


@pytest.mark.parametrize("trt", [11], indirect=True)
def test_types_are_read_only_in_version_11(trt, network):
    with pytest.raises(AttributeError, match="no setter"):
        network.get_input(0).dtype = trt.float16


@pytest.mark.parametrize("trt", [10], indirect=True)
def test_types_of_a_strongly_typed_network_are_fixed(trt, lab, network):
    network.get_input(0).dtype = trt.float16
    assert network.get_input(0).dtype == trt.float32
    assert "cannot be set in a strongly typed network" in lab.log.errors


@pytest.mark.parametrize("trt", [10], indirect=True)
def test_types_of_a_weakly_typed_network_can_be_set(trt, lab, model, infer, images, reference):
    path = model()
    network = lab.network(path, strong=False)
    network.get_input(0).dtype = trt.float16
    network.get_output(0).dtype = trt.float16
    engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
    assert engine.get_tensor_dtype("images") == engine.get_tensor_dtype("output0") == trt.float16
    found = infer(engine.create_execution_context(), images().astype(np.float16))
    assert np.allclose(found, reference(path, images()), atol=2e-2)


def test_vectorised_formats_are_refused(trt, network):
    tensor = network.get_input(0)
    tensor.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
    with pytest.raises(EmulationError, match="other than LINEAR"):
        tensor.allowed_formats = 1 << int(trt.TensorFormat.CHW32)


def test_a_second_model_is_refused(lab, model):
    path = model()
    lab.network(path)
    with pytest.raises(EmulationError, match="second model"):
        lab.parser.parse(path.read_bytes())


def test_error_recorder_gets_the_errors(trt, lab, model):
    class Recorder(trt.IErrorRecorder):
        def __init__(self):
            trt.IErrorRecorder.__init__(self)
            self.errors = []

        def report_error(self, code, text):
            self.errors.append((code, text))
            return True

    recorder = Recorder()
    lab.builder.error_recorder = recorder
    assert lab.plan(model(batch="n")) is None
    ((code, text),) = recorder.errors
    assert code == trt.ErrorCodeTRT.INVALID_STATE
    assert "no optimization profile has been defined" in text
