"""Requests: several inferences in flight, each in memory of its own, and misuse refused."""

import numpy as np
import pytest

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes import open_runtime
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import TensorSpec

X, Y = TensorSpec("x", "float32", (None, 2)), TensorSpec("y", "float32", (None, 2))


class Doubling(Runtime):
    def __init__(self):
        super().__init__(name="doubling", backend="demo", platform="cpu", inputs=(X,), outputs=(Y,))

    def _infer(self, feeds):
        if (feeds["x"] < 0).any():
            raise LabError("Negative.")
        return {"y": feeds["x"] * 2}

    def _close(self):
        pass


def test_requests_do_not_share_memory():
    with Doubling() as runtime:
        requests = [runtime.create_request({"x": (1, 2)}) for _ in range(3)]
        for number, request in enumerate(requests):
            request.inputs["x"][...] = number
            request.submit()
        assert [request.wait()["y"].tolist() for request in reversed(requests)] == [[[4, 4]], [[2, 2]], [[0, 0]]]


def test_misuse_is_refused():
    with Doubling() as runtime, runtime.create_request({"x": (1, 2)}) as request:
        with pytest.raises(LabError, match="nothing to wait for"):
            request.wait()
        request.submit()
        with pytest.raises(LabError, match="not waited for"):
            request.submit()
        request.wait()
        with pytest.raises(LabError, match="nothing to wait for"):
            request.wait()
        request.close()
        request.close()
        with pytest.raises(LabError, match="closed"):
            request.submit()


def test_after_a_failure_it_may_be_used_again():
    with Doubling() as runtime, runtime.create_request({"x": (1, 2)}) as request:
        request.inputs["x"][...] = -1
        request.submit()
        with pytest.raises(LabError, match="Negative"):
            request.wait()
        request.inputs["x"][...] = 1
        request.submit()
        assert request.wait()["y"].tolist() == [[2, 2]]
        request.inputs["x"][...] = -1
        request.submit()  # and left behind: closing waits for it and does not complain


@pytest.mark.parametrize("shapes", [{}, {"x": (1, 3)}, {"x": (1,)}, {"z": (1, 2)}])
def test_shapes_are_checked(shapes):
    with Doubling() as runtime, pytest.raises(InputError, match="no request of this shape"):
        runtime.create_request(shapes)


def test_a_closed_runtime_makes_none():
    runtime = Doubling()
    runtime.close()
    with pytest.raises(InputError, match="closed"):
        runtime.create_request({"x": (1, 2)})


def test_frameworks_agree_with_infer(onnx_model, ir_model, engine, images, reference):
    for path, settings in ((onnx_model, {}), (ir_model, {}), (ir_model, {"throughput": True}), (engine, {})):
        with open_runtime(path, threads=1, **settings) as runtime:
            requests = [runtime.create_request({"images": (1, 3, 64, 64)}) for _ in range(2)]
            for request, image in zip(requests, images, strict=True):
                request.inputs["images"][0] = image
                request.submit()
            for request, expected in zip(requests, reference, strict=True):
                np.testing.assert_allclose(request.wait()["output0"][0], expected, rtol=1e-3, atol=1e-3)
            for request in requests:
                request.close()
