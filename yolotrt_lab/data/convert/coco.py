"""COCO: one JSON file, boxes as left, top, width, height in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.data.convert.conversion import BoxCollector, Conversion, resolve_image
from yolotrt_lab.data.labels import LabelProblem, ProblemKind
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json

__all__ = ["read_coco"]


def read_coco(annotations: Path | str, *, images: Path | str, class_names: Sequence[str] | None = None) -> Conversion:
    """Read a COCO detection file.

    Category ids may have gaps; class ids follow their order. Crowds and annotations without a box are reported.

    Args:
        annotations: The JSON file.
        images: Folder of the images it names.
        class_names: Names in the order of the ids; other categories are reported. Default: all, by category id.

    Raises:
        InputError: The file is missing, is not JSON, or lacks the lists every COCO file has.
    """
    path, folder = Path(annotations), Path(images)
    if not folder.is_dir():
        raise InputError(f"No such folder of images: {folder}", expected="a folder", got="nothing there")
    content = read_json(path)
    lists = {key: content.get(key) if isinstance(content, dict) else None for key in _LISTS}
    wrong = [key for key, value in lists.items() if not isinstance(value, list)]
    if wrong:
        raise InputError(
            f"{path} is not a COCO detection file.",
            expected="lists " + ", ".join(_LISTS),
            got=f"no list {', '.join(wrong)}",
        )
    reader = _Reader(path, folder)
    names = reader.read_categories(lists["categories"] or [], class_names)
    reader.read_images(lists["images"] or [])
    for index, entry in enumerate(lists["annotations"] or []):
        reader.read_annotation(index, entry, names)
    collected = tuple(collector.labeled_image() for collector in reader.collectors.values())
    return Conversion(collected, names, tuple(reader.problems))


_LISTS = ("images", "annotations", "categories")


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _stated_hw(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    return None


class _Reader:
    """Holds what the three lists refer to in each other."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.problems: list[LabelProblem] = []
        self.collectors: dict[Any, BoxCollector] = {}
        self._unusable_images: set[Any] = set()
        self._name_by_category: dict[Any, str] = {}

    def _report(self, element: str, kind: ProblemKind, message: str) -> None:
        self.problems.append(LabelProblem(self.path, None, kind, message, element))

    def read_categories(self, entries: list[Any], wanted: Sequence[str] | None) -> tuple[str, ...]:
        for index, entry in enumerate(entries):
            element = f"categories[{index}]"
            if not isinstance(entry, dict) or not _is_id(entry.get("id")) or not isinstance(entry.get("name"), str):
                self._report(element, ProblemKind.MALFORMED, "a category needs an id and a name; skipped")
            elif entry["id"] in self._name_by_category:
                self._report(element, ProblemKind.DUPLICATE, f"category id {entry['id']} appeared before; skipped")
            else:
                self._name_by_category[entry["id"]] = entry["name"]
        if wanted is not None:
            return tuple(wanted)
        by_id = sorted(self._name_by_category.items(), key=lambda item: (isinstance(item[0], str), item[0]))
        return tuple(dict.fromkeys(name for _, name in by_id))

    def read_images(self, entries: list[Any]) -> None:
        for index, entry in enumerate(entries):
            element = f"images[{index}]"
            if (
                not isinstance(entry, dict)
                or not _is_id(entry.get("id"))
                or not isinstance(entry.get("file_name"), str)
            ):
                self._report(element, ProblemKind.MALFORMED, "an image needs an id and a file_name; skipped")
                continue
            if entry["id"] in self.collectors or entry["id"] in self._unusable_images:
                self._report(element, ProblemKind.DUPLICATE, f"image id {entry['id']} appeared before; skipped")
                continue
            found = resolve_image(
                entry["file_name"],
                folder=self.folder,
                stated_hw=_stated_hw(entry),
                source=self.path,
                line=None,
                element=element,
                problems=self.problems,
            )
            if found is None:
                self._unusable_images.add(entry["id"])
            else:
                self.collectors[entry["id"]] = BoxCollector(found[0], image_hw=found[1], problems=self.problems)

    def read_annotation(self, index: int, entry: Any, names: tuple[str, ...]) -> None:
        element = f"annotations[{index}]"
        if not isinstance(entry, dict) or not _is_id(entry.get("image_id")) or not _is_id(entry.get("category_id")):
            self._report(element, ProblemKind.MALFORMED, "an annotation needs image_id and category_id; skipped")
            return
        if entry["image_id"] in self._unusable_images:
            return  # reported with the image
        collector = self.collectors.get(entry["image_id"])
        name = self._name_by_category.get(entry["category_id"])
        if collector is None:
            self._report(element, ProblemKind.MISSING_IMAGE, f"there is no image id {entry['image_id']}; skipped")
        elif name is None or name not in names:
            text = f"category {name!r} is not wanted" if name else f"there is no category id {entry['category_id']}"
            self._report(element, ProblemKind.CLASS_ID, f"{text}; skipped")
        elif entry.get("iscrowd"):
            self._report(element, ProblemKind.UNSUPPORTED_SHAPE, "a crowd is not one object; skipped")
        else:
            self._add_box(collector, entry, element, names.index(name))

    def _add_box(self, collector: BoxCollector, entry: Mapping[str, Any], element: str, class_id: int) -> None:
        box = entry.get("bbox")
        if not box:
            self._report(element, ProblemKind.UNSUPPORTED_SHAPE, "it has no bbox; skipped")
            return
        numbers = isinstance(box, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in box)
        if not numbers or len(box) != 4:
            self._report(element, ProblemKind.MALFORMED, f"the box {box!r} is not four numbers; skipped")
            return
        try:
            x, y, width, height = map(float, box)
        except OverflowError:
            self._report(element, ProblemKind.NOT_FINITE, "the box has a number beyond all bounds; skipped")
            return
        collector.add(class_id, (x, y, x + width, y + height), source=self.path, element=element)
