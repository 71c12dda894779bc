"""Start Python programs in sandboxes with their imports done.

Importing PyTorch, OpenVINO and the rest takes seconds of processor time for each submission. A zygote is a process
outside of any sandbox that has imported them once. It holds no secret and never runs untrusted code: for each program
it forks a child, which joins the namespaces that bubblewrap made, confines itself, and only then runs the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from yolotrt_lab.grading.sandbox.container import Container
from yolotrt_lab.grading.sandbox.policy import SandboxPolicy
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.process import SandboxedProcess, confinement
from yolotrt_lab.grading.sandbox.python_view import base_environment

__all__ = ["Zygote"]

_NAMESPACES = ("mnt", "net", "ipc", "uts", "cgroup", "pid")
_NS_GET_USERNS = 0xB701
_START_S = 300.0
_ANSWER_S = 60.0
# Where libraries look for a home while they are imported: a folder that is there in the sandbox, too, by the same name.
_HOMES = ("HOME", "TMPDIR", "MPLCONFIGDIR", "YOLO_CONFIG_DIR", "IPYTHONDIR")


class Zygote:
    """A process that has imported modules, and forks programs into sandboxes; a context manager.

    It ends with the process that started it. For one thread at a time.

    Args:
        preload: Modules to import, in this order; what cannot be imported is passed over.
        environment: Variables that imports depend on, in addition to those of `python_view.base_environment`.
        cores: Threads that numerical libraries use.

    Attributes:
        failed: Modules that could not be imported.
        busy_threads: How many threads of its imports do not rest. With any, it cannot be forked safely and is not
            `usable`.

    Raises:
        SandboxError: It does not start.
    """

    def __init__(self, preload: Sequence[str], *, environment: Mapping[str, str] | None = None, cores: int = 1) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="yolotrt-zygote-", dir="/tmp"))
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        variables = {**base_environment(cores=cores), **(environment or {}), **dict.fromkeys(_HOMES, str(self._home))}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "yolotrt_lab.grading.sandbox.forking", str(theirs.fileno())],
                env=variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        finally:
            theirs.close()
        try:
            self._socket.settimeout(_START_S)
            _send(self._socket, {"preload": list(preload), "home": str(self._home)}, [])
            told = _received(self._socket)
        except (OSError, ValueError) as error:
            self.close()
            raise SandboxError("The process that prepares imports did not start.", got=error) from None
        self.failed: tuple[str, ...] = tuple(told["failed"])
        self.busy_threads = int(told["busy_threads"])
        self._socket.settimeout(_ANSWER_S)

    @property
    def usable(self) -> bool:
        """Whether programs can be forked from it."""
        return self.busy_threads == 0 and self._process.poll() is None

    def spawn(self, command: Sequence[str], policy: SandboxPolicy) -> SandboxedProcess:
        """Start a Python program in a sandbox of its own.

        Args:
            command: As for `SandboxedProcess.start`: this Python, then `-c code …` or `-m module …`.
            policy: What it may see and use.

        Raises:
            SandboxError: This zygote is not usable, or the sandbox did not start.
        """
        if not self.usable:
            raise SandboxError(
                "Programs cannot be forked any more.",
                got=f"{self.busy_threads} busy threads" if self.busy_threads else "it has ended",
            )
        if command[0] != sys.executable or command[1] not in ("-c", "-m"):
            raise SandboxError("A zygote runs Python programs only.", expected="python -c … or -m …", got=command[0])
        output, writing = os.pipe()
        try:
            container = Container(["/bin/cat"], policy, errors=writing)
            try:
                status = self._fork(command, policy, container, writing)
            except BaseException:
                container.kill()
                container.close()
                raise
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(writing)
        process = SandboxedProcess(container, policy, output, _Status(status))
        os.write(status.fileno(), b"!")  # its folders are filled: it may begin
        return process

    def close(self) -> None:
        """End it. What it has forked goes on. Safe to call again."""
        self._socket.close()
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fork(self, command: Sequence[str], policy: SandboxPolicy, container: Container, errors: int) -> socket.socket:
        """Have a child join a sandbox; return the socket by which it waits and will tell its exit code."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as opened:
            namespaces = _namespaces_of(container.init)
            for handle in namespaces:
                opened.callback(os.close, handle)
            order = {**confinement(policy), "command": list(command[1:]), "home": str(self._home)}
            try:
                _send(self._socket, order, [theirs.fileno(), errors, *namespaces])
                told = _received(self._socket)
            except (OSError, ValueError) as error:
                ours.close()
                raise SandboxError("The program could not be started in its sandbox.", got=error) from None
        if "error" in told:
            ours.close()
            raise SandboxError("The program could not be started in its sandbox.", got=told["error"])
        return ours


def _namespaces_of(process: int) -> list[int]:
    """Return descriptors of a process's namespaces, in the order in which they can be joined.

    Where a plain user makes the sandbox, bubblewrap makes two namespaces of users, one in the other: the other
    namespaces belong to the outer one, and what is in the inner one has no power over them any more.
    """
    found = []
    for name in _NAMESPACES:
        with contextlib.suppress(FileNotFoundError):
            found.append(os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
    if os.geteuid() == 0:
        return found  # root makes no namespace of users
    inner = os.open(f"/proc/{process}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    outer = fcntl.ioctl(found[0], _NS_GET_USERNS)
    if os.fstat(outer).st_ino == os.fstat(inner).st_ino:
        os.close(inner)
        return [outer, *found]
    return [outer, *found, inner]


class _Status:
    """Tells the exit code that a program's keeper sends when it has ended."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream: socket.socket | None = stream
        self._stream.setblocking(False)
        self._code: int | None = None
        self._asking = threading.Lock()

    def __call__(self) -> int | None:
        with self._asking:
            return self._ask()

    def _ask(self) -> int | None:
        if self._stream is not None:
            with contextlib.suppress(BlockingIOError):
                try:
                    told = self._stream.recv(64)
                except ConnectionError:
                    told = b""
                self._code = int(told) if told else -9  # its keeper was killed with the zygote
                self._stream.close()
                self._stream = None
        return self._code


def _send(stream: socket.socket, content: Mapping[str, Any], handles: Sequence[int]) -> None:
    """Send a message whose content may be longer than one packet, by way of a file in memory."""
    memory = os.memfd_create("order", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(json.dumps(content).encode())
        socket.send_fds(stream, [b"order"], [memory, *handles])
    finally:
        os.close(memory)


def _received(stream: socket.socket) -> dict[str, Any]:
    answer = stream.recv(1 << 16)
    if not answer:
        raise ChildProcessError("it has ended")
    content: dict[str, Any] = json.loads(answer)
    return content
