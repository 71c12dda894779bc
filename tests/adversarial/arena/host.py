"""What an attack could do to the machine that grades: canaries are put out, and looked at afterwards."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from arena.target import ROOT

__all__ = ["Host", "guard", "tree_of"]

_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/"), Path("/etc"), Path("/run"), ROOT)
_PATIENCE_S = 5.0
_NAMESPACE = Path("/proc/self/ns/pid")


def guard() -> str:
    """Return the first lines of an attack that would harm a machine: outside of a sandbox it only tells so.

    Code that sends signals to everybody must never run in the process namespace of this machine.
    """
    here = os.readlink(_NAMESPACE) if _NAMESPACE.exists() else ""
    stop = "raise RuntimeError('NO' + ' SANDBOX')"
    return f"import os as _os\nif _os.readlink('/proc/self/ns/pid') == {here!r}:\n    {stop}\n"


def tree_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and content of every file below a folder, links as they are."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        state = path.lstat()
        content = os.readlink(path) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path)] = (state.st_mode, state.st_mtime_ns, content)
    return found


class Host:
    """Canaries: files in a home folder, a process, sockets, and names that only an attack uses.

    Attributes:
        home: A home folder, which holds a secret.
        secret: What must not be read.
        token: Every file and process that an attack makes on the host has this in its name.
        watched: Folders and files that must not change.
    """

    def __init__(self, folder: Path, *, watched: tuple[Path, ...] = ()) -> None:
        self.token = f"adversary-{secrets.token_hex(6)}"
        self.secret = f"home-canary-{secrets.token_hex(6)}"
        self.home = folder / "home"
        self.watched = (self.home, *watched)
        self._folder = folder
        self._heard: list[str] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Host:
        (self.home / ".ssh").mkdir(parents=True)
        (self.home / ".ssh" / "id_ed25519").write_text(f"{self.secret}\n")
        (self.home / ".ipython").mkdir()  # the grader's own process makes one
        (self.home / ".bashrc").write_text("# a shell's start\n")
        self._canary = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", self.secret])
        tcp = self._listen(socket.AF_INET, ("127.0.0.1", 0), "TCP")
        self._listen(socket.AF_UNIX, f"\0{self.token}", "abstract socket")
        self._listen(socket.AF_UNIX, str(self._folder / "host.sock"), "socket file")
        self.port = tcp.getsockname()[1]
        self._before = {path: tree_of(path) for path in self.watched}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._sockets:
            listener.close()
        self._canary.kill()
        self._canary.wait()

    def _listen(self, family: socket.AddressFamily, address: tuple[str, int] | str, name: str) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(8)
        self._sockets.append(listener)

        def hear() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(1)
                    with suppress(OSError):
                        self._heard.append(f"{name}: {connection.recv(100)!r}")
                    connection.close()

        threading.Thread(target=hear, daemon=True).start()
        return listener

    @property
    def known(self) -> Mapping[str, str]:
        """What an attacker could know of this machine."""
        return {
            "REPO": str(ROOT),
            "HOME": str(self.home),
            "TOKEN": self.token,
            "PORT": str(self.port),
            "SOCKET": str(self._folder / "host.sock"),
            "CANARY_PID": str(self._canary.pid),
            "GRADER_PID": str(os.getpid()),
            "GUARD": guard(),
        }

    def violations(self) -> list[str]:
        """Return what happened to the machine, empty if nothing did."""
        return [*self._changed_files(), *self._new_files(), *self._processes(), *self._signals(), *self._heard]

    def _changed_files(self) -> Iterator[str]:
        for path, before in self._before.items():
            now = tree_of(path)
            for name in sorted(before.keys() | now.keys()):
                if before.get(name) != now.get(name):
                    yield f"{name} was {'added' if name not in before else 'removed' if name not in now else 'changed'}"

    def _new_files(self) -> Iterator[str]:
        for place in _PLACES:
            with suppress(OSError):
                yield from (f"{path} was written" for path in place.glob(f"*{self.token}*"))

    def _processes(self) -> list[str]:
        """Return processes of attacks that are still there after a while."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := list(self._marked_processes())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _marked_processes(self) -> Iterator[str]:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if self.token in " ".join([*process.cmdline(), *process.environ().values()]):
                    yield f"process {process.pid} is still there: {process.cmdline()}"

    def _signals(self) -> Iterator[str]:
        if self._canary.poll() is not None:
            yield f"a process of the host was ended: {self._canary.returncode}"
        elif psutil.Process(self._canary.pid).status() == psutil.STATUS_STOPPED:
            yield "a process of the host was stopped"
