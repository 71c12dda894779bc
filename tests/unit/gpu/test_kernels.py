"""The Triton kernels against `detection`, on a GPU, or in Triton's interpreter on a CPU.

Without a GPU these tests run in a process of their own, started by `test_interpreter`: Triton has to know that it
interprets before it is imported first.
"""

import importlib.util
import os

import numpy as np
import pytest
import torch

from yolotrt_lab.detection.decode import OutputLayout, decode
from yolotrt_lab.detection.letterbox import LetterboxTransform, image_xyxy_from_input_xyxy, preprocess
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.gpu.letterbox import GpuLetterbox
from yolotrt_lab.gpu.postprocess import GpuPostprocess, PostprocessConfig, detections_from_result

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.skipif(
        not (INTERPRETED or torch.cuda.is_available()),
        reason="no GPU: test_interpreter runs these in a process of its own",
    ),
]

FREE, BASED, ENDS = OutputLayout.ANCHOR_FREE, OutputLayout.ANCHOR_BASED, OutputLayout.END_TO_END
INPUT_HW = (16, 24)
TRANSFORM = LetterboxTransform.fit((37, 53), input_hw=(64, 64))


class TestLetterbox:
    @pytest.mark.parametrize(
        ("image_hw", "dtype", "channels_last"),
        [
            ((37, 53), "float32", False),
            ((9, 5), "float16", True),  # grows, odd border left and right
            ((16, 24), "float16", False),  # no resizing
            ((32, 48), "float32", True),  # halves: OpenCV averages 2 x 2
            ((1, 40), "float32", False),
        ],
    )
    def test_equals_preprocess_to_the_bit(self, image_hw, dtype, channels_last):
        image = np.random.default_rng(1).integers(0, 256, (1, *image_hw, 3), dtype=np.uint8)
        out = torch.full((1, 3, *INPUT_HW), float("nan"), dtype=getattr(torch, dtype), device=DEVICE)
        if channels_last:
            out = out.to(memory_format=torch.channels_last)
        transform = GpuLetterbox(input_hw=INPUT_HW, device=DEVICE)(torch.from_numpy(image).to(DEVICE), out)
        expected, expected_transform = preprocess(
            image[0], input_hw=INPUT_HW, out=np.empty((1, 3, *INPUT_HW), np.dtype(dtype))
        )
        assert transform == expected_transform
        np.testing.assert_array_equal(out.cpu().numpy(), expected)

    def test_every_image_of_a_batch(self):
        images = np.random.default_rng(2).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
        out = torch.empty((2, 3, 8, 8), device=DEVICE)
        GpuLetterbox(input_hw=(8, 8), device=DEVICE)(torch.from_numpy(images).to(DEVICE), out)
        for index in (0, 1):
            expected, _ = preprocess(images[index], input_hw=(8, 8))
            np.testing.assert_array_equal(out[index : index + 1].cpu().numpy(), expected)

    @pytest.mark.parametrize(
        ("images", "out"),
        [
            (np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 3, 8, 8), np.float32)),
            (np.zeros((1, 4, 4, 4), np.uint8), np.zeros((1, 3, 8, 8), np.float32)),
            (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 3, 8, 9), np.float32)),
            (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 3, 8, 8), np.float64)),
        ],
    )
    def test_refuses_what_the_kernel_cannot_read(self, images, out):
        with pytest.raises(InputError):
            GpuLetterbox(input_hw=(8, 8), device=DEVICE)(torch.from_numpy(images), torch.from_numpy(out))


def raw_output(layout, *, batch=1, anchors=70, classes=3, seed=0, decimals=1):
    """Return an output whose scores often tie and whose boxes often overlap."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate(
        (rng.uniform(10, 50, (batch, 2, anchors)), rng.uniform(10, 30, (batch, 2, anchors))), axis=1
    ).round()
    scores = rng.uniform(0, 1, (batch, classes, anchors)).round(decimals)
    if layout is FREE:
        return np.concatenate((boxes, scores), axis=1).astype(np.float32)
    if layout is BASED:
        objectness = rng.uniform(0, 1, (batch, 1, anchors)).round(decimals)
        return np.concatenate((boxes, objectness, scores), axis=1).transpose(0, 2, 1).astype(np.float32).copy()
    named = rng.integers(0, classes, (batch, 1, anchors))
    return np.concatenate((boxes, scores[:, :1], named), axis=1).transpose(0, 2, 1).astype(np.float32).copy()


def on_device(output, layout, config, *, classes=3, earlier=()):
    postprocess = GpuPostprocess(output.shape, layout=layout, num_classes=classes, config=config, device=DEVICE)
    for each in (*earlier, output):
        result = postprocess(torch.from_numpy(each).to(DEVICE), TRANSFORM)
    return detections_from_result(result.cpu().numpy(), max_candidates=config.max_candidates)


def on_host(output, layout, config):
    found = []
    for candidates in decode(output, layout=layout, conf_threshold=config.conf_threshold):
        if layout is ENDS:
            kept = candidates.select(np.argsort(-candidates.scores, kind="stable")[: config.max_detections])
        else:
            kept = class_aware_nms(candidates, iou_threshold=config.iou_threshold, max_detections=config.max_detections)
        found.append((image_xyxy_from_input_xyxy(kept.xyxy, TRANSFORM), kept.scores, kept.class_ids))
    return found


def assert_same(output, layout, config, **options):
    expected = on_host(output, layout, config)
    actual = on_device(output, layout, config, **options)
    for found, (xyxy, scores, class_ids) in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(found.xyxy, xyxy)
        np.testing.assert_array_equal(found.scores, scores)
        np.testing.assert_array_equal(found.class_ids, class_ids)
    return actual


class TestPostprocess:
    @pytest.mark.parametrize(
        ("layout", "config"),
        [
            (FREE, PostprocessConfig(iou_threshold=0.3, max_detections=128, max_candidates=128)),
            (FREE, PostprocessConfig(iou_threshold=0.5, max_detections=4, max_candidates=64)),  # candidates cut
            (FREE, PostprocessConfig(iou_threshold=0.0, max_detections=128, max_candidates=128)),  # long chains
            (FREE, PostprocessConfig(conf_threshold=1.0, max_detections=32, max_candidates=32)),  # none
            (BASED, PostprocessConfig(iou_threshold=0.4, max_detections=128, max_candidates=128)),
            (ENDS, PostprocessConfig(max_detections=20, max_candidates=128)),
        ],
    )
    def test_equals_decode_and_nms(self, layout, config):
        assert_same(raw_output(layout), layout, config)

    def test_every_image_of_a_batch_and_the_next_one_on_the_same_buffers(self):
        config = PostprocessConfig(iou_threshold=0.1, max_detections=64, max_candidates=64)
        earlier, output = (raw_output(FREE, batch=2, anchors=40, seed=seed) for seed in (3, 4))
        found = assert_same(output, FREE, config, earlier=[earlier])
        assert 0 < len(found[0]) != len(found[1])

    def test_half_precision(self):
        config = PostprocessConfig(iou_threshold=0.5, max_detections=64, max_candidates=64)
        assert_same(raw_output(FREE, anchors=40).astype(np.float16), FREE, config)

    def test_more_classes_than_a_block_and_the_first_of_equal_ones(self):
        output = raw_output(FREE, anchors=20, classes=35)
        output[:, 4:] = 0.5
        config = PostprocessConfig(max_detections=32, max_candidates=32)
        assert set(assert_same(output, FREE, config, classes=35)[0].class_ids) == {0}
        output[0, 4 + 33, 7] = 0.75
        assert_same(output, FREE, config, classes=35)

    def test_a_pair_exactly_at_the_threshold_stays(self):
        # 10 x 10 and 10 x 7 inside it: IoU 0.7, which float32 rounds to below 0.7 and to the threshold itself.
        output = np.array([[[10, 10], [10, 8.5], [10, 10], [10, 7], [0.9, 0.8]]], np.float32)
        config = PostprocessConfig(iou_threshold=0.7, max_detections=32, max_candidates=32)
        assert len(assert_same(output, FREE, config, classes=1)[0]) == 2
        config = PostprocessConfig(iou_threshold=0.69, max_detections=32, max_candidates=32)
        assert len(assert_same(output, FREE, config, classes=1)[0]) == 1

    def test_warns_of_boxes_that_may_be_missing(self):
        config = PostprocessConfig(iou_threshold=0.0, max_detections=32, max_candidates=32)
        with pytest.warns(LabWarning, match="candidates passed the threshold"):
            on_device(raw_output(FREE), FREE, config)

    def test_a_suppressed_box_suppresses_nothing(self):
        # Three in a row, each overlapping the next: the first and the third stay.
        output = np.array([[[10, 14, 18], [10] * 3, [10] * 3, [10] * 3, [0.9, 0.8, 0.7]]], np.float32)
        config = PostprocessConfig(iou_threshold=0.3, max_detections=32, max_candidates=32)
        assert assert_same(output, FREE, config, classes=1)[0].scores.tolist() == np.float32([0.9, 0.7]).tolist()

    @pytest.mark.parametrize(
        ("layout", "where", "value", "message"),
        [
            (FREE, (0, 0, 3), np.nan, "NaN"),
            (FREE, (0, 5, 3), np.inf, "NaN"),
            (FREE, (0, 4, 3), 1.2, "no probabilities"),
            (BASED, (0, 3, 4), -0.2, "no probabilities"),
            (ENDS, (0, 3, 5), 7.0, "class ids"),
        ],
    )
    def test_says_what_is_wrong_with_an_output_and_recovers(self, layout, where, value, message):
        config = PostprocessConfig(max_detections=32, max_candidates=32)
        good = raw_output(layout, anchors=10)
        if layout is ENDS:
            good[0, 3, 4] = 0.9
        bad = good.copy()
        bad[where] = value
        with pytest.raises(InputError, match=message):
            on_device(bad, layout, config)
        assert_same(good, layout, config)

    def test_an_output_of_another_shape_is_refused(self):
        config = PostprocessConfig()
        with pytest.raises(InputError, match="is not anchor_free"):
            GpuPostprocess((1, 9, 40), layout=FREE, num_classes=3, config=config, device=DEVICE)
        postprocess = GpuPostprocess((1, 7, 40), layout=FREE, num_classes=3, config=config, device=DEVICE)
        with pytest.raises(InputError, match="changed its shape"):
            postprocess(torch.zeros((1, 7, 41)), TRANSFORM)
