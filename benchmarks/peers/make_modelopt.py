"""NVIDIA ModelOpt's ONNX post-training quantization, meant for TensorRT."""

from __future__ import annotations

import numpy as np
import onnx
from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found, unused-ignore]

from peers.job import read_job


def main() -> None:
    """Quantize to INT8 with the calibration method that the recipe names; FP16 for the rest, its own default."""
    job = read_job()
    images = np.concatenate(list(job.batches()))
    name = onnx.load(str(job.onnx)).graph.input[0].name
    quantize(
        str(job.onnx),
        quantize_mode="int8",
        calibration_data={name: images},
        calibration_method=job.settings["method"],
        calibration_eps=["cpu"],
        output_path=str(job.output),
    )
    job.report("nvidia-modelopt", "onnxruntime-gpu", "onnx", images=len(images))


if __name__ == "__main__":
    main()
