"""What is measured: trained detectors with their images, and the networks whose speed is compared."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from yolotrt_lab.data.images import read_image, write_image
from yolotrt_lab.errors import InputError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import write_bytes
from yolotrt_lab.training.environment import import_ultralytics, silence

__all__ = ["Workload", "anchor_based_onnx", "copy_images", "small_images", "ultralytics_openvino", "yolov8n_onnx"]

# Pixels of the three anchors at strides 8, 16 and 32: YOLOv5's, from its yolov5n.yaml (release 6).
_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)


@dataclass(frozen=True)
class Workload:
    """A trained YOLOv5n, and images of the kind it was trained on.

    Attributes:
        name: Of the data set.
        weights: The checkpoint.
        class_names: Name of each class id.
        images: A folder of images.
    """

    name: str
    weights: Path
    class_names: tuple[str, ...]
    images: Path


def copy_images(paths: Sequence[Path], folder: Path) -> Path:
    """Copy images into a folder of their own, numbered so that any listing gives them in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:05d}{path.suffix.lower()}")
    return folder


def small_images(images: Sequence[Path], folder: Path, *, count: int = 32) -> Path:
    """Write copies of about 200 pixels, no two neighbours of one size, as JPEG."""
    for number, path in enumerate(images[:count]):
        width, height = 160 + 8 * (number % 7), 120 + 8 * (number % 5)
        write_image(folder / f"{number:05d}.jpg", cv2.resize(read_image(path), (width, height)))
    return folder


def ultralytics_openvino(weights: Path, folder: Path, *, image_size: int = 640) -> Path:
    """Export a checkpoint as a user would with Ultralytics and return the folder `..._openvino_model`, in FP32."""
    ultralytics = import_ultralytics(purpose="export to OpenVINO")
    copy = folder / weights.name
    shutil.copyfile(weights, copy)
    with silence(folder / "export.log"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ultralytics traces with a function that PyTorch would rather have replaced
        exported = ultralytics.YOLO(str(copy)).export(format="openvino", imgsz=image_size, batch=1, verbose=False)
    found = Path(str(exported))
    if not next(found.glob("*.xml"), None):
        raise InputError("Ultralytics wrote no OpenVINO model.", expected="a folder with an .xml file", got=str(found))
    return found


def yolov8n_onnx(path: Path, *, class_names: Sequence[str]) -> Path:
    """Export an untrained YOLOv8n: how long a network takes does not depend on its weights."""
    ultralytics = import_ultralytics(purpose="make a YOLOv8n")
    with silence(path.with_suffix(".log")):
        yolo = ultralytics.YOLO("yolov8n.yaml", task="detect", verbose=False)
        yolo.model = _untrained("yolov8n.yaml", class_names)
        yolo.save(str(path.with_suffix(".pt")))
    export_onnx(path.with_suffix(".pt"), path)
    return path


def _untrained(config: str, class_names: Sequence[str]) -> Any:
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(config, nc=len(class_names), verbose=False)
    model.names = dict(enumerate(class_names))
    return model


def anchor_based_onnx(path: Path, *, class_names: Sequence[str], image_size: int = 640) -> Path:
    """Export an untrained YOLOv5n with the head of its first releases: three anchors per place, 25200 rows at 640.

    Ultralytics has since given YOLOv5 the anchor-free head; backbone and neck are the same. The anchor-based head is a
    third cheaper, so pre- and postprocessing weigh more.
    """
    import torch

    import_ultralytics(purpose="make a YOLOv5n")
    network = _with_anchors(_untrained("yolov5n.yaml", class_names).eval().fuse(verbose=False), len(class_names))
    buffer = io.BytesIO()
    image = torch.zeros(1, 3, image_size, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch would like its newer exporter, which writes other graphs
        torch.onnx.export(
            network, (image,), buffer, input_names=["images"], output_names=["output0"], opset_version=17, dynamo=False
        )
    write_bytes(path, buffer.getvalue())
    return path


def _with_anchors(body: Any, num_classes: int) -> Any:
    import torch

    class AnchorBased(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = body.model[:-1]
            self.sources = body.model[-1].f
            widths = [branch[0].conv.in_channels for branch in body.model[-1].cv2]
            self.heads = torch.nn.ModuleList(torch.nn.Conv2d(width, 3 * (5 + num_classes), 1) for width in widths)
            self.strides = [int(stride) for stride in body.model[-1].stride]

        def forward(self, value: Any) -> Any:
            kept: list[Any] = []
            for layer in self.layers:
                if layer.f != -1:
                    places = [layer.f] if isinstance(layer.f, int) else layer.f
                    taken = [value if place == -1 else kept[place] for place in places]
                    value = taken[0] if isinstance(layer.f, int) else taken
                value = layer(value)
                kept.append(value)
            levels = zip(self.heads, self.sources, self.strides, _ANCHORS, strict=True)
            return torch.cat([decode(head(kept[f]), stride, anchors) for head, f, stride, anchors in levels], dim=1)

    def decode(raw: Any, stride: int, anchors: Any) -> Any:
        batch, _, height, width = raw.shape
        values = raw.view(batch, 3, 5 + num_classes, height, width).permute(0, 1, 3, 4, 2).sigmoid()
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((xs, ys), dim=-1).float()
        centers = (values[..., :2] * 2 - 0.5 + grid) * stride
        sizes = (values[..., 2:4] * 2) ** 2 * torch.tensor(anchors, dtype=torch.float32).view(1, 3, 1, 1, 2)
        return torch.cat((centers, sizes, values[..., 4:]), dim=-1).view(batch, -1, 5 + num_classes)

    return AnchorBased().eval()
