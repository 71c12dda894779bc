"""NNCF post-training quantization, called directly on the OpenVINO model of the same ONNX file."""

from __future__ import annotations

import nncf
import openvino

from peers.job import read_job


def main() -> None:
    """Quantize with the preset that the recipe names; the decode stays in floating point, as NNCF's examples do it."""
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
        ignored_scope=nncf.IgnoredScope(names=decode, validate=False),
    )
    openvino.save_model(quantized, str(job.output), compress_to_fp16=False)
    job.report("nncf", "openvino", ignored=len(decode), images=len(batches))


if __name__ == "__main__":
    main()
