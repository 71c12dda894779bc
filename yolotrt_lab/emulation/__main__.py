"""`python -m yolotrt_lab.emulation [--api 10|11] script.py ...` runs any program with TensorRT emulated.

It takes what `python` takes: a script, `-m module`, `-c text`, or the name of an installed command like `polygraphy`.
Real TensorRT is used where it works, as everywhere; `YOLOTRT_PLATFORM=emulated` emulates there too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.emulation import modules, spawning
from yolotrt_lab.emulation.chrome_trace import tracing_to
from yolotrt_lab.emulation.program import Program, code_program, find_program, module_program, run
from yolotrt_lab.engines import platform
from yolotrt_lab.errors import InputError, LabError

__all__ = ["main"]

_TAKES_VALUE = ("--api", "--trace")
_BAD_USAGE = 2


def main(arguments: Sequence[str]) -> None:
    """Run a program under the emulation and leave as it leaves.

    Raises:
        SystemExit: Always, with the program's exit code, or 2 for bad usage.
    """
    own, rest = _split(arguments)
    parser = _parser()
    options = parser.parse_args(own)
    if not rest:
        parser.error("name a script, an installed command, -m module or -c text")
    if rest[0] in ("-m", "-c") and len(rest) < 2:
        parser.error(f"{rest[0]} needs something to run")
    if options.api is not None:
        os.environ["YOLOTRT_TRT_API"] = options.api
    if options.report_leaks:
        os.environ["YOLOTRT_REPORT_LEAKS"] = "1"
    try:
        _prepare(observed=options.trace is not None or options.report_leaks)
        program, program_arguments = _program(rest)
        with tracing_to(options.trace):
            run(program, program_arguments)
    except LabError as error:  # of ours: `run` shows the program's own errors
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(_BAD_USAGE)
    sys.exit(0)


def _prepare(*, observed: bool) -> None:
    """Emulate, here and in processes that are spawned, unless the real thing works.

    Raises:
        InputError: The program is to be observed, which needs the emulated device.
    """
    chosen = platform.activate()
    if observed and (chosen.kind == "real" or modules.is_on_gpu()):
        raise InputError(
            "--trace and --report-leaks observe the emulated device only.",
            got=chosen.device_name,
            fix="Set YOLOTRT_PLATFORM=emulated, or use Nsight Systems (nsys) and compute-sanitizer.",
        )
    if chosen.kind == "real":
        version, name = chosen.tensorrt_version, chosen.device_name
        print(f"Nothing is emulated: TensorRT {version} works on {name}.", file=sys.stderr)
    else:
        spawning.emulate_in_children()


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part our options from the program and its own arguments."""
    at = 0
    while at < len(arguments):
        if arguments[at] in ("-", "-m", "-c") or not arguments[at].startswith("-"):
            break
        at += 2 if arguments[at] in _TAKES_VALUE else 1
    return list(arguments[:at]), list(arguments[at:])


def _program(rest: Sequence[str]) -> tuple[Program, Sequence[str]]:
    if rest[0] == "-m":
        return module_program(rest[1]), rest[2:]
    if rest[0] == "-c":
        return code_program(rest[1]), rest[2:]
    return find_program(rest[0]), rest[1:]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m yolotrt_lab.emulation",
        usage="%(prog)s [--api {10,11}] [--trace FILE] [--report-leaks] "
        "(script.py | command | -m module | -c text) ...",
        description="Run a program that uses TensorRT, PyCUDA or cuda-python on a machine without a GPU.",
        epilog="Environment: YOLOTRT_PLATFORM, YOLOTRT_TRT_API, YOLOTRT_EMULATION_THREADS, "
        "YOLOTRT_EMULATED_MEMORY_MIB, YOLOTRT_REPORT_LEAKS; see yolotrt_lab/emulation/README.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--api", choices=("10", "11"), help="the TensorRT version to emulate (10, or YOLOTRT_TRT_API)")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write a modelled timeline for ui.perfetto.dev or chrome://tracing"
    )
    parser.add_argument("--report-leaks", action="store_true", help="at exit, list device memory that was never freed")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
