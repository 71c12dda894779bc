"""Networks written by hand: objects, changes afterwards, and parsed networks that grow."""

import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.unit.emulation.tensorrt.test_network_layers import execute
from yolotrt_lab.errors import EmulationError

KERNEL = np.random.default_rng(0).normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(6, dtype=np.float32)
IMAGE = np.random.default_rng(1).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def network(lab):
    return lab.builder.create_network(0)


@pytest.fixture
def x(trt, network):
    return network.add_input("x", trt.float32, (1, 3, 8, 8))


@pytest.fixture
def run(trt, lab, network):
    """Return a function that builds the network, runs it, and returns all outputs."""

    def build_and_run(**inputs):
        plan = lab.builder.build_serialized_network(network, lab.config)
        assert plan is not None, lab.log.errors
        return execute(trt, lab.load(plan), inputs)

    return build_and_run


def outputs_of(network, layer):
    for index in range(layer.num_outputs):
        network.mark_output(layer.get_output(index))
    return layer


class TestObjects:
    def test_names_and_classes(self, trt, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL, BIAS)
        relu = network.add_activation(conv.get_output(0), trt.ActivationType.RELU)
        assert type(conv) is trt.IConvolutionLayer
        assert (conv.name, conv.get_output(0).name) == (
            "(Unnamed Layer* 0) [Convolution]", "(Unnamed Layer* 0) [Convolution]_output",
        )  # fmt: skip
        assert relu.type == trt.ActivationType.RELU
        assert [network.get_layer(index).type for index in range(2)] == [
            trt.LayerType.CONVOLUTION, trt.LayerType.ACTIVATION,
        ]  # fmt: skip
        assert relu.get_input(0) is conv.get_output(0)
        assert (conv.num_inputs, conv.num_outputs, network.num_layers) == (1, 1, 2)

    def test_names_of_further_outputs(self, trt, network, x):
        best = network.add_topk(x, trt.TopKOperation.MAX, 1, 1 << 1)
        assert best.get_output(1).name == "(Unnamed Layer* 0) [TopK]_output (1)"

    def test_get_layer_gives_the_base_class_until_a_program_knows_better(self, trt, network, x):
        network.add_convolution_nd(x, 6, (3, 3), KERNEL, BIAS)
        layer = network.get_layer(0)
        assert type(layer) is trt.ILayer
        assert not isinstance(layer, trt.IConvolutionLayer)
        with pytest.raises(AttributeError):
            layer.kernel  # noqa: B018
        layer.__class__ = trt.IConvolutionLayer
        assert layer.kernel.shape == (162,)
        layer.stride_nd = (2, 2)
        assert layer.get_output(0).shape == (1, 6, 3, 3)

    def test_an_object_stays_the_same_while_it_lives(self, network, x):
        network.add_softmax(x)
        layer = network[0]
        layer.name = "probabilities"
        assert network.get_layer(0) is layer
        del layer
        gc.collect()
        assert network[0].name == "probabilities"

    def test_the_wrong_class_is_noticed(self, trt, network, x):
        network.add_softmax(x)
        layer = network[0]
        layer.__class__ = trt.IConvolutionLayer
        with pytest.raises(EmulationError, match="has no 'kernel'"):
            layer.kernel  # noqa: B018

    def test_weights_come_back_flat(self, trt, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), trt.Weights(KERNEL))
        assert np.array_equal(conv.kernel, KERNEL.ravel())
        assert conv.bias.size == 0
        conv.bias = BIAS
        assert np.array_equal(conv.bias, BIAS)

    def test_defaults(self, trt, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL)
        assert (conv.stride_nd, conv.padding_nd, conv.dilation_nd, conv.num_groups) == ((1, 1), (0, 0), (1, 1), 1)
        assert conv.padding_mode == trt.PaddingMode.EXPLICIT_ROUND_DOWN
        pool = network.add_pooling_nd(x, trt.PoolingType.AVERAGE, (2, 2))
        assert (pool.stride_nd, pool.average_count_excludes_padding) == ((1, 1), True)
        assert network.add_softmax(x).axes == 1 << 1
        assert network.add_concatenation([x, x]).axis == 1
        resize = network.add_resize(x)
        assert (resize.resize_mode, resize.cubic_coeff) == (trt.InterpolationMode.NEAREST, -0.75)

    def test_a_setting_of_the_wrong_type_is_refused(self, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL)
        with pytest.raises(TypeError, match="incompatible function arguments"):
            conv.padding_mode = 1
        with pytest.raises(AttributeError):
            conv.stride = (1, 1)


class TestChanges:
    def test_a_changed_setting_changes_shapes_and_results(self, network, x, run):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL, BIAS)
        pool = network.add_softmax(conv.get_output(0))
        assert pool.get_output(0).shape == (1, 6, 6, 6)
        conv.stride_nd, conv.padding_nd = (2, 2), (1, 1)
        assert pool.get_output(0).shape == (1, 6, 4, 4)
        outputs_of(network, pool)
        (found,) = run(x=IMAGE).values()
        image, kernel = torch.from_numpy(IMAGE), torch.from_numpy(KERNEL)
        expected = F.conv2d(image, kernel, torch.from_numpy(BIAS), 2, 1).softmax(1).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_a_change_can_break_a_layer(self, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL)
        assert conv.get_output(0).shape == (1, 6, 6, 6)
        conv.kernel = KERNEL[:3]
        with pytest.raises(ValueError, match="__len__"):
            len(conv.get_output(0).shape)

    def test_an_input_shape_changes_everything_behind_it(self, network, x):
        conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL)
        x.shape = (4, 3, 10, 12)
        assert conv.get_output(0).shape == (4, 6, 8, 10)

    def test_an_input_can_be_replaced(self, trt, network, x, run):
        relu = outputs_of(network, network.add_activation(x, trt.ActivationType.RELU))
        negated = network.add_unary(x, trt.UnaryOperation.NEG)
        relu.set_input(0, negated.get_output(0))  # a layer that was added later
        (found,) = run(x=IMAGE).values()
        assert np.array_equal(found, np.maximum(-IMAGE, 0))

    def test_an_input_that_is_not_there_is_an_error(self, lab, network, x):
        network.add_softmax(x).set_input(1, x)
        assert "ILayer::setInput: Error Code 3" in lab.log.errors

    def test_weights_are_read_when_the_engine_is_built(self, network, x, run):
        bias = np.zeros(6, np.float32)
        conv = outputs_of(network, network.add_convolution_nd(x, 6, (3, 3), np.zeros_like(KERNEL), bias))
        bias[:] = 7
        assert np.unique(run(x=IMAGE)[conv.get_output(0).name]).tolist() == [7.0]

    def test_two_outputs(self, trt, network, x, run):
        topk = outputs_of(network, network.add_topk(x, trt.TopKOperation.MIN, 3, 1 << 2))
        values, places = (topk.get_output(index) for index in range(2))
        assert (values.shape, places.shape, places.dtype) == ((1, 3, 3, 8), (1, 3, 3, 8), trt.int32)
        found = run(x=IMAGE)
        expected = torch.from_numpy(IMAGE).topk(3, dim=2, largest=False)
        assert np.array_equal(found[values.name], expected.values.numpy())
        assert np.array_equal(found[places.name], expected.indices.numpy())

    def test_a_dynamic_batch(self, trt, lab, network, run):
        images = network.add_input("images", trt.float32, (-1, 3, 8, 8))
        conv = network.add_convolution_nd(images, 6, (3, 3), KERNEL)
        flat = network.add_shuffle(conv.get_output(0))
        flat.reshape_dims = (0, -1)
        assert flat.get_output(0).shape == (-1, 216)
        outputs_of(network, flat)
        lab.profile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
        batch = np.repeat(IMAGE, 3, 0)
        (found,) = run(images=batch).values()
        expected = F.conv2d(torch.from_numpy(batch), torch.from_numpy(KERNEL)).flatten(1).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_a_reshape_by_the_shape_of_a_dynamic_input(self, trt, lab, network, run):
        images = network.add_input("images", trt.float32, (-1, 3, 8, 8))
        shape = network.add_shape(images).get_output(0)
        batch = network.add_slice(shape, (0,), (1,), (1,)).get_output(0)
        rest = network.add_constant((1,), np.array([192], np.int64)).get_output(0)
        target = network.add_concatenation([batch, rest])
        flat = network.add_shuffle(images)
        flat.set_input(1, target.get_output(0))
        assert flat.get_output(0).shape == (-1, 192)
        outputs_of(network, flat)
        lab.profile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
        assert np.array_equal(*run(images=np.repeat(IMAGE, 2, 0)).values(), np.repeat(IMAGE, 2, 0).reshape(2, -1))

    def test_shape_tensors_are_known_as_such(self, trt, network, x):
        shape = network.add_shape(x).get_output(0)
        rest = network.add_constant((2,), np.array([3, 64], np.int64)).get_output(0)
        shuffle = network.add_shuffle(x)
        shuffle.set_input(1, rest)
        assert (shape.is_shape_tensor, rest.is_shape_tensor, x.is_shape_tensor) == (True, True, False)
        assert (shape.is_execution_tensor, x.is_execution_tensor) == (False, True)

    def test_unused_inputs_stay(self, trt, lab, network, x, run):
        network.add_input("nobody", trt.int32, (2,))
        outputs_of(network, network.add_softmax(x))
        run(x=IMAGE, nobody=np.zeros(2, np.int32))
        assert ("WARNING", "Unused Input: nobody") in lab.log.messages
        network.remove_tensor(network.get_input(1))
        assert network.num_inputs == 1

    def test_named_weights_can_be_refitted(self, trt, lab, network, x):
        kernel = np.zeros_like(KERNEL)
        conv = outputs_of(network, network.add_convolution_nd(x, 6, (3, 3), kernel, BIAS))
        conv.name = "conv_1"
        assert network.set_weights_name(kernel, "conv1.weight")
        assert not network.set_weights_name(np.ones(5, np.float32), "stranger")
        lab.config.set_flag(trt.BuilderFlag.REFIT)
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        refitter = trt.Refitter(engine, lab.log)
        assert refitter.set_named_weights("conv1.weight", KERNEL)
        assert refitter.set_weights("conv_1", trt.WeightsRole.BIAS, BIAS + 1)
        assert refitter.refit_cuda_engine()
        (found,) = execute(trt, engine, {"x": IMAGE}).values()
        expected = F.conv2d(torch.from_numpy(IMAGE), torch.from_numpy(KERNEL), torch.from_numpy(BIAS + 1)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


class TestParsedNetworks:
    def test_settings_of_parsed_layers(self, trt, lab, model):
        network = lab.network(model())
        conv = network[0]
        conv.__class__ = trt.IConvolutionLayer
        assert (conv.num_output_maps, conv.kernel_size_nd, conv.stride_nd, conv.padding_nd) == (
            8,
            (3, 3),
            (2, 2),
            (1, 1),
        )
        assert conv.kernel.size == 8 * 3 * 9
        assert conv.bias.size == 8
        multiply = network[2]
        multiply.__class__ = trt.IElementWiseLayer
        assert multiply.op == trt.ElementWiseOperation.PROD

    def test_a_parsed_layer_can_be_changed(self, trt, lab, model, reference, images):
        path = model()
        network = lab.network(path)
        multiply = network[2]
        multiply.__class__ = trt.IElementWiseLayer
        multiply.op = trt.ElementWiseOperation.SUM
        network.mark_output(multiply.get_output(0))
        network.mark_output(network[0].get_output(0))
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        found = execute(trt, engine, {"images": images()})
        conv = found["/model.0/conv/Conv_output_0"]
        np.testing.assert_allclose(found["m"], conv + 1 / (1 + np.exp(-conv)), atol=1e-5)
        assert not np.allclose(found["output0"], reference(path, images()), atol=1e-2)

    def test_layers_can_be_added_behind_a_parsed_model(self, trt, lab, model, reference, images):
        path = model()
        network = lab.network(path)
        parsed = network.get_output(0)
        best = network.add_topk(parsed, trt.TopKOperation.MAX, 1, 1 << 1)
        network.unmark_output(parsed)
        best.get_output(1).name = "class"
        network.mark_output(best.get_output(1))
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        found = execute(trt, engine, {"images": images()})
        assert np.array_equal(found["class"], reference(path, images()).argmax(1)[:, None])

    def test_an_untouched_network_is_the_parsed_model(self, lab, model):
        network = lab.network(model())
        assert network._model is network._graph.base


class TestSizesThatDependOnData:
    """Their outputs need an allocator: only running tells how large they are."""

    @pytest.fixture
    def run_allocating(self, trt, lab, network, cudart):
        def run(**inputs):
            engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
            context, allocators = engine.create_execution_context(), {}
            for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
                if name in inputs:
                    address = cudart.cudaMalloc(inputs[name].nbytes)[1]
                    kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
                    cudart.cudaMemcpy(address, inputs[name], inputs[name].nbytes, kind)
                    context.set_tensor_address(name, address)
                else:
                    allocators[name] = make_allocator(trt, cudart)
                    context.set_output_allocator(name, allocators[name])
            assert context.execute_async_v3(0), lab.log.errors
            cudart.cudaDeviceSynchronize()
            types = {name: trt.nptype(engine.get_tensor_dtype(name)) for name in allocators}
            return {name: fetch(cudart, allocator, types[name]) for name, allocator in allocators.items()}

        return run

    def test_non_zero(self, trt, network, run_allocating):
        x = network.add_input("x", trt.float32, (3, 4))
        layer = outputs_of(network, network.add_non_zero(x))
        assert layer.get_output(0).shape == (2, -1)
        assert layer.get_output(0).dtype == trt.int32
        values = np.float32([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]])
        (found,) = run_allocating(x=values).values()
        assert np.array_equal(found, np.array(np.nonzero(values)))

    def test_suppression(self, trt, network, run_allocating):
        boxes = network.add_input("boxes", trt.float32, (1, 4, 1, 4))
        scores = network.add_input("scores", trt.float32, (1, 4, 2))
        limit, overlap = (network.add_constant((), np.array(v)).get_output(0) for v in (np.int32(3), np.float32(0.5)))
        layer = network.add_nms(boxes, scores, limit)
        layer.set_input(3, overlap)
        layer.set_input(4, network.add_constant((), np.array(0.2, np.float32)).get_output(0))
        outputs_of(network, layer)
        corners = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 9, 10]]).reshape(1, 4, 1, 4)
        marks = np.float32([[[0.9, 0.0], [0.8, 0.7], [0.6, 0.0], [0.1, 0.1]]])
        kept, count = run_allocating(boxes=corners, scores=marks).values()
        assert kept.tolist() == [[0, 0, 0], [0, 0, 2], [0, 1, 1]]
        assert int(count) == 3

    def test_boxes_that_do_not_overlap_are_kept_without_a_threshold(self, trt, network, run_allocating):
        boxes, scores = (
            network.add_input(*port) for port in (("b", trt.float32, (1, 3, 4)), ("s", trt.float32, (1, 3, 1)))
        )
        outputs_of(network, network.add_nms(boxes, scores, network.add_constant((), np.int32([3])).get_output(0)))
        corners = np.float32([[[0, 0, 10, 10], [20, 20, 30, 30], [9, 9, 12, 12]]])
        kept, count = run_allocating(b=corners, s=np.float32([[[0.9], [0.8], [0.7]]])).values()
        assert kept.tolist() == [[0, 0, 0], [0, 0, 1]]
        assert int(count) == 2

    def test_a_scalar_input_beside_them(self, trt, network, run_allocating):
        x, scale = network.add_input("x", trt.float32, (4,)), network.add_input("scale", trt.float32, ())
        large = network.add_elementwise(
            x, network.add_constant((1,), np.float32([1])).get_output(0), trt.ElementWiseOperation.GREATER
        )
        fill = network.add_fill((), trt.FillOperation.LINSPACE)
        found = network.add_non_zero(large.get_output(0)).get_output(0)
        for place, tensor in enumerate((network.add_shape(found).get_output(0), scale)):
            fill.set_input(place, tensor)
        fill.set_input(2, network.add_constant((2,), np.float32([10, 1])).get_output(0))
        outputs_of(network, fill)
        (found,) = run_allocating(x=np.float32([0, 2, 5, 3]), scale=np.float32(7)).values()
        assert found.tolist() == [[7, 8, 9]]


class TestFills:
    @pytest.mark.parametrize(
        ("operation", "mean", "deviation"), [("RANDOM_UNIFORM", 25, 2.886), ("RANDOM_NORMAL", 20, 30)]
    )
    def test_random_values_by_tensors(self, trt, lab, network, operation, mean, deviation):
        layer = network.add_fill((100, 50), getattr(trt.FillOperation, operation))
        for place, name in enumerate(("alpha", "beta"), 1):
            layer.set_input(place, network.add_input(name, trt.float32, ()))
        outputs_of(network, layer)
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        values = {"alpha": np.float32(20), "beta": np.float32(30)}
        first, second = (next(iter(execute(trt, engine, values).values())) for _ in range(2))
        assert first.shape == (100, 50)
        assert not np.array_equal(first, second)
        assert first.mean() == pytest.approx(mean, abs=5)
        assert first.std() == pytest.approx(deviation, rel=0.1)

    @pytest.mark.parametrize(
        ("value", "kept", "whole"),
        [(3, 3, True), (np.int32(3), 3, True), (2.5, 2.5, False), ([9], 0.0, False), ("9", 0.0, False)],
    )
    def test_what_is_no_number_changes_nothing(self, trt, network, value, kept, whole):
        layer = network.add_fill((4,), trt.FillOperation.LINSPACE)
        layer.alpha = value
        layer.beta = 1
        assert layer.alpha == kept
        assert layer.is_alpha_beta_int64() is whole


def make_allocator(trt, cudart):
    class Allocator(trt.IOutputAllocator):
        def __init__(self):
            trt.IOutputAllocator.__init__(self)
            self.address, self.shape = 0, ()

        def reallocate_output(self, tensor_name, memory, size, alignment):
            self.address = cudart.cudaMalloc(max(size, 1))[1]
            return self.address

        def reallocate_output_async(self, tensor_name, memory, size, alignment, stream):
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name, shape):
            self.shape = tuple(shape)

    return Allocator()


def fetch(cudart, allocator, dtype):
    array = np.empty(allocator.shape, dtype)
    cudart.cudaMemcpy(array, allocator.address, array.nbytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost)
    return array
