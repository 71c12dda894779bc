"""Rights in the exchange, and pages with names that nobody can guess."""

import os
import stat
from types import SimpleNamespace

import pytest
from nbgrader.utils import notebook_hash

from yolotrt_lab.grading.course import open_course, release_lab
from yolotrt_lab.grading.nbgrader import release_assignment, submit_assignment

OF_NBGRADER = "ab" * 64


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def course(root):
    return open_course(root)


@pytest.fixture
def exchange(course, sample):
    release_lab(course, sample.LAB)
    return course.exchange


@pytest.fixture
def submit(course, sample, exchange):
    """Submit as a student does; return the folder in the exchange."""

    def run():
        before = set((exchange / "yolotrt" / "inbound").iterdir())
        course.run(course.exchange_step("Submit", lab=sample.LAB, student="ada"), doing="Submitting")
        (folder,) = set((exchange / "yolotrt" / "inbound").iterdir()) - before
        return folder

    return run


def test_nobody_can_move_what_somebody_else_put_there(exchange):
    assert mode(exchange) == 0o1777
    assert mode(exchange / "yolotrt" / "inbound") == 0o3733
    assert mode(exchange / "yolotrt" / "outbound") == 0o755


def test_an_exchange_of_somebody_else_without_a_sticky_bit_is_spoken_of(course, sample, exchange, monkeypatch):
    exchange.chmod(0o777)
    monkeypatch.setattr(release_assignment, "os", SimpleNamespace(getuid=lambda: 4711))
    said = course.run(course.exchange_step("ReleaseAssignment", lab=sample.LAB), doing="Releasing")
    assert any("chmod +t" in line for line in said)


class TestSubmitting:
    def test_in_the_instructors_own_account(self, submit):
        assert mode(submit()) == 0o700

    @pytest.mark.parametrize(("groups", "expected"), [([], 0o770), ([4713], 0o777)])
    def test_in_an_account_of_the_students_own(self, submit, monkeypatch, groups, expected):
        """The folder's group may enter: the instructor's. One that the student is in holds other students."""
        folder = submit()
        group = folder.stat().st_gid
        named = [group if number == 4713 else number for number in groups]
        folder.chmod(0o777)
        me = SimpleNamespace(getuid=lambda: 4711, getgid=lambda: 4712, getegid=lambda: 4712, getgroups=lambda: named)
        monkeypatch.setattr(submit_assignment, "os", me)
        assert submit_assignment._close(folder) == (expected == 0o770)
        assert mode(folder) == expected

    def test_what_it_makes_is_not_open_for_a_moment(self, submit, monkeypatch):
        seen = []
        makedirs = os.makedirs
        monkeypatch.setattr(
            os, "makedirs", lambda *args, **more: (seen.append(os.umask(0o077)), makedirs(*args, **more))
        )
        before = os.umask(0o022)
        try:
            submit()
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(before)
        assert set(seen) == {0o077}


class TestFeedback:
    @pytest.fixture
    def release(self, course, sample, root, exchange):
        """Release a page with the secret that came with the submission; return what the exchange then holds."""

        def run(*secrets):
            for number, secret in enumerate(secrets):
                folder = root / "course" / "feedback" / f"student{number}" / sample.LAB
                folder.mkdir(parents=True)
                (folder / f"{sample.LAB}.html").write_text(f"page {number}")
                (folder / f"{sample.LAB}.html").chmod(0o600)
                (folder / "timestamp.txt").write_text("2026-01-01 00:00:00.000000 UTC")
                if secret is not None:
                    (folder / "submission_secret.txt").write_bytes(secret)
            said = course.run(course.exchange_step("ReleaseFeedback", lab=sample.LAB), doing="Releasing")
            return {path.name: path for path in (exchange / "yolotrt" / "feedback").iterdir()}, said

        return run

    def test_students_can_read_their_page_and_not_the_list(self, release, sample, exchange):
        pages, said = release(OF_NBGRADER.encode())
        page = pages[f"{notebook_hash(secret=OF_NBGRADER, notebook_id=sample.LAB)}.html"]
        assert mode(page) == 0o644
        assert mode(exchange / "yolotrt" / "feedback") == 0o711
        assert said == []

    @pytest.mark.parametrize(
        "secret",
        [None, b"", b"guess me", b"\xff" * 128, b"a" * 5_000, OF_NBGRADER.upper().encode()],
        ids=["none", "empty", "short", "no text", "long", "capitals"],
    )
    def test_a_secret_that_is_none_stops_nobody_elses_page(self, release, sample, secret):
        pages, said = release(secret, OF_NBGRADER.encode())
        assert sorted(page.read_text() for page in pages.values()) == ["page 0", "page 1"]
        if secret == b"guess me":
            assert f"{notebook_hash(secret='guess me', notebook_id=sample.LAB)}.html" not in pages
        assert len(said) == 1
