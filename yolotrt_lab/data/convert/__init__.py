"""Converters from Pascal VOC, COCO and CVAT to YOLO that report every problem they meet."""

from yolotrt_lab.data.convert.coco import read_coco
from yolotrt_lab.data.convert.conversion import Conversion, write_yolo
from yolotrt_lab.data.convert.cvat import read_cvat
from yolotrt_lab.data.convert.voc import read_voc

__all__ = ["Conversion", "read_coco", "read_cvat", "read_voc", "write_yolo"]
