"""The hub does not start where it could not keep students apart: course/jupyter/jupyterhub_config.py."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

CONFIGURATION = Path(__file__).parents[2] / "course" / "jupyter" / "jupyterhub_config.py"
ACCOUNTS = {"prof": 2001, "alice": 2002, "bob": 2003}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the hub does")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Let a hub read the configuration as if it were to start, on this machine, with nobody but these accounts."""
    accounts = [SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=uid) for name, uid in ACCOUNTS.items()]
    monkeypatch.setattr(
        "pwd.getpwuid", lambda uid: next((item for item in accounts if item.pw_uid == uid), accounts[0])
    )
    monkeypatch.setattr("pwd.getpwall", lambda: accounts)
    monkeypatch.setattr("grp.getgrgid", lambda gid: SimpleNamespace(gr_name="its-group"))
    for name in ("COURSE", "EXCHANGE", "HUB_STATE"):
        monkeypatch.setenv(f"YOLOTRT_{name}", str(tmp_path / name.lower()))
    (tmp_path / "course").mkdir(mode=0o700)
    os.chown(tmp_path / "course", ACCOUNTS["prof"], ACCOUNTS["prof"])

    def start():
        from traitlets.config import Config

        before = os.umask(0o022)
        try:
            exec(compile(CONFIGURATION.read_text(), str(CONFIGURATION), "exec"), {"get_config": Config})
        finally:
            os.umask(before)

    start.accounts = accounts
    return start


def test_it_starts_where_nothing_is_wrong(start, tmp_path):
    start()
    modes = {path.name: oct(path.stat().st_mode)[-4:] for path in (tmp_path / "exchange" / "yolotrt").iterdir()}
    assert modes == {"inbound": "3733", "outbound": "0755", "feedback": "0711"}
    assert oct((tmp_path / "exchange").stat().st_mode)[-4:] == "1777"
    start()  # and once more, with all that in place


def test_an_open_course(start, tmp_path):
    (tmp_path / "course").chmod(0o755)
    with pytest.raises(SystemExit, match="open to all accounts"):
        start()


def test_a_course_of_root(start, tmp_path):
    start.accounts.append(SimpleNamespace(pw_name="root", pw_uid=0, pw_gid=0))
    os.chown(tmp_path / "course", 0, 0)
    with pytest.raises(SystemExit, match="belongs to root"):
        start()


def test_an_instructor_in_a_group_of_many(start):
    start.accounts[1].pw_gid = ACCOUNTS["prof"]
    with pytest.raises(SystemExit, match="its-group, which is alice, prof"):
        start()


def test_a_course_that_a_student_has_put_into_the_exchange(start, tmp_path):
    (tmp_path / "exchange" / "yolotrt").mkdir(parents=True)
    os.chown(tmp_path / "exchange" / "yolotrt", ACCOUNTS["alice"], ACCOUNTS["alice"])
    with pytest.raises(SystemExit, match="made by somebody else"):
        start()
