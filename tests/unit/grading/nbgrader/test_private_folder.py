import stat

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder


@pytest.fixture
def private(tmp_path):
    return PrivateFolder(tmp_path)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_look_and_git_sees_nothing(private):
    private.hidden_seed("lab1")
    assert mode(private.path) == 0o700
    assert mode(private.path / "hidden_seed") == 0o600
    assert (private.path / ".gitignore").read_text().splitlines()[-1] == "*"


def test_the_seed_stays_and_differs_by_lab_and_by_course(private, tmp_path):
    first = private.hidden_seed("lab1")
    assert PrivateFolder(tmp_path).hidden_seed("lab1") == first
    assert private.hidden_seed("lab2") != first
    assert PrivateFolder(tmp_path / "other").hidden_seed("lab1") != first
    assert 0 <= first < 2**63


def test_a_secret_that_others_may_read_is_closed(private):
    private.hidden_seed("lab1")
    secret = private.path / "hidden_seed"
    secret.chmod(0o644)
    private.hidden_seed("lab1")
    assert mode(secret) == 0o600


@pytest.mark.parametrize("content", ["", "abc", "not hexadecimal at all, not at all", "ab" * 15])
def test_a_broken_secret_is_not_used(private, content):
    (private.path / "hidden_seed").write_text(content)
    with pytest.raises(InputError, match="does not hold the secret"):
        private.hidden_seed("lab1")


def test_records(private):
    student = private.student("lab1", "ada")
    assert student.read("grading") == {}
    student.write("grading", {"points": 3})
    assert student.read("grading") == {"points": 3}
    (student.folder / "grading.json").write_text("[")
    assert student.read("grading") == {}
    (student.folder / "grading.json").write_text("[1]")
    assert student.read("grading") == {}
    private.student("lab1", "ben").write("intake", {})
    assert list(private.students("lab1")) == ["ada", "ben"]
    assert list(private.students("lab2")) == []
