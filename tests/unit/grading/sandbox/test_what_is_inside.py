"""What a program in a sandbox sees of the machine: next to nothing."""

import os
import socket
import sys
from pathlib import Path

import pytest

import yolotrt_lab
from yolotrt_lab.grading.sandbox.python_view import python_mounts

REPOSITORY = Path(yolotrt_lab.__file__).resolve().parents[1]

LOOK = """
import json, os, sys
def tried(action, *arguments):
    try:
        result = action(*arguments)
        return "done" if result is None or hasattr(result, "read") else result
    except BaseException as error:
        return type(error).__name__
"""


def test_of_the_repository_only_the_package(run):
    program = f"""{LOOK}
import yolotrt_lab
print(json.dumps([tried(os.listdir, {str(REPOSITORY)!r}), bool(yolotrt_lab.__file__)]))
"""
    listed, imported = run(program).said()
    assert imported
    assert set(listed) <= {"yolotrt_lab", ".venv"}


@pytest.mark.parametrize("name", ["solutions", "course", "tests", "tests/course", "labs", ".git", "nbgrader_config.py"])
def test_the_repositorys_secrets_are_not_there(zygote, name):
    assert all(not (REPOSITORY / name).is_relative_to(place) for _, place in python_mounts())


def test_no_network_no_host_no_other_processes(run):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0yolotrt-test-{os.getpid()}")
        abstract.listen()
        program = f"""{LOOK}
import socket
def connect(family, address):
    with socket.socket(family) as stream:
        stream.settimeout(3)
        stream.connect(address)
print(json.dumps({{
    "port": tried(connect, socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})),
    "outside": tried(connect, socket.AF_INET, ("192.0.2.1", 80)),
    "abstract": tried(connect, socket.AF_UNIX, "\\0yolotrt-test-{os.getpid()}"),
    "name": tried(socket.gethostbyname, "example.org"),
    "raw": tried(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()),
    "first": open("/proc/1/cmdline").read().split("\\0"),
    "host": socket.gethostname(),
    "home": [tried(os.listdir, "/home"), tried(os.listdir, os.path.expanduser("~"))],
    "environment": sorted(os.environ),
    "started with": [name for name in open("/proc/self/environ").read().split("\\0") if "SECRET" in name],
    "open": sorted(os.listdir("/proc/self/fd")),
    "user": [os.getuid(), os.getgid(), os.getgroups()],
}}))
"""
        os.environ["A_SECRET_OF_THE_HOST"] = "1"
        try:
            seen = run(program).said()
        finally:
            del os.environ["A_SECRET_OF_THE_HOST"]
    assert [seen[name] for name in ("port", "outside", "abstract", "name")] == [
        "ConnectionRefusedError",  # its own loopback
        "OSError",
        "ConnectionRefusedError",
        "gaierror",
    ]
    assert seen["raw"] in ("PermissionError", "OSError")
    assert len(seen["processes"]) <= 3
    assert max(seen["processes"]) < 10
    assert seen["first"][:2] == ["bwrap", "--args"] or seen["first"][0].endswith("/bwrap")
    assert not any("ro-bind" in part for part in seen["first"])
    assert seen["host"] == "sandbox"
    assert seen["home"][0] == "FileNotFoundError"
    assert "A_SECRET_OF_THE_HOST" not in seen["environment"]
    assert seen["started with"] == []
    assert len(seen["open"]) <= 4  # standard streams, and the one that lists them
    uid, gid, groups = seen["user"]
    assert uid == gid >= 64_000
    assert groups in ([], [gid])


def test_powers_are_gone(run):
    program = f"""{LOOK}
import ctypes, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    return "refused" if getattr(libc, name)(*arguments) == -1 else "done"
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({{
    "root again": tried(os.setuid, 0),
    "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "unshare": call("unshare", 0x10000000),
    "chroot": tried(os.chroot, "/tmp"),
    "ptrace": call("ptrace", 16, 1, None, None),
    "init": tried(os.kill, 1, signal.SIGKILL),
    "everyone": tried(os.kill, -1, 0),
    "more": tried(resource.setrlimit, resource.RLIMIT_NPROC, (10_000, 10_000)),
    "device": tried(os.mknod, "/tmp/device", 0o600 | 0o020000, os.makedev(1, 1)),
    "of init": [tried(os.listdir, "/proc/1/root"), tried(open, "/proc/1/mem", "rb"), tried(open, "/proc/1/environ")],
    "trigger": tried(open, "/proc/sysrq-trigger", "w"),
    "capabilities": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no new": status["NoNewPrivs"],
}}))
"""
    seen = run(program).said()
    assert seen["capabilities"][:3] == [0, 0, 0]
    assert seen["capabilities"][3:] == [0, 0]
    assert seen["no new"] == "1"
    for name in ("root again", "chroot", "more", "device", "trigger"):
        assert seen[name] in ("PermissionError", "ValueError", "OSError", "FileNotFoundError"), name
    assert [seen[name] for name in ("mount", "unshare", "ptrace")] == ["refused"] * 3
    assert seen["init"] in ("PermissionError", "done")  # of its own namespace; it ignores what it does not handle
    assert all(name in ("PermissionError", "FileNotFoundError", "ProcessLookupError") for name in seen["of init"])


def test_nothing_can_be_written_but_the_folders(run, tmp_path):
    package = Path(yolotrt_lab.__file__)
    places = [
        "/",
        "/usr",
        "/etc",
        "/proc/sys/kernel",
        "/sys",
        "/dev",
        str(package.parent),
        str(Path(sys.prefix) / "lib"),
    ]
    program = f"""{LOOK}
found = {{place: tried(open, place + "/planted", "w") for place in {places!r}}}
found["python"] = tried(open, {str(package)!r}, "a")
found["passwd"] = tried(open, "/etc/passwd", "a")
print(json.dumps(found))
"""
    seen = run(program).said()
    assert set(seen.values()) <= {"PermissionError", "OSError", "FileNotFoundError"}
    assert not list(package.parent.glob("planted"))


def test_what_is_shown_is_as_asked(run, tmp_path):
    shown, results = tmp_path / "shown", tmp_path / "results"
    shown.mkdir(), results.mkdir()
    (shown / "a").write_text("1")
    (results / "before").write_text("2")
    program = f"""{LOOK}
found = [open("/data/a").read(), open("/out/before").read(), open("/given").read(), os.environ["ASKED"], os.getcwd()]
found += [tried(open, "/data/a", "w"), tried(open, "/data/b", "w")]
os.makedirs("/out/sub/deeper")
open("/out/sub/deeper/c", "w").write("3")
open("/out/before", "a").write("4")
print(json.dumps(found))
"""
    ended = run(
        program,
        readonly=((shown, "/data"),),
        writable=((results, "/out"),),
        files={"/given": b"5"},
        environment={"ASKED": "6"},
    )
    assert ended.code == 0
    assert ended.said() == ["1", "2", "5", "6", "/tmp", "OSError", "OSError"]
    assert (results / "sub" / "deeper" / "c").read_text() == "3"
    assert (results / "before").read_text() == "24"
    assert sorted(path.name for path in shown.iterdir()) == ["a"]


def test_what_comes_back_is_plain(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    results = tmp_path / "results"
    results.mkdir()
    program = f"""
import os, socket
os.chdir("/out")
os.symlink({str(secret)!r}, "link")
os.symlink("/", "root")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
open("kept", "w").write("1")
os.link("kept", "again")
os.chmod("kept", 0o6777)
open("hidden", "w").write("2")
os.chmod("hidden", 0)
os.mkdir("closed")
open("closed/in", "w").write("3")
os.chmod("closed", 0)
with open("holes", "wb") as file:
    file.truncate(15 * 2**20)
os.makedirs("a/" * 60)
"""
    ended = run(program, writable=((results, "/out"),))
    assert ended.code == 0, ended.output
    found = {str(path.relative_to(results)): path for path in results.rglob("*")}
    assert {"kept", "again", "hidden", "closed", "closed/in"} <= set(found)
    assert not {"link", "root", "pipe", "socket"} & set(found)
    assert all(path.is_file() or path.is_dir() for path in found.values())
    assert not any(path.stat().st_mode & 0o7000 for path in found.values())
    assert found["closed/in"].read_text() == "3"
    assert max(len(Path(name).parts) for name in found) < 50


def test_more_than_the_folder_may_hold_does_not_come_back(run, tmp_path):
    program = """
for number in range(5):
    with open(f"/out/{number}", "wb") as file:
        file.truncate(7 * 2**20)
"""
    ended = run(program, writable=((tmp_path, "/out"),))
    assert ended.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
