"""Calibrators of TensorRT 10: batches through device memory, scales, cache, and an engine that really is INT8."""

import importlib
import json
import struct

import numpy as np
import onnx
import pytest

from yolotrt_lab.errors import EmulationError

pytestmark = pytest.mark.parametrize("trt", [10], indirect=True)


@pytest.fixture
def calibrator(trt, images):
    """Return a function that makes a calibrator of a kind, feeding batches from device memory."""
    cudart = importlib.import_module("cuda.bindings.runtime")

    def make(kind="IInt8EntropyCalibrator2", *, batches=4, copy=True, cache=None, values=None):
        base = getattr(trt, kind)

        class Calibrator(base):
            def __init__(self):
                base.__init__(self)
                self.left, self.asked, self.written = batches, [], None
                self.memory = cudart.cudaMalloc(images().nbytes)[1]

            def get_batch_size(self):
                return 1

            def get_batch(self, names):
                self.asked.append(list(names))
                if self.left == 0:
                    return None
                self.left -= 1
                data = images() if values is None else values
                if copy:
                    kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
                    cudart.cudaMemcpy(self.memory, np.ascontiguousarray(data), data.nbytes, kind)
                return [self.memory]

            def read_calibration_cache(self):
                return cache

            def write_calibration_cache(self, data):
                self.written = bytes(data)

        return Calibrator()

    return make


@pytest.fixture
def detector(model):
    return lambda **variant: model(detector=True, **variant)


@pytest.fixture
def build(trt, lab):
    def run(path, calibrator):
        lab.config.set_flag(trt.BuilderFlag.INT8)
        lab.config.int8_calibrator = calibrator
        return lab.plan(path, strong=False)

    return run


def int8_convolutions(trt, engine):
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return [layer["Name"] for layer in json.loads(text)["Layers"] if layer["TacticName"].endswith("_I8")
            and layer["LayerType"] == "Convolution"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "header"),
    [("IInt8EntropyCalibrator2", "EntropyCalibration2"), ("IInt8MinMaxCalibrator", "MinMaxCalibration")],
)
def test_calibration_makes_an_int8_engine(
    trt, lab, detector, calibrator, build, infer, images, reference, distance, kind, header
):
    asking = calibrator(kind)
    engine = lab.load(build(detector(), asking))
    assert asking.asked == [["images"]] * 5
    assert asking.written.startswith(b"TRT-")
    assert header.encode() in asking.written.splitlines()[0]
    assert b"images: " in asking.written
    assert int8_convolutions(trt, engine)
    found = infer(engine.create_execution_context(), images())
    assert 1e-4 < distance(found, reference(detector(), images())) < 0.2


def test_a_cache_makes_batches_unnecessary(trt, lab, detector, calibrator, build, infer, images):
    first = calibrator()
    expected = infer(lab.load(build(detector(), first)).create_execution_context(), images())
    second = calibrator(cache=first.written)
    found = infer(lab.load(build(detector(), second)).create_execution_context(), images())
    assert np.array_equal(found, expected)
    assert second.asked == []
    assert second.written is None


@pytest.mark.parametrize("calibration_batch", [None, 2])
def test_the_batch_is_the_profiles(trt, lab, detector, calibrator, build, images, calibration_batch):
    """Not the one that `get_batch_size` states: it is 1 here, and ignored."""
    lab.profile((1, 3, 16, 16), (3, 3, 16, 16), (4, 3, 16, 16))
    if calibration_batch is not None:
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("images", *[(calibration_batch, 3, 16, 16)] * 3)
        assert lab.config.set_calibration_profile(profile)
        assert lab.config.get_calibration_profile() is profile
    assert build(detector(batch="n"), calibrator()) is None
    assert f"needs {images(calibration_batch or 3).nbytes} bytes" in lab.log.errors


def test_a_dynamic_batch(trt, lab, detector, calibrator, build):
    lab.profile((1, 3, 16, 16), (1, 3, 16, 16), (4, 3, 16, 16))
    assert build(detector(batch="n"), calibrator()) is not None


def test_a_dynamic_batch_without_profile(trt, lab, detector, calibrator, build):
    assert build(detector(batch="n"), calibrator()) is None
    assert "no optimization profile has been defined" in lab.log.errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": 0}, "Calibration failure occurred: There are no calibration images"),
        ({"copy": False}, "nothing was copied to its device memory"),
        ({"values": np.full((1, 3, 16, 16), np.nan, np.float32)}, "not finite"),
        ({"cache": b"garbage"}, "is not a calibration cache"),
        ({"cache": b"TRT-101600-EntropyCalibration2\nother: 3c000000\n"}, "does not belong to this model"),
    ],
    ids=["no batches", "forgotten copy", "nan", "garbage cache", "foreign cache"],
)
def test_failures(trt, lab, detector, calibrator, build, settings, message):
    assert build(detector(), calibrator(**settings)) is None
    assert message in lab.log.errors


def test_an_exception_in_get_batch_ends_calibration(trt, lab, detector, calibrator, build, capsys):
    broken = calibrator()
    broken.get_batch = lambda names: 1 / 0
    assert build(detector(), broken) is None
    assert "division by zero" in capsys.readouterr().err


def test_the_legacy_calibrator_is_refused(trt, detector, calibrator, build):
    with pytest.raises(EmulationError, match="legacy calibrator is not emulated"):
        build(detector(), calibrator("IInt8LegacyCalibrator"))


def test_algorithms(trt, calibrator):
    assert calibrator().get_algorithm() == trt.CalibrationAlgoType.ENTROPY_CALIBRATION_2
    assert calibrator("IInt8MinMaxCalibrator").get_algorithm() == trt.CalibrationAlgoType.MINMAX_CALIBRATION


def test_calibration_can_be_cancelled(trt, lab, detector, calibrator, build):
    class Monitor(trt.IProgressMonitor):
        def phase_start(self, phase_name, parent_phase, num_steps):
            pass

        def step_complete(self, phase_name, step):
            return phase_name != "Calibrating batch 2"

        def phase_finish(self, phase_name):
            pass

    lab.config.progress_monitor = Monitor()
    asking = calibrator()
    assert build(detector(), asking) is None
    assert len(asking.asked) == 2
    assert "cancelled" in lab.log.errors


@pytest.mark.parametrize(
    ("kind", "method"), [("IInt8EntropyCalibrator2", "entropy"), ("IInt8MinMaxCalibrator", "minmax")]
)
def test_scales_are_those_of_the_explicit_route(detector, calibrator, build, images, tmp_path, kind, method):
    """Byte by byte the cache that `yolotrt quantize` writes from the same images, and so the same numbers."""
    from yolotrt_lab.precision.calibration import calibrate
    from yolotrt_lab.precision.table import read_calibration_cache, write_calibration_cache

    asking = calibrator(kind)
    assert build(detector(), asking) is not None
    table = calibrate(detector(), [images() for _ in range(4)], method=method)
    write_calibration_cache(table, tmp_path / "explicit")
    assert asking.written == (tmp_path / "explicit").read_bytes()
    header, *lines = asking.written.decode().splitlines()
    assert header.startswith("TRT-101600-")
    assert [line.rpartition(": ")[0] for line in lines] == list(table.scales)
    (tmp_path / "classic").write_bytes(asking.written)
    found = read_calibration_cache(tmp_path / "classic")
    assert found.scales == pytest.approx(table.scales, rel=1e-6)


class TestAnyNetwork:
    """What is no detector: every convolution and matrix product with constant weights."""

    @pytest.fixture
    def classifier(self, tmp_path):
        """Write image (1, 3, 16, 16) and a vector (1, 5) -> conv, ReLU, transposed conv, mean, concat, Gemm, MatMul."""

        def run(opset=17, image="images"):
            random = np.random.default_rng(5)
            weights = {
                "k": random.normal(0, 0.3, (8, 3, 3, 3)), "kb": random.normal(0, 0.1, 8),
                "d": random.normal(0, 0.3, (8, 6, 2, 2)), "g": random.normal(0, 0.3, (7, 11)),
                "gb": random.normal(0, 0.1, 7), "m": random.normal(0, 0.3, (7, 4)),
            }  # fmt: skip
            nodes = [
                onnx.helper.make_node("Conv", [image, "k", "kb"], ["c"], name="conv", pads=[1] * 4),
                onnx.helper.make_node("Relu", ["c"], ["r"], name="relu"),
                onnx.helper.make_node("ConvTranspose", ["r", "d"], ["t"], name="deconv", strides=[2, 2]),
                onnx.helper.make_node("GlobalAveragePool", ["t"], ["p"], name="pool"),
                onnx.helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
                onnx.helper.make_node("Concat", ["f", "vector"], ["v"], name="concat", axis=1),
                onnx.helper.make_node("Gemm", ["v", "g", "gb"], ["e"], name="gemm", transB=1),
                onnx.helper.make_node("MatMul", ["e", "m"], ["output0"], name="matmul"),
            ]
            float32 = onnx.TensorProto.FLOAT
            graph = onnx.helper.make_graph(
                nodes,
                "classifier",
                [
                    onnx.helper.make_tensor_value_info(image, float32, (1, 3, 16, 16)),
                    onnx.helper.make_tensor_value_info("vector", float32, (1, 5)),
                ],
                [onnx.helper.make_tensor_value_info("output0", float32, (1, 4))],
                [onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
            )
            opsets = [onnx.helper.make_opsetid("", opset)]
            model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
            onnx.save(model, tmp_path / "classifier.onnx")
            return tmp_path / "classifier.onnx"

        return run

    @pytest.fixture
    def feed(self, images):
        return {"images": images(), "vector": np.linspace(-1, 1, 5, dtype=np.float32)[None]}

    @pytest.fixture
    def asking(self, trt, feed):
        """Return a calibrator that feeds both inputs, some batches."""
        cudart = importlib.import_module("cuda.bindings.runtime")

        def make(*, cache=None, inputs=("images", "vector"), batches=3):
            class Calibrator(trt.IInt8MinMaxCalibrator):
                def __init__(self):
                    trt.IInt8MinMaxCalibrator.__init__(self)
                    self.left, self.written, self.asked = batches, None, []
                    self.memory = []
                    for name in inputs:
                        address = cudart.cudaMalloc(feed[name].nbytes)[1]
                        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
                        cudart.cudaMemcpy(address, feed[name], feed[name].nbytes, kind)
                        self.memory.append(address)

                def get_batch_size(self):
                    return 1

                def get_batch(self, names):
                    self.asked.append(names)
                    self.left -= 1
                    return self.memory if self.left >= 0 else []

                def read_calibration_cache(self):
                    return cache

                def write_calibration_cache(self, data):
                    self.written = bytes(data)

            return Calibrator()

        return make

    def run(self, engine, feed):
        cudart = importlib.import_module("cuda.bindings.runtime")
        context, output = engine.create_execution_context(), np.empty((1, 4), np.float32)
        kinds = cudart.cudaMemcpyKind
        addresses = []
        for name in feed:
            addresses.append(cudart.cudaMalloc(feed[name].nbytes)[1])
            cudart.cudaMemcpy(addresses[-1], feed[name], feed[name].nbytes, kinds.cudaMemcpyHostToDevice)
        addresses.append(cudart.cudaMalloc(output.nbytes)[1])
        assert context.execute_v2(addresses)
        cudart.cudaMemcpy(output, addresses[-1], output.nbytes, kinds.cudaMemcpyDeviceToHost)
        return output

    def expected(self, path, feed):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, feed)[0]

    def test_it_is_int8_and_near(self, trt, lab, classifier, asking, build, feed, distance):
        path, calibrator = classifier(), asking()
        engine = lab.load(build(path, calibrator))
        assert calibrator.asked == [["images", "vector"]] * 4
        header, *lines = calibrator.written.decode().splitlines()
        assert header == "TRT-101600-MinMaxCalibration"
        scales = {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, _, digits in
                  (line.rpartition(": ") for line in lines)}  # fmt: skip
        assert list(scales) == ["images", "r", "v", "e"]
        assert scales["images"] == pytest.approx(feed["images"].max() / 127)
        assert int8_convolutions(trt, engine)
        assert 1e-5 < distance(self.run(engine, feed), self.expected(path, feed)) < 0.05

    def test_a_cache_does(self, lab, classifier, asking, build, feed):
        first = asking()
        expected = self.run(lab.load(build(classifier(), first)), feed)
        second = asking(cache=first.written)
        assert np.array_equal(self.run(lab.load(build(classifier(), second)), feed), expected)
        assert second.asked == []

    def test_a_cache_without_a_tensor_leaves_it_alone(self, trt, lab, classifier, asking, build, feed, distance):
        cache = b"TRT-101600-MinMaxCalibration\nimages: 3c010204\n"
        path = classifier()
        engine = lab.load(build(path, asking(cache=cache)))
        assert len(int8_convolutions(trt, engine)) == 1
        said = [text for severity, text in lab.log.messages if "Missing scale and zero-point" in text]
        assert [text.split("tensor ")[1].split(",")[0] for text in said] == ["r", "v", "e"]
        assert distance(self.run(engine, feed), self.expected(path, feed)) < 0.05

    def test_one_address_too_few(self, lab, classifier, asking, build):
        assert build(classifier(), asking(inputs=("images",))) is None
        assert "get_batch returned 1 addresses for 2 inputs" in lab.log.errors

    def test_no_batches(self, lab, classifier, asking, build):
        assert build(classifier(), asking(batches=0)) is None
        assert "There are no calibration images" in lab.log.errors

    def test_an_old_operator_set(self, classifier, asking, build):
        with pytest.raises(EmulationError, match="newer operator sets"):
            build(classifier(opset=11), asking())
