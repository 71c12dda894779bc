"""The zygote's own program: import, wait for orders, fork. `python -m yolotrt_lab.grading.sandbox.forking FD`."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

from yolotrt_lab.grading.sandbox.confine import confine

__all__ = ["main"]

_HANDLES = 16
_LOOKS, _LOOK_S = 50, 0.05
_PR_SET_PDEATHSIG = 1
_FAILED = 126


def main() -> None:
    """Serve until the other side closes the socket."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    handles = _receive(stream)
    if not handles:
        return
    order = _content(handles[0])
    failed = _import(order["preload"])
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, so children go on sharing it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how keepers end
    stream.send(json.dumps({"failed": failed, "busy_threads": _busy_threads()}).encode())
    while True:
        handles = _receive(stream)
        if not handles:  # whoever started this has ended, perhaps without a chance to tidy up
            shutil.rmtree(order["home"], ignore_errors=True)
            return
        keeper = os.fork()
        if keeper == 0:
            _keep(stream, handles)
        for handle in handles:
            os.close(handle)


def _busy_threads() -> int:
    """Return how many threads besides this one do something; waits a little for them to come to rest.

    OpenVINO and ONNX Runtime start a thread each when they are imported. It waits for work then, and holds no lock
    that a child would miss; children have no use for it.
    """
    for _ in range(_LOOKS):
        own = str(threading.get_native_id())
        states = [_state(name) for name in os.listdir("/proc/self/task") if name != own]
        busy = sum(state not in ("S", "") for state in states)
        if not busy:
            break
        time.sleep(_LOOK_S)
    return busy


def _state(thread: str) -> str:
    try:
        with open(f"/proc/self/task/{thread}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""  # it has ended


def _receive(stream: socket.socket) -> list[int]:
    """Return the descriptors of an order, that of its content first; none when there will be no more.

    The content is for the child to read: what is in this process's memory, all later children could find in theirs.
    """
    return list(socket.recv_fds(stream, 64, _HANDLES)[1])


def _content(handle: int) -> dict[str, Any]:
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        content: dict[str, Any] = json.loads(file.read())
    return content


def _import(names: Sequence[str]) -> list[str]:
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:  # whatever a module does when it is imported, the next one has its turn
            failed.append(name)
    return failed


def _keep(stream: socket.socket, handles: Sequence[int]) -> None:
    """Join a sandbox, start the program in it, and tell its exit code when it has ended. Does not return."""
    content, status, errors, *namespaces = handles
    try:
        order = _content(content)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for handle in namespaces:
            if libc.setns(handle, 0) != 0:
                raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
        program = os.fork()  # only a child is in the new namespace of processes
        if program == 0:
            _run(order, status, errors)
        stream.send(b"{}")
        stream.close()
        os.close(errors)
        _, result = os.waitpid(program, 0)
        os.write(status, str(os.waitstatus_to_exitcode(result)).encode())
    except BaseException as error:
        with contextlib.suppress(OSError):
            stream.send(json.dumps({"error": str(error)[:500]}).encode())
    finally:
        os._exit(0)


def _run(order: Mapping[str, Any], status: int, errors: int) -> None:
    """Confine this process and run the program. Does not return."""
    code = _FAILED
    try:
        os.setsid()
        if not os.read(status, 1):  # the sandbox's folders are being filled
            os._exit(_FAILED)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, errors), (2, errors)):
            os.dup2(source, target)
        os.closerange(3, 1 << 16)
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)  # noqa: SIM115
        for name in ("stdout", "stderr"):  # names that type checkers take for final
            setattr(sys, f"__{name}__", getattr(sys, name))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confine(order)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.makedirs(order["home"], exist_ok=True)
        os.chdir(order["work"])
        code = _become(order["command"])
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


def _become(command: Sequence[str]) -> int:
    """Run what follows `python` on a command line, and return the exit code."""
    kind, program, *arguments = command
    code = 0
    try:
        if kind == "-m":
            sys.argv = [program, *arguments]
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *arguments]
            module = types.ModuleType("__main__")
            sys.modules["__main__"] = module
            exec(compile(program, "<string>", "exec"), module.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end: wait for threads
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code & 0xFF


if __name__ == "__main__":
    main()
