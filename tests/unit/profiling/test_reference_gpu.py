"""The course's reference figures are those of the stored measurement."""

import json
from pathlib import Path

import pytest

from yolotrt_lab.profiling.reference_gpu import ALL_ON_GPU

MEASURED = Path(__file__).parents[3] / "course" / "results" / "gpu_h200.json"
STAGES = {
    "letterbox": "preprocess",
    "copy to the device": "copy_in",
    "network": "inference",
    "copy to the host": "copy_out",
    "decode and NMS": "postprocess",
}


def test_the_stages_on_the_gpu_are_the_stored_ones():
    row = json.loads(MEASURED.read_text())["end_to_end"]["yolov5n"]["rows"][0]
    assert row["network"] == "PyTorch FP16"
    timed = row["sizes"]["640x640"]
    assert {STAGES[name]: times["median"] for name, times in timed["stages_ms"].items()} == pytest.approx(
        ALL_ON_GPU, abs=0.0005
    )
    assert timed["ms"]["detector"]["median"] == pytest.approx(1.02, abs=0.005)  # as lab 5 says
    assert timed["ms"]["bare"]["median"] == pytest.approx(0.94, abs=0.005)
