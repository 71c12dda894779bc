"""The last step before untrusted code: give up every power, for good.

Runs inside the sandbox, as a program of its own (`python -I -S confine.py`, which then becomes the command) and in the
children of a zygote. As a program it sees nothing but Python's standard library: it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["READY", "confine"]

READY = b"!"
"""What is sent to a program that starts in a sandbox, and what it sends back, once the sandbox is complete."""

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
_MIB = 2**20
_CPU_GRACE_S = 5


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def confine(spec: Mapping[str, Any]) -> None:
    """Limit this process and what it will start, and give up all privileges.

    Args:
        spec: `uid` (None to stay the user it is), `limits` (resource name to value) and `filter` (hex).

    Raises:
        OSError: The system refused a step; nothing untrusted may run then.
    """
    # Where memory runs out, the system is to end this first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("800")
    for name, value in spec["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        most = value + _CPU_GRACE_S if name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY else value
        resource.setrlimit(kind, (value, most))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails past the last, and where there is none to give up
    if spec["uid"] is not None:
        os.setgroups([])
        os.setresgid(spec["uid"], spec["uid"], spec["uid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    # A change of user hides a process's own entries in /proc from it; the command's start would show them again.
    _checked(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    steps = bytes.fromhex(spec["filter"])
    if steps:
        program = _Program(len(steps) // 8, steps)
        _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(program), 0, 0), "PR_SET_SECCOMP")
    os.umask(0o022)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    """Say that the sandbox is complete, wait for what to run, confine, and become it.

    Standard input carries the order, standard output the answer; standard error is where the command's output goes.
    """
    os.write(1, os.read(0, len(READY)))
    order = b""
    while not order.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            sys.exit(1)  # whoever would have said what to do is gone
        order += piece
    spec = json.loads(order)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.closerange(3, 1 << 16)
    confine(spec)
    os.chdir(spec["work"])
    try:
        os.execvpe(spec["command"][0], spec["command"], spec["environment"])
    except OSError as error:
        print(f"{spec['command'][0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
