"""Whether this machine can sandbox, and what to do if not."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from yolotrt_lab.errors import LabError

__all__ = ["SandboxError", "require_sandbox", "sandbox_works"]

_TIMEOUT_S = 30
_UNSAFE = "or grade your own or trusted work without a sandbox: --unsafe-no-sandbox"
_INSTALLERS = (
    ("apt-get", "sudo apt-get install -y bubblewrap"),
    ("dnf", "sudo dnf install -y bubblewrap"),
    ("zypper", "sudo zypper install -y bubblewrap"),
    ("pacman", "sudo pacman -S bubblewrap"),
    ("apk", "sudo apk add bubblewrap"),
)
# What user namespaces are switched off with: file, the value that does, the line that undoes.
_SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"),
    ("user/max_pid_namespaces", "0", "sudo sysctl -w user.max_pid_namespaces=10000"),
    ("user/max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=10000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or an AppArmor profile for bwrap)",
    ),
)


class SandboxError(LabError):
    """A sandbox cannot be made, or did not start."""

    exit_code = 3


def require_sandbox() -> None:
    """Return if a sandbox can be made here.

    Raises:
        SandboxError: What is missing, with the line that helps.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError(
            "Submissions are graded in a sandbox, which needs Linux.",
            expected="Linux with bubblewrap",
            got=sys.platform,
            fix=f"grade on Linux (a virtual machine or WSL 2 will do), {_UNSAFE}",
        )
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError(
            "Submissions are graded in a sandbox, and bubblewrap, which makes it, is not installed.",
            expected="the program bwrap",
            got="none on the PATH",
            fix=f"{_install_line()}, {_UNSAFE}",
        )
    trouble = _trial(program)
    if trouble:
        raise SandboxError(
            "Submissions are graded in a sandbox, and bubblewrap cannot make one here.",
            expected="bubblewrap 0.7 or newer, and namespaces allowed",
            got=trouble,
            fix=f"{_remedy(trouble)}, {_UNSAFE}",
        )


def sandbox_works() -> bool:
    """Whether a sandbox can be made here."""
    try:
        require_sandbox()
    except SandboxError:
        return False
    return True


def _install_line() -> str:
    return next((line for tool, line in _INSTALLERS if shutil.which(tool)), "install the package bubblewrap")


@functools.cache
def _trial(program: str) -> str:
    """Make an empty sandbox with everything that a real one has; return what went wrong, "" if nothing."""
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += [] if os.geteuid() == 0 else ["--unshare-user"]
    command += ["--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    command += ["--perms", "1777", "--size", "4096", "--tmpfs", "/tmp", "--", "/bin/sh", "-c", "exit 0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f"exit code {done.returncode}"


def _remedy(trouble: str) -> str:
    if "Unknown option" in trouble:
        return f"install a newer bubblewrap ({_install_line()})"
    for name, forbidding, line in _SWITCHES:
        try:
            value = (Path("/proc/sys") / name).read_text().strip()
        except OSError:
            continue
        if value == forbidding:
            return line
    if os.geteuid() == 0:
        return "give the container the capability SYS_ADMIN and an unmasked /proc (docker run --privileged)"
    return "allow user namespaces for this account, in a container with --security-opt seccomp=unconfined"
