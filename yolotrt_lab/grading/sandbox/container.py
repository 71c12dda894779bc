"""The namespaces of one sandbox, and the folders in memory that belong to it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import IO

from yolotrt_lab.grading.sandbox.bubblewrap import bubblewrap_arguments, files_inside, memory_folders
from yolotrt_lab.grading.sandbox.confine import READY
from yolotrt_lab.grading.sandbox.policy import SandboxPolicy
from yolotrt_lab.grading.sandbox.preflight import SandboxError, require_sandbox
from yolotrt_lab.grading.sandbox.seccomp import filter_program

__all__ = ["Container"]

_START_S = 60.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Container:
    """Bubblewrap with a first program of ours in it, which waits.

    The folders in memory are held open from outside: they can be read after everything inside has ended, when nothing
    can change them any more.

    Args:
        first: The program that waits: it sends back what it is sent when the sandbox is complete.
        policy: What is inside.
        errors: Where the program's standard error goes.

    Attributes:
        process: Bubblewrap outside, which ends when the first program has ended, with its exit code.
        init: The host's number of the sandbox's first process; with it, everything inside ends.
        folders: Descriptors of the folders in memory, by place.
        proc: Descriptor of the sandbox's own /proc.

    Raises:
        SandboxError: It does not start.
    """

    def __init__(self, first: Sequence[str], policy: SandboxPolicy, *, errors: int) -> None:
        require_sandbox()
        self.folders: dict[str, int] = {}
        self.proc = self.init_fd = -1
        self.init = 0
        self.process, self._info = _start(first, policy, errors=errors)
        try:
            self.init = _first_process(self._info)
            self.init_fd = os.pidfd_open(self.init)
            self._shake_hands()
            root = f"/proc/{self.init}/root"
            self.proc = os.open(f"{root}/proc", _FOLDER)
            for place in memory_folders(policy):
                self.folders[place] = os.open(root + place, _FOLDER)
        except (OSError, ValueError) as error:
            self.kill()
            self.close()
            raise SandboxError("The sandbox did not start.", got=error) from None

    def send(self, order: bytes) -> None:
        """Send something to the waiting program."""
        stream = _present(self.process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it has died; its exit code says so
            stream.write(order)
            stream.flush()

    def exit_code(self) -> int | None:
        """Return the first program's exit code, a negative one where a signal ended it; None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and 128 < code < 128 + signal.NSIG else code

    def kill(self) -> None:
        """End everything inside and wait for it: the first process' death is that of all."""
        with contextlib.suppress(OSError):
            if self.init_fd >= 0:
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)
            else:
                self.process.kill()
        if self.init_fd >= 0:  # a pidfd can be read when its process has ended, and all of its namespace with it
            select.select([self.init_fd], [], [], _START_S)
        self.process.wait()

    def close(self) -> None:
        """Let go of the descriptors; the folders in memory are gone then. Safe to call again."""
        for stream in (self.process.stdin, self.process.stdout, self._info):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        for descriptor in (*self.folders.values(), self.proc, self.init_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.folders, self.proc, self.init_fd = {}, -1, -1

    def _shake_hands(self) -> None:
        answers = _present(self.process.stdout)
        self.send(READY)
        if not select.select([answers], [], [], _START_S)[0]:
            raise TimeoutError(f"no answer within {_START_S:.0f} s")
        if os.read(answers.fileno(), 1) != READY:
            raise ChildProcessError("its first program did not come up")


def _start(first: Sequence[str], policy: SandboxPolicy, *, errors: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start bubblewrap; return it, and where it tells the number of the first process inside."""
    reading, writing = os.pipe()
    with contextlib.ExitStack() as inherited:
        inherited.callback(os.close, writing)
        files = {place: _file_of(content) for place, content in files_inside(policy).items()}
        for descriptor in files.values():
            inherited.callback(os.close, descriptor)
        steps = filter_program(gpu=policy.gpu)
        calls = _file_of(steps) if steps else None
        if calls is not None:
            inherited.callback(os.close, calls)
        listed = bubblewrap_arguments(policy, files=files, info_fd=writing, filter_fd=calls)
        arguments = _file_of("\0".join(listed).encode())
        inherited.callback(os.close, arguments)
        # In a file, because the first process inside goes on showing its command line, and paths of the host in it.
        command = [_bubblewrap(), "--args", str(arguments), "--", *first]
        # Bubblewrap dies with the thread that started it, not only with the process: that thread must not end.
        starting = _starter(os.getpid()).submit(
            subprocess.Popen,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            cwd="/",
            pass_fds=(writing, arguments, *files.values(), *(() if calls is None else (calls,))),
            start_new_session=True,
        )
        try:
            process = starting.result()
        except BaseException:
            os.close(reading)
            raise
    return process, os.fdopen(reading, "rb")


@functools.lru_cache(maxsize=1)
def _starter(_process: int) -> concurrent.futures.ThreadPoolExecutor:
    """Return the thread that starts sandboxes, one for each process: threads do not survive a fork."""
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="sandboxes")


def _bubblewrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _file_of(content: bytes) -> int:
    descriptor = os.memfd_create("inside", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _first_process(info: IO[bytes]) -> int:
    """Return the number that bubblewrap tells, as the host counts."""
    text = b""
    while select.select([info], [], [], _START_S)[0]:
        piece = os.read(info.fileno(), 4096)
        text += piece
        if not piece or text.rstrip().endswith(b"}"):
            break
    content = json.loads(text or b"{}")
    if "child-pid" not in content:
        raise ChildProcessError("bubblewrap ended at once")
    return int(content["child-pid"])


def _present(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the stream is closed")
    return stream
