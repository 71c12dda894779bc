"""Fail if a notebook holds outputs or execution counts: they make diffs unreadable and may leak solutions.

Usage: check_notebooks.py [NOTEBOOK ...]; without arguments, every notebook that Git knows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def tracked_notebooks() -> list[Path]:
    """Return the notebooks that Git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.ipynb"], capture_output=True, check=True).stdout
    return [Path(name) for name in listed.decode().split("\0") if name]


def problems(path: Path) -> list[str]:
    """Return what is wrong with one notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path}: not a notebook ({error})"]
    return [
        f"{path}: cell {number} holds outputs"
        for number, cell in enumerate(cells, start=1)
        if cell.get("outputs") or cell.get("execution_count") is not None
    ]


def main(arguments: list[str]) -> int:
    """Check the given notebooks, or all; return 1 if one holds outputs."""
    found = [line for path in ([Path(name) for name in arguments] or tracked_notebooks()) for line in problems(path)]
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("Clear them: jupyter nbconvert --clear-output --inplace NOTEBOOK", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
