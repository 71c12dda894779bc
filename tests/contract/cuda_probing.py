"""What all probes of CUDA's packages share: the packages, contexts, and how an outcome is written down."""

from __future__ import annotations

import importlib
import json
import os
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

DATA = np.arange(8, dtype=np.float32)
HUGE = 1 << 50
ALONE = "YOLOTRT_PROBE_ALONE"
"""Set where a probe runs in a process of its own."""


class Modules:
    """The three packages, imported when a probe first asks for one."""

    @property
    def rt(self) -> Any:
        return importlib.import_module("cuda.bindings.runtime")

    @property
    def drv(self) -> Any:
        return importlib.import_module("cuda.bindings.driver")

    @property
    def cuda(self) -> Any:
        return importlib.import_module("pycuda.driver")

    @property
    def gpuarray(self) -> Any:
        return importlib.import_module("pycuda.gpuarray")

    @property
    def tools(self) -> Any:
        return importlib.import_module("pycuda.tools")


def rt_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    return lambda modules: run(modules.rt)


def ctx_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For the driver interface, with a context of its own."""

    def probe(modules: Modules) -> Any:
        drv = modules.drv
        drv.cuInit(0)
        drv.cuCtxCreate(None, 0, drv.cuDeviceGet(0)[1])
        return run(drv)

    return probe


def drv_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For the driver interface, initialised, without a context."""

    def probe(modules: Modules) -> Any:
        modules.drv.cuInit(0)
        return run(modules.drv)

    return probe


def py_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For PyCUDA, with a context."""

    def probe(modules: Modules) -> Any:
        modules.cuda.init()
        context = modules.cuda.Device(0).make_context()
        try:
            return run(modules.cuda)
        finally:
            if modules.cuda.Context.get_current() is not None:
                modules.cuda.Context.pop()
            del context

    return probe


def with_context(run: Callable[[Modules], Any]) -> Callable[[Modules], Any]:
    def probe(modules: Modules) -> Any:
        modules.cuda.init()
        context = modules.cuda.Device(0).make_context()
        try:
            return run(modules)
        finally:
            context.pop()

    return probe


def each(*steps: Callable[[], Any]) -> list[str]:
    """Return the outcome of every step; alone in a process, say each at once, because the next may kill it."""
    found = []
    for step in steps:
        found.append(outcome(step))
        if os.environ.get(ALONE):
            print(json.dumps(found[-1]), flush=True)
    return found


def in_thread(run: Callable[[], Any]) -> str:
    """Return the outcome of a call in another thread."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(outcome(run)))
    thread.start()
    thread.join()
    return seen[0]


def outcome(run: Callable[[], Any]) -> str:
    """Return what a call came to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            text = repr(run())
        except Exception as error:
            text = f"{type(error).__module__}.{type(error).__name__}: {error}"
    said = "".join(f" !{warning.category.__name__}: {warning.message}" for warning in caught)
    return tidy(text + said)


def tidy(text: str) -> str:
    """Remove what differs without meaning: addresses, and what the emulation adds in brackets."""
    text = re.sub(r" \[emulation: .*?\](?=$|\n|'|\")", "", text, flags=re.DOTALL)
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def malloc(rt: Any, nbytes: int = 32) -> int:
    return rt.cudaMalloc(nbytes)[1]


def filled(cuda: Any, values: Any = DATA) -> Any:
    memory = cuda.mem_alloc(values.nbytes)
    cuda.memcpy_htod(memory, values)
    return memory


def read_only() -> Any:
    array = DATA.copy()
    array.flags.writeable = False
    return array
