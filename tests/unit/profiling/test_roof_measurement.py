import onnx
import pytest

from yolotrt_lab.errors import LabError
from yolotrt_lab.profiling.roof_measurement import measure_roof, open_with_openvino
from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.types import Precision, TensorSpec


class Clockwork(Runtime):
    """Reports times that follow from a machine of known speed."""

    def __init__(self, path, rate, *, silent):
        model = onnx.load(path)
        self._nodes, self._rate, self._silent = model.graph.node, rate, silent
        shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
        kind = "float16" if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16 else "float32"
        self._shape = shape
        super().__init__(
            name="clockwork", backend="none", platform="cpu", inputs=(TensorSpec("x", kind, shape),), outputs=()
        )

    def _infer(self, feeds):
        return {}

    def _layer_times(self, feeds):
        if self._silent:
            return ()
        _, channels, height, width = self._shape
        products = 2 * channels * channels * height * width / self._rate[0] / 1e6
        stream = max(0.002, 8 * height * width / 5e6)  # 5 GB/s
        times = {"Conv": products, "Mul": stream}
        return tuple(
            LayerTime(node.name, "", self._rate[1], times[node.op_type], (node.name,))
            for node in self._nodes
            if node.op_type in times
        )

    def _close(self):
        pass


def clockwork(path, precision, *, silent=False):
    rates = {Precision.FP32: (50.0, "f32"), Precision.FP16: (100.0, "bf16"), Precision.INT8: (200.0, "i8")}
    return Clockwork(path, rates[precision], silent=silent)


def test_a_machine_of_known_speed():
    roof = measure_roof(clockwork, channels=8, stream_bytes=1 << 20, repeats=2)
    assert {name: round(rate, 6) for name, rate in roof.peak_gflops.items()} == {
        "fp32": 50.0, "bf16": 100.0, "int8": 200.0,
    }  # fmt: skip
    assert roof.bandwidth_gb_s == pytest.approx(5.0)
    assert roof.launch_ms == pytest.approx(0.002)
    assert "1 MiB" in roof.source


def test_a_runtime_that_tells_nothing():
    with pytest.raises(LabError, match="did not tell"):
        measure_roof(lambda path, precision: clockwork(path, precision, silent=True), channels=8, stream_bytes=4096)


def test_this_processor():
    roof = measure_roof(open_with_openvino, channels=32, stream_bytes=1 << 20, repeats=2)
    assert {"fp32", "int8"} <= set(roof.peak_gflops)
    assert roof.peak_gflops["fp32"] > 0.01
    assert roof.bandwidth_gb_s > 0.01
