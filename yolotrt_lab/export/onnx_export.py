"""Checkpoint to ONNX: Ultralytics' exporter, with the batch axis dynamic and height and width fixed.

Ultralytics offers two forms, and neither suits TensorRT. A fixed export bakes the batch size into the reshapes of the
head. A dynamic export frees batch, height and width alike, and leaves the anchor grid to be computed at run time by
Shape, Range and Expand nodes. So the model is exported dynamic, height and width are then pinned, and onnxslim folds
everything that became constant: what remains is convolutions and a short decode, with -1 for the batch in its reshapes.

Operator set 17 is the default: everything a YOLO needs is in it, TensorRT 10 and 11, OpenVINO and ONNX Runtime all
take it, and ONNX Runtime's CUDA provider has no Resize kernel for 19 and would fall back to the CPU. Q/DQ with FP16
scales exists only from 19 on; `precision.quantize_onnx` raises the version itself when it needs that.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.graph import opset_version, tensor_specs
from yolotrt_lab.export.metadata import metadata_from_model
from yolotrt_lab.files import atomic_path, require_file, sha256_of
from yolotrt_lab.optional import require
from yolotrt_lab.training.environment import import_ultralytics, silence
from yolotrt_lab.training.weights import resolve_weights
from yolotrt_lab.types import TensorSpec

__all__ = ["DEFAULT_OPSET", "OPSET_RANGE", "OnnxExport", "export_onnx", "load_detector"]

DEFAULT_OPSET = 17
OPSET_RANGE = (13, 20)
"""13 brought per-channel Q/DQ; 20 is the newest that PyTorch's TorchScript exporter writes."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written, and from what.

    Attributes:
        path: The ONNX file.
        weights: The checkpoint it was made from.
        opset: Version of the standard operator set.
        inputs: Name, dtype and shape; None marks the dynamic batch axis.
        outputs: The same for the outputs.
        class_names: In order of class id.
        node_count: Nodes in the graph.
        size_bytes: Size of the file.
        sha256: Of the file. Exporting the same checkpoint with the same versions gives the same bytes.
        seconds: Time taken.
    """

    path: Path
    weights: Path
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    class_names: tuple[str, ...]
    node_count: int
    size_bytes: int
    sha256: str
    seconds: float


def export_onnx(
    weights: str | Path,
    output: Path,
    *,
    image_size: int | tuple[int, int] = 640,
    opset: int = DEFAULT_OPSET,
    dynamic_batch: bool = True,
    simplify: bool = True,
) -> OnnxExport:
    """Export an Ultralytics detector to ONNX.

    The input is `images`, (N, 3, H, W) float32 RGB in [0, 1]; the output is `output0`, (N, 4 + classes, anchors) with
    boxes as center x, center y, width, height in input pixels and class scores after the sigmoid.

    Args:
        weights: A `.pt` checkpoint, or "base" for the one that ships. A checkpoint is a pickle: open only those you
            trust.
        output: The `.onnx` file to write; an existing one is replaced when the export succeeds.
        image_size: Input height and width in pixels, or one number for both; multiples of the stride (32).
        opset: Version of the ONNX operator set.
        dynamic_batch: Leave N free; otherwise it is 1.
        simplify: Fold constants with onnxslim. Without it the anchor grid is computed on every run.

    Returns:
        Facts about the written file.

    Raises:
        InputError: The weights are missing, broken or not a detector, or an option is out of range.
        OutputError: The output cannot be written.
        LabError: Ultralytics' exporter failed.

    Example:
        >>> export = export_onnx("base", Path("model.onnx"), image_size=320)  # doctest: +SKIP
    """
    started = time.perf_counter()
    _check_options(output, opset)
    checkpoint = require_file(resolve_weights(weights), kind="Ultralytics checkpoint (.pt)")
    image_hw = _checked_hw(image_size)
    import_ultralytics(purpose="export a checkpoint")
    with (
        atomic_path(output) as target,  # first, so that a folder that cannot be written is noticed before the work
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # tracer and constant folding warnings of torch.onnx, none of them actionable
        log = Path(folder) / "export.log"
        with silence(log):
            raw = _run_exporter(checkpoint, Path(folder), log=log, image_hw=image_hw, opset=opset, simplify=simplify)
            model = _pinned(raw, image_hw=image_hw, dynamic_batch=dynamic_batch, simplify=simplify)
        _fix_metadata(model, image_hw=image_hw)
        target.write_bytes(model.SerializeToString(deterministic=True))
    return OnnxExport(
        path=output,
        weights=checkpoint,
        opset=opset_version(model),
        inputs=tensor_specs(model.graph.input),
        outputs=tensor_specs(model.graph.output),
        class_names=metadata_from_model(model).class_names,
        node_count=len(model.graph.node),
        size_bytes=output.stat().st_size,
        sha256=sha256_of(output),
        seconds=time.perf_counter() - started,
    )


def _check_options(output: Path, opset: int) -> None:
    if not OPSET_RANGE[0] <= opset <= OPSET_RANGE[1]:
        raise InputError(
            "The operator set version is out of range.",
            expected=f"{OPSET_RANGE[0]} to {OPSET_RANGE[1]}",
            got=opset,
            fix=f"Use --opset {DEFAULT_OPSET}, which every backend takes.",
        )
    if output.suffix != ".onnx":
        raise InputError(
            "The output is not named like an ONNX file.", expected="a name ending in .onnx", got=output.name
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder.", expected="a file name ending in .onnx", got="a folder")


def _checked_hw(image_size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 32 or max(height, width) > 4096:
        raise InputError("The image size is out of range.", expected="32 to 4096 pixels", got=f"{height}x{width}")
    return height, width


def load_detector(checkpoint: Path, *, folder: Path) -> Any:
    """Return the Ultralytics `YOLO` object in a checkpoint, sure to be a convolutional detector.

    It is loaded from a copy, because Ultralytics writes next to the weights, and takes a file named like published
    weights (`yolov5n.pt`) for a wish to download others.

    Args:
        checkpoint: A `.pt` file. It is a pickle: open only those you trust.
        folder: An existing folder for the copy.

    Raises:
        InputError: Not a checkpoint of Ultralytics, or one for another task.
    """
    require_file(checkpoint, kind="Ultralytics checkpoint (.pt)")
    ultralytics = import_ultralytics(purpose="read a checkpoint")
    copy = folder / "model.pt"
    shutil.copyfile(checkpoint, copy)
    try:
        yolo = ultralytics.YOLO(str(copy))
        head = type(yolo.model.model[-1]).__name__
    except Exception as error:  # a broken pickle can raise anything
        text = str(error).replace(str(copy), checkpoint.name).strip().splitlines()
        raise InputError(
            f"{checkpoint} is not an Ultralytics checkpoint.",
            expected="a .pt file that Ultralytics (8.x) training saved",
            got=f"{type(error).__name__}: {text[0] if text else 'no message'}",
            fix="Train one with `yolotrt train`, or copy the file again.",
        ) from error
    if yolo.task != "detect" or head == "RTDETRDecoder":
        raise InputError(
            f"{checkpoint} is not a YOLO detector.",
            expected="task detect, with a convolutional head",
            got=f"task {yolo.task}, head {head}",
            fix="Use a detection checkpoint, such as one from `yolotrt train`.",
        )
    return yolo


def _run_exporter(
    checkpoint: Path, folder: Path, *, log: Path, image_hw: tuple[int, int], opset: int, simplify: bool
) -> onnx.ModelProto:
    """Run Ultralytics' exporter and return what it wrote."""
    yolo = load_detector(checkpoint, folder=folder)
    stride = int(max(yolo.model.stride))
    if image_hw[0] % stride or image_hw[1] % stride:
        fitting = [max(stride, round(length / stride) * stride) for length in image_hw]
        raise InputError(
            "The image size does not fit the model.",
            expected=f"multiples of its stride, {stride} pixels",
            got=f"{image_hw[0]}x{image_hw[1]}",
            fix=f"Use {fitting[0]}x{fitting[1]}.",
        )
    try:
        written = yolo.export(
            format="onnx", imgsz=list(image_hw), opset=opset, dynamic=True, simplify=simplify, device="cpu"
        )
        return onnx.load(written)
    except Exception as error:  # whatever torch.onnx or Ultralytics stumbles over
        raise LabError(
            f"Ultralytics could not export {checkpoint}.",
            got=f"{type(error).__name__}: {error}",
            fix="Last lines of its log: " + " | ".join(_last_lines(log)),
        ) from error


def _last_lines(log: Path) -> Sequence[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return [line.strip() for line in lines if line.strip()][-3:]


def _pinned(
    model: onnx.ModelProto, *, image_hw: tuple[int, int], dynamic_batch: bool, simplify: bool
) -> onnx.ModelProto:
    """Fix height and width (and the batch, if it shall not vary) and fold what that makes constant."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_value, dims[3].dim_value = image_hw
    if not dynamic_batch:
        dims[0].dim_value = 1
    # Shapes recorded during the dynamic export would contradict the new ones.
    del model.graph.value_info[:]
    output_shape = _output_shape(model, image_hw)
    for value, shape in zip(model.graph.output, output_shape, strict=True):
        value.type.tensor_type.ClearField("shape")
        for axis, length in enumerate(shape):
            dim = value.type.tensor_type.shape.dim.add()
            if axis == 0 and dynamic_batch:
                dim.dim_param = "batch"
            else:
                dim.dim_value = length
    if simplify:
        slim = require("onnxslim", purpose="simplify the exported graph")
        try:
            model = slim.slim(model)
        except Exception as error:  # it raises whatever its many passes stumble over
            raise LabError(
                "onnxslim could not simplify the exported graph.",
                got=f"{type(error).__name__}: {error}",
                fix="Export with --no-simplify, and report this with the model.",
            ) from error
        del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def _output_shape(model: onnx.ModelProto, image_hw: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return the output shapes for one image, by running it: inference cannot see through a computed anchor grid."""
    import numpy as np

    runtime = require("onnxruntime", purpose="find the shape of the exported model's output")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, *image_hw), np.float32)})
    return [tuple(output.shape) for output in outputs]


def _fix_metadata(model: onnx.ModelProto, *, image_hw: tuple[int, int]) -> None:
    """Make Ultralytics' metadata true for the pinned graph, and the same on every export.

    Its `args` say dynamic, which makes Ultralytics feed rectangles of any size to the model; the date would give every
    export another checksum, and engines are tied to their ONNX by checksum.
    """
    properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != "date"}
    arguments = metadata_from_model(model).properties.get("args", "{}")
    properties["args"] = arguments.replace("'dynamic': True", "'dynamic': False")
    properties["imgsz"] = str(list(image_hw))
    properties["description"] = "YOLO detector exported by yolotrt"
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
