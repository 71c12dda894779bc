import json
import logging
from types import SimpleNamespace

import pytest
from nbgrader.converters import NbGraderException

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course.session import CourseError, open_course


def test_the_course_around_the_current_folder(root, sample, monkeypatch):
    monkeypatch.chdir(root / "labs" / sample.LAB)
    course = open_course()
    assert course.root == root
    assert course.labs() == (sample.LAB,)
    assert course.exchange == root / "course" / "exchange"


def test_a_shared_exchange(root, monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOTRT_EXCHANGE", str(tmp_path / "shared"))
    assert open_course(root).exchange == tmp_path / "shared"
    assert not (tmp_path / "shared").exists()  # a shared one is made by whoever looks after the machine


def test_a_copy_of_the_configuration_for_a_hub(root, tmp_path, monkeypatch):
    """In /etc/jupyter it tells where the exchange is, and leaves each account its own folders."""
    monkeypatch.setenv("YOLOTRT_EXCHANGE", str(tmp_path / "shared"))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nbgrader_config.py").write_text((root / "nbgrader_config.py").read_text())
    config = open_course(tmp_path / "etc").config
    assert config.Exchange.root == str(tmp_path / "shared")
    assert "assignment_dir" not in config.Exchange
    assert "root" not in config.CourseDirectory
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["nbgrader_config.py"]


def test_no_course(tmp_path):
    with pytest.raises(InputError, match="not a course's folder"):
        open_course(tmp_path)


def test_settings_that_do_not_run(root):
    (root / "nbgrader_config.py").write_text("c = get_config(\n")
    with pytest.raises(InputError, match="does not run"):
        open_course(root)


@pytest.mark.parametrize("name", ["lab0", "lab0_sample"])
def test_short_and_full_names(root, sample, name):
    assert open_course(root).lab(name) == sample.LAB


@pytest.mark.parametrize("name", ["lab", "lab9", "", "../lab0_sample"])
def test_unknown_labs(root, name):
    with pytest.raises(InputError, match="There is no lab") as caught:
        open_course(root).lab(name)
    assert "lab0_sample" in str(caught.value)


def test_the_configuration_is_plain_text(root):
    """formgrader shows it as JSON."""
    json.dumps(open_course(root).config)


class TestRunning:
    """nbgrader says what went wrong in its log, with a traceback in the middle."""

    @pytest.fixture
    def step(self):
        def make(error, *lines):
            log = logging.getLogger("step")

            def start():
                for line in lines:
                    log.error(line)
                raise error

            return SimpleNamespace(log=log, start=start)

        return make

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            ((), "stopped"),
            (("no such lab",), "no such lab"),
            (
                (
                    "There was an error",
                    "Traceback (most recent call last):\n  File 'x'\nerrors.InputError: No lab.\n  fix: make one",
                    "See the traceback",
                ),
                "No lab. fix: make one",
            ),
            (("Traceback (most recent call last):\n  File 'x'\nKeyError",), "KeyError"),
        ],
    )
    def test_the_reason(self, root, step, lines, reason):
        with pytest.raises(CourseError, match="Grading did not work") as caught:
            open_course(root).run(step(NbGraderException("stopped"), *lines), doing="Grading")
        assert caught.value.got == reason

    def test_bugs_are_not_hidden(self, root, step):
        with pytest.raises(ZeroDivisionError):
            open_course(root).run(step(ZeroDivisionError()), doing="Grading")
