"""Emulated TensorRT on a real GPU: for a machine that has the GPU and its driver, but not TensorRT's libraries.

PyCUDA and `cuda.bindings` are the real ones here, and so are device memory, pinned memory, streams and events. Only
`tensorrt` is emulated: its engines are run by ONNX Runtime's CUDA provider, on the program's device addresses, in the
program's stream.
"""
