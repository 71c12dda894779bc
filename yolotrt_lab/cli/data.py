"""`yolotrt data`: make, convert, check, split and look at data sets."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from yolotrt_lab.data.convert import Conversion
    from yolotrt_lab.data.datasets import Dataset
    from yolotrt_lab.data.labels import LabeledImage, LabelProblem
    from yolotrt_lab.types import ProgressCallback

__all__ = ["register"]

_SHOWN_PROBLEMS = 50
_SPLITS = ("train", "val", "test")

DatasetArgument = Annotated[Path, typer.Argument(help="A data set's folder or its data.yaml.")]
TrainShare = Annotated[float, typer.Option("--train", help="Share of the images for training.")]
ValShare = Annotated[float, typer.Option("--val", help="Share for validation.")]
TestShare = Annotated[float, typer.Option("--test", help="Share for the final test.")]
SplitSeed = Annotated[int, typer.Option(help="The same seed gives the same split.")]


class DatasetName(StrEnum):
    """Data sets that can be made by name."""

    PARTS = "parts"
    BCCD = "bccd"


class LabelFormat(StrEnum):
    """Formats that can be converted to YOLO's."""

    VOC = "voc"
    COCO = "coco"
    CVAT = "cvat"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    data = typer.Typer(
        name="data",
        help="Make, convert, check, split and look at data sets.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    for command in (make, convert, validate, split, stats, sheet):
        data.command()(command)
    app.add_typer(data)


def make(
    name: Annotated[DatasetName, typer.Argument(help="`parts` is drawn here, `bccd` is downloaded.")],
    root: Annotated[Path, typer.Option(help="Folder of data sets.")] = Path("datasets"),
    train: Annotated[int, typer.Option(min=0, help="Training images of parts.")] = 1200,
    val: Annotated[int, typer.Option(min=0, help="Validation images of parts.")] = 200,
    test: Annotated[int, typer.Option(min=0, help="Test images of parts.")] = 200,
    imgsz: Annotated[int, typer.Option(help="Side of the images of parts in pixels.")] = 640,
    seed: Annotated[int, typer.Option(help="The same seed draws the same parts, byte for byte.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw [all cores].")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data set ready; one that is there already is reused.

    `parts`: images of industrial parts, drawn by this program, no network needed. `bccd`: 364 microscope images of
    blood cells (MIT licence) from GitHub, or from the folder or URL in `YOLOTRT_DATA_MIRROR`; every file is checked.

    **Examples**

    `yolotrt data make parts`

    `yolotrt data make parts --train 60 --val 20 --test 20`

    `yolotrt data make bccd`
    """
    from yolotrt_lab.data.datasets import prepare_dataset

    with progress_bar(f"Making {name}") as on_progress:
        dataset = prepare_dataset(
            name,
            root=root,
            seed=seed,
            counts={"train": train, "val": val, "test": test},
            image_hw=(imgsz, imgsz),
            workers=workers or os.cpu_count() or 1,
            on_progress=on_progress,
        )
    emit(_described(dataset), as_json=as_json, human=_dataset_text(dataset))


def convert(
    source: Annotated[LabelFormat, typer.Argument(help="Format of the labels.")],
    annotations: Annotated[Path, typer.Argument(help="Folder of VOC files, or the COCO or CVAT file.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    output: Annotated[Path, typer.Option(help="Folder of the new data set; it must not exist yet.")],
    names: Annotated[str | None, typer.Option(help="Class names in order, with commas [all that are found].")] = None,
    one_based: Annotated[bool, typer.Option(help="VOC only: pixels are counted from 1, as in the devkit.")] = False,
    train: TrainShare = 1.0,
    val: ValShare = 0.0,
    test: TestShare = 0.0,
    seed: SplitSeed = 0,
    as_json: JsonOption = False,
) -> None:
    """Convert Pascal VOC, COCO or CVAT labels to a YOLO data set.

    Every problem is listed with its file and place. Broken boxes are left out, boxes that leave the image are cut at
    its border; nothing is dropped in silence.

    **Examples**

    `yolotrt data convert voc Annotations --images JPEGImages --output datasets/cells`

    `yolotrt data convert coco labels.json --images photos --output datasets/mine --train 0.8 --val 0.2`
    """
    from yolotrt_lab.data.convert import write_yolo

    class_names = None if names is None else [name.strip() for name in names.split(",") if name.strip()]
    with progress_bar("Reading labels") as on_progress:
        conversion = _read(
            source,
            annotations,
            images=images,
            class_names=class_names,
            one_based=one_based,
            on_progress=on_progress,
        )
    _note_problems(conversion.problems)
    if not conversion.class_names:
        raise InputError(f"No objects in {annotations}.", expected="at least one named object", got="none")
    shares = {"train": train, "val": val, "test": test}
    images_by_split = _divided(conversion.images, len(conversion.class_names), shares=shares, seed=seed)
    dataset = write_yolo(images_by_split, output, class_names=conversion.class_names)
    result = _described(dataset) | {
        "boxes": conversion.boxes,
        "problems": _problem_list(conversion.problems),
        "problems_by_kind": conversion.by_kind(),
    }
    summary = f"{conversion.boxes} boxes; {len(conversion.problems)} problems."
    emit(result, as_json=as_json, human=[*_dataset_text(dataset), summary])


def _read(
    source: LabelFormat,
    annotations: Path,
    *,
    images: Path,
    class_names: Sequence[str] | None,
    one_based: bool,
    on_progress: ProgressCallback,
) -> Conversion:
    from yolotrt_lab.data.convert import read_coco, read_cvat, read_voc

    if source is LabelFormat.VOC:
        return read_voc(
            annotations, images=images, class_names=class_names, one_based=one_based, on_progress=on_progress
        )
    reader = read_coco if source is LabelFormat.COCO else read_cvat
    conversion = reader(annotations, images=images, class_names=class_names)
    on_progress(len(conversion.images), len(conversion.images))
    return conversion


def _divided(
    images: Sequence[LabeledImage], num_classes: int, *, shares: Mapping[str, float], seed: int
) -> Mapping[str, Sequence[LabeledImage]]:
    """Return the images by split; pictures are compared only if there is more than one split."""
    from yolotrt_lab.data.split import DEFAULT_MIN_SIMILARITY, split_images

    several = sum(share > 0 for share in shares.values()) > 1
    with progress_bar("Comparing pictures") as on_progress:
        result = split_images(
            images,
            num_classes=num_classes,
            fractions=shares,
            seed=seed,
            min_similarity=DEFAULT_MIN_SIMILARITY if several else None,
            on_progress=on_progress,
        )
    return result.images


def validate(
    dataset: DatasetArgument,
    near_duplicates: Annotated[
        bool, typer.Option(help="Also report pictures of the same scene in two splits.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every image and every label; exit with 1 if anything is wrong.

    **Examples**

    `yolotrt data validate datasets/parts`

    `yolotrt data validate datasets/bccd --near-duplicates --json`
    """
    from yolotrt_lab.data.validate import validate_dataset

    with progress_bar("Checking") as on_progress:
        report = validate_dataset(dataset, near_duplicates=near_duplicates, on_progress=on_progress)
    result = {
        "ok": report.ok,
        "images": report.images,
        "boxes": report.boxes,
        "background_images": report.background_images,
        "problems_by_kind": report.by_kind(),
        "problems": _problem_list(report.problems),
    }
    counts = f"{report.images} images, {report.boxes} sound boxes, {report.background_images} images without objects."
    verdict = (
        "No problems."
        if report.ok
        else f"{len(report.problems)} problems: "
        + ", ".join(f"{count} {kind}" for kind, count in report.by_kind().items())
    )
    lines = [str(problem) for problem in report.problems]
    emit(result, as_json=as_json, human=[*lines, counts, verdict])
    if not report.ok:
        raise typer.Exit(1)


def split(
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Option(help="Folder of the new data set; it must not exist yet.")],
    train: TrainShare = 0.7,
    val: ValShare = 0.15,
    test: TestShare = 0.15,
    seed: SplitSeed = 0,
    similarity: Annotated[
        float, typer.Option(help="Correlation from which on pictures count as near-duplicates; 2 lets them part.")
    ] = 0.9,
    as_json: JsonOption = False,
) -> None:
    """Divide all images of a data set anew: alike in content, near-duplicates kept together.

    **Examples**

    `yolotrt data split datasets/bccd --output datasets/bccd-new --train 0.8 --val 0.1 --test 0.1`
    """
    from yolotrt_lab.data.convert import write_yolo
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.data.labels import read_labeled_image
    from yolotrt_lab.data.split import split_images

    loaded = load_dataset(dataset)
    paths = [path for name in loaded.splits for path in loaded.splits[name]]
    images = [read_labeled_image(path, num_classes=len(loaded.class_names)) for path in paths]
    with progress_bar("Comparing pictures") as on_progress:
        result = split_images(
            images,
            num_classes=len(loaded.class_names),
            fractions={"train": train, "val": val, "test": test},
            seed=seed,
            min_similarity=similarity,
            on_progress=on_progress,
        )
    written = write_yolo(result.images, output, class_names=loaded.class_names)
    rows = [(name, len(result.images[name]), *counts) for name, counts in result.class_counts.items()]
    described = _described(written) | {"near_duplicate_groups": result.groups, "objects": result.class_counts}
    title = f"{written.data_yaml}; {result.groups} groups of near-duplicates kept together"
    emit(described, as_json=as_json, human=table(title, ("split", "images", *loaded.class_names), rows))


def stats(
    dataset: DatasetArgument,
    figure: Annotated[Path | None, typer.Option(help="Also draw the numbers into this .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Count classes, box sizes and objects per image.

    **Examples**

    `yolotrt data stats datasets/parts --figure parts.png`
    """
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.data.statistics import dataset_statistics, plot_statistics
    from yolotrt_lab.files import atomic_path

    loaded = load_dataset(dataset)
    with progress_bar("Counting") as on_progress:
        result = dataset_statistics(loaded, on_progress=on_progress)
    summary = result.summary()
    if figure is not None:
        _require_suffix(figure, (".png", ".svg", ".pdf"))
        drawing = plot_statistics(result, title=f"{loaded.name}: {sum(result.images.values())} images")
        with atomic_path(figure) as temporary:
            drawing.savefig(temporary, dpi=130)
        summary["figure"] = figure
    splits = list(result.images)
    rows = [
        (name, *(int(result.class_counts[split][index]) for split in splits), summary["boxes_per_class"][name])
        for index, name in enumerate(result.class_names)
    ]
    per_image = summary["objects_per_image_mean"]
    lines: list[Table | str] = [
        table(f"Objects in {loaded.data_yaml}", ("class", *splits, "all"), rows),
        f"Images: {', '.join(f'{split} {count}' for split, count in result.images.items())}; "
        f"{per_image:.1f} objects per image, at most {summary['objects_per_image_max']}.",
        f"Box sides (px): {summary['box_side_px']}; sizes: {summary['box_sizes']}.",
    ]
    emit(summary, as_json=as_json, human=lines)


def sheet(
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Option(help="Picture to write (.jpg or .png).")] = Path("sheet.jpg"),
    split: Annotated[str, typer.Option(help="Which split to show.")] = "train",
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 12,
    columns: Annotated[int, typer.Option(min=1, help="Images per row.")] = 4,
    cell: Annotated[int, typer.Option(min=40, max=4000, help="Pixels of an image's longest side.")] = 400,
    seed: Annotated[int, typer.Option(help="Chooses the images.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw images with their labels on one page: the quickest way to see what is wrong with them.

    **Examples**

    `yolotrt data sheet datasets/parts --split val --count 12 --output parts.jpg`
    """
    from yolotrt_lab.data.contact_sheet import dataset_sheet
    from yolotrt_lab.data.datasets import load_dataset
    from yolotrt_lab.data.images import write_image

    page = dataset_sheet(load_dataset(dataset), split=split, count=count, seed=seed, columns=columns, cell_px=cell)
    write_image(output, page)
    result = {"path": output, "width": page.shape[1], "height": page.shape[0]}
    emit(result, as_json=as_json, human=f"Wrote {output} ({page.shape[1]} x {page.shape[0]} pixels).")


def _require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise InputError(f"Cannot draw {path}.", expected=" or ".join(suffixes), got=path.suffix or "no suffix")


def _described(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "data_yaml": dataset.data_yaml,
        "class_names": dataset.class_names,
        "images": {split: len(paths) for split, paths in dataset.splits.items()},
    }


def _dataset_text(dataset: Dataset) -> list[str]:
    counts = ", ".join(f"{split} {len(paths)}" for split, paths in dataset.splits.items())
    return [f"{dataset.data_yaml}", f"Images: {counts}. Classes: {', '.join(dataset.class_names)}."]


def _problem_list(problems: Sequence[LabelProblem]) -> list[dict[str, Any]]:
    return [
        {
            "path": problem.path,
            "line": problem.line,
            "element": problem.element,
            "kind": str(problem.kind),
            "message": problem.message,
        }
        for problem in problems
    ]


def _note_problems(problems: Sequence[LabelProblem]) -> None:
    for problem in problems[:_SHOWN_PROBLEMS]:
        note(str(problem))
    if len(problems) > _SHOWN_PROBLEMS:
        note(f"… and {len(problems) - _SHOWN_PROBLEMS} more; --json lists all.")
