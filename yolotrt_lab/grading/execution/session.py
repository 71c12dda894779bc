"""Run one cell after the other in a kernel that may do anything: crash, hang, flood, or forge messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.execution.channels import Channels, Message
from yolotrt_lab.grading.execution.host import KernelHost
from yolotrt_lab.grading.execution.outputs import CellOutputs
from yolotrt_lab.grading.execution.zmtp import PeerError

__all__ = ["CellEnd", "ExecutionCancelledError", "KernelSession"]

_LOOK_S = 0.25  # how often to ask whether the kernel lives and the time is up
_TRAILING_S = 2.0  # how long it may be quiet after the reply before the last output
_DRAINING_S = 10.0  # how long outputs may come after the reply
_GREETING_S = 0.1
_EXPRESSION = "proctor"


class ExecutionCancelledError(LabError):
    """Whoever asked for the run does not want it any more."""


@dataclass(frozen=True)
class CellEnd:
    """How a cell ended.

    Attributes:
        state: "ok", "error", "interrupted" (too long, and the kernel goes on), "hung" (too long, and it does not),
            "died".
        error: Name and text of the error of an expression that was asked for.
    """

    state: str
    error: tuple[str, str] | None = None


class KernelSession:
    """Talks to a kernel; a context manager.

    Args:
        host: The kernel.
        start_s: How long it may take to answer.
        interrupt_s: How long a cell may take to end after it was interrupted.
        cancelled: Asked now and then.

    Raises:
        PeerError: The kernel does not answer.
    """

    def __init__(
        self, host: KernelHost, *, start_s: float, interrupt_s: float, cancelled: Callable[[], bool] | None = None
    ) -> None:
        self._host, self._interrupt_s = host, interrupt_s
        self._cancelled = cancelled or (lambda: False)
        self._heard = False
        self._channels = Channels(host.connection, timeout_s=start_s, alive=self._goes_on)
        try:
            self._greet(time.monotonic() + start_s)
        except BaseException:
            self._channels.close()
            raise

    def __enter__(self) -> KernelSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._channels.close()

    def run(self, source: str, outputs: CellOutputs, *, timeout_s: float) -> CellEnd:
        """Run a cell's code, magics included."""
        return self._execute(outputs, timeout_s, code=source, silent=False, store_history=True, user_expressions={})

    def evaluate(self, expression: str, outputs: CellOutputs, *, timeout_s: float) -> CellEnd:
        """Evaluate an expression beside an empty cell: nothing that rewrites cells gets to see it."""
        asked = {_EXPRESSION: expression}
        return self._execute(outputs, timeout_s, code="", silent=True, store_history=False, user_expressions=asked)

    def _greet(self, deadline: float) -> None:
        """Wait until the kernel answers, and until its outputs reach us: who joins late misses the first ones."""
        while not self._heard:
            request = self._channels.send("shell", "kernel_info_request", {})
            end = self._wait(request, CellOutputs(), deadline - time.monotonic(), trailing_s=_GREETING_S)
            if end.state != "ok":
                raise PeerError("the kernel did not answer in time")

    def _execute(self, outputs: CellOutputs, timeout_s: float, **content: Any) -> CellEnd:
        try:
            request = self._channels.send(
                "shell", "execute_request", {**content, "allow_stdin": False, "stop_on_error": False}
            )
            end = self._wait(request, outputs, timeout_s)
            if end.state != "hung":
                return end
            self._channels.send("control", "interrupt_request", {})
            end = self._wait(request, outputs, self._interrupt_s)
            return CellEnd("interrupted", end.error) if end.state in ("ok", "error") else end
        except PeerError:
            return CellEnd("died")

    def _wait(
        self, request: str, outputs: CellOutputs, timeout_s: float, *, trailing_s: float = _TRAILING_S
    ) -> CellEnd:
        """Return how the request ended; "hung" if it did not in time."""
        deadline = time.monotonic() + timeout_s
        looked = heard = time.monotonic()
        idle, reply, replied = False, None, 0.0
        while True:
            for message in self._channels.receive(_LOOK_S):
                heard = time.monotonic()
                if message.parent != request:
                    continue
                if message.channel == "iopub":
                    self._heard = True
                    idle |= message.type == "status" and message.content.get("execution_state") == "idle"
                    outputs.take(message)
                elif message.channel == "shell" and reply is None:
                    reply, replied = message, time.monotonic()
            now = time.monotonic()
            if reply is not None and (idle or now > max(heard, replied) + trailing_s or now > replied + _DRAINING_S):
                return _end(reply)
            if now > looked + _LOOK_S:
                looked = now
                if not self._goes_on():
                    return CellEnd("died")
            if now > deadline:
                return CellEnd("hung") if reply is None else _end(reply)

    def _goes_on(self) -> bool:
        """Whether the kernel lives.

        Raises:
            ExecutionCancelledError: Nobody waits for the run any more.
        """
        if self._cancelled():
            raise ExecutionCancelledError("The run was cancelled.")
        return self._host.alive()


def _end(reply: Message) -> CellEnd:
    """Return what a reply says. It may be forged; then it is the cell's own loss."""
    content = reply.content
    state = "error" if content.get("status") in ("error", "abort", "aborted") else "ok"
    asked = content.get("user_expressions")
    answer = asked.get(_EXPRESSION) if isinstance(asked, Mapping) else None
    if isinstance(answer, Mapping) and answer.get("status") == "error":
        return CellEnd("error", (str(answer.get("ename"))[:200], str(answer.get("evalue"))[:2000]))
    return CellEnd(state)
