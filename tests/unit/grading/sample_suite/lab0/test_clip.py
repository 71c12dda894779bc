"""lab0.clip: a small exercise that the framework's own tests judge."""

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points

EXERCISE = Exercise(
    id="lab0.clip",
    title="Clip values",
    objective="Clip an array.",
    answer="clip",
    difficulty=1,
    minutes=5,
    cases=("inside", "outside"),
    hidden=("outside",),
    forbidden=("yolotrt_lab.detection.boxes.clip_boxes",),
    seconds=1.0,
    reading="https://numpy.org/doc/stable/",
)


def inputs(case, rng):
    spread = 1.0 if case == "inside" else 10.0
    return {"values": rng.uniform(-spread, spread, 8), "limit": 2.0}


@points(1)
def test_has_the_right_shape(answer):
    """One value for each value."""
    answer.array(shape=(8,))


@points(2)
def test_clips_both_ends(answer):
    """Both ends are clipped."""
    seen, values = answer.array(shape=(8,)), answer.inputs["values"]
    if answer.case.name == "outside" and np.allclose(seen, np.minimum(values, 2.0)):
        raise Mismatch(expected="nothing below -2", seen=f"{seen.min():.2f}", misconception="Only large values count.")
    expect_close(seen, np.clip(values, -2.0, 2.0), what="the values")


@points(1)
def test_leaves_its_input_alone(answer):
    """The input stays as it was."""
    expect(not answer.changed_inputs, expected="the input unchanged", seen="it was changed in place")


@points(1)
def test_all_cases_together(answers):
    """The cases agree in type."""
    expect(len({answer.array().dtype for answer in answers}) == 1, expected="one dtype", seen="several")
