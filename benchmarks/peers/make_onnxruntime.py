"""ONNX Runtime static quantization: its defaults, its defaults on convolutions only, and settings TensorRT accepts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from peers.job import Job, read_job

TENSORRT_SAFE = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands over the calibration images one by one."""

    def __init__(self, job: Job, input_name: str) -> None:
        self._batches: Iterator[Any] = job.batches()
        self._input_name = input_name

    def get_next(self) -> dict[str, Any] | None:
        """Return the next image, or None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._input_name: batch}


def main() -> None:
    """Quantize as the recipe says."""
    job = read_job()
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "model.onnx"
        quant_pre_process(str(job.onnx), str(prepared), skip_symbolic_shape=True)  # it gives up on a decode
        graph = onnx.load(str(prepared)).graph
        options: dict[str, Any] = {}
        if job.settings.get("only_weighted"):  # what Ultralytics' ONNX INT8 export leaves out
            weighted = ("Conv", "Gemm", "MatMul")
            options["nodes_to_exclude"] = [node.name for node in graph.node if node.op_type not in weighted]
        if job.settings.get("tensorrt_safe"):
            options |= {"per_channel": True, "extra_options": dict(TENSORRT_SAFE)}
            options |= {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
        quantize_static(str(prepared), str(job.output), Reader(job, graph.input[0].name), **options)
    job.report("onnxruntime", "onnx")


if __name__ == "__main__":
    main()
