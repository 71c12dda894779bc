"""A made-up machine: own accounts, homes, network and processes; started with `unshare` by test_jupyterhub.py.

It is the first process of its namespaces: when it ends, everything in them ends. Of the real machine it shows programs,
the environment of Python and the package, read-only.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

ACCOUNTS = {"prof": 2001, "alice": 2002, "bob": 2003}
PYTHON = Path(sys.prefix)
NAME = "classroom"


def shell(*command):
    subprocess.run(command, check=True)


def show(new, place, *, writable=False):
    """Show a file or folder of the real machine in the same place."""
    target = new / str(place).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    shell("mount", "--rbind", str(place), str(target))
    if not writable:
        shell("mount", "-o", "remount,bind,ro", str(target))


def make_etc(etc, configuration):
    """Write the accounts, and the configuration of the hub and of students' programs."""
    etc.mkdir()
    users = ["root:x:0:0::/root:/bin/bash", "nobody:x:65534:65534::/:/bin/false"]
    groups = ["root:x:0:", "nogroup:x:65534:", "students:x:3000:alice,bob", "instructors:x:3001:prof"]
    for name, uid in ACCOUNTS.items():
        users.append(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash")
        groups.append(f"{name}:x:{uid}:")
    (etc / "passwd").write_text("\n".join(users) + "\n")
    (etc / "group").write_text("\n".join(groups) + "\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {NAME}\n")
    for name, source in configuration.items():
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_bytes(source.read_bytes())
    for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "ssl", "fonts"):
        if Path("/etc", name).exists():
            show(etc.parent, Path("/etc", name))


def build(new, repository, course):
    """Make the machine's files below `new`: of the repository the package and the environment, of the course all."""
    shell("mount", "-t", "tmpfs", "-o", "mode=755,size=500m", "machine", str(new))
    show(new, Path("/usr"))
    for name in ("bin", "sbin", "lib", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            (new / name).symlink_to(os.readlink(place))
        elif place.is_dir():
            show(new, place)
    configuration = {
        "jupyter/nbgrader_config.py": course / "nbgrader_config.py",
        "jupyterhub/jupyterhub_config.py": course / "course" / "jupyter" / "jupyterhub_config.py",
        "jupyterhub/without_passwords.py": Path(__file__).parent / "without_passwords.py",
    }
    make_etc(new / "etc", configuration)
    for place in {PYTHON, Path(sys.base_prefix), repository / "yolotrt_lab"}:
        if not (new / str(place).lstrip("/")).exists():
            show(new, place)
    show(new, Path("/sys"))
    show(new, Path("/dev"), writable=True)
    (new / "proc").mkdir()
    for name in ("tmp", "var/tmp", "run", "root", "srv", "opt", "home"):
        (new / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (new / name).chmod(0o1777)
    for name, uid in ACCOUNTS.items():
        home = new / "home" / name
        home.mkdir()
        home.chmod(0o755)  # as an old `adduser` made them: the hub closes them
        os.chown(home, uid, uid)
    install(new, course)


def install(new, course):
    """Put the course where the guide says: the clone is the instructor's, the suite everybody's to read."""
    uid = ACCOUNTS["prof"]
    place = new / "srv" / "yolotrt" / "course"
    place.parent.mkdir()
    shell("cp", "-r", str(course), str(place))
    shell("chown", "-R", f"{uid}:{uid}", str(place))
    place.chmod(0o700)
    (new / "opt" / "yolotrt-lab" / "tests").mkdir(parents=True)
    shell("cp", "-r", str(course / "suite"), str(new / "opt" / "yolotrt-lab" / "tests" / "grading"))


def enter(new):
    """Make the machine's files the only ones."""
    shell("mount", "-t", "proc", "proc", str(new / "proc"))
    old = new / ".old"
    old.mkdir()
    shell("pivot_root", str(new), str(old))
    os.chdir("/")
    shell("umount", "-l", "/.old")
    os.rmdir("/.old")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loopback:
        fcntl.ioctl(loopback, 0x8914, struct.pack("16sh14x", b"lo", 0x1))  # SIOCSIFFLAGS: up


def main(new, repository, course, *command):
    os.umask(0o022)
    shell("mount", "--make-rprivate", "/")
    build(Path(new), Path(repository), Path(course))
    enter(Path(new))
    socket.sethostname(NAME)
    environment = {"PATH": f"{PYTHON}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"}
    first = subprocess.Popen(command, env=environment, cwd="/root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while first.poll() is None:  # the first process of a machine buries everybody else's children
        with contextlib.suppress(ChildProcessError):
            pid, status = os.wait()
            if pid == first.pid:
                return os.waitstatus_to_exitcode(status)
    return first.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
