"""The table in course/results is complete, and says what its measurements say."""

import importlib.util
import json
from pathlib import Path

import pytest
from arena import adversaries_in

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "course" / "results"
EVERY = {**adversaries_in(HERE / "attacks"), **adversaries_in(HERE / "answers")}


@pytest.fixture(scope="module")
def rows():
    return json.loads((RESULTS / "adversaries.json").read_text())


def test_every_adversary_is_in_the_table(rows):
    assert sorted(rows) == sorted(EVERY)
    text = (RESULTS / "adversaries.md").read_text()
    for name, item in EVERY.items():
        assert f"| {name} | {item.tries.replace('|', '')} |" in text.replace("\\|", "")


def test_the_table_is_made_from_the_measurements(rows):
    spec = importlib.util.spec_from_file_location("adversaries_table", ROOT / "benchmarks" / "adversaries.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (RESULTS / "adversaries.md").read_text() == module.table(rows)


def test_there_are_enough_of_them():
    assert sum(not item.is_correct for item in EVERY.values()) >= 45


def test_no_attack_gained_and_no_right_answer_lost(rows):
    for name, row in rows.items():
        assert row["ours"]["score"] <= row["ours"]["twin"], name
        assert row["ours"]["score"] == row["ours"]["twin"] or not row["correct"], name
