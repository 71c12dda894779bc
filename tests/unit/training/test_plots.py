from pathlib import Path

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.training import plot_training, read_history

HEADER = (
    "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),"
    "metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0"
)


def write(path: Path, rows: int) -> Path:
    lines = [HEADER]
    for epoch in range(1, rows + 1):
        quality = epoch / 10 if epoch < 6 else 0.4
        lines.append(
            f"{epoch},{epoch * 2},{3 / epoch},2,1,0.8,0.7,{quality + 0.2},{quality},{3.3 / epoch},2.2,1.1,0.01"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_history(tmp_path):
    path = write(tmp_path / "results.csv", 3)
    history = read_history(path)
    assert history["epoch"] == [1, 2, 3]
    assert history["train/box_loss"] == pytest.approx([3, 1.5, 1])
    assert read_history(tmp_path) == history


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_curves_show_the_numbers(tmp_path, rows):
    figure = plot_training(write(tmp_path / "results.csv", rows))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["Box loss", "Class loss", "Distribution focal loss"]
    assert "average precision" in titles[3]
    training, validation = figure.axes[0].get_lines()
    assert list(training.get_xdata()) == list(range(1, rows + 1))
    assert list(training.get_ydata()) == pytest.approx([3 / epoch for epoch in range(1, rows + 1)], rel=1e-5)
    assert validation.get_label() == "validation"


def test_the_best_epoch_is_marked(tmp_path):
    figure = plot_training(write(tmp_path / "results.csv", 10))
    assert [text.get_text() for text in figure.axes[3].texts] == ["best: 0.500 in epoch 5"]


def test_no_results(tmp_path):
    with pytest.raises(InputError, match=r"No such file: .*results\.csv"):
        plot_training(tmp_path)


@pytest.mark.parametrize("text", ["epoch,map\n1,many\n", "a,b\n1,2\n", "epoch,map\n", "epoch,map\n1\n", "\x00\x00"])
def test_broken_results(tmp_path, text):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="not a table of training results"):
        plot_training(path)
