"""The command line of bubblewrap for a policy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from yolotrt_lab.grading.sandbox.policy import SandboxPolicy, slot_uid
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.python_view import gpu_devices, python_mounts, root_links

__all__ = ["bubblewrap_arguments", "files_inside", "memory_folders", "uid_inside"]

_SHARED_MEMORY_BYTES = 64 * 2**20
_GID = 64_000
_MADE = {PurePosixPath(name) for name in ("/dev", "/proc", "/tmp")}
_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # for the launcher, which gives them up


def uid_inside(policy: SandboxPolicy) -> int | None:
    """Return the user to change to; None where this process is a plain user, who can only stay what it is."""
    return None if os.geteuid() != 0 else policy.uid or slot_uid(0)


def memory_folders(policy: SandboxPolicy) -> dict[str, int]:
    """Return the places that are folders in memory, each with its size in bytes."""
    places = ["/tmp", *(place for _, place in policy.writable)]
    shared = min(_SHARED_MEMORY_BYTES, policy.limits.disk_bytes)
    return {**dict.fromkeys(places, policy.limits.disk_bytes), "/dev/shm": shared}


def files_inside(policy: SandboxPolicy) -> dict[str, bytes]:
    """Return the files that exist inside only."""
    uid = uid_inside(policy) or _GID
    return {
        "/etc/passwd": f"student:x:{uid}:{uid}::/tmp:/bin/sh\n".encode(),
        "/etc/group": f"student:x:{uid}:\n".encode(),
        "/etc/hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
        **policy.files,
    }


def bubblewrap_arguments(
    policy: SandboxPolicy, *, files: Mapping[str, int], info_fd: int, filter_fd: int | None
) -> list[str]:
    """Return bubblewrap's arguments up to the command.

    Args:
        policy: What is to be inside.
        files: Places of `files_inside`, each with a descriptor to read its content from.
        info_fd: Where bubblewrap writes the number of the first process inside.
        filter_fd: Where it reads the filter of system calls, if this machine has one. It is for its own process inside
            and for the program that waits there: where a plain user grades, those are the student's own as well, who
            could write to their memory, and so act without a filter.

    Raises:
        SandboxError: Something to be shown cannot be read by the sandbox's user.
    """
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if uid_inside(policy) is None:
        arguments += ["--unshare-user", "--uid", str(_GID), "--gid", str(_GID)]
    else:
        arguments += ["--cap-drop", "ALL"]
        for name in _CAPABILITIES:
            arguments += ["--cap-add", name]
    arguments += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--info-fd", str(info_fd)]
    if filter_fd is not None:
        arguments += ["--seccomp", str(filter_fd)]
    for link, target in root_links():
        arguments += ["--symlink", target, link]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for device in gpu_devices() if policy.gpu else ():
        arguments += ["--dev-bind", str(device), str(device)]
    mounts = sorted(_mounts(policy), key=lambda mount: PurePosixPath(mount[0]).parts)
    for place, step in mounts:
        arguments += [*_folders_above(place, mounts), *step]
    for place, descriptor in files.items():
        arguments += [*_folders_above(place, mounts), "--perms", "0644", "--file", str(descriptor), place]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


def _folders_above(place: str, mounts: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Return the arguments that make the folders above a place; by itself, bubblewrap makes them for root only."""
    arguments = []
    shown = [PurePosixPath(other) for other, step in mounts if step[0] == "--ro-bind"]
    for folder in reversed(PurePosixPath(place).parents[:-1]):
        is_there = folder in _MADE or any(folder.is_relative_to(other) for other in shown)
        if not is_there:
            arguments += ["--perms", "0755", "--dir", str(folder)]
    return arguments


def _mounts(policy: SandboxPolicy) -> Iterator[tuple[str, list[str]]]:
    """Yield each mount's place and arguments."""
    for path, place in (*python_mounts(), *policy.readonly):
        _require_readable(path)
        yield place, ["--ro-bind", str(path), place]
    for place, size in memory_folders(policy).items():
        yield place, ["--perms", "1777", "--size", str(size), "--tmpfs", place]


def _require_readable(path: Path) -> None:
    """Raise where the sandbox's user, who is nobody on the host, could not read what is shown to it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SandboxError(f"{path} cannot be shown in the sandbox.", got=error.strerror) from None
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    if os.geteuid() == 0 and mode & needed != needed:
        raise SandboxError(
            f"{path} cannot be read by the sandbox's user.",
            expected="readable by everybody",
            got=stat.filemode(mode),
            fix=f"chmod -R o+rX {path}",
        )
