"""`GpuDetector` on a GPU against `Detector` on the CPU around the same network; without one, that it says so."""

import importlib.util

import numpy as np
import pytest
import torch

from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabError, MissingDependencyError
from yolotrt_lab.gpu.detector import GpuDetector
from yolotrt_lab.gpu.networks import TensorRTNetwork, TorchNetwork
from yolotrt_lab.gpu.postprocess import PostprocessConfig
from yolotrt_lab.types import TensorSpec

HAS_GPU = torch.cuda.is_available() and importlib.util.find_spec("triton") is not None
on_gpu = pytest.mark.skipif(not HAS_GPU, reason="needs an NVIDIA GPU and Triton")
NAMES = ("bolt", "nut")
INPUT_HW = (64, 96)
CONFIG = PostprocessConfig(conf_threshold=0.5, iou_threshold=0.4, max_detections=100, max_candidates=128)


class TinyDetector(torch.nn.Module):
    """One convolution, with stride 8, arranged as (batch, 4 + classes, anchors)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 4 + len(NAMES), 8, stride=8)
        torch.nn.init.normal_(self.convolution.weight, std=0.2)

    def forward(self, images):
        values = torch.sigmoid(self.convolution(images).flatten(2))
        return torch.cat((values[:, :4] * 60, values[:, 4:]), dim=1), None


class OnDevice:
    """The same network for `Detector`."""

    inputs = (TensorSpec("images", "float32", (None, 3, *INPUT_HW)),)
    outputs = (TensorSpec("output0", "float32", (None, 6, 96)),)

    def __init__(self, module):
        self.module = module

    def infer(self, feeds):
        with torch.inference_mode():
            return {"output0": self.module(torch.from_numpy(feeds["images"]).cuda())[0].cpu().numpy()}


def pictures(count, image_hw=(90, 70)):
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8) for _ in range(count)]


def make(network, **options):
    options = {"config": CONFIG, "max_image_hw": (128, 128), **options}
    return GpuDetector(network, class_names=NAMES, input_hw=INPUT_HW, **options)


@pytest.fixture
def network():
    return TorchNetwork(TinyDetector(), dtype="float32", channels_last=False)


@pytest.fixture
def expected(network):
    config = DetectorConfig(
        conf_threshold=CONFIG.conf_threshold,
        iou_threshold=CONFIG.iou_threshold,
        max_detections=CONFIG.max_detections,
    )
    return Detector(OnDevice(network._module), class_names=NAMES, config=config)


def assert_same(actual, wanted):
    assert len(actual) == len(wanted) > 0
    np.testing.assert_array_equal(actual.class_ids, wanted.class_ids)
    np.testing.assert_allclose(actual.scores, wanted.scores, rtol=1e-5)
    np.testing.assert_allclose(actual.xyxy, wanted.xyxy, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_says_what_is_missing_without_a_gpu():
    with pytest.raises(MissingDependencyError) as error:
        make(None)
    assert "NVIDIA GPU" in str(error.value) or "triton" in str(error.value)


@on_gpu
class TestOnAGpu:
    @pytest.mark.parametrize("use_graphs", [True, False])
    def test_finds_what_the_detector_finds_whatever_the_size(self, network, expected, use_graphs):
        with make(network, use_graphs=use_graphs) as detector:
            for image_hw in ((90, 70), (64, 96), (33, 121), (90, 70)):
                image = pictures(1, image_hw)[0]
                assert_same(detector.detect(image), expected.detect(image))

    def test_a_stream_keeps_the_order(self, network, expected):
        images = pictures(7)
        with make(network) as detector:
            found = list(detector.stream(images))
        assert len(found) == 7
        for actual, image in zip(found, images, strict=True):
            assert_same(actual, expected.detect(image))

    def test_a_stream_of_batches_fills_the_last(self, network, expected):
        images = pictures(5)
        with make(network, batch=2) as detector:
            found = list(detector.stream(iter(images)))
        assert len(found) == 5
        for actual, image in zip(found, images, strict=True):
            assert_same(actual, expected.detect(image))

    def test_a_stream_left_early_leaves_nothing_behind(self, network, expected):
        image = pictures(1)[0]
        with make(network) as detector:
            assert_same(next(iter(detector.stream([image] * 5))), expected.detect(image))
            assert_same(detector.detect(image), expected.detect(image))

    def test_images_written_into_pinned_memory_are_not_copied_again(self, network, expected):
        image = pictures(1)[0]
        with make(network) as detector:
            place = detector.pinned_images((90, 70))[0]
            place[...] = image
            assert_same(detector.detect(place), expected.detect(image))

    def test_half_precision_channels_last_is_close(self, expected):
        network = TorchNetwork(TinyDetector(), dtype="float16", channels_last=True)
        image = pictures(1)[0]
        with make(network) as detector:
            found, wanted = detector.detect(image), expected.detect(image)
        assert abs(len(found) - len(wanted)) <= 2
        np.testing.assert_allclose(found.scores[:5], wanted.scores[:5], atol=0.01)

    def test_memory_stays_flat(self, network):
        image = pictures(1)[0]
        with make(network) as detector:
            list(detector.stream([image] * 10))
            before = torch.cuda.memory_allocated()
            list(detector.stream([image] * 200))
            assert torch.cuda.memory_allocated() == before

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            ([np.zeros((300, 300, 3), np.uint8)], "larger than the detector"),
            ([np.zeros((9, 9), np.uint8)], "not what the detector takes"),
            (pictures(2), "does not fit one batch"),
        ],
    )
    def test_refuses_images_it_cannot_take(self, network, images, message):
        with make(network) as detector, pytest.raises(InputError, match=message):
            detector.detect_batch(images)

    def test_a_closed_detector_says_so(self, network):
        detector = make(network)
        detector.close()
        with pytest.raises(LabError, match="closed"):
            detector.detect(pictures(1)[0])


class _Named:
    def __init__(self, name):
        self.name = name


class Int32Engine:
    """What TensorRT says of an engine whose input is no picture."""

    num_io_tensors = 2

    def get_tensor_name(self, index):
        return ("images", "output0")[index]

    def get_tensor_mode(self, name):
        return _Named("INPUT" if name == "images" else "OUTPUT")

    def get_tensor_dtype(self, name):
        return _Named("INT32")


def test_an_engine_that_takes_no_floats_is_refused():
    with pytest.raises(InputError, match="'images'"):
        TensorRTNetwork(Int32Engine())
