"""Notebooks are built from percent scripts: reproducibly, without outputs, and without solutions in the release."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_META = '"schema_version": 3, "task": false'
SCRIPT = f"""\
# %% [markdown]
# # A lab

# %% nbgrader={{"grade": false, "grade_id": "double", "locked": false, "solution": true, {_META}}}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={{"grade": true, "grade_id": "double-test", "locked": true, "points": 1, "solution": false, {_META}}}
assert double(2) == 4
### BEGIN HIDDEN TESTS
assert double(21) == 42
### END HIDDEN TESTS
"""


@pytest.fixture(scope="module")
def build_notebooks():
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "scripts" / "build_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(build_notebooks, capsys):
    """Run the script; give its exit code and what it printed."""

    def run(root, *arguments):
        code = build_notebooks.main(["--root", str(root), *arguments])
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    (tmp_path / "course" / "notebooks" / "lab0_sample.py").write_text(SCRIPT)
    return tmp_path


def test_the_same_bytes_again(root, build):
    assert build(root, "--check")[0] == 1
    assert build(root)[0] == 0
    paths = [root / folder / "lab0_sample" / "lab0_sample.ipynb" for folder in ("solutions", "labs")]
    content = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    assert build(root)[0] == 0
    assert [path.read_bytes() for path in paths] == content
    assert build(root, "--check")[0] == 0
    assert "0 written" in build(root)[1]


def test_the_release_holds_no_solution(root, build):
    build(root)
    solution = (root / "solutions" / "lab0_sample" / "lab0_sample.ipynb").read_text()
    release = (root / "labs" / "lab0_sample" / "lab0_sample.ipynb").read_text()
    for secret in ("return 2 * x", "double(21)"):
        assert secret in solution
        assert secret not in release
    cells = {cell["id"]: cell for cell in json.loads(release)["cells"]}
    assert {"double", "double-test"} <= set(cells)
    assert "NotImplementedError" in "".join(cells["double"]["source"])
    assert cells["double-test"]["metadata"]["nbgrader"]["checksum"]
    assert not cells["double-test"]["metadata"]["editable"]
    assert all(not cell.get("outputs") for cell in cells.values())


def test_an_edited_notebook_is_stale(root, build):
    build(root)
    path = root / "labs" / "lab0_sample" / "lab0_sample.ipynb"
    path.write_text(path.read_text().replace("A lab", "My lab"))
    code, printed = build(root, "--check")
    assert code == 1
    assert "labs/lab0_sample/lab0_sample.ipynb is stale" in printed


def test_this_repositorys_notebooks_are_fresh(build):
    assert build(ROOT, "--check") == (0, "")
