import pytest

from yolotrt_lab.grading.nbgrader.answer_errors import why_undefined
from yolotrt_lab.grading.nbgrader.release import node_from
from yolotrt_lab.grading.results import ExerciseResult, State


def note(source, *outputs, ended=None, state=State.MISSING):
    marks = {"grade_id": "lab0-double", "solution": True, "grade": False}
    check = {"grade_id": "lab0-double-check", "solution": False, "grade": True, "points": 1}
    cells = [
        {"cell_type": "code", "source": source, "metadata": {"nbgrader": marks}, "outputs": list(outputs)},
        {"cell_type": "code", "source": 'check("lab0.double")', "metadata": {"nbgrader": check}, "outputs": []},
    ]
    result = ExerciseResult("lab0.double", "Doubling", state, (), "as it was")
    return why_undefined(node_from({"cells": cells}), ended or {}, result).note


def error(name, text):
    return {"output_type": "error", "ename": name, "evalue": text, "traceback": []}


LIMIT = error("LimitExceeded", "used more than 4 GiB of memory")


@pytest.mark.parametrize(
    ("arguments", "more", "expected"),
    [
        (["x = 1"], {}, "does not define the name"),
        (["x = 1"], {"state": State.FAILED}, "as it was"),
        (["while True: pass"], {"ended": {0: "hung"}}, "did not come to its end in time"),
        (["import os; os._exit(0)"], {"ended": {0: "died"}}, "The answer cell ended the kernel."),
        (["x = [1] * 10**12", LIMIT], {"ended": {0: "died"}}, "The answer cell used more than 4 GiB of memory."),
        (["def f("], {}, "Python cannot read the answer cell"),
        (["1 / 0", error("ZeroDivisionError", "division by zero")], {}, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_happened_to_the_answer(arguments, more, expected):
    assert expected in note(*arguments, **more)
