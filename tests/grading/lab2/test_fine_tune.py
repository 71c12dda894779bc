"""lab2.fine_tune: a detector that learned to see through station B's dusty window."""

from pathlib import Path

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

EXERCISE = Exercise(
    id="lab2.fine_tune",
    title="Fine-tune for another camera",
    objective="Fine-tune a checkpoint on little data, keep what it knows, and prove the gain on unseen pictures.",
    answer="fine_tuned_model",
    difficulty=3,
    minutes=35,
    cases=("16 pictures of station B",),
    hidden=("32 pictures of station B",),
    seconds=90.0,  # it only says where the file is; but who looks into the file first may do so
    reading="https://docs.ultralytics.com/guides/finetuning-guide/",
)

FLOOR, CLEARLY_BETTER = 0.38, 0.30


def inputs(case, rng):
    """Which pictures the model is examined with; the answer itself takes no arguments."""
    return {"seed": int(rng.integers(2**31)), "count": int(case.split()[0])}


def run(answer, **_):
    """Call the answer: it only says where the model is."""
    return answer()


def prepare(seed, count):
    """Draw the pictures, once for all who are examined with them."""
    sibling(__file__, "station_b").examination(seed, count)


def _model_file(answer):
    """Return the judge's copy of the ONNX file."""
    if not isinstance(answer.output, Path):
        raise Mismatch(
            expected="the path of an ONNX file beside the notebook",
            seen="None" if answer.output is None else "no file there",
            misconception="Run the training cell: it writes the file, and the file is submitted with the notebook.",
        )
    return answer.file(suffix=".onnx")


@points(2)
def test_it_is_a_detector_of_these_parts(answer):
    """The file is an ONNX detector of the eight parts, for pictures of 320 x 320."""
    station = sibling(__file__, "station_b")
    path = _model_file(answer)
    exam = station.examination(**answer.inputs)
    station.map50(station.Model(path).detect(exam.dusty[:1]), exam.truth[:1])


@points(3)
def test_it_sees_more_than_the_base_checkpoint(answer):
    """At station B it sees clearly more than the base checkpoint."""
    _judge(answer, CLEARLY_BETTER, "clearly more than the base checkpoint's 0.2")


@points(5)
def test_it_reaches_the_floor(answer):
    """Its mAP50 at station B reaches the floor."""
    _judge(answer, FLOOR, "the floor")


def _judge(answer, least, name):
    station = sibling(__file__, "station_b")
    path, given = _model_file(answer), answer.inputs
    score = station.station_score(path, **given)
    if score < least:
        expect(
            False,
            expected=f"mAP50 of at least {least:.2f} on {given['count']} new pictures ({name})",
            seen=f"{score:.3f}",
            misconception=station.diagnosis(path, **given),
        )
