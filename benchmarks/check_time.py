"""How long `check` takes for each exercise, on the reference solution, as a student sees it after the first check.

    python benchmarks/check_time.py [--lab lab4]

A check should take less than a second unless it builds an engine. Wall time of one machine: compare rows, not machines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "course"))

from lab_solutions import solution_namespace

from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.suite import exercise_ids, load_exercise

REPEATS = 3


def one_check(exercise_id: str, answer: object) -> float:
    """Return the seconds of one check: calls on the public cases, then the tests."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        record(load_exercise(exercise_id), answer, folder=Path(folder))
        judge(Path(folder), exercises=[exercise_id])
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a line per exercise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", help="only this lab, e.g. lab4")
    lab = parser.parse_args().lab
    print(f"{'exercise':<32} {'first s':>8} {'then s':>8}")
    for exercise_id in exercise_ids(lab):
        loaded = load_exercise(exercise_id)
        answer = solution_namespace(loaded.exercise.lab)[loaded.exercise.answer]
        first = one_check(exercise_id, answer)
        then = sorted(one_check(exercise_id, answer) for _ in range(REPEATS))[REPEATS // 2]
        print(f"{exercise_id:<32} {first:8.2f} {then:8.2f}")


if __name__ == "__main__":
    main()
