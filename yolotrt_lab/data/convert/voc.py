"""Pascal VOC: one XML file per image, boxes as xmin, ymin, xmax, ymax in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from yolotrt_lab.data.convert.conversion import BoxCollector, Conversion, resolve_image
from yolotrt_lab.data.convert.xml_tree import Element, XmlProblem, parse_xml
from yolotrt_lab.data.labels import LabeledImage, LabelProblem, ProblemKind
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import ProgressCallback

__all__ = ["read_voc"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    annotations: Path | str,
    *,
    images: Path | str,
    class_names: Sequence[str] | None = None,
    stems: Iterable[str] | None = None,
    one_based: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Conversion:
    """Read a folder of VOC annotations.

    Args:
        annotations: Folder of XML files.
        images: Folder of the images they name.
        class_names: Names in the order of the ids; other names are reported. Default: all names found, sorted.
        stems: Read only these annotations (file names without suffix), in this order; missing ones are reported.
        one_based: Take xmin and ymin as the numbers of the first pixel counted from 1, as the VOC devkit does. Most
            tools (labelImg, CVAT, Roboflow) write the edges themselves: the default.
        on_progress: Called with (files done, files in all).

    Raises:
        InputError: A folder is missing, or holds no XML files.
    """
    annotations, images = Path(annotations), Path(images)
    for folder, what in ((annotations, "VOC annotations"), (images, "images")):
        if not folder.is_dir():
            raise InputError(f"No such folder of {what}: {folder}", expected="a folder", got="nothing there")
    problems: list[LabelProblem] = []
    wanted = sorted(annotations.glob("*.xml")) if stems is None else [annotations / f"{stem}.xml" for stem in stems]
    if not wanted:
        raise InputError(f"No VOC annotations in {annotations}.", expected="*.xml files", got="none")
    roots: list[tuple[Path, Element]] = []
    for done, path in enumerate(wanted, start=1):
        if (root := _parse(path, problems)) is not None:
            roots.append((path, root))
        if on_progress:
            on_progress(done, len(wanted))
    names = tuple(class_names) if class_names is not None else _names_in(roots)
    found = (
        _labeled_image(path, root, images=images, names=names, shift=float(one_based), problems=problems)
        for path, root in roots
    )
    return Conversion(tuple(image for image in found if image is not None), names, tuple(problems))


def _parse(path: Path, problems: list[LabelProblem]) -> Element | None:
    try:
        root = parse_xml(path)
    except XmlProblem as error:
        problems.append(LabelProblem(path, error.line, ProblemKind.MALFORMED, str(error)))
        return None
    except FileNotFoundError:
        problems.append(LabelProblem(path, None, ProblemKind.MISSING_LABELS, "there is no such annotation"))
        return None
    except OSError as error:
        problems.append(LabelProblem(path, None, ProblemKind.UNREADABLE_LABELS, str(error.strerror)))
        return None
    if root.tag != "annotation":
        message = f"expected <annotation>, got <{root.tag}>"
        problems.append(LabelProblem(path, root.line, ProblemKind.MALFORMED, message))
        return None
    return root


def _names_in(roots: list[tuple[Path, Element]]) -> tuple[str, ...]:
    names = {item.text_of("name") for _, root in roots for item in root.find_all("object")}
    return tuple(sorted(name for name in names if name))


def _stated_hw(root: Element) -> tuple[int, int] | None:
    """Return the stated height and width; labelImg writes 0 when it does not know them."""
    size = root.find("size")
    if size is None:
        return None
    try:
        height, width = int(float(size.text_of("height") or 0)), int(float(size.text_of("width") or 0))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _image_name(path: Path, root: Element, folder: Path) -> str:
    """Return the image's name: the stated one if it is there, else one with the annotation's own name."""
    stated = root.text_of("filename") or ""
    if stated and (folder / stated).is_file():
        return stated
    same = (p.name for p in sorted(folder.glob(f"{_escaped(path.stem)}.*")) if p.suffix.lower() != ".xml")
    return next(same, stated or f"{path.stem}.jpg")


def _escaped(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _labeled_image(
    path: Path, root: Element, *, images: Path, names: tuple[str, ...], shift: float, problems: list[LabelProblem]
) -> LabeledImage | None:
    found = resolve_image(
        _image_name(path, root, images),
        folder=images,
        stated_hw=_stated_hw(root),
        source=path,
        line=root.line,
        element=None,
        problems=problems,
    )
    if found is None:
        return None
    collector = BoxCollector(found[0], image_hw=found[1], problems=problems)
    for index, item in enumerate(root.find_all("object")):
        element = f"object {index}"

        def report(kind: ProblemKind, message: str, item: Element = item, element: str = element) -> None:
            problems.append(LabelProblem(path, item.line, kind, f"{message}; skipped", element))

        name, box = item.text_of("name"), item.find("bndbox")
        if not name:
            report(ProblemKind.MALFORMED, "it has no name")
        elif name not in names:
            report(ProblemKind.CLASS_ID, f"class {name!r} is not one of {', '.join(names)}")
        elif box is None:
            report(ProblemKind.UNSUPPORTED_SHAPE, "it has no <bndbox>")
        else:
            texts = [box.text_of(edge) for edge in _EDGES]
            try:
                x0, y0, x1, y1 = (float(text or "") for text in texts)
            except ValueError:
                values = ", ".join(f"{edge} {text!r}" for edge, text in zip(_EDGES, texts, strict=True))
                report(ProblemKind.MALFORMED, f"the box is not four numbers: {values}")
                continue
            if (x0, y0) != (x1, y1):
                # Counted from 1, equal corners are one pixel; in practice they are a click that drew nothing.
                x0, y0 = x0 - shift, y0 - shift
            collector.add(names.index(name), (x0, y0, x1, y1), source=path, line=box.line, element=element)
    return collector.labeled_image()
