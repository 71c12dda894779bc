"""A class on one machine: five students, an instructor, nbgrader's own commands and `yolotrt course`."""

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("class"), pytest.mark.timeout(900)]

_PATH = Path(__file__).parents[1] / "sample_course" / "sample_course.py"
_SPEC = importlib.util.spec_from_file_location("sample_course", _PATH)
sample = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sample)

LAB = sample.LAB


def class_of_five(root):
    """Return what each student hands in, and the points that the tests must give for it."""
    tampered = sample.answered(root, lab0_double=None, lab0_smallest=None, lab0_written=None)
    for cell in tampered["cells"]:
        if cell["source"].startswith("check("):
            cell["source"] = "6.0"
    tampered["cells"].append(copy.deepcopy(sample.cell(tampered, "lab0-double-check")))
    return {
        "complete": (json.dumps(sample.answered(root)), 10.0),
        "half": (json.dumps(sample.answered(root, lab0_smallest=None, lab0_written=None)), 6.0),
        "wrong": (json.dumps(sample.answered(root, lab0_double="def double(x):\n    return 2 * abs(x)")), 6.0),
        "broken": ('{"cells": [', 0.0),
        "tampered": (json.dumps(tampered), 0.0),
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sample.make_course(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def five(root):
    """What they hand in, made before anybody works in labs/."""
    return class_of_five(root)


@pytest.fixture(scope="module")
def run(root):
    """Run a program of the environment in the course's folder, or below it; it must succeed."""

    def run(*command, code=0, place="."):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=root / place,
            env={**sample.environment(root), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


# nbgrader takes seconds to start: where it is not the start that matters, one process runs several commands.
_SEVERAL = """
import contextlib, json, sys
from pathlib import Path
from jupyter_core.application import NoStart
from nbgrader.apps import NbGraderApp

for command in json.loads(sys.argv[1]):
    if "write" in command:
        Path(command["write"]).write_text(command["text"])
        continue
    app = NbGraderApp.instance()
    app.initialize(command["arguments"])
    with contextlib.suppress(NoStart):  # how the program says that its command has run
        app.start()
    app.reset()
"""


@pytest.fixture(scope="module")
def several(root):
    """Run several nbgrader commands, and write files between them."""

    def run(*commands):
        plain = [item if isinstance(item, dict) else {"arguments": list(item)} for item in commands]
        program = [sys.executable, "-c", _SEVERAL, json.dumps(plain)]
        done = subprocess.run(program, cwd=root, env=sample.environment(root), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def released(root, several):
    several(("generate_assignment", LAB), ("release_assignment", LAB))


@pytest.fixture(scope="module")
def submitted(root, several, released, five):
    """Each student hands in from labs/, where the Assignment List looks."""
    path, commands = str(root / "labs" / LAB / f"{LAB}.ipynb"), []
    for student, (content, _) in five.items():
        commands += [{"write": path, "text": content}, ("submit", LAB, "--student", student)]
    several(*commands)
    return list(five)


@pytest.fixture(scope="module")
def graded(run, several, submitted):
    several(("collect", LAB))
    return run("nbgrader", "autograde", LAB)


@pytest.fixture(scope="module")
def feedback(several, graded):
    several(("generate_feedback", LAB), ("release_feedback", LAB))


def scores(root):
    from yolotrt_lab.grading.course import open_course

    with open_course(root).gradebook() as gradebook:
        return {item.student.id: item.score for item in gradebook.assignment_submissions(LAB)}


def test_generating_changes_no_byte(root, released):
    built = sample.build_notebooks().built_notebooks(root)
    path = root / "solutions" / LAB / f"{LAB}.ipynb"
    assert path.read_text() == built[path]
    outbound = root / "course" / "exchange" / "yolotrt" / "outbound" / LAB / f"{LAB}.ipynb"
    assert outbound.read_text() == built[root / "labs" / LAB / f"{LAB}.ipynb"]


def test_a_student_fetches_what_was_released(root, run, released, tmp_path):
    place = tmp_path / "home"
    run("nbgrader", "fetch_assignment", LAB, f"--Exchange.assignment_dir={place}")
    assert (place / LAB / f"{LAB}.ipynb").is_file()


def test_everybodys_score_is_right(root, graded, five):
    assert scores(root) == {student: points for student, (_, points) in five.items()}
    assert "kernel" not in graded.stderr.lower()  # nor a word from kernels


def test_students_can_fetch_their_pages(root, run, feedback, submitted):
    """Here all of them work in one account, so one call finds everybody's."""
    run("nbgrader", "fetch_feedback", LAB)
    pages = sorted((root / "labs" / LAB / "feedback").glob("*/*.html"))
    assert len(pages) == len(submitted)


def test_no_page_tells_hidden_tests_or_other_students(root, feedback, submitted):
    for student in submitted:
        text = (root / "course" / "feedback" / student / LAB / f"{LAB}.html").read_text()
        for secret in (f"-{sample.HIDDEN_MARK}", "rng.integers", "def test_", "2 * x\n    ###"):
            assert secret not in text
        assert not [other for other in submitted if other != student and f">{other}<" in text]


def test_grading_again_changes_nothing(root, run, graded):
    before = scores(root)
    run("nbgrader", "autograde", LAB, "--force")
    assert scores(root) == before


def test_export(root, several, graded):
    several(("export",), ("export", "--to", str(root / "mine.csv")))
    lines = (root / "course" / "grading" / "grades.csv").read_text().splitlines()
    assert len(lines) == 6
    assert (root / "mine.csv").read_text().splitlines() == lines


def test_validating(run, root):
    """A solution passes; a release lists what is to do, one exercise after the other."""
    (root / "fresh.ipynb").write_text(json.dumps(sample.build_notebooks().release_from_solution(_solution(root))))
    said = run("nbgrader", "validate", f"solutions/{LAB}/{LAB}.ipynb", "fresh.ipynb").stdout
    solution, _, release = said.partition("Success! Your notebook passes all the tests.\n")
    assert solution == ""
    assert "3 EXERCISE(S) STILL WAIT FOR YOU" in release
    assert 'check("lab0.double")' in release
    assert 'check("lab0.smallest")' in release
    assert "Traceback" not in release


def _solution(root):
    import nbformat

    return nbformat.read(root / "solutions" / LAB / f"{LAB}.ipynb", as_version=4)


def test_formgrader_shows_tables_and_no_scripts(root, graded):
    """As formgrader renders a submission: with its template, and the course's configuration."""
    from nbconvert.exporters import HTMLExporter
    from nbgrader.server_extensions.formgrader import handlers

    from yolotrt_lab.grading.course import open_course

    course = open_course(root)
    config = copy.deepcopy(course.config)
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    resources = dict.fromkeys(("assignment_id", "notebook_id", "submission_id", "student", "notebook_path"), "x")
    resources |= {"index": 0, "total": 1, "base_url": "/", "last_name": None, "first_name": None}
    path = course.folder("autograded", LAB, "wrong") / f"{LAB}.ipynb"
    page, _ = HTMLExporter(config=config).from_filename(str(path), resources=resources)
    assert "Doubling" in page
    assert "Is the sign lost?" in page


class TestCommands:
    """The same in one command each."""

    def test_a_class(self, tmp_path):
        root = sample.make_course(tmp_path)

        def run(*command, code=0):
            done = subprocess.run(
                [sys.executable, "-m", "yolotrt_lab.cli.main", "course", *command, "--json"],
                cwd=root,
                env=sample.environment(root),
                capture_output=True,
                text=True,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return json.loads(done.stdout)

        assert run("release", "lab0", "--due", "2030-01-01")["released"][0]["points"] == 20.0
        for student, (content, _) in class_of_five(root).items():
            sample.hand_in(root, student, content)
        assert run("collect")["collected"][0]["submissions"] == 5
        graded = {item["student"]: item for item in run("grade", "lab0")["students"]}
        assert {name: item["score"] for name, item in graded.items()} == {
            name: points for name, (_, points) in class_of_five(root).items()
        }
        assert {name: item["state"] for name, item in graded.items()} == {
            "complete": "needs grading by hand",
            "half": "graded",
            "wrong": "needs grading by hand",
            "broken": "set aside",
            "tampered": "graded",
        }
        pages = run("feedback", "lab0")["pages"]
        assert all(Path(page).is_file() for page in pages.values())
        assert len(run("export")["grades"]) == 5
        (lab,) = run("status", "lab0")["labs"]
        assert [item["student"] for item in lab["students"] if item["flags"]] == ["broken", "tampered"]
