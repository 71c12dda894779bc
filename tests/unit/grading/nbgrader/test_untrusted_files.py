import os
import socket
import time

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.untrusted_files import (
    Limits,
    copy_folder,
    latest_change,
    read_regular,
    unfit_files,
)


@pytest.fixture
def folder(tmp_path):
    """A submission with two good files, and one of each kind that may not be there."""
    folder = tmp_path / "handed_in"
    (folder / "data").mkdir(parents=True)
    (folder / "lab.ipynb").write_text("{}")
    (folder / "data" / "notes.txt").write_text("mine")
    (tmp_path / "secret.txt").write_text("the instructor's")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "everything").symlink_to("/")
    os.mkfifo(folder / "pipe")
    (folder / "large.bin").write_bytes(b"x" * 5_000)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("ignored")
    return folder


LIMITS = Limits(file_bytes=4_000, ignored=(".git",))


def test_only_regular_files_of_sane_size_are_copied(folder, tmp_path):
    findings = copy_folder(folder, tmp_path / "copy", LIMITS)
    copied = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*"))
    assert copied == ["data", "data/notes.txt", "lab.ipynb"]
    said = {finding.text.split("`")[1]: finding for finding in findings}
    assert sorted(said) == ["everything", "large.bin", "link.txt", "pipe"]
    assert said["link.txt"].suspicious
    assert "a pipe" in said["pipe"].text
    assert not said["large.bin"].suspicious


def test_unfit_files_are_named(folder):
    assert sorted(path.name for path, _ in unfit_files(folder, LIMITS)) == [
        "everything",
        "large.bin",
        "link.txt",
        "pipe",
    ]


def test_a_socket_is_no_file(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        folder = tmp_path / "s"
        folder.mkdir()
        server.bind(str(folder / "x"))
        ((_, finding),) = unfit_files(folder, Limits())
    assert "a socket" in finding.text


@pytest.mark.parametrize(
    ("limits", "kept"),
    [(Limits(files=3), 3), (Limits(total_bytes=45), 4), (Limits(), 10), (Limits(depth=1), 9)],
)
def test_number_depth_and_total_are_limited(tmp_path, limits, kept):
    folder = tmp_path / "handed_in"
    (folder / "deep" / "deeper").mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.txt").write_text("0123456789")
    (folder / "deep" / "deeper" / "x.txt").write_text("0123456789")
    copy_folder(folder, tmp_path / "copy", limits)
    assert len([path for path in (tmp_path / "copy").rglob("*") if path.is_file()]) == kept


def test_a_folder_that_is_a_link_is_refused(folder, tmp_path):
    (tmp_path / "other").symlink_to(folder)
    with pytest.raises(InputError, match="no submission"):
        copy_folder(tmp_path / "other", tmp_path / "copy", LIMITS)


def test_names_that_are_not_text(tmp_path):
    folder = tmp_path / "handed_in"
    folder.mkdir()
    os.symlink("/etc/passwd", os.fsencode(folder) + b"/\xff\xfe")
    ((_, finding),) = unfit_files(folder, Limits())
    finding.text.encode()  # can be written


class TestReadRegular:
    def test_content(self, folder):
        assert read_regular(folder / "lab.ipynb", max_bytes=2) == b"{}"

    @pytest.mark.parametrize(
        ("name", "found"),
        [("link.txt", "a link"), ("pipe", "a pipe"), ("data", "folder"), ("none", "No such file"), ("large.bin", "MB")],
    )
    def test_refusals(self, folder, name, found):
        with pytest.raises(InputError, match=found):
            read_regular(folder / name, max_bytes=100)


def test_the_owner_cannot_set_the_time_of_the_latest_change(folder):
    before = time.time() - 5
    for path in folder.rglob("*.ipynb"):
        os.utime(path, (0, 0))
    os.utime(folder, (0, 0))
    assert latest_change(folder) > before
