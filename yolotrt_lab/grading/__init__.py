"""The graded exercises: how they are declared, recorded, judged and shown."""

from yolotrt_lab.grading.exercise import Exercise, points
from yolotrt_lab.grading.expectations import Mismatch, expect, expect_close, expect_equal
from yolotrt_lab.grading.notebook import check, using, workspace
from yolotrt_lab.grading.pictures import Drawing
from yolotrt_lab.grading.scratch import scratch
from yolotrt_lab.grading.suite import sibling

__all__ = [
    "Drawing",
    "Exercise",
    "Mismatch",
    "check",
    "expect",
    "expect_close",
    "expect_equal",
    "points",
    "scratch",
    "sibling",
    "using",
    "workspace",
]
