"""Run a detector over images, folders and videos, and write what it found."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import operator
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from yolotrt_lab.data.images import write_image
from yolotrt_lab.data.sources import VIDEO_SUFFIXES, count_frames, iter_frames
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.files import write_json, write_text
from yolotrt_lab.runtimes.annotation import VideoSink, annotate
from yolotrt_lab.runtimes.streaming import stream_detections
from yolotrt_lab.types import Detections, ImageArray, ProgressCallback

__all__ = ["FramePrediction", "PredictionRun", "predict_sources"]


@dataclass(frozen=True)
class FramePrediction:
    """What was found in one image or frame.

    Attributes:
        name: File name, or the video's name and the frame number.
        source: What the user asked for: the image, folder or video.
        image_hw: Height and width in pixels.
        detections: In its pixels, best first.
    """

    name: str
    source: str
    image_hw: tuple[int, int]
    detections: Detections


@dataclass
class PredictionRun:
    """Everything one run found and wrote.

    Attributes:
        class_names: Of the model.
        frames: One entry per image or frame.
        failures: (source, message) of what could not be read.
        files: What was written.
    """

    class_names: tuple[str, ...]
    frames: list[FramePrediction] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def class_name(self, class_id: int) -> str:
        """Return the name of a class, or its number in words."""
        return self.class_names[class_id] if class_id < len(self.class_names) else f"class {class_id}"

    def to_json(self) -> dict[str, Any]:
        """Return everything found as plain values."""
        return {
            "class_names": list(self.class_names),
            "images": [
                {
                    "name": frame.name,
                    "source": frame.source,
                    "image_hw": list(frame.image_hw),
                    "detections": list(self._rows(frame)),
                }
                for frame in self.frames
            ],
            "failed": [{"source": source, "message": message} for source, message in self.failures],
        }

    def _rows(self, frame: FramePrediction) -> Iterator[Mapping[str, Any]]:
        found = frame.detections
        for xyxy, score, class_id in zip(
            found.xyxy.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
        ):
            yield {
                "class_id": class_id,
                "class": self.class_name(class_id),
                "score": round(score, 6),
                "xyxy": [round(value, 3) for value in xyxy],
            }

    def to_csv(self) -> str:
        """Return one line per object: source, name, class, score and box."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["source", "name", "class_id", "class", "score", "left", "top", "right", "bottom"])
        for frame in self.frames:
            for row in self._rows(frame):
                writer.writerow([frame.source, frame.name, row["class_id"], row["class"], row["score"], *row["xyxy"]])
        return text.getvalue()


def _require_there(source: str) -> None:
    if not Path(source).exists() and not source.isdecimal():
        raise InputError(
            f"No such file or folder: {source}",
            expected="an image, a folder of images, or a video",
            got="nothing there",
        )


def _is_video(source: str) -> bool:
    return Path(source).suffix.lower() in VIDEO_SUFFIXES and Path(source).is_file()


def _frames_per_second(path: str) -> float:
    capture = cv2.VideoCapture(path)
    try:
        return float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()


class _Names:
    """Gives every output its own file name, also when two sources hold files of one name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, name: str) -> str:
        path = Path(name)
        candidates = (f"{path.stem}_{number}{path.suffix}" for number in itertools.count(2))
        chosen = next(item for item in itertools.chain([path.name], candidates) if item.lower() not in self._taken)
        self._taken.add(chosen.lower())
        return chosen


def predict_sources(
    detector: Detector,
    sources: Sequence[str],
    *,
    output: Path,
    draw: bool = True,
    max_frames: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> PredictionRun:
    """Detect in every image and frame, write annotated copies, detections.json and detections.csv.

    Folders and videos are read ahead and evaluated behind the inference (`stream_detections`). What cannot be read is
    noted and skipped. Every file appears whole or not at all, so an interrupt leaves finished
    images, and no half video.

    Args:
        detector: Finds the objects.
        sources: Paths of images, folders or videos, or a camera's number.
        output: Folder to write to; made if need be.
        draw: Whether to write annotated images and videos.
        max_frames: Stop each source after so many frames; needed for a camera.
        on_progress: Called with (frames done, frames known of).

    Raises:
        InputError: A source does not exist.
        OutputError: The folder cannot be written.
    """
    for source in sources:
        _require_there(source)
    run = PredictionRun(detector.class_names)
    names = _Names()
    expected = [count_frames(source) or 0 for source in sources]
    total = sum(min(count, max_frames or count) for count in expected)

    def tick() -> None:
        if on_progress is not None:
            on_progress(len(run.frames), max(total, len(run.frames)))

    for source in sources:
        # That a video is cut short comes as a warning when it ends; here it is one more failure to report.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LabWarning)
            try:
                _predict_one(
                    detector, source, run=run, output=output, draw=draw, limit=max_frames, names=names, tick=tick
                )
            except InputError as error:
                run.failures.append((source, error.one_line))
        run.failures += [(source, str(item.message)) for item in caught if issubclass(item.category, LabWarning)]
    write_json(output / "detections.json", run.to_json())
    write_text(output / "detections.csv", run.to_csv())
    run.files += [output / "detections.json", output / "detections.csv"]
    return run


def _predict_one(
    detector: Detector,
    source: str,
    *,
    run: PredictionRun,
    output: Path,
    draw: bool,
    limit: int | None,
    names: _Names,
    tick: Callable[[], None],
) -> None:
    def broken(error: InputError) -> None:
        run.failures.append((source, error.one_line))

    def pairs() -> Generator[tuple[str, ImageArray], None, None]:
        with contextlib.closing(_detected(detector, source, limit=limit, on_broken=broken)) as frames:
            for name, image, found in frames:
                run.frames.append(FramePrediction(name, source, (image.shape[0], image.shape[1]), found))
                tick()
                yield name, annotate(image, found, class_names=detector.class_names) if draw else image

    with contextlib.closing(pairs()) as drawn_pairs:
        if draw and _is_video(source):
            sink = VideoSink(output / names.free(Path(source).name), fps=_frames_per_second(source))
            with sink:
                for _, drawn in drawn_pairs:
                    sink.write(drawn)
            run.files.append(sink.path)
            return
        for name, drawn in drawn_pairs:
            if draw:
                target = output / names.free(Path(name).with_suffix(".jpg").name)
                write_image(target, drawn)
                run.files.append(target)


@dataclass(frozen=True, eq=False)
class _SourceFrame:
    """A frame, and the images before it that could not be read: they are reported when its turn comes."""

    name: str
    image_bgr: ImageArray
    skipped: tuple[InputError, ...]


def _detected(
    detector: Detector, source: str, *, limit: int | None, on_broken: Callable[[InputError], None]
) -> Generator[tuple[str, ImageArray, Detections], None, None]:
    """Yield (name, image, what was found) of each frame of a source."""
    if count_frames(source) == 1:  # not worth threads and their memory
        for name, image in itertools.islice(iter_frames(source, on_broken=on_broken), limit):
            yield name, image, detector.detect(image)
        return
    skipped: list[InputError] = []

    def read_ahead() -> Iterator[_SourceFrame]:
        for name, image in itertools.islice(iter_frames(source, on_broken=skipped.append), limit):
            yield _SourceFrame(name, image, tuple(skipped))
            skipped.clear()

    stream = stream_detections(detector, read_ahead(), load=operator.attrgetter("image_bgr"))
    with contextlib.closing(stream):
        for frame in stream:
            for error in frame.item.skipped:
                on_broken(error)
            yield frame.item.name, frame.item.image_bgr, frame.detections
    for error in skipped:  # after the last frame
        on_broken(error)
