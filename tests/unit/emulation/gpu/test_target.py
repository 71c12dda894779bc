"""Engines that ONNX Runtime runs on the program's device addresses."""

import json
import threading

import numpy as np
import onnx
import pytest

from yolotrt_lab.emulation.gpu.target import GpuTarget
from yolotrt_lab.emulation.tensorrt.target import use_target
from yolotrt_lab.errors import EmulationError

pytestmark = pytest.mark.usefixtures("memory")

SIZE = 16  # of the images of the network in conftest.py


def layers(trt, engine):
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return json.loads(text)["Layers"]


def datatypes(layer, side="Outputs"):
    found = [tensor.get("Format/Datatype") or tensor["Datatype"] for tensor in layer[side]]
    return [text.replace("Row major linear ", "").replace(" format", "") for text in found]


@pytest.fixture
def context(lab, model):
    return lab.engine(model()).create_execution_context()


@pytest.fixture
def bound(trt, cudart, lab, model):
    """A context whose addresses are set, the addresses by name, and their sizes."""
    context = lab.engine(model()).create_execution_context()
    sizes = {"images": 3 * SIZE * SIZE * 4, "output0": 4 * SIZE * SIZE // 4 * 4}
    addresses = {name: cudart.cudaMalloc(nbytes)[1] for name, nbytes in sizes.items()}
    for name, address in addresses.items():
        assert context.set_tensor_address(name, address)
    return context, addresses, sizes


class TestResults:
    @pytest.mark.parametrize("variant", [{}, {"detector": True}], ids=["plain", "detector"])
    def test_fp32(self, lab, model, infer, images, reference, distance, variant):
        path = model(**variant)
        found = infer(lab.engine(path).create_execution_context(), images())
        assert distance(found, reference(path, images())) < 1e-5

    def test_qdq(self, lab, model, infer, images, reference, distance):
        path = model(quantized=True)
        found = infer(lab.engine(path).create_execution_context(), images())
        assert distance(found, reference(path, images())) < 0.02  # a value may be rounded to the other side

    def test_an_fp16_graph_stays_what_it_is(self, trt, lab, model, infer, images, reference, distance):
        path = model(dtype="float16")
        engine = lab.engine(path)
        assert engine.get_tensor_dtype("output0") == trt.DataType.HALF
        batch = images().astype(np.float16)
        assert distance(infer(engine.create_execution_context(), batch), reference(path, batch)) < 1e-2

    def test_batches_of_a_profile(self, lab, model, infer, images, reference, distance):
        path = model(batch="batch")
        lab.profile((1, 3, SIZE, SIZE), (2, 3, SIZE, SIZE), (4, 3, SIZE, SIZE))
        engine = lab.engine(path)
        assert tuple(engine.get_tensor_shape("images")) == (-1, 3, SIZE, SIZE)
        assert tuple(engine.get_tensor_shape("output0")) == (-1, 4, SIZE // 2, SIZE // 2)
        context = engine.create_execution_context()
        for batch in (1, 3, 4, 1):
            assert distance(infer(context, images(batch)), reference(path, images(batch))) < 1e-5
        assert not context.set_input_shape("images", (5, 3, SIZE, SIZE))

    def test_two_profiles_and_two_dynamic_axes(self, lab, model, infer, images, reference, distance, cudart):
        path = model(size="size")
        lab.profile((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 16, 16))
        lab.profile((1, 3, 32, 32), (1, 3, 32, 32), (1, 3, 48, 48))
        engine = lab.engine(path)
        assert engine.num_optimization_profiles == 2
        context = engine.create_execution_context()
        assert distance(infer(context, images(size=12)), reference(path, images(size=12))) < 1e-5
        assert not context.set_input_shape("images", (1, 3, 40, 40))
        stream = cudart.cudaStreamCreate()[1]
        assert context.set_optimization_profile_async(1, stream)
        assert distance(infer(context, images(size=40)), reference(path, images(size=40))) < 1e-5

    def test_execute_v2(self, cudart, bound, images, reference, distance, model):
        context, addresses, sizes = bound
        kind = cudart.cudaMemcpyKind
        cudart.cudaMemcpy(addresses["images"], images(), sizes["images"], kind.cudaMemcpyHostToDevice)
        assert context.execute_v2(list(addresses.values()))
        output = np.empty((1, 4, SIZE // 2, SIZE // 2), np.float32)
        cudart.cudaMemcpy(output, addresses["output0"], sizes["output0"], kind.cudaMemcpyDeviceToHost)
        assert distance(output, reference(model(), images())) < 1e-5

    def test_an_output_allocator(self, trt, cudart, bound):
        context, _, sizes = bound
        asked = []

        class Allocator(trt.IOutputAllocator):
            def __init__(self):
                trt.IOutputAllocator.__init__(self)

            def reallocate_output_async(self, name, memory, size, alignment, stream):
                asked.append((name, size))
                return cudart.cudaMalloc(size)[1]

            def notify_shape(self, name, shape):
                asked.append(tuple(shape))

        allocator = Allocator()
        assert context.set_output_allocator("output0", allocator)
        assert context.execute_async_v3(0)
        assert asked == [("output0", sizes["output0"]), (1, 4, SIZE // 2, SIZE // 2)]

    def test_contexts_in_threads_and_streams_of_their_own(self, lab, model, infer, images, reference, distance):
        engine = lab.engine(model())
        results = []

        def work():
            context = engine.create_execution_context()
            results.extend(infer(context, images()) for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = reference(model(), images())
        assert len(results) == 15
        assert all(distance(found, expected) < 1e-5 for found in results)

    def test_more_streams_than_sessions_are_kept(self, lab, context, model, infer, images, reference, distance):
        expected = reference(model(), images())
        assert all(distance(infer(context, images()), expected) < 1e-5 for _ in range(12))  # a new stream every time
        assert len(context.engine._network._sessions._sessions) == 8

    def test_other_addresses_and_shapes_in_the_same_stream(self, lab, cudart, model, images, reference, distance):
        path = model(batch="batch")
        lab.profile((1, 3, SIZE, SIZE), (1, 3, SIZE, SIZE), (2, 3, SIZE, SIZE))
        context = lab.engine(path).create_execution_context()
        kind = cudart.cudaMemcpyKind
        for number in (1, 2, 2, 1):
            frames = images(number) * number
            output = np.empty((number, 4, SIZE // 2, SIZE // 2), np.float32)
            context.set_input_shape("images", frames.shape)
            d_in, d_out = cudart.cudaMalloc(frames.nbytes)[1], cudart.cudaMalloc(output.nbytes)[1]
            context.set_tensor_address("images", d_in)
            context.set_tensor_address("output0", d_out)
            cudart.cudaMemcpy(d_in, frames, frames.nbytes, kind.cudaMemcpyHostToDevice)
            assert context.execute_async_v3(0)
            cudart.cudaMemcpy(output, d_out, output.nbytes, kind.cudaMemcpyDeviceToHost)
            assert distance(output, reference(path, frames)) < 1e-5

    def test_outputs_that_follow_an_input_in_no_straight_line(self, lab, model):
        lab.profile((1, 3, 8, SIZE), (1, 3, 12, SIZE), (1, 3, SIZE, SIZE))
        context = lab.engine(model(size="size")).create_execution_context()
        for height in (8, 9, 11, 15, 16):
            assert context.set_input_shape("images", (1, 3, height, SIZE))
            assert tuple(context.get_tensor_shape("output0")) == (1, 4, -(-height // 2), SIZE // 2)


class TestPrecision:
    def test_int8_is_never_claimed(self, trt, lab, model):
        found = layers(trt, lab.engine(model(quantized=True)))
        convolutions = [layer for layer in found if layer["LayerType"] == "Convolution"]
        assert len(convolutions) == 3
        for layer in convolutions:
            assert set(datatypes(layer, "Inputs") + datatypes(layer)) == {"FP32"}
        # Weights are quantized and dequantized once, when the engine is loaded.
        assert sum(layer["LayerType"] == "Dequantize" for layer in found) == 3
        assert "ONNX Layer: w0" not in json.dumps(found)

    def test_an_fp16_graph(self, trt, lab, model, memory):
        found = layers(trt, lab.engine(model(dtype="float16")))
        kinds = {tuple(datatypes(layer)) for layer in found if layer["LayerType"] == "Convolution"}
        # ONNX Runtime's CPU provider computes in FP32 between casts, and the inspector says so.
        assert kinds == {("FP32",) if memory.provider.startswith("CPU") else ("FP16",)}

    def test_the_fp16_flag(self, trt, lab, model, infer, images, reference, distance):
        if not hasattr(trt.BuilderFlag, "FP16"):
            pytest.skip("TensorRT 11 has no precision flags")
        path = model(detector=True)
        lab.config.set_flag(trt.BuilderFlag.FP16)
        engine = lab.engine(path, strong=False)
        assert engine.get_tensor_dtype("images") == trt.DataType.FLOAT
        found = distance(infer(engine.create_execution_context(), images()), reference(path, images()))
        assert 0 < found < 1e-2

    def test_types_of_inputs_and_outputs(self, trt, lab, model, infer, images, reference, distance):
        if not hasattr(trt.BuilderFlag, "FP16"):
            pytest.skip("TensorRT 11 has no weakly typed networks")
        path = model()
        network = lab.network(path, strong=False)
        network.get_input(0).dtype = network.get_output(0).dtype = trt.DataType.HALF
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        assert engine.get_tensor_dtype("images") == engine.get_tensor_dtype("output0") == trt.DataType.HALF
        found = infer(engine.create_execution_context(), images().astype(np.float16))
        assert 0 < distance(found, reference(path, images())) < 1e-2

    def test_what_is_fast(self, trt, lab):
        if not hasattr(lab.builder, "platform_has_fast_fp16"):
            pytest.skip("removed in TensorRT 11")
        assert lab.builder.platform_has_fast_fp16
        assert not lab.builder.platform_has_fast_int8
        assert not lab.builder.platform_has_tf32

    def test_all_memory_is_the_default_workspace(self, trt, lab, memory):
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == memory.total_bytes > 0

    def test_the_builder_says_what_it_does(self, lab, model):
        lab.engine(model())
        said = "\n".join(text for _, text in lab.log.messages)
        assert "ONNX Runtime" in said
        assert "no INT8 arithmetic" in said
        assert "TF32 is not used" in said


class TestInspector:
    def test_fused_layers_name_their_nodes(self, trt, lab, model, memory):
        engine = lab.engine(model())
        found = layers(trt, engine)
        assert engine.num_layers == len(found)
        nodes = [node.name for node in onnx.load(model()).graph.node]
        told = [name for layer in found for name in nodes if f"[ONNX Layer: {name}]" in layer["Metadata"]]
        assert sorted(told) == sorted(set(told))  # nobody's work is done twice
        assert {name for name in nodes if "Conv" in name} <= set(told)
        assert len({layer["Name"] for layer in found}) == len(found)
        by = f"onnxruntime_{memory.provider.removesuffix('ExecutionProvider')}_"
        assert all(layer["TacticName"].startswith(by) for layer in found)

    def test_dynamic_dimensions(self, trt, lab, model):
        lab.profile((1, 3, SIZE, SIZE), (2, 3, SIZE, SIZE), (4, 3, SIZE, SIZE))
        engine = lab.engine(model(batch="batch"))
        convolution = next(layer for layer in layers(trt, engine) if layer["LayerType"] == "Convolution")
        batch, _, *rest = convolution["Outputs"][0]["Dimensions"]  # the CPU provider pads channels
        assert (batch, rest) == (-1, [SIZE // 2, SIZE // 2])
        assert engine.device_memory_size_v2 >= 4 * 8 * (SIZE // 2) ** 2 * 4

    def test_layers_are_not_timed(self, trt, context):
        class Profiler(trt.IProfiler):
            def __init__(self):
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name, ms):
                pass

        with pytest.raises(EmulationError, match="not timed on a GPU"):
            context.profiler = Profiler()
        context.profiler = None


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "share", "words"),
        [("images", 0.5, "input tensor 'images' needs 3072 bytes"), ("output0", 0.5, "output tensor 'output0' needs")],
    )
    def test_a_buffer_too_small(self, cudart, lab, bound, name, share, words):
        context, _, sizes = bound
        context.set_tensor_address(name, cudart.cudaMalloc(int(sizes[name] * share))[1])
        assert not context.execute_async_v3(0)
        assert "illegal memory access" in lab.log.errors
        assert words in lab.log.errors

    def test_freed_memory(self, cudart, lab, bound, on_host):
        context, addresses, _ = bound
        cudart.cudaFree(addresses["images"])
        assert not context.execute_async_v3(0)
        assert "freed before" in lab.log.errors

    def test_no_address(self, lab, context):
        assert not context.execute_async_v3(0)
        assert "Address is not set for input tensor images." in lab.log.errors

    def test_no_stream(self, lab, bound, on_host):
        assert not bound[0].execute_async_v3(0xBAD)
        assert "invalid resource handle" in lab.log.errors

    def test_shapes_that_depend_on_the_data(self, lab, model):
        nodes = (onnx.helper.make_node("NonZero", ["output0"], ["where"], name="nonzero"),)
        with pytest.raises(EmulationError, match=r"depend on the data[\s\S]*NonZero"):
            lab.plan(model(extra_nodes=nodes))

    def test_shapes_that_do_not_fit(self, lab, model):
        lab.profile((1, 3, SIZE, SIZE), (2, 3, SIZE, SIZE), (4, 3, SIZE, SIZE))
        assert lab.plan(model(batch="batch", baked_batch=True)) is None
        assert "Shapes do not fit the network" in lab.log.errors


class TestPlans:
    def test_of_another_gpu(self, lab, model, memory, on_host):
        plan = lab.plan(model())
        memory.capability = "8.6"
        assert lab.load(plan) is None
        assert "generated on an incompatible device, expecting compute 8.6" in lab.log.errors
        assert "got compute 9.0" in lab.log.errors
        assert "please rebuild" in lab.log.errors

    def test_of_the_emulation_on_the_processor(self, lab, model, memory, on_host):
        use_target(None)
        plan = lab.plan(model())
        use_target(GpuTarget(memory))
        assert lab.load(plan) is None
        assert "incompatible device" in lab.log.errors
        assert "OpenVINO" in lab.log.errors

    def test_on_the_processor(self, lab, model, on_host):
        plan = lab.plan(model())
        use_target(None)
        assert lab.load(plan) is None
        assert "got compute 9.0 (ONNX Runtime" in lab.log.errors

    def test_stay_what_they_are(self, lab, model, infer, images, reference, distance):
        plan = lab.plan(model())
        again = lab.load(bytes(lab.load(plan).serialize()))
        assert distance(infer(again.create_execution_context(), images()), reference(model(), images())) < 1e-5
