import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab import training
from yolotrt_lab.cli.main import main
from yolotrt_lab.data import datasets
from yolotrt_lab.training import TrainResult


@pytest.fixture
def trained(monkeypatch):
    """Replace training by a note of what was asked for."""
    asked = []

    def train(config, *, on_progress):
        asked.append(config)
        on_progress(1, 1)
        return TrainResult(
            best_weights=config.output / "best.pt",
            last_weights=config.output / "last.pt",
            run_dir=config.output,
            metrics={"map50": 0.9, "map50_95": 0.61234, "precision": 0.8, "recall": 0.7},
            epochs=4,
            seconds=61.5,
            provenance={"data": {"val_images": 48}},
        )

    monkeypatch.setattr(training, "train", train)
    return asked


def test_defaults(trained, capsys):
    assert main(["train", "--data", "data.yaml"]) == 0
    (config,) = trained
    assert (config.data_yaml, config.weights, config.preset) == (Path("data.yaml"), "base", "demo")
    assert (config.epochs, config.image_size, config.batch, config.seed) == (None, None, None, 0)
    assert (config.device, config.output) == ("auto", Path("runs/train"))
    out, err = capsys.readouterr()
    assert "0.6123" in out
    assert "4 epochs in 62 s; measured on 48 validation images" in out
    assert "Training" in err


def test_every_option_arrives(trained):
    options = {
        "--data": "d.yaml",
        "--weights": "w.pt",
        "--preset": "plain",
        "--epochs": "7",
        "--imgsz": "320",
        "--batch": "5",
        "--learning-rate": "0.01",
        "--max-minutes": "2.5",
        "--max-images": "30",
        "--seed": "9",
        "--device": "cuda:1",
        "--workers": "0",
        "--threads": "3",
        "--output": "out",
    }
    assert main(["train", *(word for pair in options.items() for word in pair)]) == 0
    (config,) = trained
    assert (config.weights, config.preset, config.epochs, config.image_size, config.batch) == (
        "w.pt",
        "plain",
        7,
        320,
        5,
    )
    assert (config.learning_rate, config.max_minutes, config.max_train_images) == (0.01, 2.5, 30)
    assert (config.seed, config.device, config.output) == (9, "cuda:1", Path("out"))
    assert (config.workers, config.threads) == (0, 3)


def test_json(trained, capsys):
    assert main(["train", "--data", "d.yaml", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["best_weights"] == "runs/train/best.pt"
    assert result["metrics"]["map50_95"] == 0.61234


@pytest.mark.parametrize("name", ["parts", "bccd"])
def test_course_data_is_made_ready(trained, monkeypatch, name, tmp_path):
    asked = []

    def prepare_dataset(name, *, root, **_):
        asked.append((name, root))
        return datasets.Dataset(name, root / name, ("a",), {})

    monkeypatch.setattr(datasets, "prepare_dataset", prepare_dataset)
    assert main(["train", "--data", name, "--data-root", str(tmp_path)]) == 0
    assert asked == [(name, tmp_path)]
    assert trained[0].data_yaml == tmp_path / name / "data.yaml"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--data", "missing.yaml", "--weights", "yolov5n.yaml"], 2, "missing.yaml"),
        (["--data", "d.yaml", "--preset", "fast"], 2, "Unknown preset 'fast'"),
        (["--data", "d.yaml", "--imgsz", "333"], 2, "multiple of 32"),
        (["--data", "d.yaml", "--epochs", "0"], 2, "epochs must be positive"),
        (["--data", "d.yaml", "--epochs", "many"], 2, "--epochs"),
        (["--epochs", "3"], 2, "--data"),
    ],
)
def test_bad_input(arguments, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_for_real(tmp_path, capsys):
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(tmp_path / "images" / split / f"{index}.png"), np.full((64, 64, 3), 90, np.uint8))
            (tmp_path / "labels" / split / f"{index}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [part]\n")
    arguments = [
        "--data",
        str(tmp_path / "data.yaml"),
        "--weights",
        "yolov5n.yaml",
        "--preset",
        "plain",
        "--epochs",
        "1",
    ]
    arguments += [
        "--imgsz",
        "64",
        "--batch",
        "2",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--output",
        str(tmp_path / "run"),
        "--json",
    ]
    assert main(["train", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 1
    assert result["provenance"]["start"]["weights"] == "yolov5n.yaml"
    assert 1e6 < Path(result["best_weights"]).stat().st_size < 6e6  # half precision, nothing of the optimizer
