"""The detector without the host between its steps: letterbox, network, decoding and NMS on an NVIDIA GPU.

    image in pinned memory -> copy -> letterbox -> network -> decode -> NMS -> copy -> boxes in pinned memory

Everything between the two ends of this line is asked for once, as one CUDA graph, and the host waits once.

    resampling           OpenCV's bilinear weights as tables
    letterbox_kernels    the Triton kernel that uses them       letterbox    launches it
    nms_kernels          four Triton kernels                    postprocess  launches them, reads the result
    networks             PyTorch, ONNX Runtime and TensorRT behind one `enqueue(stream)`
    slots, detector      pinned double buffers, graphs, `GpuDetector`

Importing this package imports neither torch nor Triton. The kernels give, bit for bit, what `detection` computes on
the CPU; Triton's interpreter (TRITON_INTERPRET=1) proves that on a machine without a GPU.
"""
