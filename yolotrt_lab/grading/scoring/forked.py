"""Run a function in a fork of this process, with limits, and hear what it says until it ends."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Ended", "ForkLimits", "run_forked"]

_POLL_S = 0.1
_CHUNK = 1 << 16
_MOST_SAID = 16 << 20
_GRACE_S = 2

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class ForkLimits:
    """What a fork may use: seconds of processor time and of the clock, bytes of memory beyond its parent's."""

    cpu_s: float = 300.0
    wall_s: float = 900.0
    memory_bytes: int = 3 << 30


@dataclass
class Ended:
    """How a fork came to its end.

    Attributes:
        said: What it said.
        reason: "" if it came to its own end, "time", "memory" or "output" for the limit it met, "crash", or "killed" by
            somebody else.
        detail: The signal or exit code of a crash, and the last line of an error.
        cpu_s: The processor time that it took.
    """

    said: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    detail: str = ""
    cpu_s: float = 0.0


def run_forked(function: Callable[[Say], None], *, limits: ForkLimits) -> Ended:
    """Call a function in a fork, with another function by which it says something in plain values.

    Args:
        function: What runs; nothing that it changes is changed here.
        limits: What it may use; beyond that it is killed with all that it started.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(function, writing, limits)
    os.close(writing)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)  # the fork does so as well: whoever comes first
    ended = Ended()
    most = limits.memory_bytes + _memory_of("self")  # what the fork shares with this process is not its own
    try:
        said = _heard(reading, child, limits.wall_s, most, ended)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    ended.cpu_s = usage.ru_utime + usage.ru_stime
    for line in said.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            ended.said.append(json.loads(line))
    if not ended.reason:
        _explain(ended, status)
    return ended


def _child(function: Callable[[Say], None], writing: int, limits: ForkLimits) -> NoReturn:
    """Be the fork: never return to the code that forked."""
    code = 1
    try:
        faulthandler.disable()  # a crash is told by the exit code
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        seconds = max(1, int(limits.cpu_s))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _GRACE_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit_memory(limits.memory_bytes)

        def say(message: dict[str, Any]) -> None:
            content = memoryview(json.dumps(message).encode() + b"\n")
            while content:
                content = content[os.write(writing, content) :]

        try:
            function(say)
            code = 0
        except Exception as error:
            say({"error": traceback.format_exception_only(error)[-1].strip()[:500]})
    finally:
        os._exit(code)


def _heard(reading: int, child: int, wall_s: float, most_bytes: int, ended: Ended) -> bytes:
    """Return all that the fork says; stop at its end, or at its limits."""
    deadline = time.monotonic() + wall_s
    said = bytearray()
    while True:
        ready, _, _ = select.select([reading], [], [], _POLL_S)
        if ready:
            piece = os.read(reading, _CHUNK)
            if not piece:
                return bytes(said)
            said += piece
            if len(said) > _MOST_SAID:
                ended.reason = "output"
        elif time.monotonic() > deadline:
            ended.reason = "time"
        elif _memory_of(child) > most_bytes:
            ended.reason = "memory"
        if ended.reason:
            return bytes(said)


def _memory_of(process: int | str, *, resident: bool = True) -> int:
    """Return the memory of a process in bytes, resident or reserved; 0 where the system does not tell."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1 if resident else 0]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _limit_memory(most: int) -> None:
    """Let large requests fail at once; what grows slowly is measured from outside. CUDA reserves more than it uses."""
    reserved = _memory_of("self", resident=False)
    if reserved and not Path("/dev/nvidiactl").exists():
        resource.setrlimit(resource.RLIMIT_AS, (reserved + most, resource.RLIM_INFINITY))


def _explain(ended: Ended, status: int) -> None:
    """Say why a fork ended badly, if it did."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return
    if code == -signal.SIGXCPU:
        ended.reason = "time"
    elif code == -signal.SIGKILL:
        ended.reason = "killed"
    else:
        ended.reason = "crash"
    errors = [str(message["error"]) for message in ended.said if "error" in message]
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    ended.detail = errors[-1] if errors else name
