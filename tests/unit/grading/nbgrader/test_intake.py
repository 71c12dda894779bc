import datetime as dt
import os
from types import SimpleNamespace

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.intake import TIMESTAMP, admit, admit_all, format_time, note_findings, read_time
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.untrusted_files import Limits

NOON = dt.datetime(2026, 1, 1, 12)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "course" / "submitted" / "ada" / "lab1"
    folder.mkdir(parents=True)
    (folder / "lab1.ipynb").write_text("{}")
    os.utime(folder / "lab1.ipynb", (NOON.replace(tzinfo=dt.UTC).timestamp(),) * 2)
    return folder


@pytest.fixture
def kept(tmp_path):
    return PrivateFolder(tmp_path).student("lab1", "ada")


def kinds(findings):
    return [finding.kind for finding in findings]


def test_a_good_folder_stays_as_it_is(folder, kept):
    assert admit(folder, kept, Limits()) == []
    assert [path.name for path in folder.iterdir()] == ["lab1.ipynb"]


def test_what_does_not_belong_is_moved_as_it_is(folder, kept, tmp_path):
    (tmp_path / "secret").write_text("the instructor's")
    (folder / "sub").mkdir()
    (folder / "sub" / "link").symlink_to(tmp_path / "secret")
    (folder / "large").write_bytes(b"x" * 200)
    assert kinds(admit(folder, kept, Limits(file_bytes=100))) == ["unfit file", "unfit file"]
    assert sorted(path.name for path in folder.rglob("*") if not path.is_dir()) == ["lab1.ipynb"]
    assert (kept.set_aside / "sub" / "link").is_symlink()
    assert (tmp_path / "secret").read_text() == "the instructor's"


def test_a_folder_that_is_a_link_is_refused(folder, kept, tmp_path):
    other = tmp_path / "course" / "submitted" / "eve"
    other.mkdir()
    (other / "lab1").symlink_to(folder)
    with pytest.raises(InputError):
        admit(other / "lab1", kept, Limits())


class TestTime:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            (format_time(NOON), NOON),
            ("2026-01-01T13:00:00+01:00", NOON),
            ("2026-01-01T12:00:00Z", NOON),
            ("", None),
            ("yesterday, I swear", None),
            ("2026-13-45", None),
            ("9" * 5_000, None),
            ("\xff", None),
        ],
    )
    def test_reading(self, folder, text, moment):
        (folder / TIMESTAMP).write_text(text)
        assert read_time(folder) == moment

    def test_none_stays_none(self, folder, kept):
        admit(folder, kept, Limits())
        assert not (folder / TIMESTAMP).exists()

    def test_one_that_came_by_hand_stays(self, folder, kept):
        (folder / TIMESTAMP).write_text(format_time(NOON))
        assert admit(folder, kept, Limits()) == []
        assert read_time(folder) == NOON

    @pytest.mark.parametrize("text", ["yesterday, I swear", "", "2999-01-01 00:00:00 UTC", "9" * 5_000])
    def test_an_impossible_one_becomes_the_time_of_the_newest_file(self, folder, kept, text):
        (folder / TIMESTAMP).write_text(text)
        assert kinds(admit(folder, kept, Limits())) == ["impossible time"]
        assert read_time(folder) == NOON
        assert (kept.set_aside / TIMESTAMP).read_text() == text
        assert admit(folder, kept, Limits()) == []

    @pytest.mark.parametrize("text", [format_time(NOON - dt.timedelta(days=3)), "nonsense", None])
    def test_what_was_noted_on_arrival_counts(self, folder, kept, text):
        kept.write("intake", {"submitted": NOON.isoformat()})
        if text is not None:
            (folder / TIMESTAMP).write_text(text)
        (finding,) = admit(folder, kept, Limits())
        assert finding.kind == "edited time"
        assert finding.suspicious
        assert read_time(folder) == NOON
        assert admit(folder, kept, Limits()) == []


def test_findings_are_noted_once(folder, kept):
    (folder / "link").symlink_to("/etc/passwd")
    for _ in range(2):
        note_findings(kept, admit(folder, kept, Limits()))
    assert len(kept.read("intake")["findings"]) == 1
    (folder / "link").symlink_to("/etc/passwd")
    note_findings(kept, admit(folder, kept, Limits()))
    assert len(kept.read("intake")["findings"]) == 1


def test_a_batch_names_the_notebooks_that_should_be_there(root, sample):
    from nbgrader.coursedir import CourseDirectory

    right = sample.hand_in(root, "ada", sample.answered(root))
    renamed = sample.hand_in(root, "ben", sample.answered(root), name="mine")
    nothing = sample.hand_in(root, "cleo", None)
    link = root / "course" / "submitted" / "dan"
    link.symlink_to(right.parent)
    coursedir = CourseDirectory(root=str(root), submitted_directory="course/submitted", source_directory="solutions")
    coursedir.assignment_id = sample.LAB
    errors = []
    converter = SimpleNamespace(
        coursedir=coursedir,
        assignments={str(right): ["x"], str(renamed): ["y"], str(link / sample.LAB): ["z"]},
        log=SimpleNamespace(error=lambda *words: errors.append(words)),
    )
    admit_all(converter)
    assert converter.assignments == {
        str(folder): [str(folder / f"{sample.LAB}.ipynb")] for folder in (right, renamed, nothing)
    }
    assert len(errors) == 1
