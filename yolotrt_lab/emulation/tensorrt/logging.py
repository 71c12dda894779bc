"""The emulated loggers, and the words in which TensorRT reports errors."""

from __future__ import annotations

import datetime
import sys
from typing import Any, NoReturn

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged, call_user, pure_virtual
from yolotrt_lab.emulation.tensorrt.signatures import incompatible

__all__ = ["IErrorRecorder", "ILogger", "Logger", "Reporter"]

_LETTERS = "FEWIV"


class ILogger(ContextManaged):
    """Base of loggers; a subclass implements `log(severity, msg)` and calls `ILogger.__init__`."""

    def log(self, severity: Any, msg: str) -> None:
        """Take one message."""
        pure_virtual("ILogger", "log")


class Logger(ILogger):
    """Prints messages of at least a severity to standard output."""

    def __init__(self, min_severity: Any = None) -> None:
        super().__init__()
        self._min_severity = self._api.names["ILogger"].WARNING if min_severity is None else min_severity

    @property
    def min_severity(self) -> Any:
        """The least severity that is printed."""
        return self._min_severity

    @min_severity.setter
    def min_severity(self, value: Any) -> None:
        self._min_severity = value

    def log(self, severity: Any, msg: str) -> None:
        """Print one message, if it is severe enough."""
        if int(severity) <= int(self._min_severity):
            now = datetime.datetime.now().strftime("%m/%d/%Y-%H:%M:%S")
            print(f"[{now}] [TRT] [{_LETTERS[int(severity)]}] {msg}", file=sys.stdout, flush=True)


class IErrorRecorder(ApiObject):
    """Base of error recorders; a subclass implements the methods and calls `IErrorRecorder.__init__`."""

    @property
    def MAX_DESC_LENGTH(self) -> NoReturn:
        """The longest description that is kept whole; NVIDIA's bindings fail to read it, so does this."""
        raise TypeError(incompatible("", "() -> int", self))

    def clear(self) -> None:
        """Forget all errors."""
        pure_virtual("IErrorRecorder", "clear")

    def get_error_code(self, arg0: int) -> Any:
        """Return the code of an error."""
        pure_virtual("IErrorRecorder", "get_error_code")
        return self._api.ErrorCodeTRT.SUCCESS

    def get_error_desc(self, arg0: int) -> str | None:
        """Return the description of an error."""
        pure_virtual("IErrorRecorder", "get_error_desc")
        return None

    def has_overflowed(self) -> bool:
        """Return whether errors were lost."""
        pure_virtual("IErrorRecorder", "has_overflowed")
        return False

    def num_errors(self) -> int:
        """Return how many errors there are."""
        pure_virtual("IErrorRecorder", "get_num_errors")
        return -1

    def report_error(self, arg0: Any, arg1: str) -> bool:
        """Take an error."""
        pure_virtual("IErrorRecorder", "report_error")
        return False


class Reporter:
    """Sends messages to a program's logger, but errors to its error recorder if there is one.

    Args:
        api: The namespace of the TensorRT version.
        logger: The program's logger.
        parent: The reporter of the object this one was made by; its recorder serves as long as there is no own one.
    """

    def __init__(self, api: Any, logger: Any, *, parent: Reporter | None = None) -> None:
        self.api = api
        self.logger = logger
        self.own_recorder: Any = None
        self._parent = parent

    @property
    def recorder(self) -> Any:
        """The error recorder that gets the errors, or None."""
        if self.own_recorder is not None or self._parent is None:
            return self.own_recorder
        return self._parent.recorder

    def child(self) -> Reporter:
        """Return a reporter for an object made by this one's."""
        return Reporter(self.api, self.logger, parent=self)

    def say(self, severity: str, text: str) -> None:
        """Log a message; severity is INTERNAL_ERROR, ERROR, WARNING, INFO or VERBOSE."""
        call_user(self.logger.log, getattr(self.api.types["ILogger.Severity"], severity), text)

    def info(self, text: str) -> None:
        """Log an informational message."""
        self.say("INFO", text)

    def warning(self, text: str) -> None:
        """Log a warning."""
        self.say("WARNING", text)

    def verbose(self, text: str) -> None:
        """Log a detail."""
        self.say("VERBOSE", text)

    def error(self, where: str, text: str, *, code: int, kind: str, recorder_code: str = "INVALID_ARGUMENT") -> None:
        """Report an error in TensorRT's form: to the error recorder if there is one, otherwise to the logger.

        Args:
            where: The C++ function, "IExecutionContext::enqueueV3", or a place in brackets.
            text: What is wrong.
            code: TensorRT's error number.
            kind: TensorRT's name for that number, "API Usage Error".
            recorder_code: The `ErrorCodeTRT` for the error recorder.
        """
        message = f"{where}{'' if where.startswith('[') else ':'} Error Code {code}: {kind} ({text})"
        if self.recorder is None:
            self.say("ERROR", message)
        else:
            call_user(self.recorder.report_error, getattr(self.api.ErrorCodeTRT, recorder_code), message)

    def usage_error(self, where: str, text: str) -> None:
        """Log that the program used the API wrongly."""
        self.error(where, text, code=3, kind="API Usage Error")

    def internal_error(self, where: str, text: str) -> None:
        """Log that a step failed."""
        self.error(where, text, code=4, kind="Internal Error", recorder_code="INVALID_STATE")
