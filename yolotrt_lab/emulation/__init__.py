"""Stand-ins for TensorRT, PyCUDA and the CUDA bindings, so the same programs run on a machine without a GPU.

`modules.activate()` makes `import tensorrt`, `import pycuda.driver` and `from cuda.bindings import runtime` find the
emulation; programs call it through `yolotrt_lab.engines.platform.activate`, which prefers the real thing. Engines are
compiled and run by OpenVINO on the CPU. It says so wherever it shows a name, and its timings are CPU timings.
`memory_report()` lists the buffers a program has not freed.
"""

from yolotrt_lab.emulation.leaks import memory_report

__all__ = ["memory_report"]
