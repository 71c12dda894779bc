"""The emulated `tensorrt`, in the shape of NVIDIA's bindings of version 10.16 or 11.4.

`namespace.build` makes the module's content for one version from two sources: the classes in this package, which do
the work, and the description of NVIDIA's bindings in `vendor_api`, which decides what may be seen of them. A name that
NVIDIA has and this package lacks raises `EmulationError`; a name that NVIDIA lacks does not exist here either.
"""
