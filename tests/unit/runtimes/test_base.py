import numpy as np
import pytest

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes.base import Runtime, check_feeds, input_hw_from_specs
from yolotrt_lab.types import TensorSpec

IMAGES = TensorSpec("images", "float32", (None, 3, 8, 8))


class Echo(Runtime):
    """Returns its input, and counts what reaches it."""

    def __init__(self, inputs=(IMAGES,)):
        super().__init__(name="Echo 1.0", backend="echo", platform="cpu", inputs=inputs, outputs=inputs)
        self.calls = 0
        self.closings = 0

    def _infer(self, feeds):
        self.calls += 1
        return dict(feeds)

    def _close(self):
        self.closings += 1


def good(batch=2):
    return np.zeros((batch, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("feeds", "what", "expected", "got", "fix"),
    [
        ({}, "input 'images' is missing", "'images'", "no inputs", "infer({'images': array})"),
        ({"image": good()}, "input 'images' is missing", "'images'", "'image'", "infer("),
        ({"images": good(), "extra": good()}, "no input 'extra'", "'images'", "'images', 'extra'", "runtime.inputs"),
        ({"images": [[1.0]]}, "not a NumPy array", "numpy.ndarray of float32", "list", "numpy.asarray"),
        ({"images": good().astype(np.float64)}, "wrong dtype", "float32", "float64", ".astype(numpy.float32)"),
        ({"images": good().astype(np.uint8)}, "wrong dtype", "float32", "uint8", ".astype(numpy.float32)"),
        ({"images": good().astype(np.float16)}, "wrong dtype", "float32", "float16", ".astype(numpy.float32)"),
        ({"images": good()[0]}, "wrong shape", "(any, 3, 8, 8)", "(3, 8, 8)", "(batch, 3, height, width)"),
        ({"images": np.zeros((1, 8, 8, 3), np.float32)}, "wrong shape", "(any, 3, 8, 8)", "(1, 8, 8, 3)", "stack"),
        ({"images": np.zeros((1, 3, 8, 9), np.float32)}, "wrong shape", "(any, 3, 8, 8)", "(1, 3, 8, 9)", "Letterbox"),
        ({"images": good(0)}, "is empty", "at least one image", "(0, 3, 8, 8)", None),
        ({"images": good().transpose(0, 1, 3, 2)}, "not contiguous", "C-contiguous", "strides", "ascontiguousarray"),
        ({"images": good(4)[::2]}, "not contiguous", "C-contiguous", "strides", "ascontiguousarray"),
    ],
)
def test_bad_feeds_are_refused_before_the_framework_sees_them(feeds, what, expected, got, fix):
    with Echo() as runtime:
        with pytest.raises(InputError) as caught:
            runtime.infer(feeds)
        with pytest.raises(InputError):
            runtime.layer_times(feeds)
    error = caught.value
    assert runtime.calls == 0
    assert error.what.startswith("Echo 1.0:")
    assert what in error.what
    assert expected in error.expected
    assert got in error.got
    assert (fix is None and error.fix is None) or fix in error.fix


def test_a_big_endian_array_is_refused():
    with Echo() as runtime, pytest.raises(InputError, match="wrong dtype"):
        runtime.infer({"images": good().astype(">f4")})


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_dynamic_batch_takes_any(batch):
    with Echo() as runtime:
        assert runtime.infer({"images": good(batch)})["images"].shape[0] == batch


def test_every_input_is_checked():
    specs = (IMAGES, TensorSpec("scale", "int64", (1,)))
    check_feeds({"images": good(), "scale": np.array([1])}, inputs=specs, runtime="R")
    with pytest.raises(InputError, match="'scale' has the wrong dtype"):
        check_feeds({"images": good(), "scale": np.array([1.0])}, inputs=specs, runtime="R")


def test_a_closed_runtime_says_so_and_closes_once():
    runtime = Echo()
    with runtime:
        assert not runtime.closed
    runtime.close()
    assert runtime.closed
    assert runtime.closings == 1
    for call in (lambda: runtime.infer({"images": good()}), lambda: runtime.__enter__()):
        with pytest.raises(InputError, match="is closed") as caught:
            call()
        assert "with open_runtime" in caught.value.fix


def test_an_error_in_the_block_still_closes():
    runtime = Echo()

    def fail():
        with runtime:
            raise LabError("inside")

    with pytest.raises(LabError, match="inside"):
        fail()
    assert runtime.closings == 1


def test_no_layer_profiler_is_an_error_that_names_those_with_one():
    with Echo() as runtime, pytest.raises(InputError, match="does not report layer times") as caught:
        runtime.layer_times({"images": good()})
    assert "openvino" in caught.value.fix


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ((IMAGES,), (8, 8)),
        ((TensorSpec("x", "float32", (1, 3, None, 8)),), None),
        ((TensorSpec("x", "float32", (1, 3)),), None),
        ((IMAGES, IMAGES), None),
        ((), None),
    ],
)
def test_input_hw(specs, expected):
    assert input_hw_from_specs(specs) == expected
