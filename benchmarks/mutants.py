"""What the grader says to the course's wrong and right answers: a table of all labs.

    python benchmarks/mutants.py [--lab lab4] [--table]

Judges each answer of tests/course as a submission's is judged, public and hidden cases, and writes
course/results/mutants.json and mutants.md. `--table` writes the table again from what was measured before.
tests/course/test_answers.py holds the same in continuous integration, answer by answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolotrt_lab.files import read_json, write_json, write_text
from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.grading.suite import exercise_ids, load_exercise

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = ROOT / "tests" / "course"
RESULTS = ROOT / "course" / "results"
SEED = 20_261_120
HEAD = """\
# What the course's own wrong and right answers get

Written by `benchmarks/mutants.py`, which judged the {wrong} wrong and {right} right answers of `tests/course` on public
and hidden cases, as submissions are judged. An answer counts as caught when it loses points through the test that is
there for its mistake, and that test's words name the mistake. The points of wrong answers are not all zero, and should
not be: what is right in them counts.

| lab | exercises | wrong answers | caught | most points one kept | right answers | with all points |
|---|---|---|---|---|---|---|
"""
PART = """
## {lab}

| exercise | wrong answer | caught | by the test | points |
|---|---|---|---|---|
"""


def main() -> int:
    """Run; the exit code is 1 if an answer came out other than declared."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lab", help="only this one; the others' rows stay")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    options = parser.parse_args()
    path = RESULTS / "mutants.json"
    rows: list[dict[str, Any]] = list(read_json(path)) if path.is_file() else []
    if not options.table:
        names = exercise_ids(options.lab)
        rows = [row for row in rows if row["exercise"] not in names]
        for name in names:
            print(name, file=sys.stderr, flush=True)
            rows += measured(name)
        rows.sort(key=lambda row: (row["exercise"], not row["wrong"]))
        write_json(path, rows)
    write_text(RESULTS / "mutants.md", table(rows))
    odd = [f"{row['exercise']}: {row['answer']}" for row in rows if not row["as_declared"]]
    print(f"{len(rows)} answers, {len(odd)} other than declared {odd}")
    return int(bool(odd))


def measured(exercise_id: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each answer of an exercise."""
    sys.path.insert(0, str(ANSWERS))
    from tests_course_api import Wrong, answers_of

    lab, name = exercise_id.split(".")
    spec = importlib.util.spec_from_file_location(f"yolotrt_answers_{lab}_{name}", ANSWERS / lab / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for answer_name, answer, kind in answers_of(module):
        with tempfile.TemporaryDirectory(prefix="yolotrt-mutants-", ignore_cleanup_errors=True) as folder:
            record(load_exercise(exercise_id), answer, folder=Path(folder), hidden_seed=SEED)
            result = judge(Path(folder), exercises=[exercise_id], hidden_seed=SEED)[exercise_id]
        wrong = isinstance(kind, Wrong)
        yield {
            "exercise": exercise_id,
            "answer": answer_name,
            "wrong": wrong,
            "test": kind.caught_by if wrong else "",
            "title": next((test.title for test in result.tests if wrong and test.name == kind.caught_by), ""),
            "as_declared": _caught(result, kind) if wrong else result.state is State.PASSED,
            "score": result.score,
            "points": result.points,
        }


def _caught(result: ExerciseResult, kind: Any) -> bool:
    test = next((test for test in result.tests if test.name == kind.caught_by and not test.passed), None)
    if test is None or result.state is not State.FAILED:
        return False
    return kind.says.lower() in f"{test.misconception} {test.expected} {test.seen}".lower()


def table(rows: list[dict[str, Any]]) -> str:
    """Return the page."""
    labs = sorted({row["exercise"].split(".")[0] for row in rows})
    wrong, right = [row for row in rows if row["wrong"]], [row for row in rows if not row["wrong"]]
    text = HEAD.format(wrong=len(wrong), right=len(right))
    for lab in labs:
        text += _summary(lab, [row for row in rows if row["exercise"].startswith(f"{lab}.")])
    for lab in labs:
        text += PART.format(lab=f"Lab {lab.removeprefix('lab')}")
        for row in wrong:
            exercise, _, name = row["exercise"].partition(".")
            if exercise == lab:
                answer = row["answer"].replace("_", " ")
                caught = "yes" if row["as_declared"] else "**no**"
                text += f"| {name} | {answer} | {caught} | {row['title']} | {row['score']} of {row['points']} |\n"
    return text


def _summary(lab: str, rows: list[dict[str, Any]]) -> str:
    wrong, right = [row for row in rows if row["wrong"]], [row for row in rows if not row["wrong"]]
    exercises = len({row["exercise"] for row in rows})
    kept = max((row["score"] / row["points"] for row in wrong), default=0.0)
    caught, full = sum(row["as_declared"] for row in wrong), sum(row["as_declared"] for row in right)
    return f"| {lab} | {exercises} | {len(wrong)} | {caught} | {kept:.0%} | {len(right)} | {full} |\n"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
