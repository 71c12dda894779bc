"""What kernels get of the suite records the same as the whole: some exercises, each with a right answer.

All exercises, with the labs' own solutions, take minutes; that was done when the part was made, and is worth repeating
when `recording_part` changes.
"""

import importlib.util
from pathlib import Path

import pytest
from tests_course_api import Wrong, answers_of

from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.recording_part import write_recording_suite
from yolotrt_lab.grading.seeds import case_seeds
from yolotrt_lab.grading.suite import load_exercise

SEED = 20_261_120
# Modules beside the file, plain inputs, models, a harness that runs the answer, inputs that a reference chooses.
CHOSEN = ("lab1.pick_install", "lab2.box_formats", "lab3.graph_diff", "lab3.bisect_divergence", "lab5.roofline")


def right_answer(exercise_id: str):
    lab, name = exercise_id.split(".")
    path = Path(__file__).parent / lab / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"yolotrt_part_{lab}_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return next(answer for _, answer, kind in answers_of(module) if not isinstance(kind, Wrong))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("exercise_id", CHOSEN)
def test_records_are_the_same(exercise_id, tmp_path):
    part, answer = tmp_path / "suite", right_answer(exercise_id)
    write_recording_suite(exercise_id.split(".")[0], part)
    record(load_exercise(exercise_id), answer, folder=tmp_path / "whole", hidden_seed=SEED)
    seeds = case_seeds([exercise_id], SEED, root=part)[exercise_id]
    record(load_exercise(exercise_id, root=part), answer, folder=tmp_path / "part", seeds=seeds)
    whole = contents(tmp_path / "whole")
    assert whole == contents(tmp_path / "part")
    assert any("hidden-0" in name for name in whole)
