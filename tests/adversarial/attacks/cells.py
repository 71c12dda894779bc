"""Cells deleted, doubled, retyped, exchanged and rewritten; their metadata edited."""

import copy

from arena import DOUBLE, NOTHING, SCALE, SMALLEST, WRITTEN, adversary

WRONG = {DOUBLE: "def double(x):\n    return 'wrong'"}
DOUBLE_CHECK, SMALLEST_CHECK, SCALE_CHECK = (f"{name}-check" for name in (DOUBLE, SMALLEST, SCALE))


@adversary(tries="check cells are deleted, to keep an older grade", twin=WRONG, flagged=["deleted cell"])
def deleted_checks(work):
    for name in (DOUBLE_CHECK, SMALLEST_CHECK):
        work.notebook["cells"].remove(work.cell(name))


@adversary(tries="answer cells are deleted", twin={DOUBLE: NOTHING}, flagged=["deleted answer"])
def deleted_answer(work):
    work.notebook["cells"].remove(work.cell(DOUBLE))


@adversary(tries="a check cell is there twice, to stop the batch", twin=WRONG, flagged=["duplicated cell"])
def duplicated_check(work):
    work.notebook["cells"].append(copy.deepcopy(work.cell(DOUBLE_CHECK)))


@adversary(tries="an answer cell is there fifty times", flagged=["duplicated answer"])
def duplicated_answer(work):
    work.notebook["cells"] += [copy.deepcopy(work.cell(DOUBLE)) for _ in range(50)]


@adversary(tries="a check cell becomes text, so that nothing fails", twin=WRONG, flagged=["retyped cell"])
def retyped_check(work):
    cell = work.cell(DOUBLE_CHECK)
    cell["cell_type"] = "markdown"
    cell.pop("outputs"), cell.pop("execution_count")


@adversary(tries="the written answer becomes code that prints points", flagged=["retyped cell"], costs=[WRITTEN])
def retyped_written_answer(work):
    cell = work.cell(WRITTEN)
    cell |= {"cell_type": "code", "source": "print(10)", "outputs": [], "execution_count": None}


@adversary(tries="a check cell holds the points instead of the tests", twin=WRONG, flagged=["edited cell"])
def edited_check(work):
    work.cell(DOUBLE_CHECK)["source"] = "6.0"


@adversary(tries="a check cell checks another, solved exercise", twin=WRONG, flagged=["edited cell"])
def repointed_check(work):
    work.cell(DOUBLE_CHECK)["source"] = work.cell(SMALLEST_CHECK)["source"]


@adversary(tries="two check cells exchange their grade ids", twin=WRONG, flagged=["edited cell"])
def exchanged_grade_ids(work):
    first, second = work.cell(DOUBLE_CHECK), work.cell(SMALLEST_CHECK)
    for key in ("points", "grade_id"):
        marks = first["metadata"]["nbgrader"], second["metadata"]["nbgrader"]
        marks[0][key], marks[1][key] = marks[1][key], marks[0][key]


@adversary(
    tries="all grade ids are the same", twin=WRONG, flagged=["duplicated cell"], costs=[SMALLEST, SCALE, WRITTEN]
)
def one_grade_id_for_all(work):
    for cell in work.notebook["cells"]:
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"]["grade_id"] = DOUBLE_CHECK


@adversary(tries="a solved exercise is worth 600 points", flagged=["edited metadata"])
def more_points(work):
    work.cell(DOUBLE_CHECK)["metadata"]["nbgrader"]["points"] = 600


@adversary(tries="points that are no number, and below zero", flagged=["edited metadata"])
def odd_points(work):
    work.cell(DOUBLE_CHECK)["metadata"]["nbgrader"]["points"] = -6
    work.cell(SMALLEST_CHECK)["metadata"]["nbgrader"]["points"] = "NaN"


@adversary(tries="the failing check is no longer graded", twin=WRONG, flagged=["edited metadata"])
def check_not_graded(work):
    work.cell(DOUBLE_CHECK)["metadata"]["nbgrader"]["grade"] = False


@adversary(tries="check cells are unlocked and become answers", twin=WRONG, flagged=["edited metadata"])
def unlocked_check(work):
    work.cell(DOUBLE_CHECK)["metadata"]["nbgrader"] |= {"locked": False, "solution": True}
    work.cell(DOUBLE_CHECK)["source"] = "6.0"


@adversary(tries="nbgrader's marks are of an old and of a future schema", flagged=[])
def other_schema(work):
    work.cell(DOUBLE_CHECK)["metadata"]["nbgrader"]["schema_version"] = 1
    work.cell(SMALLEST_CHECK)["metadata"]["nbgrader"]["schema_version"] = 99


@adversary(tries="nbgrader's marks are lists, numbers and texts")
def marks_of_other_types(work):
    for number, cell in enumerate(work.notebook["cells"]):
        if cell["metadata"].get("nbgrader", {}).get("locked"):
            cell["metadata"]["nbgrader"] = [[], 7, "marks", None][number % 4]


@adversary(tries="a cell of one's own claims to be graded with 100 points", flagged=["unknown cell"])
def invented_graded_cell(work):
    marks = {"grade": True, "grade_id": "bonus", "locked": False, "points": 100, "schema_version": 3, "solution": False}
    work.insert(3, "100", nbgrader={**marks, "task": False})


@adversary(tries="results of an earlier grading are in the notebook's metadata", twin=WRONG)
def forged_notebook_metadata(work):
    work.notebook["metadata"]["yolotrt"] = {"findings": [], "answers": {}, "settled": [DOUBLE_CHECK], "unreadable": "x"}
    work.cell(DOUBLE_CHECK)["outputs"] = [
        {"output_type": "execute_result", "data": {"text/plain": "6.0"}, "metadata": {}, "execution_count": 1}
    ]


@adversary(tries="tags and skips: the check is tagged as a demonstration", twin=WRONG)
def skipped_check(work):
    work.cell(DOUBLE_CHECK)["metadata"]["tags"] = ["demonstration", "skip-execution", "raises-exception"]
