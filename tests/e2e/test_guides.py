"""The guides name commands, files, labs and points as they are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.grading.suite import exercise_ids, load_exercise

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "course" / name for name in ("instructor_guide.md", "syllabus.md", "adding_an_exercise.md")]
COMMAND = re.compile(r"`?((?:yolotrt|nbgrader|make) [a-z_]+[^`\n]*)`?")
LINK = re.compile(r"\[[^]]+\]\(([^)#\s]+)(?:#([^)]+))?\)")

each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)


def commands(guide: Path) -> list[list[str]]:
    text = guide.read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`((?:yolotrt|nbgrader|make) [^`]+)`", text.replace("\n", " "))
    return [shlex.split(line) for line in lines if line.split()[0] in ("yolotrt", "nbgrader", "make")]


@each_guide
def test_links_lead_somewhere(guide):
    for target, anchor in LINK.findall(guide.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path = (guide.parent / target).resolve()
        assert path.exists(), target
        assert path.is_relative_to(ROOT)
        assert not anchor or path.suffix == ".md"


def test_contents_of_the_instructor_guide_are_there():
    text = GUIDES[0].read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z -]", "", line[3:].lower()).replace(" ", "-") for line in text.splitlines() if line[:3] == "## "
    }
    anchors = re.findall(r"\]\(#([a-z-]+)\)", text)
    assert len(anchors) >= 10
    assert set(anchors) <= headings


def test_there_is_something_to_check():
    assert len(commands(GUIDES[0])) >= 12


@each_guide
def test_commands_exist_with_their_options(guide, capsys):
    for words in commands(guide):
        if words[0] == "yolotrt":
            known = [word for word in words[1:3] if word.isalpha()]
            assert main([*known, "--help"]) == 0, words
            shown = capsys.readouterr().out
            for option in (word for word in words if word.startswith("--")):
                assert option in shown, words
        elif words[0] == "nbgrader":
            done = subprocess.run(
                [sys.executable, "-m", "nbgrader", *words[1:2], "--help"], capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, words
        else:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words


@pytest.mark.parametrize("exercise_id", exercise_ids())
def test_the_syllabus_knows_every_exercise(exercise_id):
    loaded = load_exercise(exercise_id)
    text = (ROOT / "course" / "syllabus.md").read_text(encoding="utf-8")
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if row and row[0] == f"`{exercise_id}`"]
    exercise = loaded.exercise
    assert row[1:] == [
        exercise.title,
        str(exercise.tier),
        str(exercise.difficulty),
        str(exercise.minutes),
        str(loaded.points),
    ]
