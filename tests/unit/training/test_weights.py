import json
from pathlib import Path

import pytest
import torch

from yolotrt_lab.errors import InputError, MissingDependencyError
from yolotrt_lab.files import sha256_of
from yolotrt_lab.training.environment import import_ultralytics
from yolotrt_lab.training.weights import BASE_NAME, base_checkpoint, check_checkpoint, resolve_weights


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    checkpoint = tmp_path / f"{BASE_NAME}.pt"
    checkpoint.write_bytes(b"weights")
    checkpoint.with_suffix(".json").write_text(json.dumps({"sha256": sha256_of(checkpoint)}))
    return tmp_path


def test_the_base_checkpoint_is_the_one_described(base_folder):
    assert base_checkpoint(folder=base_folder) == base_folder / f"{BASE_NAME}.pt"


def test_the_base_checkpoint_that_ships():
    checkpoint = resolve_weights("base")
    check_checkpoint(checkpoint)
    provenance = json.loads(checkpoint.with_suffix(".json").read_text())
    assert provenance["bytes"] == checkpoint.stat().st_size < 6e6
    assert provenance["metrics"]["map50_95"] > 0.6
    model = torch.load(checkpoint, weights_only=False)["model"]
    assert list(model.names.values()) == provenance["data"]["class_names"]
    assert provenance["command"][:2] == ["yolotrt", "train"]


def test_a_changed_base_checkpoint_is_refused(base_folder):
    (base_folder / f"{BASE_NAME}.pt").write_bytes(b"weightz")
    with pytest.raises(InputError, match="not the checkpoint that its provenance describes") as caught:
        base_checkpoint(folder=base_folder)
    assert "SHA-256" in (caught.value.expected or "")


@pytest.mark.parametrize("suffix", [".pt", ".json"])
def test_a_missing_base_checkpoint(base_folder, suffix):
    (base_folder / f"{BASE_NAME}{suffix}").unlink()
    with pytest.raises(InputError, match=f"No such file: .*{suffix}"):
        base_checkpoint(folder=base_folder)


def test_a_path_is_itself(tmp_path):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"x")
    assert resolve_weights(path) == path
    assert resolve_weights(str(path)) == path


@pytest.mark.parametrize("name", ["yolov5n.yaml", "yolov5s.yaml", "yolo11n.yaml"])
def test_models_ultralytics_knows(name):
    assert str(resolve_weights(name)) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothere.pt", ["No such file: nothere.pt"]),
        ("folder/yolov5nu.pt", ["No such file: folder/yolov5nu.pt"]),
        ("yolov5q.yaml", ["No such model: yolov5q.yaml", "yolov5n.yaml"]),
        ("folder/yolov5n.yaml", ["No such model"]),
        ("yolo-never-published.pt", ["No such weights", "base"]),
        ("model.onnx", ["not something to train from", ".pt checkpoint"]),
        ("", ["not something to train from"]),
    ],
)
def test_what_cannot_be_resolved(name, words):
    with pytest.raises(InputError) as caught:
        resolve_weights(name)
    for word in words:
        assert word in str(caught.value)


def test_published_weights_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    import_ultralytics(purpose="test")

    def offline(file, **_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", offline)
    with pytest.raises(MissingDependencyError, match=r"yolov5nu\.pt .*could not be downloaded") as caught:
        resolve_weights("yolov5nu.pt")
    assert "no route to host" in (caught.value.got or "")
    assert "pass its path" in (caught.value.fix or "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_published_weights_are_downloaded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    import_ultralytics(purpose="test")
    asked = []

    def download(file, **_):
        asked.append(Path(file).name)
        Path(file).write_bytes(b"published")

    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", download)
    first = resolve_weights("yolov5nu.pt")
    assert first.read_bytes() == b"published"
    assert resolve_weights("yolov5nu.pt") == first
    assert asked == ["yolov5nu.pt"]


def test_a_download_that_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    import_ultralytics(purpose="test")
    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", lambda file, **_: None)
    with pytest.raises(MissingDependencyError, match="could not be downloaded"):
        resolve_weights("yolov5nu.pt")


@pytest.mark.parametrize(
    "content",
    [b"not a pickle at all", {"epoch": 3}, {"model": torch.nn.Linear(2, 2)}, torch.nn.Linear(2, 2).state_dict(), [1]],
    ids=["garbage", "no model", "not YOLO", "state dict", "list"],
)
def test_what_is_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "broken.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"broken\.pt is not a YOLO") as caught:
        check_checkpoint(path)
    assert "base" in (caught.value.fix or "")


def test_a_checkpoint_for_another_task(tmp_path):
    import_ultralytics(purpose="test")
    from ultralytics.nn.tasks import ClassificationModel

    path = tmp_path / "classify.pt"
    model = ClassificationModel("yolo11n-cls.yaml", nc=2, verbose=False)
    torch.save({"model": model, "train_args": {"task": "classify"}}, path)
    with pytest.raises(InputError, match="not a YOLO detection checkpoint") as caught:
        check_checkpoint(path)
    assert "classify" in (caught.value.got or "")
