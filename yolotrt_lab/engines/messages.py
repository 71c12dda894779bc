"""A TensorRT logger that keeps what TensorRT says, so that errors can quote it."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["MessageLog", "make_logger"]

_KEPT = 200


class MessageLog(Protocol):
    """What `make_logger` returns: a TensorRT logger with memory."""

    messages: list[tuple[str, str]]
    """(severity name, text), oldest first."""

    def errors(self) -> str:
        """Return the errors and internal errors, one per line."""

    def take(self) -> str:
        """Return errors and warnings since the last call, one per line, and forget them."""


def make_logger(trt: Any) -> Any:
    """Return a logger for `trt.Builder` and `trt.Runtime` that keeps the last messages up to warnings.

    Args:
        trt: The TensorRT module, real or emulated.
    """

    class _Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[str, str]] = []

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.WARNING):
                self.messages.append((severity.name, str(msg)))
                del self.messages[:-_KEPT]

        def errors(self) -> str:
            return "\n".join(text for severity, text in self.messages if severity.endswith("ERROR"))

        def take(self) -> str:
            text = "\n".join(text for _, text in self.messages)
            self.messages.clear()
            return text

    return _Logger()
