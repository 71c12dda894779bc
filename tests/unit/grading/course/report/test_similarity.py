"""Copied answers are found whatever names they have; what the release or the whole class has is no copying."""

import pytest

from yolotrt_lab.grading.course.report.similarity import find_similar

STUB = 'def area(box):\n    """Area of a box: left, top, right, bottom; never below zero, whatever the order."""\n'
LOOP = (
    "    total = 0\n    for index, (low, high) in enumerate(zip(box[:2], box[2:])):\n        if high < low:\n"
    "            low, high = high, low\n        total = (high - low) if index == 0 else total * (high - low)\n"
    "    return max(total, 0)\n"
)
OTHER = (
    "    import numpy\n    corners = numpy.asarray(box, float).reshape(2, 2)\n    size = numpy.ptp(corners, axis=0)\n"
    "    assert size.shape == (2,), 'two lengths'\n    return float(size.prod()) if numpy.isfinite(size).all() else 0\n"
)
THIRD = (
    "    def side(k):\n        return abs(box[k + 2] - box[k])\n    try:\n        return side(0) * side(1)\n"
    "    except (IndexError, TypeError) as error:\n        raise ValueError(f'no box: {box}') from error\n"
)
RENAMED = LOOP.replace("total", "flaeche").replace("low", "a").replace("high", "b").replace("index", "k")


def similar(threshold=0.6, prose=(), stub=STUB, **answers):
    return find_similar(
        {student: {"p": text} for student, text in answers.items()}, stubs={"p": stub}, prose=prose, threshold=threshold
    )


def test_a_renamed_and_commented_copy_is_found():
    found = similar(ada=STUB + LOOP, ben=STUB + "    # my own work\n" + RENAMED, cleo=STUB + OTHER, dan=STUB + THIRD)
    assert [pair.students for pair in found.pairs] == [("ada", "ben")]
    assert found.pairs[0].share > 0.95
    assert found.compared == 6
    assert found.median < 0.2


def test_the_shared_passages_are_where_they_are():
    found = similar(ada=STUB + OTHER + LOOP, ben=STUB + THIRD + RENAMED, threshold=0.3)
    (part,) = found.pairs[0].parts
    for side, own in ((0, LOOP), (1, RENAMED)):
        text = part.texts[side]
        marked = "".join(text[begin:end] for begin, end in part.places[side])
        assert own.splitlines()[2].strip() in marked
        assert len(marked) < 0.75 * len(text)
        assert all(0 <= begin < end <= len(text) for begin, end in part.places[side])


def test_what_the_release_has_does_not_count():
    found = similar(ada=STUB + LOOP, ben=STUB + LOOP, stub=STUB + LOOP)
    assert found.pairs == ()
    assert found.too_short == ("ada", "ben")


def test_what_very_many_have_does_not_count():
    answers = {f"student{number}": STUB + LOOP for number in range(10)}
    assert len(similar(**answers).pairs) == 45
    assert similar(**answers, eleventh=STUB + LOOP).pairs == ()


def test_passages_repeated_in_an_answer_are_no_fault_of_the_method():
    found = similar(ada=STUB + LOOP + LOOP + LOOP, ben=STUB + RENAMED)
    assert found.pairs[0].share > 0.9


def test_prose_is_compared_by_its_words():
    text = "The device works on while the host goes ahead, so a clock that is read too early measures the launch alone."
    found = similar(ada=text, ben=text.replace(" ", "\n"), cleo="Something else entirely, and it is long enough to be "
                    "compared with the texts that the others wrote about it.", prose=("p",), stub="")  # fmt: skip
    assert [pair.students for pair in found.pairs] == [("ada", "ben")]


@pytest.mark.parametrize(
    "answers", [{}, {"ada": STUB + LOOP}, {"ada": "", "ben": "   \n"}, {"ada": "x=(", "ben": "\0 é"}]
)
def test_little_to_compare_is_no_error(answers):
    found = similar(**answers)
    assert (found.pairs, found.compared, found.median) == ((), 0, None)


def test_numbers_do_not_depend_on_pythons_hash_seed():
    """Which differs from process to process, while this number does not."""
    found = similar(ada=STUB + LOOP + OTHER, ben=STUB + RENAMED + THIRD, threshold=0.0)
    assert found.pairs[0].share == pytest.approx(79 / 177)
