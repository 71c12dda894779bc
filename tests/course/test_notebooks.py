"""The labs' scripts keep the house rules: short cells, all the parts a lab has, no answers in the release."""

import ast
import json
import re
from pathlib import Path

import pytest
from lab_solutions import ROOT, SCRIPTS, cells_of, labs, script_of

from yolotrt_lab.grading.suite import exercise_ids, load_exercise

LABS = labs()
CODE_LINES = 15
SCAFFOLD_LINES = 30
PROSE_LINES = 12

each_lab = pytest.mark.parametrize("lab", LABS)


def release_of(lab: str) -> dict:
    stem = script_of(lab).stem
    return json.loads((ROOT / "labs" / stem / f"{stem}.ipynb").read_text(encoding="utf-8"))


def prose(lab: str) -> str:
    return "\n\n".join(cell.source for cell in cells_of(lab) if cell.cell_type == "markdown")


def code_cells(lab: str):
    return [(number, cell) for number, cell in enumerate(cells_of(lab)) if cell.cell_type == "code"]


def nbgrader_of(cell) -> dict:
    return cell.metadata.get("nbgrader", {})


def test_there_are_five_labs():
    assert [script_of(lab).stem for lab in LABS] == [
        "lab1_environment",
        "lab2_dataset_training",
        "lab3_onnx",
        "lab4_engines",
        "lab5_inference_profiling",
    ]


def code_lines(source: str) -> int:
    """Count the lines of code: imports tell nothing, and docstrings are the specification."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        docstring = isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)
        if docstring or isinstance(node, (ast.Import, ast.ImportFrom)):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return sum(bool(line.strip()) for line in lines)


def is_scaffold(cell) -> bool:
    """Whether the student writes into the cell, or it only defines what later cells use."""
    body = ast.parse(cell.source).body
    return bool(nbgrader_of(cell).get("solution")) or all(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in body)


@each_lab
def test_code_cells_are_short(lab):
    for number, cell in code_cells(lab):
        # What the student reads: the solution's own lines come on top.
        source = re.sub(r"(?s)### BEGIN SOLUTION.*?### END SOLUTION", "...", cell.source)
        limit = SCAFFOLD_LINES if is_scaffold(cell) else CODE_LINES
        assert code_lines(source) <= limit, f"cell {number} of {lab}:\n{cell.source}"


@each_lab
def test_prose_cells_are_short(lab):
    for number, cell in enumerate(cells_of(lab)):
        if cell.cell_type == "markdown" and not nbgrader_of(cell).get("solution"):
            # A row of a table and the item of a list count little: they are looked up rather than read.
            lines = [line for line in cell.source.splitlines() if line.strip() and line.lstrip()[0] not in "|"]
            lines = [line for line in lines if not line.startswith("  ")]
            assert len(lines) <= PROSE_LINES + 3 * ("<details>" in cell.source), (
                f"cell {number} of {lab}:\n{cell.source}"
            )


@each_lab
def test_no_cell_installs_or_names_places(lab):
    for number, cell in code_cells(lab):
        for pattern in (
            r"^\s*[!%]\s*(pip|conda|apt)",
            r"sys\.path",
            r"['\"]/(home|root|work|tmp|Users)\b",
            r"^\s*assert ",
        ):
            assert not re.search(pattern, cell.source, re.MULTILINE), f"cell {number} of {lab}: {pattern}"
        ast.parse(cell.source)


@each_lab
def test_no_notebook_reaches_into_the_emulation(lab):
    for number, cell in code_cells(lab):
        assert "yolotrt_lab.emulation" not in cell.source, f"cell {number} of {lab}: it must run on a GPU too"


@each_lab
def test_the_parts_of_a_lab_are_there(lab):
    text = prose(lab).lower()
    for part in ("you will be able to", "prerequisites", "minutes", "predict", "recap", "we have:", "further reading"):
        assert part in text, f"{lab} has no {part!r}"
    assert text.count("<details>") == text.count("</details>") >= 3
    assert "<summary>" in text
    assert re.search(r"https://", text)
    assert re.search(r"\$[^$]+\$", text), f"{lab} has no formula"


@each_lab
def test_every_exercise_is_introduced_with_tier_difficulty_time_and_points(lab):
    text = prose(lab)
    for exercise_id in exercise_ids(lab):
        loaded = load_exercise(exercise_id)
        for word in (loaded.exercise.tier, f"{loaded.exercise.minutes} min", f"{loaded.points} point"):
            assert word in text, f"{exercise_id}: {word!r} is nowhere in the prose"


@each_lab
def test_ids_of_cells_are_unique_and_graded_cells_are_complete(lab):
    ids = [nbgrader_of(cell)["grade_id"] for cell in cells_of(lab) if nbgrader_of(cell)]
    assert len(ids) == len(set(ids))
    answers = {name for name in ids if not name.endswith("-check")}
    for exercise_id in exercise_ids(lab):
        assert exercise_id.replace(".", "-", 1) in answers


@each_lab
def test_the_release_holds_no_solution(lab):
    release = release_of(lab)
    text = json.dumps(release, ensure_ascii=False)
    for marker in ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN", "MARK SCHEME"):
        assert marker not in text
    released = {cell["id"]: "".join(cell["source"]) for cell in release["cells"]}
    everything = "\n".join(released.values())
    for cell in cells_of(lab):
        if not nbgrader_of(cell).get("solution"):
            continue
        if cell.cell_type == "markdown":
            assert released[nbgrader_of(cell)["grade_id"]].strip() == "YOUR ANSWER HERE"
            continue
        for solution in re.findall(r"(?s)### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source):
            lines = [line.strip() for line in solution.splitlines()]
            telling = [line for line in lines if len(line) > 30 and not line.startswith("#")]
            assert not [line for line in telling if line in everything]


@each_lab
def test_every_answer_is_a_function_or_class_in_an_answer_cell(lab):
    names = set()
    for _, cell in code_cells(lab):
        if nbgrader_of(cell).get("solution"):
            tree = ast.parse(cell.source)
            names |= {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
            assert "### BEGIN SOLUTION" in cell.source
            for line in cell.source.splitlines():
                if "### BEGIN SOLUTION" in line:
                    assert line.startswith("    "), "the release must run: keep the region inside a function"
    for exercise_id in exercise_ids(lab):
        assert load_exercise(exercise_id).exercise.answer in names


@each_lab
def test_the_rubric_is_written_down(lab):
    rubric = (ROOT / "course" / "rubrics" / f"{lab}.md").read_text(encoding="utf-8")
    assert "10" in rubric
    assert len(rubric.split()) > 150


def test_every_script_opens_as_a_notebook():
    for script in SCRIPTS.glob("*.py"):
        head = script.read_text(encoding="utf-8")[:600]
        assert "format_name: percent" in head, f"{script.name}: JupyterLab needs the jupytext header"
        assert "name: python3" in head


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_hold_no_places_of_a_machine(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(/home/|/root/|/Users/|/tmp/|C:\\)", text)
