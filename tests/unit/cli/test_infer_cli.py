import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.runtimes import prediction


def picture(path, brightness=128, hw=(64, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*hw, 3), brightness, np.uint8))
    return path


def video(path, frames=6, fps=10.0, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (64, 64))
    for index in range(frames):
        writer.write(np.full((64, 64, 3), 40 * index % 256, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path):
    for name, brightness in (("a.png", 128), ("b.jpg", 0)):
        picture(tmp_path / "photos" / name, brightness)
    return tmp_path / "photos"


def run(capsys, *arguments):
    code = main(["infer", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_an_image(fixed_detector, tmp_path, capsys):
    image = picture(tmp_path / "one.png")
    code, out, _ = run(capsys, fixed_detector, image, "-o", tmp_path / "out", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["class_names"] == ["bolt", "nut"]
    nut, bolt = found["images"][0]["detections"]
    assert (nut["class"], nut["score"], nut["xyxy"]) == ("nut", 0.8, [8, 8, 16, 16])
    assert (bolt["class"], bolt["xyxy"]) == ("bolt", [22, 27, 42, 37])
    assert bolt["score"] == pytest.approx(128 / 255, abs=1e-3)
    assert found["images"][0]["image_hw"] == [64, 64]


def test_what_is_written(fixed_detector, folder, tmp_path, capsys):
    out = tmp_path / "out"
    code, _, _ = run(capsys, fixed_detector, folder, "-o", out)
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.jpg", "b.jpg", "detections.csv", "detections.json"]
    drawn = cv2.imread(str(out / "b.jpg"))
    assert drawn.shape == (64, 64, 3)
    assert drawn[8:16, 8:16].max() > 100  # the nut's box, in a black picture
    rows = list(csv.DictReader((out / "detections.csv").open()))
    assert [(row["name"], row["class"]) for row in rows] == [("a.png", "nut"), ("a.png", "bolt"), ("b.jpg", "nut")]
    assert float(rows[0]["left"]) == 8
    saved = json.loads((out / "detections.json").read_text())
    assert [len(image["detections"]) for image in saved["images"]] == [2, 1]


def test_thresholds(fixed_detector, folder, tmp_path, capsys):
    _, out, _ = run(capsys, fixed_detector, folder, "-o", tmp_path / "out", "--conf", "0.9", "--json")
    assert [image["detections"] for image in json.loads(out)["images"]] == [[], []]


def test_boxes_are_in_the_pixels_of_the_picture(fixed_detector, tmp_path, capsys):
    image = picture(tmp_path / "wide.png", hw=(64, 128))
    _, out, _ = run(capsys, fixed_detector, image, "-o", tmp_path / "out", "--json")
    bolt = next(d for d in json.loads(out)["images"][0]["detections"] if d["class"] == "bolt")
    assert bolt["xyxy"] == [44, 22, 84, 42]  # twice the size, less the letterbox above


def test_broken_images_are_skipped_reported_and_fail_in_the_end(fixed_detector, folder, tmp_path, capsys):
    (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    (folder / "empty.png").touch()
    code, out, err = run(capsys, fixed_detector, folder, "-o", tmp_path / "out", "--json")
    assert code == 1
    assert len(json.loads(out)["images"]) == 2
    assert len(json.loads(out)["failed"]) == 2
    assert "broken.jpg" in err
    assert "empty.png" in err
    assert "2 of the inputs could not be read" in err
    assert "Traceback" not in err


def test_broken_images_are_reported_in_the_order_they_are_met(fixed_detector, folder, tmp_path, capsys):
    """Also where one is read ahead of the frame before it, and where the folder begins or ends with one."""
    for name in ("0.png", "aa.png", "ab.png", "z.png"):
        (folder / name).write_bytes(b"no image")
    (tmp_path / "last.png").write_bytes(b"nor this")
    sources = (folder, tmp_path / "last.png", picture(tmp_path / "fine.png"))
    code, out, _ = run(capsys, fixed_detector, *sources, "-o", tmp_path / "out", "--json")
    found = json.loads(out)
    assert code == 1
    assert [image["name"] for image in found["images"]] == ["a.png", "b.jpg", "fine.png"]
    named = [Path(each["message"].split(" is not")[0]).name for each in found["failed"]]
    assert named == ["0.png", "aa.png", "ab.png", "z.png", "last.png"]


def test_max_frames_leaves_later_broken_images_alone(fixed_detector, folder, tmp_path, capsys):
    (folder / "z.png").write_bytes(b"no image")
    options = ("-o", tmp_path / "out", "--max-frames", "1", "--json")
    code, out, _ = run(capsys, fixed_detector, folder, *options)
    assert (code, len(json.loads(out)["images"]), json.loads(out)["failed"]) == (0, 1, [])


def test_several_sources_with_equal_names(fixed_detector, tmp_path, capsys):
    first, second = picture(tmp_path / "x" / "same.png"), picture(tmp_path / "y" / "same.png", 0)
    code, out, _ = run(capsys, fixed_detector, first, second, "-o", tmp_path / "out", "--json")
    assert code == 0
    names = sorted(Path(name).name for name in json.loads(out)["files"])
    assert names == ["detections.csv", "detections.json", "same.jpg", "same_2.jpg"]


def test_no_draw(fixed_detector, folder, tmp_path, capsys):
    run(capsys, fixed_detector, folder, "-o", tmp_path / "out", "--no-draw")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["detections.csv", "detections.json"]


class TestVideo:
    def test_every_frame(self, fixed_detector, tmp_path, capsys):
        clip = video(tmp_path / "clip.mp4")
        code, out, _ = run(capsys, fixed_detector, clip, "-o", tmp_path / "out", "--json")
        assert code == 0
        found = json.loads(out)
        assert [image["name"] for image in found["images"]] == [f"clip_{n:06d}" for n in range(6)]
        # The bolt's score is the brightness: it appears when the picture is bright enough.
        assert [len(image["detections"]) for image in found["images"]] == [1, 1, 2, 2, 2, 2]
        capture = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)

    def test_max_frames(self, fixed_detector, tmp_path, capsys):
        clip = video(tmp_path / "clip.mp4")
        code, out, _ = run(capsys, fixed_detector, clip, "-o", tmp_path / "out", "--max-frames", "2", "--json")
        assert (code, len(json.loads(out)["images"])) == (0, 2)

    @pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
    def test_one_that_cannot_be_decoded(self, fixed_detector, tmp_path, capsys, content):
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(content)
        code, _, err = run(capsys, fixed_detector, clip, "-o", tmp_path / "out", "--json")
        assert code == 1
        assert "clip.mp4" in err
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["detections.csv", "detections.json"]

    def test_one_that_ends_early(self, fixed_detector, tmp_path, capsys):
        clip = video(tmp_path / "clip.avi", frames=40, codec="MJPG")
        whole = clip.read_bytes()
        clip.write_bytes(whole[: len(whole) // 2])
        code, out, err = run(capsys, fixed_detector, clip, "-o", tmp_path / "out", "--json")
        done = len(json.loads(out)["images"])
        assert 0 < done < 40
        assert code == 1
        assert f"ended after {done} of 40 frames" in " ".join(err.split())

    def test_without_a_codec_another_is_taken(self, fixed_detector, tmp_path, capsys, monkeypatch):
        original = cv2.VideoWriter.fourcc
        monkeypatch.setattr(
            cv2.VideoWriter, "fourcc", lambda *code: original(*"none") if code == tuple("mp4v") else original(*code)
        )
        clip = video(tmp_path / "clip.avi", codec="MJPG")
        code, _, _ = run(capsys, fixed_detector, clip, "-o", tmp_path / "out")
        assert code == 0
        names = sorted(p.name for p in (tmp_path / "out").iterdir())
        assert names == ["clip.avi", "detections.csv", "detections.json"]

    def test_an_interrupt_leaves_no_half_video(self, fixed_detector, tmp_path, capsys, monkeypatch):
        clip = video(tmp_path / "clip.mp4")
        original, seen = prediction.annotate, []

        def interrupt(*arguments, **settings):
            seen.append(1)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return original(*arguments, **settings)

        monkeypatch.setattr(prediction, "annotate", interrupt)
        out = tmp_path / "out"
        out.mkdir()
        (out / "clip.mp4").write_text("the old one")
        code, _, _ = run(capsys, fixed_detector, clip, "-o", out)
        assert code == 130
        assert [p.name for p in out.iterdir()] == ["clip.mp4"]
        assert (out / "clip.mp4").read_text() == "the old one"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.onnx", "{photos}"], 2, "No such file"),
        (["{model}", "gone"], 2, "No such file or folder: gone"),
        (["{model}", "{photos}", "--conf", "1.5"], 2, "less than or equal to 1"),
        (["{model}", "{photos}", "--backend", "caffe"], 2, "cannot open"),
        (["{photos}", "{photos}"], 2, "what kind of model"),
        (["{model}"], 2, "Missing argument"),
        (["{model}", "{empty}"], 1, "No images in"),
        (["{model}", "{photos}", "-o", "{model}/out"], 2, "Cannot write"),
    ],
)
def test_bad_calls(fixed_detector, folder, tmp_path, capsys, arguments, code, words):
    (tmp_path / "empty").mkdir()
    places = {"model": fixed_detector, "photos": folder, "empty": tmp_path / "empty"}
    given = [text.format(**places) for text in arguments]
    if "-o" not in given:
        given += ["-o", str(tmp_path / "out")]
    got, _, err = run(capsys, *given)
    assert got == code
    assert words in " ".join(err.split())
    assert "Traceback" not in err
