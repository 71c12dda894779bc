"""A process that does one thing at a time when asked: sides of a comparison take turns and have the machine alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self, TypeVar

from yolotrt_lab.errors import LabError

__all__ = ["Worker"]

Result = TypeVar("Result")


class Worker:
    """One fresh process that keeps its state between calls; use it as a context manager.

    Functions and arguments must be picklable. Between calls the process sleeps.
    """

    def __init__(self) -> None:
        # A forked process would inherit OpenVINO's and OpenMP's threads as memory without the threads.
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in the process and return its result.

        Raises:
            LabError: The process ended, as it does when memory runs out.
        """
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise LabError(f"The process of {function.__name__} ended.", got=str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
