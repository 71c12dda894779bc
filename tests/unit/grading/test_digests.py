"""A digest changes with what a grade depends on, and with nothing else."""

import shutil

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.digests import environment_digest, exercise_digest, package_digest, sibling_files, suite_digest

USES_IT = '\nbeside = __import__("yolotrt_lab.grading.suite", fromlist=["x"]).sibling(__file__, "beside")\n'


@pytest.fixture
def copy(suite, tmp_path):
    root = tmp_path / "suite"
    shutil.copytree(suite, root)
    return root


def test_an_exercise_depends_on_its_file_what_it_loads_and_data(copy):
    path = copy / "lab0" / "test_clip.py"
    digests = [exercise_digest("lab0.clip", root=copy)]

    def changed() -> bool:
        digests.append(exercise_digest("lab0.clip", root=copy))
        return digests[-1] != digests[-2]

    (copy / "lab0" / "beside.py").write_text("from yolotrt_lab.grading import sibling\nx = 1\n")
    assert not changed()
    path.write_text(path.read_text() + USES_IT)
    assert changed()
    (copy / "lab0" / "beside.py").write_text('from yolotrt_lab.grading import sibling\nsibling(__file__, "far")\n')
    (copy / "lab0" / "far.py").write_text("")
    assert changed()
    assert [found.name for found in sibling_files(path)] == ["beside.py", "far.py"]
    (copy / "lab0" / "far.py").write_text("x = 2")
    assert changed()
    (copy / "lab0" / "net.onnx").write_bytes(b"1")
    assert changed()
    (copy / "lab0" / "test_other.py").write_text("")
    (copy / "lab0" / "__pycache__").mkdir(exist_ok=True)
    (copy / "lab0" / "__pycache__" / "far.pyc").write_bytes(b"1")
    assert not changed()


def test_a_lab_depends_on_all_its_files(copy):
    before = suite_digest("lab0", root=copy)
    (copy / "lab0" / "test_other.py").write_text("")
    assert suite_digest("lab0", root=copy) != before
    with pytest.raises(InputError, match="no lab 'lab9'"):
        suite_digest("lab9", root=copy)


@pytest.mark.parametrize("text", ["sibling(__file__, NAME)", 'sibling(__file__, "missing")', "("])
def test_what_cannot_be_followed_is_refused(copy, text):
    (copy / "lab0" / "test_odd.py").write_text(text)
    with pytest.raises(InputError):
        exercise_digest("lab0.odd", root=copy)
    with pytest.raises(InputError, match="no exercise"):
        exercise_digest("lab0.nothing", root=copy)


def test_package_and_environment_are_stable():
    assert package_digest() == package_digest()
    assert len({package_digest(), environment_digest()}) == 2
