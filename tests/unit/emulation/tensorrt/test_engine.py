"""Plans, engines and their facts."""

import struct
import zlib
from dataclasses import replace

import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.emulation.device import isa_from_blob
from yolotrt_lab.emulation.tensorrt import plan_format


@pytest.fixture
def plan(lab, model):
    return bytes(lab.plan(model()))


def changed(plan, **facts):
    content = plan_format.unpack(plan)
    return plan_format.pack(replace(content, head=replace(content.head, **facts)))


class TestBadPlans:
    def refused(self, lab, data, *words):
        assert lab.load(data) is None
        for word in words:
            assert word in lab.log.errors

    @pytest.mark.parametrize(
        ("data", "tag"),
        [(b"garbage" * 100, 1651663207), (b"ftrt" + bytes(200), 1953657958)],
        ids=["garbage", "a real plan"],
    )
    def test_foreign_bytes(self, lab, data, tag):
        self.refused(
            lab,
            data,
            "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion header.magicTag == "
            "kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with incompatible serialization version "
            f"({tag} != ",
            "that it is a TRT engine file.",
        )

    def test_only_the_first_bytes(self, lab, plan):
        for data in (plan[:20], b"\x10"):
            self.refused(lab, data, "Error Code 2: Internal Error (Assertion bufferSize >= minBufferSize failed.")

    def test_nothing(self, lab):
        self.refused(lab, b"", "Cannot deserialize with an empty memory buffer.")

    def test_an_ultralytics_header(self, lab, plan):
        header = b'{"names": {"0": "bolt"}}'
        self.refused(lab, struct.pack("<I", len(header)) + header + plan, "magicTag")

    @pytest.mark.parametrize("keep", [-1, 100, 0.5])
    def test_truncated(self, lab, plan, keep):
        length = int(len(plan) * keep) if isinstance(keep, float) else keep
        self.refused(lab, plan[:length], "Serialization assertion plan.header.size == blobSize failed.")

    @pytest.mark.parametrize("position", [60, -10])
    def test_damaged(self, lab, plan, position):
        data = bytearray(plan)
        data[position] ^= 1
        self.refused(lab, bytes(data), "Checksum does not match")

    def test_another_format(self, lab, plan):
        data = plan[:16] + struct.pack("<I", 99) + plan[20:]
        self.refused(lab, data, "Version tag does not match", "Current Version: 3, Serialized Engine Version: 99")

    def test_another_tensorrt(self, trt, lab, plan):
        self.refused(
            lab,
            changed(plan, tensorrt_version="9.9.9.9"),
            f"expecting library version {trt.__version__} got 9.9.9.9, please rebuild.",
        )

    def test_another_processor(self, lab, plan):
        self.refused(
            lab,
            changed(plan, compute="Zilog Z80"),
            "The engine plan file is generated on an incompatible device, expecting compute",
            "got compute Zilog Z80",
            "please rebuild.",
        )

    def test_another_openvino(self, lab, plan):
        self.refused(lab, changed(plan, software="OpenVINO 2020.1"), "incompatible device", "OpenVINO 2020.1")

    def test_a_blob_openvino_refuses(self, lab, plan):
        content = plan_format.unpack(plan)
        half = replace(content, blob=content.blob[: len(content.blob) // 2])
        self.refused(lab, plan_format.pack(half), "Engine deserialization failed")

    def test_nothing_but_a_buffer(self, trt, lab):
        with pytest.raises(TypeError, match=r"serialized_engine: typing_extensions\.Buffer"):
            lab.load("a path")


class TestFacts:
    @pytest.fixture
    def engine(self, lab, model):
        lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
        return lab.engine(model(batch="n"))

    def test_tensors(self, trt, engine):
        assert engine.num_io_tensors == 2
        assert [engine.get_tensor_name(index) for index in range(2)] == ["images", "output0"]
        assert engine[0] == "images"
        assert engine.get_tensor_mode("images") == trt.TensorIOMode.INPUT
        assert engine.get_tensor_mode("output0") == trt.TensorIOMode.OUTPUT
        assert engine.get_tensor_shape("images") == (-1, 3, 16, 16)
        assert engine.get_tensor_shape("output0") == (-1, 4, 8, 8)
        assert engine.get_tensor_dtype("images") == trt.float32
        assert engine.get_tensor_location("images") == trt.TensorLocation.DEVICE
        assert engine.get_tensor_format("images") == trt.TensorFormat.LINEAR
        assert engine.get_tensor_format_desc("images", 0) == "Row major linear FP32 format"
        assert engine.get_tensor_bytes_per_component("images") == -1

    def test_profiles(self, engine):
        assert engine.num_optimization_profiles == 1
        assert [shape[0] for shape in engine.get_tensor_profile_shape("images", 0)] == [1, 2, 4]
        for name, profile in (("images", 1), ("output0", 0), ("nothing", 0)):  # NVIDIA's samples ask for outputs, too
            assert [tuple(shape) for shape in engine.get_tensor_profile_shape(name, profile)] == [()] * 3

    def test_unknown_tensors(self, trt, lab, engine):
        assert engine.get_tensor_mode("nope") == trt.TensorIOMode.NONE
        assert engine.get_tensor_shape("nope") == ()
        assert "invalid tensor name: nope" in lab.log.errors
        assert engine.get_tensor_name(7) is None
        with pytest.raises(IndexError):
            engine[7]

    def test_the_rest(self, trt, engine):
        assert engine.name == "tiny"
        assert 3 <= engine.num_layers < 12
        assert engine.device_memory_size_v2 > 0
        assert engine.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
        assert not engine.refittable
        assert engine.streamable_weights_size == 0

    def test_serialize_gives_the_plan_back(self, lab, plan):
        assert bytes(lab.load(plan).serialize()) == plan

    def test_a_static_engine_has_a_profile_too(self, lab, plan):
        engine = lab.load(plan)
        assert engine.num_optimization_profiles == 1
        assert [tuple(shape) for shape in engine.get_tensor_profile_shape("images", 0)] == [(1, 3, 16, 16)] * 3

    def test_memory_grows_with_the_batch(self, lab, model, engine):
        static = lab.builder.build_engine_with_config(lab.network(model()), lab.builder.create_builder_config())
        assert engine.device_memory_size_v2 == 4 * static.device_memory_size_v2

    def test_loading_is_counted(self, lab, plan):
        with count_work() as measured:
            lab.load(plan).create_execution_context()
        assert (measured.work.engines_loaded, measured.work.execution_contexts) == (1, 1)


class TestPlanFormat:
    def test_round_trip(self, plan):
        content = plan_format.unpack(plan)
        assert plan_format.pack(content) == plan
        assert content.head.tensors[0].name == "images"
        assert content.head.onnx_sha256
        assert content.model == b""
        assert isa_from_blob(content.blob) in (content.head.compute, None)

    def test_shape_rules_of_a_dynamic_batch(self, lab, model):
        lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
        head = plan_format.unpack(bytes(lab.plan(model(batch="n")))).head
        assert head.shape_rules == {"output0": ((1, 0), (0, 4), (0, 8), (0, 8))}

    def test_checksum_covers_all_that_follows(self, plan):
        crc = struct.unpack_from("<I", plan, 44)[0]
        assert crc == zlib.crc32(plan[48:])


@pytest.mark.parametrize("data", [b"", b"RR_UPCVO", b"x" * 100])
def test_no_blob_no_instruction_set(data):
    assert isa_from_blob(data) is None
