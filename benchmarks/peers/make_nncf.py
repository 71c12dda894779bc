"""NNCF post-training quantization, called directly on the OpenVINO model of the same ONNX file."""

from __future__ import annotations

import nncf
import openvino

from peers.job import read_job


def main() -> None:
    """Quantize with the preset that the recipe names.

    Left in floating point is what OpenVINO's examples for YOLO leave: the decode, and sigmoids and products, or every
    SiLU would be computed from rounded values.
    """
    job = read_job()
    model = openvino.Core().read_model(str(job.onnx))
    model.reshape([1, *(size.get_length() for size in model.inputs[0].get_partial_shape()[1:])])
    batches = list(job.batches())
    there = {node.get_friendly_name() for node in model.get_ordered_ops()}
    decode = [name for name in job.head_nodes if name in there]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset[job.settings["preset"].upper()],
        subset_size=len(batches),
        ignored_scope=nncf.IgnoredScope(names=decode, types=["Sigmoid", "Multiply", "Subtract"], validate=False),
    )
    openvino.save_model(quantized, str(job.output), compress_to_fp16=False)
    job.report("nncf", "openvino", ignored=len(decode), images=len(batches))


if __name__ == "__main__":
    main()
