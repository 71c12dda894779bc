"""What is said where no sandbox can be made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yolotrt_lab.grading.sandbox import preflight
from yolotrt_lab.grading.sandbox.policy import SandboxPolicy, slot_uid
from yolotrt_lab.grading.sandbox.preflight import SandboxError, require_sandbox, sandbox_works
from yolotrt_lab.grading.sandbox.process import SandboxedProcess


@pytest.fixture(autouse=True)
def fresh():
    preflight._trial.cache_clear()
    yield
    preflight._trial.cache_clear()


def program(folder: Path, name: str, text: str = "exit 0") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_it_works_here():
    require_sandbox()
    assert sandbox_works()


@pytest.mark.parametrize(
    ("tool", "line"), [("apt-get", "apt-get install -y bubblewrap"), ("dnf", "dnf install -y bubblewrap")]
)
def test_missing_bubblewrap_comes_with_the_line_that_installs_it(monkeypatch, tmp_path, tool, line):
    program(tmp_path, tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not sandbox_works()
    with pytest.raises(SandboxError) as caught:
        SandboxedProcess.start([sys.executable, "-c", "pass"], SandboxPolicy())
    assert line in str(caught.value)
    assert "--unsafe-no-sandbox" in str(caught.value)


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        ("bwrap: Unknown option --size", "newer bubblewrap"),
        ("bwrap: No permissions to create new namespace", "SYS_ADMIN" if os.geteuid() == 0 else "namespaces"),
    ],
)
def test_bubblewrap_that_cannot_is_explained(monkeypatch, tmp_path, says, remedy):
    program(tmp_path, "bwrap", f"echo '{says}' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preflight, "_SWITCHES", ())
    with pytest.raises(SandboxError) as caught:
        require_sandbox()
    assert says in str(caught.value)
    assert remedy in str(caught.value)


def test_a_switch_that_forbids_namespaces_is_named(monkeypatch, tmp_path):
    program(tmp_path, "bwrap", "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    value = Path("/proc/sys/kernel/ostype").read_text().strip()
    monkeypatch.setattr(preflight, "_SWITCHES", (("kernel/ostype", value, "sudo sysctl -w the.right=one"),))
    with pytest.raises(SandboxError, match=r"the\.right=one"):
        require_sandbox()


def test_other_systems_are_told_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="needs Linux"):
        require_sandbox()


def test_slots_have_users_of_their_own():
    assert slot_uid(0) == (64_000 if os.geteuid() == 0 else None)
    assert (slot_uid(0) != slot_uid(1)) == (os.geteuid() == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that the sandbox's user cannot read")
def test_what_the_sandboxs_user_could_not_read_is_named(tmp_path):
    secret = tmp_path / "closed"
    secret.mkdir(mode=0o700)
    with pytest.raises(SandboxError, match=r"chmod -R o\+rX"):
        SandboxedProcess.start([sys.executable, "-c", "pass"], SandboxPolicy(readonly=((secret, "/shown"),)))


@pytest.mark.skipif(os.geteuid() != 0, reason="plain users run all of these tests anyway")
def test_a_plain_user_can_make_one(tmp_path):
    python = next(
        (p for p in ("/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11") if Path(p).is_file()), None
    )
    if python is None:
        pytest.skip("a plain user cannot read this Python's folder, and the system has none")
    # The plain user sees neither root's home nor root's Python: the sandbox's modules alone, in a Python of the system.
    package = Path(preflight.__file__).parents[2]
    copy = tmp_path / "code"
    for part in ("__init__.py", "errors.py", "grading/sandbox"):
        target = copy / "yolotrt_lab" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(package / part), str(target)], check=True)
    (copy / "yolotrt_lab" / "grading" / "__init__.py").write_text("")
    subprocess.run([python, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (next((tmp_path / "venv").glob("lib/python3*")) / "site-packages" / "here.pth").write_text(str(copy))
    (tmp_path / "results").mkdir()
    (tmp_path / "try.py").write_text(TRY)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(folder.stat().st_mode | 0o055)
    subprocess.run(["chown", "-R", "65534:65534", str(tmp_path)], check=True)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(tmp_path / "venv" / "bin" / "python")]
    done = subprocess.run(
        [*command, str(tmp_path / "try.py"), str(tmp_path / "results")],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )
    assert done.stdout.splitlines() == ["cold 0 True", "warm 0 True"], done.stderr


TRY = '''
import pathlib, sys
from yolotrt_lab.grading.sandbox.policy import SandboxPolicy
from yolotrt_lab.grading.sandbox.process import SandboxedProcess
from yolotrt_lab.grading.sandbox.zygote import Zygote

program = """
import os, socket
status = open("/proc/self/status").read()
assert "CapEff:\\\\t0000000000000000" in status and os.getuid() == 64000
for name in filter(str.isdecimal, os.listdir("/proc")):
    assert "Seccomp:\\\\t2" in open(f"/proc/{name}/status").read(), name
assert not os.path.exists("/home") and len([name for name in os.listdir("/proc") if name.isdecimal()]) <= 3
try:
    socket.create_connection(("192.0.2.1", 80), 2)
except OSError:
    open("/out/ran", "w").close()
"""
results = pathlib.Path(sys.argv[1])
with Zygote(["json"]) as zygote:
    for name, start in (("cold", SandboxedProcess.start), ("warm", zygote.spawn)):
        with start([sys.executable, "-c", program], SandboxPolicy(writable=((results, "/out"),))) as process:
            code = process.wait(30)
        print(name, code, (results / "ran").is_file(), *process.output.decode().splitlines())
        (results / "ran").unlink(missing_ok=True)
'''
