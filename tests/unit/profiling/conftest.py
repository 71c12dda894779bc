"""A clock that tests advance themselves: what is measured is known exactly, on any machine."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest


class FakeClock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000

    def advance_ms(self, milliseconds: float) -> None:
        self.now_ns += round(milliseconds * 1e6)

    def takes_ms(self, durations):
        """Return a function whose calls take these durations in turn, the last one for ever."""
        pending = list(durations)

        def run():
            self.advance_ms(pending.pop(0) if len(pending) > 1 else pending[0])

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: fake.now_ns)
    monkeypatch.setattr(time, "perf_counter", lambda: fake.now_ns / 1e9)
    return fake


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One convolution with a dynamic batch: enough for anything that only needs a model."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["images", "w"], ["y"], pads=[1, 1, 1, 1])],
        "small",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", 4, 16, 16])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(model, path)
    return path
