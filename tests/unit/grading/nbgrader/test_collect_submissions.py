import datetime as dt
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from yolotrt_lab.grading.course import collect_lab, open_course
from yolotrt_lab.grading.course.session import CourseError
from yolotrt_lab.grading.nbgrader.intake import read_time

FORMAT = "%Y-%m-%d %H:%M:%S.%f UTC"


def now():
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


@pytest.fixture
def inbound(root):
    folder = root / "course" / "exchange" / "yolotrt" / "inbound"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def submit(inbound, sample):
    """Submit as `nbgrader submit` does; return the folder in the exchange."""

    def run(student="ada", moment=None, *, lab=None, notebook=None, text=None):
        stamp = (moment or now()).strftime(FORMAT)
        folder = inbound / (text or f"{student}+{lab or sample.LAB}+{stamp}+AbCd_-12")
        folder.mkdir()
        (folder / f"{sample.LAB}.ipynb").write_text(json.dumps(notebook or {"cells": []}))
        (folder / "timestamp.txt").write_text(stamp)
        (folder / "submission_secret.txt").write_text("secret")
        return folder

    return run


@pytest.fixture
def collect(root, sample):
    return lambda: collect_lab(open_course(root), sample.LAB)


@pytest.fixture
def submitted(root, sample):
    return lambda student="ada": root / "course" / "submitted" / student / sample.LAB


def test_what_was_submitted_is_here(submit, collect, submitted):
    submit("ada")
    submit("ben+extra")
    result = collect()
    assert result.collected == ("ada", "ben+extra")
    assert result.refused == ()
    assert sorted(path.name for path in submitted().iterdir()) == [
        "lab0_sample.ipynb",
        "submission_secret.txt",
        "timestamp.txt",
    ]


def test_the_newest_counts_and_older_ones_do_not_replace_it(submit, collect, submitted):
    submit("ada", now() - dt.timedelta(seconds=60), notebook={"cells": [], "old": 1})
    submit("ada", now(), notebook={"cells": [], "new": 1})
    assert collect().collected == ("ada",)
    assert "new" in json.loads((submitted() / "lab0_sample.ipynb").read_text())
    assert collect().collected == ()
    submit("ada", now() + dt.timedelta(seconds=60), notebook={"cells": [], "newer": 1})
    assert collect().collected == ("ada",)
    assert "newer" in json.loads((submitted() / "lab0_sample.ipynb").read_text())


def test_other_labs_are_left_alone(submit, collect):
    submit("ada", lab="lab9_other")
    assert collect().submissions == 0


class TestTime:
    def test_the_stated_one_counts_as_far_as_the_file_system_agrees(self, submit, collect, submitted):
        moment = now() - dt.timedelta(seconds=30)
        submit("ada", moment)
        collect()
        assert read_time(submitted()) == moment

    @pytest.mark.parametrize("days", [-3, 3])
    def test_another_one_does_not(self, submit, collect, submitted, root, sample, days):
        moment = now() + dt.timedelta(days=days)
        folder = submit("ada", moment)
        for path in (folder, *folder.iterdir()):
            os.utime(path, (0, 0))
        collect()
        assert abs((read_time(submitted()) - now()).total_seconds()) < 300
        intake = open_course(root).private.student(sample.LAB, "ada").read("intake")
        assert [finding["kind"] for finding in intake["findings"]] == ["stated time"]
        assert intake["stated"] == moment.isoformat()

    def test_what_the_students_file_says_is_not_asked(self, submit, collect, submitted):
        folder = submit("ada")
        (folder / "timestamp.txt").write_text("1999-01-01 00:00:00 UTC")
        collect()
        assert read_time(submitted()).year == now().year

    def test_after_moving_the_exchange_stated_times_can_be_believed(self, submit, collect, submitted, root):
        with (root / "nbgrader_config.py").open("a") as stream:
            stream.write("\nc.CollectSubmissions.trust_client_clock = True\n")
        moment = now() - dt.timedelta(days=3)
        submit("ada", moment)
        collect()
        assert read_time(submitted()) == moment


class TestRefusals:
    """One bad folder does not keep the others out."""

    @pytest.mark.parametrize(
        "name",
        [
            "eve+lab0_sample+yesterday+x",
            "eve+lab0_sample+",
            "+lab0_sample+2026-01-01 00:00:00.000000 UTC+x",
            "..+lab0_sample+2026-01-01 00:00:00.000000 UTC+x",
            ".hidden+lab0_sample+2026-01-01 00:00:00.000000 UTC+x",
            "eve+lab0_sample+9999999-01-01 00:00:00 UTC+x",
        ],
    )
    def test_names(self, submit, collect, root, name):
        submit("ada")
        submit(text=name)
        result = collect()
        assert result.collected == ("ada",)
        assert len(result.refused) <= 1
        assert [path.name for path in (root / "course" / "submitted").iterdir()] == ["ada"]
        assert not (root / "course" / "lab0_sample").exists()

    def test_a_link_to_somebody_elses_submission(self, submit, collect, inbound, submitted):
        folder = submit("ada")
        (inbound / f"eve+lab0_sample+{now().strftime(FORMAT)}+x").symlink_to(folder)
        result = collect()
        assert result.collected == ("ada",)
        assert "a link" in result.refused[0]
        assert not submitted("eve").exists()

    def test_links_within(self, submit, collect, submitted, tmp_path, root, sample):
        (tmp_path / "secret").write_text("the instructor's")
        (submit("ada") / "mine.txt").symlink_to(tmp_path / "secret")
        collect()
        assert not (submitted() / "mine.txt").exists()
        findings = open_course(root).private.student(sample.LAB, "ada").read("intake")["findings"]
        assert [finding["kind"] for finding in findings] == ["unfit file"]

    @pytest.fixture
    def given_away(self, monkeypatch):
        """Everything in the exchange belongs to another account."""
        module = "yolotrt_lab.grading.nbgrader.collect_submissions"
        monkeypatch.setattr(f"{module}._owner_of", lambda path: 4711 if "inbound" in path.parts else 1)
        monkeypatch.setattr(f"{module}.pwd.getpwuid", lambda uid: {4711: SimpleNamespace(pw_name="eve")}[uid])

    def test_a_submission_in_somebody_elses_name(self, submit, collect, submitted, given_away):
        submit("ada")
        submit("eve")
        result = collect()
        assert result.collected == ("eve",)
        assert "in the name of ada but belongs to the account eve" in result.refused[0]
        assert not submitted().exists()

    def test_a_newer_one_in_somebodys_name_does_not_hide_the_real_one(self, submit, collect, submitted, monkeypatch):
        module = "yolotrt_lab.grading.nbgrader.collect_submissions"
        real = submit("ada", now() - dt.timedelta(seconds=60), notebook={"cells": [], "real": 1})
        submit("ada", notebook={"cells": [], "forged": 1})
        owners = {real.name: 4712}
        monkeypatch.setattr(f"{module}._owner_of", lambda path: owners.get(path.name, 4711 if "+" in path.name else 1))
        names = {4711: SimpleNamespace(pw_name="eve"), 4712: SimpleNamespace(pw_name="ada")}
        monkeypatch.setattr(f"{module}.pwd.getpwuid", names.__getitem__)
        result = collect()
        assert result.collected == ("ada",)
        assert len(result.refused) == 1
        assert "real" in (submitted() / "lab0_sample.ipynb").read_text()

    def test_files_of_another_account(self, submit, collect, submitted, monkeypatch):
        folder = submit("ada")
        (folder / "hers.txt").write_text("read by the collector only")
        inode, fstat = (folder / "hers.txt").stat().st_ino, os.fstat

        def foreign(handle):
            state = fstat(handle)
            return state if state.st_ino != inode else os.stat_result((*state[:4], state.st_uid + 1, *state[5:10]))

        monkeypatch.setattr(os, "fstat", foreign)
        collect()
        assert (submitted() / "lab0_sample.ipynb").is_file()
        assert not (submitted() / "hers.txt").exists()

    def test_accounts_may_be_left_out_of_account(self, submit, collect, root, given_away):
        with (root / "nbgrader_config.py").open("a") as stream:
            stream.write("\nc.ExchangeCollect.check_owner = False\n")
        submit("ada")
        assert collect().collected == ("ada",)

    def test_a_failed_copy_leaves_what_was_there(self, submit, collect, submitted, monkeypatch):
        submit("ada", now() - dt.timedelta(seconds=60), notebook={"cells": [], "old": 1})
        collect()
        submit("ada", notebook={"cells": [], "new": 1})
        monkeypatch.setattr(
            "yolotrt_lab.grading.nbgrader.collect_submissions.copy_folder",
            lambda *_: (_ for _ in ()).throw(OSError("disk full")),
        )
        assert "disk full" in collect().refused[0]
        assert "old" in (submitted() / "lab0_sample.ipynb").read_text()
        assert [path.name for path in submitted().parent.iterdir()] == ["lab0_sample"]


def test_without_an_exchange_it_says_so(root, collect):
    shutil.rmtree(root / "course" / "exchange", ignore_errors=True)
    with pytest.raises(CourseError, match="Course not found"):
        collect()
