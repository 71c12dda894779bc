import cv2
import numpy as np
import pytest

from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.sources import count_frames, iter_frames
from yolotrt_lab.errors import InputError, LabWarning


def write_video(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def video(tmp_path):
    """Five frames, each of one brightness, so that their order can be seen."""
    return write_video(tmp_path / "clip.avi", [np.full((48, 64, 3), 40 * k + 20, np.uint8) for k in range(5)])


def test_an_image(tmp_path, draw):
    path = draw(tmp_path / "a.png")
    ((name, frame),) = iter_frames(path)
    assert name == "a.png"
    assert (frame == read_image(path)).all()
    assert count_frames(path) == 1
    assert [name for name, _ in iter_frames(str(path))] == ["a.png"]


def test_a_folder(tmp_path, draw):
    for name in ("b.png", "a.jpg", "c.bmp"):
        draw(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert [name for name, _ in iter_frames(tmp_path)] == ["a.jpg", "b.png", "c.bmp"]
    assert count_frames(tmp_path) == 3


def test_a_broken_image_in_a_folder(tmp_path, draw):
    draw(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    draw(tmp_path / "c.png")
    frames = iter_frames(tmp_path)
    assert next(frames)[0] == "a.png"
    with pytest.raises(InputError, match=r"b\.png"):
        next(frames)
    problems = []
    assert [name for name, _ in iter_frames(tmp_path, on_broken=problems.append)] == ["a.png", "c.png"]
    assert len(problems) == 1


def test_a_video(video):
    frames = list(iter_frames(video))
    assert [name for name, _ in frames] == [f"clip_00000{k}" for k in range(5)]
    assert [round(float(frame.mean()), -1) for _, frame in frames] == [20, 60, 100, 140, 180]
    assert frames[0][1].shape == (48, 64, 3)
    assert frames[0][1].dtype == np.uint8
    assert count_frames(video) == 5


def test_a_video_that_is_cut_short(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "clip.avi", noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(LabWarning, match=r"clip\.avi ended after \d+ of 40 frames"):
        frames = list(iter_frames(path))
    assert 10 < len(frames) < 30
    capfd.readouterr()  # the decoder complains in its own words


def test_frames_are_read_only_as_asked(video):
    frames = iter_frames(video)
    assert next(frames)[0] == "clip_000000"
    frames.close()
    video.unlink()


@pytest.mark.parametrize("content", [b"", b"this is no video" * 50])
def test_a_video_that_cannot_be_decoded(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match="Cannot decode") as error:
        list(iter_frames(tmp_path / "a.mp4"))
    assert "ffmpeg" in error.value.fix
    assert count_frames(tmp_path / "a.mp4") is None


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="No images"):
        list(iter_frames(tmp_path))
    assert count_frames(tmp_path) == 0


@pytest.mark.parametrize("name", ["nope.png", "nope.mp4", "nope"])
def test_nothing_there(tmp_path, name):
    with pytest.raises(InputError, match="No such image"):
        list(iter_frames(tmp_path / name))
    assert count_frames(tmp_path / name) is None


def test_a_file_named_like_a_camera(tmp_path, draw, monkeypatch):
    draw(tmp_path / "0.png").rename(tmp_path / "0")
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in iter_frames("0")] == ["0"]


def test_a_camera_that_is_not_connected(capfd):
    with pytest.raises(InputError, match="camera 97"):
        list(iter_frames("97"))
    capfd.readouterr()
