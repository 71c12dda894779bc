"""The emulated CUDA interfaces: PyCUDA's driver module and NVIDIA's `cuda.bindings`."""
