"""CVAT XML 1.1 "for images": one XML file, boxes as attributes xtl, ytl, xbr, ybr in pixels.

Rotated boxes, polygons, polylines, points and masks are reported and skipped: an upright box cannot say what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yolotrt_lab.data.convert.conversion import BoxCollector, Conversion, resolve_image
from yolotrt_lab.data.convert.xml_tree import Element, XmlProblem, parse_xml
from yolotrt_lab.data.labels import LabeledImage, LabelProblem, ProblemKind
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import require_file

__all__ = ["read_cvat"]

_EDGES = ("xtl", "ytl", "xbr", "ybr")
_SHAPES = frozenset({"polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"})


def read_cvat(annotations: Path | str, *, images: Path | str, class_names: Sequence[str] | None = None) -> Conversion:
    """Read a CVAT export.

    Args:
        annotations: The XML file.
        images: Folder of the images it names.
        class_names: Names in the order of the ids; other labels are reported. Default: those of the task's label list,
            in its order, or else all that boxes use, sorted.

    Raises:
        InputError: The file is missing, is not XML, or is not a CVAT export for images.
    """
    path, folder = Path(annotations), Path(images)
    if not folder.is_dir():
        raise InputError(f"No such folder of images: {folder}", expected="a folder", got="nothing there")
    require_file(path, kind="CVAT annotations.xml")
    try:
        root = parse_xml(path)
    except XmlProblem as error:
        raise InputError(f"{path} is not usable XML.", expected="CVAT for images 1.1", got=error) from error
    if root.tag != "annotations" or root.find("track") is not None:
        got = "tracks of a video" if root.find("track") is not None else f"<{root.tag}>"
        raise InputError(
            f"{path} is not a CVAT export for images.",
            expected="<annotations> with <image> elements",
            got=got,
            fix='Export from CVAT as "CVAT for images 1.1".',
        )
    problems: list[LabelProblem] = []
    names = tuple(class_names) if class_names is not None else _names_in(root)
    found = [_labeled_image(path, item, folder, names, problems) for item in root.find_all("image")]
    return Conversion(tuple(image for image in found if image is not None), names, tuple(problems))


def _names_in(root: Element) -> tuple[str, ...]:
    """Return the label names of the task, or else all that the boxes use."""
    waiting, listed = [meta for meta in root.find_all("meta")], list[str]()
    while waiting:
        element = waiting.pop()
        if element.tag == "labels":
            listed += [name for label in element.find_all("label") if (name := label.text_of("name"))]
        waiting += element.children
    if listed:
        return tuple(dict.fromkeys(listed))
    used = {box.attributes.get("label", "") for image in root.find_all("image") for box in image.find_all("box")}
    return tuple(sorted(name for name in used if name))


def _stated_hw(image: Element) -> tuple[int, int] | None:
    try:
        height, width = int(image.attributes["height"]), int(image.attributes["width"])
    except (KeyError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _labeled_image(
    path: Path, image: Element, folder: Path, names: tuple[str, ...], problems: list[LabelProblem]
) -> LabeledImage | None:
    name = image.attributes.get("name", "")
    found = resolve_image(
        name,
        folder=folder,
        stated_hw=_stated_hw(image),
        source=path,
        line=image.line,
        element=f"image {name!r}",
        problems=problems,
    )
    if found is None:
        return None
    collector = BoxCollector(found[0], image_hw=found[1], problems=problems)
    for shape in image.children:
        if shape.tag == "box":
            _add_box(collector, shape, path=path, image_name=name, names=names, problems=problems)
        elif shape.tag in _SHAPES:
            message = f"a {shape.tag} is not an upright box; skipped"
            element = f"image {name!r}"
            problems.append(LabelProblem(path, shape.line, ProblemKind.UNSUPPORTED_SHAPE, message, element))
    return collector.labeled_image()


def _add_box(
    collector: BoxCollector,
    box: Element,
    *,
    path: Path,
    image_name: str,
    names: tuple[str, ...],
    problems: list[LabelProblem],
) -> None:
    element = f"image {image_name!r}"

    def report(kind: ProblemKind, message: str) -> None:
        problems.append(LabelProblem(path, box.line, kind, f"{message}; skipped", element))

    label = box.attributes.get("label", "")
    if label not in names:
        return report(ProblemKind.CLASS_ID, f"label {label!r} is not one of {', '.join(names)}")
    try:
        corners = [float(box.attributes[edge]) for edge in _EDGES]
        rotation = float(box.attributes.get("rotation", "0")) % 360
    except (KeyError, ValueError):
        return report(ProblemKind.MALFORMED, f"the box is not four numbers: {box.attributes}")
    if rotation:
        return report(ProblemKind.UNSUPPORTED_SHAPE, f"a box rotated by {rotation:g} degrees is not upright")
    return collector.add(names.index(label), corners, source=path, line=box.line, element=element)
