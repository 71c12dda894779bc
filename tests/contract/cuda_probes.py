"""Small programs for CUDA's Python packages, with what each comes to: the same on a GPU as on the emulation.

`python cuda_probes.py` on a machine with a GPU, cuda-bindings and PyCUDA runs each in a process of its own and prints
the outcomes as JSON; `cuda_observed.json` keeps them. Names and texts are compared, addresses are not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cuda_probes_driver as driver
import cuda_probes_pycuda as pycuda
import cuda_probes_runtime as runtime
from cuda_probing import ALONE, Modules, ctx_probe, drv_probe, py_probe, rt_probe, with_context

PROBES: dict[str, Callable[[Modules], Any]] = {
    "runtime copies": rt_probe(runtime.runtime_copies),
    "runtime memory": rt_probe(runtime.runtime_memory),
    "runtime rectangles": rt_probe(runtime.runtime_rectangles),
    "runtime streams": rt_probe(runtime.runtime_streams),
    "runtime events": rt_probe(runtime.runtime_events),
    "runtime device": rt_probe(runtime.runtime_device),
    "runtime errors": rt_probe(runtime.runtime_errors),
    "runtime pointers": rt_probe(runtime.runtime_pointers),
    "runtime mapped": rt_probe(runtime.runtime_mapped),
    "runtime dead stream": rt_probe(runtime.stream_used_after_destruction),
    "runtime dead event": rt_probe(runtime.event_used_after_destruction),
    "driver dead context": ctx_probe(driver.context_destroyed_twice),
    "driver contexts": drv_probe(driver.driver_contexts),
    "driver and runtime": driver.driver_and_runtime,
    "driver device": drv_probe(driver.driver_device),
    "driver memory": ctx_probe(driver.driver_memory),
    "driver streams": ctx_probe(driver.driver_streams),
    "pycuda without": pycuda.pycuda_without,
    "pycuda contexts": pycuda.pycuda_contexts,
    "pycuda after the runtime": pycuda.pycuda_runtime_primary,
    "pycuda memory": py_probe(pycuda.pycuda_memory),
    "pycuda copies": py_probe(pycuda.pycuda_copies),
    "pycuda host": py_probe(pycuda.pycuda_host),
    "pycuda streams": py_probe(pycuda.pycuda_streams),
    "pycuda device": py_probe(pycuda.pycuda_device),
    "pycuda arrays": with_context(pycuda.pycuda_arrays),
    "pycuda pools": with_context(pycuda.pycuda_pools),
    "pycuda more": with_context(pycuda.pycuda_more),
}


def run_alone(name: str) -> list[str]:
    """Return what a probe comes to in a process of its own; what kills the process is its last outcome."""
    command = [sys.executable, __file__, name]
    alone = {**os.environ, ALONE: "1"}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=120, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found if done.returncode == 0 else [*found, f"exit {done.returncode}: {done.stderr[-600:]}"]


if __name__ == "__main__":
    if sys.argv[1:]:
        PROBES[sys.argv[1]](Modules())
    else:
        with ThreadPoolExecutor(8) as workers:
            print(json.dumps(dict(zip(PROBES, workers.map(run_alone, PROBES), strict=True)), indent=1))
