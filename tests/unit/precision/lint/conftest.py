"""Clean INT8 graphs to break, and graphs that ONNX Runtime's quantizer made."""

import numpy as np
import onnx
import pytest

from tests.unit.precision.conftest import SIZE, build, build_detector, detector, images, run  # noqa: F401  # fixtures
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Ranges of the tiny detector."""
    path = tmp_path_factory.mktemp("lint") / "detector.onnx"
    onnx.save(build_detector(), path)
    coarse = np.random.default_rng(5).random((12, 3, SIZE // 4, SIZE // 4)).astype(np.float32)
    batch = np.ascontiguousarray(np.kron(coarse, np.ones((1, 1, 4, 4), np.float32)))
    return calibrate(path, [batch], method="minmax", threads=1)


@pytest.fixture(scope="session")
def clean_bytes(table, tmp_path_factory):
    """A clean INT8 graph, serialized."""
    folder = tmp_path_factory.mktemp("clean")
    onnx.save(build_detector(), folder / "detector.onnx")
    return quantize_onnx(folder / "detector.onnx", folder / "int8.onnx", table=table).path.read_bytes()


@pytest.fixture
def clean(clean_bytes):
    """A clean INT8 graph of one's own."""
    return onnx.load_model_from_string(clean_bytes)


@pytest.fixture
def safe_settings():
    """ONNX Runtime's settings that TensorRT takes."""
    from onnxruntime.quantization import QuantType

    return {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": ["Conv", "Sigmoid", "Mul"],
        },
    }


@pytest.fixture
def ort_quantized(detector, images, tmp_path):  # noqa: F811  # fixtures
    """Return a function that quantizes the tiny detector with ONNX Runtime and returns the file."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"images": images}])

        def get_next(self):
            return next(self.batches, None)

    def quantize(**settings):
        quantize_static(str(detector), str(tmp_path / "ort.onnx"), Reader(), **settings)
        return tmp_path / "ort.onnx"

    return quantize
