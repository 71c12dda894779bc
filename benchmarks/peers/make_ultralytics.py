"""Ultralytics' own OpenVINO INT8 export, which calls NNCF with its mixed preset, without sigmoids and decode."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ultralytics import YOLO

from peers.job import read_job


def main() -> None:
    """Export the checkpoint as a user would, on the calibration images."""
    job = read_job()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(shutil.copy(job.weights, folder))  # the export goes beside the checkpoint
        model = YOLO(str(weights))
        exported = Path(
            model.export(format="openvino", int8=True, data=str(job.data_yaml), imgsz=640, batch=1, device="cpu")
        )
        xml = next(exported.glob("*.xml"))
        shutil.copy(xml.with_suffix(".bin"), job.output.with_suffix(".bin"))
        shutil.copy(xml, job.output)
    job.report("ultralytics", "nncf", "openvino")


if __name__ == "__main__":
    main()
