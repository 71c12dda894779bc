"""Build the notebooks from the percent scripts in course/notebooks, byte for byte the same every time.

    build_notebooks.py            writes solutions/ (nbgrader's source) and labs/ (nbgrader's release)
    build_notebooks.py --check    writes nothing; fails if a notebook is missing or stale

`labs/` is made from `solutions/` by nbgrader's own release preprocessors. Cell ids are the grade ids, or the cell's
place in the notebook, so that two builds and two machines agree.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbgrader import preprocessors

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
RELEASE = (
    preprocessors.LockCells,
    preprocessors.ClearSolutions,
    preprocessors.ClearOutput,
    preprocessors.CheckCellMetadata,
    preprocessors.ComputeChecksums,
    preprocessors.ClearHiddenTests,
    preprocessors.ClearMarkScheme,
    preprocessors.ComputeChecksums,
)


def solution_from_script(script: Path) -> Any:
    """Return the instructor's notebook of a percent script, without outputs, with fixed cell ids."""
    notebook = jupytext.read(script)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell["id"] = grade_id or f"{script.stem}-{number:03}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def release_from_solution(solution: Any) -> Any:
    """Return the student's notebook, as `nbgrader generate_assignment` would make it."""
    notebook = copy.deepcopy(solution)
    resources: dict[str, Any] = {}
    for preprocessor in RELEASE:
        notebook, resources = preprocessor().preprocess(notebook, resources)
    return notebook


def text_of(notebook: Any) -> str:
    """Return a notebook as text, keys sorted, as Jupyter and nbgrader write it."""
    return str(nbformat.writes(notebook)) + "\n"


def built_notebooks(root: Path) -> dict[Path, str]:
    """Return every notebook that should be there, by its path."""
    built: dict[Path, str] = {}
    for script in sorted((root / "course" / "notebooks").glob("*.py")):
        solution = solution_from_script(script)
        built[root / "solutions" / script.stem / f"{script.stem}.ipynb"] = text_of(solution)
        built[root / "labs" / script.stem / f"{script.stem}.ipynb"] = text_of(release_from_solution(solution))
    return built


def main(arguments: list[str] | None = None) -> int:
    """Build, or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a notebook is missing or stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the repository")
    options = parser.parse_args(arguments)
    built = built_notebooks(options.root)
    stale = [path for path, text in built.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(options.root)} is stale: run `make notebooks`.", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(built[path], encoding="utf-8")
    print(f"{len(built)} notebooks from {len(built) // 2} scripts in course/notebooks; {len(stale)} written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
