"""The instructor guide's worked example is run as it is printed."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "course" / "adding_an_exercise.md"
BLOCK = re.compile(r"^`(?P<path>[\w/.]+\.py)`\n\n```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def course(tmp_path):
    """A course that consists of the guide's three files and the machinery."""
    blocks = {found["path"]: found["code"] for found in BLOCK.finditer(GUIDE.read_text(encoding="utf-8"))}
    assert len(blocks) == 3
    for name, code in blocks.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    for name in ("conftest.py", "lab_solutions.py", "tests_course_api.py", "test_answers.py"):
        (tmp_path / "tests" / "course" / name).write_bytes((ROOT / "tests" / "course" / name).read_bytes())
    return tmp_path


@pytest.fixture
def environment(course):
    return {**os.environ, "YOLOTRT_GRADING_SUITE": str(course / "tests" / "grading")}


def test_its_answers_prove_its_tests(course, environment):
    command = [sys.executable, "-m", "pytest", "tests/course", "-q", "--import-mode=importlib", "-k", "int8_scale"]
    done = subprocess.run([*command, "-pno:cacheprovider"], cwd=course, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout  # 4 wrong, 2 right, the solution with 2 seeds, and their number


def test_its_notebook_is_built_and_checks(course, environment):
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "scripts" / "build_notebooks.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert build.main(["--root", str(course)]) == 0
    for folder, words in (("solutions", "5 / 5 points"), ("labs", "waiting for you")):
        book = nbformat.read(course / folder / "lab9_example" / "lab9_example.ipynb", as_version=4)
        program = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
        program = program.replace('check("lab9.int8_scale")', 'print(check("lab9.int8_scale"))')
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert words in done.stdout
