"""What TensorRT says of plans it cannot load: word for word what the lean runtimes 10.16 and 11.4 say on a GPU."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.plan_format import PlanError

__all__ = ["refuse_empty_plan", "refuse_plan"]

_WHERE = "IRuntime::deserializeCudaEngine"
# Lines of TensorRT's runtime.cpp, in 10.16.1.11 and 11.4.0.106, by function.
_LINES = {
    "deserializeCudaEngineEx": (235, 278),
    "parsePlan": (634, 780),
    "readHeader": (618, 765),
    "throwUnlessHeaderOk": (42, 48),
}


def refuse_empty_plan(api: Any, reporter: Reporter) -> None:
    """Report that there are no bytes."""
    reporter.usage_error(
        _WHERE, f"Cannot deserialize with an empty memory buffer. {_location(api, 'deserializeCudaEngineEx')}"
    )


def refuse_plan(api: Any, reporter: Reporter, error: PlanError) -> None:
    """Report why the bytes are no plan."""
    if error.function == "readHeader":
        line = _line(api, error.function)
        reporter.error(
            f"[runtime.cpp::{error.function}::{line}]",
            f"Assertion {error}  {_location(api, error.function)}",
            code=2,
            kind="Internal Error",
            recorder_code="INTERNAL_ERROR",
        )
        return
    text = f"Serialization assertion {error}"
    if error.function is not None:
        text = f"{text} {_location(api, error.function)}"
    reporter.error(_WHERE, text, code=1, kind="Serialization", recorder_code="UNSPECIFIED_ERROR")


def _location(api: Any, function: str) -> str:
    return f"In {function} at /_src/runtime/dispatch/runtime.cpp:{_line(api, function)}"


def _line(api: Any, function: str) -> int:
    return _LINES[function][api.major >= 11]
