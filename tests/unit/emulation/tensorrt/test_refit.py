"""New weights for built engines: by name, by layer, from an ONNX model; stripped plans; and what is refused."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.emulation.tensorrt.sparsity import is_sparse


@pytest.fixture
def weights():
    """Return a function that reads the weights of a model file by name."""
    return lambda path: {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.fixture
def other(tmp_path, write_model):
    """A model like the usual one, with other weights."""
    path = write_model(tmp_path / "other.onnx")
    model = onnx.load(path)
    random = np.random.default_rng(9)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            new = random.normal(0, 0.3, values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    onnx.save(model, path)
    return path


@pytest.fixture
def build(trt, lab):
    def run(path, *flags):
        lab.config = lab.builder.create_builder_config()
        for flag in flags:
            lab.config.set_flag(getattr(trt.BuilderFlag, flag))
        return lab.plan(path)

    return run


@pytest.fixture
def refitter(trt, lab):
    return lambda engine: trt.Refitter(engine, lab.log)


class TestNames:
    def test_layers_and_roles(self, trt, lab, model, build, refitter):
        layers, roles = refitter(lab.load(build(model(), "REFIT"))).get_all()
        expected = [(f"/model.{i}/conv/Conv", role) for i in range(3) for role in ("KERNEL", "BIAS")]
        assert [(layer, role.name) for layer, role in zip(layers, roles, strict=True)] == expected

    def test_weights(self, lab, model, build, refitter):
        found = refitter(lab.load(build(model(), "REFIT")))
        assert found.get_all_weights() == ["w0", "b0", "w1", "b1", "w2", "b2"]
        assert found.get_missing_weights() == []
        assert found.get_missing() == ([], [])

    def test_scales_of_quantization_are_not_weights(self, lab, model, build, refitter):
        assert refitter(lab.load(build(model(quantized=True), "REFIT"))).get_all_weights() == [
            "w0", "b0", "w1", "b1", "w2", "b2",
        ]  # fmt: skip

    def test_prototypes(self, trt, lab, model, build, refitter):
        found = refitter(lab.load(build(model(), "REFIT")))
        prototype = found.get_weights_prototype("w0")
        assert (prototype.dtype, prototype.size) == (trt.float32, 8 * 3 * 9)
        assert found.get_weights_prototype("nope").size == -1

    def test_shape_constants_are_not_weights(self, lab, model, build, refitter):
        assert "shape" not in refitter(lab.load(build(model(detector=True), "REFIT"))).get_all_weights()


class TestRefitting:
    @pytest.mark.parametrize("by", ["name", "layer"])
    def test_new_weights_are_used(
        self, trt, lab, model, other, weights, build, refitter, infer, images, reference, distance, by
    ):
        engine = lab.load(build(model(), "REFIT"))
        context = engine.create_execution_context()
        assert distance(infer(context, images()), reference(model(), images())) < 1e-4
        found = refitter(engine)
        names = dict(zip(found.get_all_weights(), zip(*found.get_all(), strict=True), strict=True))
        for name, (layer, role) in names.items():
            value = weights(other)[name]
            assert found.set_named_weights(name, value) if by == "name" else found.set_weights(layer, role, value)
        assert found.refit_cuda_engine()
        assert distance(infer(context, images()), reference(other, images())) < 1e-4
        assert distance(infer(engine.create_execution_context(), images()), reference(other, images())) < 1e-4

    def test_some_of_them(self, lab, model, weights, build, refitter, infer, images, distance, reference, tmp_path):
        path = model()
        engine = lab.load(build(path, "REFIT"))
        found = refitter(engine)
        assert found.set_named_weights("b2", np.zeros(4, np.float32))
        assert found.refit_cuda_engine()
        changed = onnx.load(path)
        for tensor in changed.graph.initializer:
            if tensor.name == "b2":
                tensor.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "b2"))
        onnx.save(changed, tmp_path / "changed.onnx")
        output = infer(engine.create_execution_context(), images())
        assert distance(output, reference(tmp_path / "changed.onnx", images())) < 1e-4

    def test_with_dynamic_shapes(self, trt, lab, model, build, refitter, infer, images, reference, distance):
        lab.config.set_flag(trt.BuilderFlag.REFIT)
        lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
        path = model(batch="n")
        engine = lab.engine(path)
        found = refitter(engine)
        assert found.set_named_weights("b0", np.zeros(8, np.float32))
        assert found.refit_cuda_engine()
        context = engine.create_execution_context()
        for batch in (1, 3):
            output = infer(context, images(batch))
            assert output.shape == (batch, 4, 8, 8)
            assert distance(output, reference(path, images(batch))) > 1e-3

    def test_async(self, lab, model, build, refitter, cudart):
        found = refitter(lab.load(build(model(), "REFIT")))
        found.set_named_weights("b2", np.zeros(4, np.float32))
        assert found.refit_cuda_engine_async(cudart.cudaStreamCreate()[1])

    def test_weights_in_device_memory(self, trt, lab, model, other, weights, build, refitter, infer, images, cudart):
        engine, value = lab.load(build(model(), "REFIT")), weights(other)["w2"]
        host = lab.load(build(model(), "REFIT"))
        address = cudart.cudaMalloc(value.nbytes)[1]
        found = refitter(engine)
        pointer = trt.Weights(trt.float32, address, value.size)
        assert found.set_named_weights("w2", pointer, trt.TensorLocation.DEVICE)
        assert found.get_weights_location("w2") == trt.TensorLocation.DEVICE
        assert not found.refit_cuda_engine()  # nothing was copied there
        assert "nothing was copied" in lab.log.errors
        cudart.cudaMemcpy(address, value, value.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
        assert found.refit_cuda_engine()
        plain = refitter(host)
        assert plain.set_named_weights("w2", value)
        assert plain.refit_cuda_engine()
        outputs = [infer(each.create_execution_context(), images()) for each in (engine, host)]
        assert np.array_equal(*outputs)

    def test_a_refitted_engine_is_saved_with_its_weights(
        self, lab, model, other, build, trt, refitter, infer, images, reference, distance
    ):
        engine = lab.load(build(model(), "REFIT"))
        found = refitter(engine)
        assert trt.OnnxParserRefitter(found, lab.log).refit_from_file(str(other))
        assert found.refit_cuda_engine()
        again = lab.load(engine.serialize())
        assert again.refittable
        assert distance(infer(again.create_execution_context(), images()), reference(other, images())) < 1e-4

    def test_half_precision(self, lab, model, build, refitter):
        found = refitter(lab.load(build(model(dtype="float16"), "REFIT")))
        assert not found.set_named_weights("b2", np.zeros(4, np.float32))
        assert found.set_named_weights("b2", np.zeros(4, np.float16))
        assert found.refit_cuda_engine()


class TestRefusals:
    def test_an_engine_without_the_flag(self, trt, lab, model, build):
        engine = lab.load(build(model()))
        assert not engine.refittable
        with pytest.raises(TypeError, match=r"pybind11::init\(\): factory function returned nullptr"):
            trt.Refitter(engine, lab.log)
        assert "condition: e.isRefittable()" in lab.log.errors

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("nope", np.zeros(4, np.float32), "do not correspond to any refittable weights"),
            ("b2", np.zeros(5, np.float32), "The count of weights b2 is 5, but 4 is expected"),
            ("b2", np.zeros(4, np.float16), "The type of weights b2 is HALF, but FLOAT is expected"),
        ],
    )
    def test_weights_that_do_not_fit(self, lab, model, build, refitter, name, value, message):
        found = refitter(lab.load(build(model(), "REFIT")))
        assert not found.set_named_weights(name, value)
        assert message in lab.log.errors

    def test_a_layer_without_such_weights(self, trt, lab, model, build, refitter):
        found = refitter(lab.load(build(model(), "REFIT")))
        assert not found.set_weights("/model.0/conv/Conv", trt.WeightsRole.SCALE, np.zeros(1, np.float32))
        assert not found.set_weights("nope", trt.WeightsRole.KERNEL, np.zeros(1, np.float32))
        assert "nope has no refittable weights with role KERNEL" in lab.log.errors

    def test_unset(self, trt, lab, model, build, refitter):
        found = refitter(lab.load(build(model(), "REFIT")))
        assert not found.unset_named_weights("b2")
        found.set_named_weights("b2", np.zeros(4, np.float32))
        assert found.get_named_weights("b2").size == 4
        assert found.unset_named_weights("b2")
        assert found.get_named_weights("b2").size == 0
        assert found.get_weights_location("b2") == trt.TensorLocation.HOST
        assert "b2 were not set" in lab.log.errors

    def test_identical_weights_only(self, trt, lab, model, other, build, refitter):
        found = refitter(lab.load(build(model(), "REFIT_IDENTICAL")))
        parser = trt.OnnxParserRefitter(found, lab.log)
        assert parser.refit_from_file(str(model()))
        assert found.refit_cuda_engine()
        assert parser.refit_from_file(str(other))
        assert not found.refit_cuda_engine()
        assert "not the weights the engine was built with" in lab.log.errors

    def test_individual_weights_only(self, trt, lab, model, refitter):
        lab.config.set_flag(trt.BuilderFlag.REFIT_INDIVIDUAL)
        network = lab.network(model())
        assert network.mark_weights_refittable("w1")
        engine = lab.load(lab.builder.build_serialized_network(network, lab.config))
        assert refitter(engine).get_all_weights() == ["w1"]


class TestStrippedPlans:
    @pytest.mark.parametrize("flags", [("STRIP_PLAN",), ("STRIP_PLAN", "REFIT")])
    def test_the_way_back(self, trt, lab, model, build, refitter, infer, images, reference, distance, flags):
        path = model(width=64)
        full, stripped = build(path), build(path, *flags)
        assert stripped.nbytes < full.nbytes / 5
        engine = lab.load(stripped)
        assert engine.refittable
        assert engine.create_execution_context() is None
        assert "kSTRIP_PLAN" in lab.log.errors
        found = refitter(engine)
        assert found.get_missing_weights() == found.get_all_weights() != []
        assert not found.refit_cuda_engine()
        assert "weights are missing" in lab.log.errors
        assert trt.OnnxParserRefitter(found, lab.log).refit_from_bytes(path.read_bytes())
        assert found.get_missing_weights() == []
        assert found.refit_cuda_engine()
        assert distance(infer(engine.create_execution_context(), images()), reference(path, images())) < 1e-4

    @pytest.fixture
    def refitted(self, trt, lab, model, build, refitter):
        engine = lab.load(build(model(width=64), "STRIP_PLAN"))
        found = refitter(engine)
        assert trt.OnnxParserRefitter(found, lab.log).refit_from_file(str(model(width=64)))
        assert found.refit_cuda_engine()
        return engine

    @pytest.mark.parametrize(
        ("exclude", "include_refit", "has_weights", "refittable"),
        [(True, False, False, True), (False, False, True, False), (False, True, True, True)],
    )
    def test_saving(self, trt, lab, refitted, exclude, include_refit, has_weights, refittable):
        config, flags = refitted.create_serialization_config(), trt.SerializationFlag
        assert config.get_flag(flags.EXCLUDE_WEIGHTS)
        if not exclude:
            assert config.clear_flag(flags.EXCLUDE_WEIGHTS)
        if include_refit:
            assert config.set_flag(flags.INCLUDE_REFIT)
        again = lab.load(refitted.serialize_with_config(config))
        assert again.refittable == refittable
        assert (again.create_execution_context() is not None) == has_weights

    def test_statistics(self, trt, lab, model, build, refitted):
        stat = trt.EngineStat
        normal = lab.load(build(model(width=64)))
        assert normal.get_engine_stat(stat.TOTAL_WEIGHTS_SIZE) == normal.get_engine_stat() > 4 * 64 * 64 * 9
        assert normal.get_engine_stat(stat.STRIPPED_WEIGHTS_SIZE) == -1
        assert refitted.get_engine_stat(stat.STRIPPED_WEIGHTS_SIZE) == normal.get_engine_stat()

    def test_weights_can_only_be_excluded_if_they_can_come_back(self, trt, lab, model, build):
        engine = lab.load(build(model()))
        config = engine.create_serialization_config()
        config.set_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
        assert engine.serialize_with_config(config) is None
        assert "refittable engine" in lab.log.errors


class TestFromOnnx:
    def test_errors(self, trt, lab, model, build, refitter, tmp_path, write_model):
        found = refitter(lab.load(build(model(), "REFIT")))
        parser = trt.OnnxParserRefitter(found, lab.log)
        assert not parser.refit_from_bytes(b"garbage")
        assert not parser.refit_from_file(str(tmp_path / "missing.onnx"))
        assert not parser.refit_from_file(str(write_model(tmp_path / "wide.onnx", width=16)))
        codes = [parser.get_error(index).code().name for index in range(parser.num_errors)]
        assert codes[:2] == ["MODEL_DESERIALIZE_FAILED"] * 2
        assert set(codes[2:]) == {"REFIT_FAILED"}
        assert parser.get_error(99) is None
        parser.clear_errors()
        assert parser.num_errors == 0

    def test_weights_that_the_model_lacks(self, trt, lab, model, build, refitter, tmp_path):
        found = refitter(lab.load(build(model(), "REFIT")))
        small = onnx.load(model())
        small.graph.initializer[0].name = "another"
        parser = trt.OnnxParserRefitter(found, lab.log)
        assert not parser.refit_from_bytes(small.SerializeToString())
        assert "has no weights w0" in parser.get_error(0).desc()

    def test_step_by_step(self, trt, lab, model, build, refitter, infer, images, reference, distance):
        engine = lab.load(build(model(), "REFIT"))
        found = refitter(engine)
        parser = trt.OnnxParserRefitter(found, lab.log)
        bias = np.zeros(4, np.float32)
        assert not parser.load_initializer("b2", bias.ctypes.data, bias.nbytes)  # no model yet
        assert not parser.refit_model_proto()
        assert parser.load_model_proto(model().read_bytes())
        assert not parser.load_model_proto(model().read_bytes())
        assert not parser.load_initializer("nope", bias.ctypes.data, bias.nbytes)
        assert not parser.load_initializer("b2", bias.ctypes.data, 3)
        assert parser.load_initializer("b2", bias.ctypes.data, bias.nbytes)
        assert parser.refit_model_proto()
        assert found.refit_cuda_engine()
        assert distance(infer(engine.create_execution_context(), images()), reference(model(), images())) > 1e-3


def test_a_network_made_by_hand(trt, lab, infer, refitter):
    """What NVIDIA's refit sample does: named weights, and a bias by its layer."""
    builder, random = lab.builder, np.random.default_rng(3)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    data = network.add_input("images", trt.float32, (1, 3, 16, 16))
    kernel, bias = np.zeros((4, 3, 1, 1), np.float32), np.zeros(4, np.float32)
    layer = network.add_convolution_nd(data, 4, (1, 1), kernel, bias)
    layer.name = "conv_1"
    assert network.set_weights_name(kernel, "conv1.weight")
    layer.get_output(0).name = "output0"
    network.mark_output(layer.get_output(0))
    lab.config.set_flag(trt.BuilderFlag.REFIT)
    engine = lab.load(builder.build_serialized_network(network, lab.config))
    images = random.random((1, 3, 16, 16), dtype=np.float32)
    context = engine.create_execution_context()
    assert not infer(context, images).any()
    found = refitter(engine)
    new = random.random((4, 3, 1, 1), dtype=np.float32)
    assert found.set_named_weights("conv1.weight", new)
    assert found.set_weights("conv_1", trt.WeightsRole.BIAS, np.arange(4, dtype=np.float32))
    assert found.get_missing_weights() == []
    assert found.refit_cuda_engine()
    expected = np.einsum("oc,nchw->nohw", new[:, :, 0, 0], images) + np.arange(4)[:, None, None]
    assert np.allclose(infer(context, images), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.zeros((4, 4, 3, 3)), True),
        (np.ones((4, 4, 3, 3)), False),
        (np.zeros((4, 3, 3, 3)), False),
        (np.zeros(4), False),
        (np.tile([1, 0, 2, 0], (2, 3)), True),
        (np.tile([1, 0, 2, 3], (2, 3)), False),
    ],
)
def test_two_of_four(weights, expected):
    assert is_sparse(weights) == expected
