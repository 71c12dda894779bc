"""`yolotrt infer`: run a model on images, folders and videos."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.errors import VerificationError

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.runtimes.prediction import PredictionRun

__all__ = ["register"]

_SHOWN_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(infer)


def infer(
    model: Annotated[Path, typer.Argument(help="A .pt, .onnx, .xml, .engine or .plan file.")],
    sources: Annotated[list[str], typer.Argument(help="Images, folders of images, videos, or a camera's number.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("runs/infer"),
    conf: Annotated[float, typer.Option(min=0, max=1, help="Keep detections with a greater score.")] = 0.25,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Of two boxes overlapping more, keep the better.")] = 0.7,
    backend: Annotated[str | None, typer.Option(help="`onnxruntime` or `openvino`, for an ONNX file.")] = None,
    device: Annotated[str, typer.Option(help="For PyTorch and ONNX Runtime: `auto`, `cpu` or `cuda`.")] = "auto",
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write annotated images and videos.")] = True,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop each source after so many frames.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find objects in images and videos; write annotated copies and the detections as JSON and CSV.

    Files that cannot be read are skipped and listed at the end; then the exit code is 1.

    **Examples**

    `yolotrt infer model.fp16.engine photos -o found`

    `yolotrt infer model.onnx clip.mp4 --conf 0.4`

    `yolotrt infer model.pt a.jpg b.jpg --no-draw --json`
    """
    from yolotrt_lab.data.sources import count_frames
    from yolotrt_lab.detection.pipeline import DetectorConfig
    from yolotrt_lab.runtimes.detector import detector_from_runtime
    from yolotrt_lab.runtimes.open import open_runtime
    from yolotrt_lab.runtimes.prediction import predict_sources

    config = DetectorConfig(conf_threshold=conf, iou_threshold=iou)
    many = any(count_frames(source) != 1 for source in sources)
    with open_runtime(model, backend=backend, device=device, batch=1, throughput=many) as runtime:
        if runtime.platform == "emulated":
            note("TensorRT is emulated on the CPU here; detections are real, speed is not a GPU's.")
        detector = detector_from_runtime(runtime, config=config)
        with progress_bar("Detecting") as on_progress:
            run = predict_sources(
                detector, sources, output=output, draw=draw, max_frames=max_frames, on_progress=on_progress
            )
        payload = {"model": model, "runtime": runtime.name, "output": output, **run.to_json(), "files": run.files}
    emit(payload, as_json=as_json, human=[_table(run), f"Written to {output}: {len(run.files)} files"])
    _report_failures(run)


def _table(run: PredictionRun) -> Table:
    rows = []
    for frame in run.frames[:_SHOWN_ROWS]:
        counts = Counter(run.class_name(class_id) for class_id in frame.detections.class_ids.tolist())
        rows.append((frame.name, len(frame.detections), ", ".join(f"{count} {name}" for name, count in counts.items())))
    objects = sum(len(frame.detections) for frame in run.frames)
    more = f"; the first {_SHOWN_ROWS}" if len(run.frames) > _SHOWN_ROWS else ""
    return table(f"{objects} objects in {len(run.frames)} images{more}", ("image", "objects", "classes"), rows)


def _report_failures(run: PredictionRun) -> None:
    if not run.failures:
        return
    for source, message in run.failures:
        note(f"Failed: {message}" if source in message else f"Failed: {source}: {message}")
    raise VerificationError(f"{len(run.failures)} of the inputs could not be read; the others are done.")
