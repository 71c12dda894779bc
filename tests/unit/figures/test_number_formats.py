import numpy as np
import pytest
import torch

from yolotrt_lab.figures.number_formats import FORMATS, number_formats, rounding_step

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("value", [1e-3, 0.75, 1.0, 1.5, 2.0, 319.5, 640.0, 40_000.0])
def test_the_step_is_the_one_to_the_next_number(name, value):
    here = torch.tensor(value, dtype=TYPES[name])
    neighbour = torch.nextafter(here, torch.tensor(torch.inf, dtype=TYPES[name]))
    assert rounding_step(np.array([float(here)]), name)[0] == float(neighbour) - float(here)


def test_below_the_normal_numbers_the_step_stays():
    smallest = float(np.finfo(np.float16).smallest_subnormal)
    assert rounding_step(np.array([1e-7, 1e-6, 3e-5]), "fp16").tolist() == [smallest] * 3


@pytest.mark.parametrize("name", TYPES)
def test_there_is_no_step_beyond_the_greatest_number(name):
    greatest = FORMATS[name][2]
    assert greatest == torch.finfo(TYPES[name]).max
    assert np.isfinite(rounding_step(np.array([greatest]), name)[0])
    assert np.isinf(rounding_step(np.array([greatest * 1.01]), name)[0])


def test_the_picture_shows_formats_marks_and_where_fp16_ends():
    (axes,) = number_formats({"largest pixel": 640.0}).axes
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"largest pixel", "FP16 ends at 65504"}
    curves = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert set(curves) == {"FP32", "BF16", "FP16"}
    assert curves["FP16"][:, 0].max() <= 65504
    at_640 = {name: data[np.searchsorted(data[:, 0], 640.0), 1] for name, data in curves.items()}
    assert at_640["FP16"] == 0.5
    assert at_640["BF16"] == 4.0
