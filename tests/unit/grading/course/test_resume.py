"""Killed at any moment and resumed: the same grades as without, nothing lost, nothing done twice."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course import GradeOptions, grade_lab, open_course, release_lab
from yolotrt_lab.grading.jobs.journal import Journal
from yolotrt_lab.grading.sandbox.preflight import sandbox_works

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 20
STUDENTS = 11
DRIVER = Path(__file__).with_name("killed_batch.py")
QUERIES = {
    "grades": "SELECT s.id, b.name, g.auto_score, g.manual_score, g.needs_manual_grade FROM grade g "
    "JOIN submitted_notebook n ON g.notebook_id = n.id JOIN submitted_assignment a ON n.assignment_id = a.id "
    "JOIN student s ON a.student_id = s.id JOIN base_cell b ON g.cell_id = b.id",
    "comments": "SELECT s.id, b.name, c.auto_comment, c.manual_comment FROM comment c "
    "JOIN submitted_notebook n ON c.notebook_id = n.id JOIN submitted_assignment a ON n.assignment_id = a.id "
    "JOIN student s ON a.student_id = s.id JOIN base_cell b ON c.cell_id = b.id",
    "submissions": "SELECT s.id, a.timestamp, n.late_submission_penalty FROM submitted_notebook n "
    "JOIN submitted_assignment a ON n.assignment_id = a.id JOIN student s ON a.student_id = s.id",
}


class Driver:
    """The program that forks batches."""

    def __init__(self, jobs=1):
        mode = "safe" if sandbox_works() else "unsafe"
        command = [sys.executable, str(DRIVER), mode, str(jobs)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, word, root):
        self.process.stdin.write(f"{word} {root}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def ended(self):
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def class_of_eleven(root, sample):
    release_lab(open_course(root), sample.LAB)
    for number in range(STUDENTS):
        answer = "2 * x" if number % 3 else "abs(2 * x)"
        notebook = sample.answered(root, lab0_double=f"def double(x):\n    # student {number}\n    return {answer}")
        sample.hand_in(root, f"student{number}", notebook if number != 5 else "broken")
    return root


def graded(root):
    """Return all that matters of a graded class."""
    with contextlib.closing(sqlite3.connect(root / "course" / "gradebook.db")) as gradebook:
        state = {name: sorted(gradebook.execute(query).fetchall(), key=repr) for name, query in QUERIES.items()}
    for path in sorted((root / "course" / "autograded").rglob("*")):
        if path.is_file():
            state[str(path.relative_to(root))] = path.read_bytes()
    for path in sorted((root / "course" / "grading" / "students").rglob("grading.json")):
        record = json.loads(path.read_text())
        state |= {
            f"{path.parent.name}/{name}": value
            for name, value in record.items()
            if name not in ("graded", "batch", "seconds")
        }
    return state


def differences(one, other):
    return {
        name: (one.get(name), other.get(name)) for name in one.keys() | other.keys() if one.get(name) != other.get(name)
    }


def executions(root):
    return [tuple(line.split()) for line in (root / "executions.log").read_text().splitlines()]


def family(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def lines_of(root):
    return sum(
        path.read_bytes().count(b'"event"') for path in (root / "course" / "grading" / "batches").glob("*/*.jsonl")
    )


def kill_at(root, pid, chance, target):
    """Kill the batch soon after its journal has so many lines; return its descendants, or None if it was quicker."""
    while lines_of(root) < target:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 0.4))
    descendants = family(pid)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return descendants


def test_twenty_kills(class_of_eleven, tmp_path):
    calm, stormy = class_of_eleven, tmp_path / "stormy"
    # The same secret, so that hidden inputs are the same.
    open_course(calm).private.hidden_seed("lab0_sample")
    shutil.copytree(calm, stormy)
    driver = Driver()
    driver.start("begin", calm)
    assert driver.ended() == "ended 0"
    expected = graded(calm)

    chance, kills, target, orphans = random.Random(20), 0, 1, []
    word, code = "begin", ""
    while code != "ended 0":
        pid = driver.start(word, stormy)
        if kills < KILLS:
            descendants = kill_at(stormy, pid, chance, target)
            if descendants is not None:
                kills, orphans = kills + 1, orphans + descendants
                target = lines_of(stormy) + chance.choice((0, 1, 1, 2))
        code = driver.ended()
        word = "resume"
        assert code in ("ended 0", "ended -9")
    driver.close()

    assert kills >= KILLS - 4  # the last ones may come too late
    assert differences(graded(stormy), expected) == {}
    _, alive = psutil.wait_procs(orphans, timeout=20)
    assert [process.name() for process in alive] == []
    assert {state for _, state in executions(stormy)} == {"new"}  # nothing runs again once its result is kept
    journals = list((stormy / "course" / "grading" / "batches").glob("*/*.jsonl"))
    assert len(journals) == 1
    recorded = Counter(entry["student"] for entry in Journal(journals[0]).entries("recorded"))
    assert set(recorded.values()) == {1}
    assert not list((stormy / "course" / "grading" / "batches").glob("*/*.staged"))
    assert not list((stormy / "course" / "grading" / "cache" / "tmp").glob("*/entry/manifest.json"))


def test_a_killed_cluster_leaves_nothing_running(class_of_eleven):
    """Scheduler, workers, the processes that kernels are forked from, sandboxes: all end with the batch."""
    driver = Driver(jobs=2)
    pid = driver.start("begin", class_of_eleven)
    descendants = kill_at(class_of_eleven, pid, random.Random(1), 3)
    assert driver.ended() == "ended -9"
    assert len(descendants) > 2
    _, alive = psutil.wait_procs(descendants, timeout=20)
    assert [process.name() for process in alive] == []
    driver.start("resume", class_of_eleven)
    assert driver.ended() == "ended 0"
    driver.close()
    recorded = Counter(path.parent.name for path in class_of_eleven.glob("course/grading/students/*/*/grading.json"))
    assert len(recorded) == STUDENTS


def test_nothing_to_resume(class_of_eleven, sample):
    with pytest.raises(InputError, match="No batch of lab0_sample was interrupted"):
        grade_lab(open_course(class_of_eleven), sample.LAB, options=GradeOptions(), resume=True)
